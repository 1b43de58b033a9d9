//! Run files from text to description, against a catalog that exists only as manifests.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::fixture::{catalog_of, components};
use super::*;
use crate::library::Catalog;

const MINIMAL: &str = "[data]\ncomponent = 'digits'\n[model]\ncomponent = 'mlp'\n[loss]\ncomponent = 'cross-entropy'\n[optimizer]\ncomponent = 'adamw'\n";

struct Files {
    folder: tempfile::TempDir,
    inputs: Inputs,
}

impl Files {
    fn new(texts: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut inputs = Inputs::default();
        for (at, text) in texts.iter().enumerate() {
            let path = folder.path().join(format!("run{at}.toml"));
            std::fs::write(&path, text).unwrap();
            inputs.files.push(path);
        }
        Self { folder, inputs }
    }

    fn set(mut self, text: &str) -> Self {
        self.inputs.set.push(text.to_owned());
        self
    }

    fn add(mut self, text: &str) -> Self {
        self.inputs.add.push(text.to_owned());
        self
    }

    fn remove(mut self, text: &str) -> Self {
        self.inputs.remove.push(text.to_owned());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.inputs.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn read(&self) -> (RunDescription, Diagnostics) {
        self.read_with(&catalog_of(components()))
    }

    fn read_with(&self, catalog: &Catalog) -> (RunDescription, Diagnostics) {
        let mut diagnostics = Diagnostics::new();
        let draft = Draft::read(&self.inputs, &mut diagnostics);
        let run = resolve(draft, catalog, &mut diagnostics);
        (run, diagnostics)
    }

    fn good(&self) -> RunDescription {
        let (run, found) = self.read();
        assert!(found.is_empty(), "{}", render(&found, Colours::Never));
        run
    }

    /// Code, line and help of every problem.
    fn problems(&self) -> Vec<(String, usize, String)> {
        let (_, found) = self.read();
        found
            .iter()
            .map(|d| {
                (
                    d.code.to_string(),
                    d.location.as_ref().map_or(0, |l| l.line),
                    d.help.clone().unwrap_or_default(),
                )
            })
            .collect()
    }
}

fn minimal_and(text: &str) -> Files {
    Files::new(&[&format!("{MINIMAL}{text}")])
}

fn ids(specs: &[InstanceSpec]) -> Vec<&str> {
    specs.iter().map(|spec| spec.id.as_str()).collect()
}

#[test]
fn without_a_run_file_the_digits_are_trained() {
    let run = Files { folder: tempfile::tempdir().unwrap(), inputs: Inputs::default() }.good();
    assert_eq!(run.run.name, "digits");
    assert_eq!(run.data.as_ref().unwrap().component, "digits");
    assert_eq!(run.models[0].spec.config["hidden"], json!([256]));
    assert_eq!(
        run.phases.iter().map(|p| p.data).collect::<Vec<_>>(),
        [PhaseData::Training, PhaseData::Validation]
    );
    assert_eq!(
        ids(&run.callbacks),
        ["metrics", "progress", "metrics-printer", "stop-on-nan", "recorder"]
    );
}

#[test]
fn a_minimal_file_gets_phases_settings_and_configuration_by_default() {
    let files = minimal_and("");
    let run = files.good();
    assert_eq!(
        (run.run.name.as_str(), run.run.seed, run.run.epochs, run.run.device),
        ("run0", 42, 10, Device::Cpu)
    );
    assert_eq!(
        run.run.base_dir,
        std::path::absolute(files.folder.path()).unwrap().to_string_lossy()
    );
    assert_eq!((run.loader.batch_size, run.loader.shuffle, run.loader.validation), (32, true, 0.2));
    assert_eq!(run.optimizers[0].spec.config["learning-rate"], json!(1e-3));
    assert_eq!(run.phases.len(), 2);
    assert_eq!(run.models[0].name, "model");
    assert!(!run.models[0].spec.config.contains_key("dropout"), "a default of null means absent");
}

#[test]
fn behaviour_34_defaults_are_added_unless_given_switched_off_or_unknown() {
    let run = minimal_and("[[callback]]\ncomponent = 'recorder'\nid = 'mine'\nevery = 5\n").good();
    assert_eq!(
        ids(&run.callbacks),
        ["mine", "progress", "metrics-printer", "stop-on-nan", "metrics"]
    );
    let run = minimal_and("[run]\ndefault-callbacks = false\n").good();
    assert!(run.callbacks.is_empty());
    let run = minimal_and("").remove("progress").good();
    assert_eq!(ids(&run.callbacks), ["metrics-printer", "stop-on-nan", "recorder", "metrics"]);

    let mut some = components();
    some.retain(|component| component["name"] != "progress");
    let (run, found) = minimal_and("").read_with(&catalog_of(some));
    assert_eq!(run.callbacks.len(), 4);
    assert_eq!((found.errors(), found.warnings()), (0, 1));
}

#[test]
fn later_files_and_overrides_win_in_the_stated_order() {
    let files = Files::new(&[
        MINIMAL,
        "[run]\nseed = 1\nepochs = 1\n[optimizer]\nlearning-rate = 0.5\n",
        "[run]\nepochs = 2\n",
    ])
    .env("FLUXBAY__RUN__EPOCHS", "3")
    .env("FLUXBAY__OPTIMIZER__WEIGHT_DECAY", "0.5")
    .set("run.epochs=4")
    .set("optimizer.weight-decay = 0.25");
    let run = files.good();
    assert_eq!((run.run.seed, run.run.epochs), (1, 4));
    assert_eq!(run.optimizers[0].spec.config["learning-rate"], json!(0.5));
    assert_eq!(run.optimizers[0].spec.config["weight-decay"], json!(0.25));
}

#[test]
fn another_component_drops_the_configuration_of_the_former_one() {
    let run = Files::new(&[MINIMAL, "[model]\ncomponent = 'mlp'\nhidden = [3]\n"])
        .set("model.component=sequential")
        .set("model.layers=[{kind = 'relu'}]")
        .good();
    assert_eq!(
        serde_json::Value::Object(run.models[0].spec.config.clone()),
        json!({ "layers": [{ "kind": "relu" }] })
    );
}

#[test]
fn instances_of_lists_are_added_patched_and_removed_by_id() {
    let files = Files::new(&[
        &format!("{MINIMAL}[[callback]]\ncomponent = 'recorder'\n[[callback]]\ncomponent = 'recorder'\nid = 'second'\n"),
        "[[callback]]\ncomponent = 'recorder'\nevery = 7\n",
        "[callback.second]\nevery = 8\n",
    ])
    .add("callback/early-stopping{patience = 9}")
    .add("phase/gan")
    .set("callback.second.on-error=disable")
    .remove("metrics");
    let run = files.good();
    assert_eq!(ids(&run.callbacks)[..3], ["recorder", "second", "early-stopping"]);
    assert_eq!(run.callbacks[0].config["every"], json!(7));
    assert_eq!(run.callbacks[1].config["every"], json!(8));
    assert_eq!(run.callbacks[1].on_error, OnError::Disable);
    assert_eq!(run.callbacks[2].config["patience"], json!(9));
    assert!(!ids(&run.callbacks).contains(&"metrics"));
    assert_eq!(
        run.phases.len(),
        1,
        "a list of phases that is given takes the place of the default ones"
    );
}

#[test]
fn values_of_overrides_are_toml_or_bare_text() {
    let files = Files::new(&[
        "[data]\ncomponent = 'csv'\n[model]\ncomponent = 'mlp'\n[loss]\ncomponent='cross-entropy'\n[optimizer]\ncomponent='adamw'\n",
    ])
    .set("data.path=some dir/file.csv")
    .set("model.hidden=[1, 2]")
    .set("run.name=2024-01-01");
    let run = files.good();
    assert_eq!(run.data.as_ref().unwrap().config["path"], json!("some dir/file.csv"));
    assert_eq!(run.models[0].spec.config["hidden"], json!([1, 2]));
    assert_eq!(run.run.name, "2024-01-01");
    for wrong in ["model.hidden=[1,", "run.epochs", "=3", "run=3"] {
        let (_, found) = minimal_and("").set(wrong).read();
        assert_eq!(found.errors(), 1, "{wrong}");
        assert!(
            found.iter().all(|d| d.location.as_ref().is_some_and(|l| l.file == "--set")),
            "{wrong}"
        );
    }
}

#[test]
fn named_models_have_their_section_as_id() {
    let text = "[data]\ncomponent='digits'\n[model.generator]\ncomponent='mlp'\n[model.critic]\ncomponent='mlp'\n\
        [optimizer.generator]\ncomponent='adamw'\n[optimizer.critc]\ncomponent='adamw'\n[[phase]]\ncomponent='gan'\n";
    let files = Files::new(&[text]);
    let (run, _) = files.read();
    let names: Vec<_> = run.models.iter().map(|m| (m.name.as_str(), m.spec.id.as_str())).collect();
    assert_eq!(names, [("generator", "model.generator"), ("critic", "model.critic")]);
    assert_eq!(files.problems(), [("unknown-model".into(), 9, "did you mean `critic`?".into())]);
}

#[test]
fn all_problems_of_a_file_are_told_together_each_with_its_line() {
    let text = "\
[run]
epoch = 3
device = \"gpu\"
[modle]
component = 'mlp'
[model]
component = 'mpl'
[data]
component = 'csv'
[loader]
batch-size = 0
validation = 1
[loss]
component = 'adamw'
[optimizer]
component = 'adamw'
leraning-rate = 1e-3
weight-decay = \"0.1\"
[[callback]]
component = 'recorder'
every = 1.0
on-error = 'dissable'
[[callback]]
component = 'recorder'
";
    let found = Files::new(&[text]).problems();
    let expected = [
        ("unknown-section", 4, "did you mean `model`?"),
        ("unknown-key", 2, "did you mean `epochs`?"),
        ("unknown-choice", 3, "write `device = \"cpu\"`"),
        ("out-of-range", 11, "for example `batch-size = 32`"),
        ("out-of-range", 12, "for example `validation = 0.2`"),
        ("unknown-choice", 22, "did you mean `disable`?"),
        ("duplicate-id", 23, "give one of them another name: `id = \"recorder-2\"`"),
        ("missing-key", 9, "add `path = ...`: The file; text"),
        ("unknown-component", 7, "did you mean `mlp`?"),
        ("unknown-component", 14, "`adamw` is an optimizer; it belongs to `[optimizer]`"),
        ("unknown-key", 17, "did you mean `learning-rate`?"),
        ("wrong-type", 18, "remove the quotes: `0.1`"),
        ("wrong-type", 21, "write `1` without a fraction"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(code, line, help)| (code.to_string(), *line, help.to_string()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_run_without_plugins_has_one_problem_only() {
    let (_, found) = minimal_and("").read_with(&Catalog::described([]));
    assert_eq!(found.iter().map(|d| d.code.to_string()).collect::<Vec<_>>(), ["no-plugins"]);
}

#[test]
fn missing_sections_are_told_with_the_phase_that_needs_them() {
    let found = Files::new(&["[run]\nseed = 1\n"]).problems();
    let codes: Vec<_> = found.iter().map(|(code, ..)| code.as_str()).collect();
    assert_eq!(codes, ["missing-section"; 4]);
    let own = "[model]\ncomponent='mlp'\n[optimizer]\ncomponent='adamw'\n[[phase]]\ncomponent='gan'\ndata='none'\n";
    assert!(Files::new(&[own]).good().data.is_none());
}

#[test]
fn unreadable_files_say_why() {
    let files = minimal_and("");
    let mut inputs = files.inputs.clone();
    for (path, code, help) in [
        (files.folder.path().join("rum0.toml"), "missing-file", "did you mean `run0.toml`?"),
        (files.folder.path().to_path_buf(), "unreadable", "name a file"),
    ] {
        inputs.files = vec![path];
        let mut found = Diagnostics::new();
        Draft::read(&inputs, &mut found);
        let first = found.iter().next().unwrap();
        assert_eq!(first.code, code);
        assert!(first.help.as_ref().unwrap().contains(help), "{first:?}");
    }
    let path = files.folder.path().join("bytes.toml");
    std::fs::write(&path, b"a = 1\nb = \xff\n").unwrap();
    inputs.files = vec![path];
    let mut found = Diagnostics::new();
    Draft::read(&inputs, &mut found);
    assert!(found.iter().next().unwrap().message.contains("line 2"));
}

#[test]
fn plugin_directories_start_at_the_file_that_names_them() {
    let files = minimal_and("[plugins]\ndirs = ['plugins', '/abs']\n");
    let mut found = Diagnostics::new();
    let draft = Draft::read(&files.inputs, &mut found);
    let base = std::path::absolute(files.folder.path()).unwrap();
    assert_eq!(draft.plugin_dirs(), [base.join("plugins"), PathBuf::from("/abs")]);
}

#[test]
fn the_resolved_run_describes_the_same_run() {
    let text = "[run]\nname = \"with \\\"quotes\\\" and \\n a line\"\nseed = 9007199254740993\n[plugins]\ndirs = ['p']\n\
        [data]\ncomponent = 'csv'\npath = 'ä.csv'\non-error = 'disable'\n[loader]\nvalidation = 0.125\n\
        [model.a]\ncomponent = 'sequential'\nlayers = [{kind = 'linear', out = 3}, {kind = 'relu'}]\n\
        [model.b]\ncomponent = 'fixture:mlp'\n[loss]\ncomponent='cross-entropy'\nlabel-smoothing = 1e-7\n\
        [optimizer.a]\ncomponent='adamw'\nlearning-rate = 1\n[optimizer.b]\ncomponent='sgd'\nlearning-rate = 1e-30\n\
        [[phase]]\ncomponent='gan'\nid='first'\ndata='validation'\n[[phase]]\ncomponent='gan'\n\
        [[callback]]\ncomponent='metrics'\n[[callback]]\ncomponent='early-stopping'\npatience='never'\n[[logger]]\ncomponent='jsonl'\n";
    let run = Files::new(&[text]).good();
    let again = Files::new(&[&run.to_toml()]).good();
    assert_eq!(again.to_toml(), run.to_toml());
    assert_eq!(again.to_json(), run.to_json());
    let commented = Files::new(&[&run.to_toml_with_origins()]).good();
    assert_eq!(commented.to_json(), run.to_json());
}

#[test]
fn origins_tell_where_each_value_came_from() {
    let run =
        Files::new(&[MINIMAL, "[optimizer]\nlearning-rate = 0.5\n"]).set("run.epochs=3").good();
    let text = run.to_toml_with_origins();
    let line = |start: &str| {
        text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
    };
    assert!(line("epochs").ends_with("# --set run.epochs=3"), "{text}");
    assert!(line("learning-rate").ends_with("run1.toml:2"), "{text}");
    assert!(line("weight-decay").ends_with("# default of optimizer/adamw"), "{text}");
    assert!(line("batch-size").ends_with("# default of [loader]"), "{text}");
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<bool>().prop_map(|b| b.to_string()),
        "[a-z]{0,6}".prop_map(|text| format!("'{text}'")),
        Just("[1, 2]".to_owned()),
        Just("{ a = 1 }".to_owned()),
        Just("nan".to_owned()),
        Just("1979-05-27".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_settings_are_accepted_or_refused_with_a_place(
        entries in proptest::collection::vec(("(run|data|loader|model|loss|optimizer|phase|callback|plugins|x)", "(component|id|on-error|epochs|seed|hidden|every|path|q)", scalar()), 0..12)
    ) {
        let mut text = String::new();
        for (section, key, value) in &entries {
            text.push_str(&format!("{section}.{key} = {value}\n"));
        }
        let (run, found) = Files::new(&[&text]).read();
        for diagnostic in found.iter() {
            prop_assert!(diagnostic.location.is_some() || diagnostic.code == "missing-section", "{:?}", diagnostic);
        }
        if !found.has_errors() {
            let again = Files::new(&[&run.to_toml()]).good();
            prop_assert_eq!(again.to_json(), run.to_json());
        }
    }

    #[test]
    fn overrides_of_any_text_are_accepted_or_refused(text in r#"[a-z.="'{}\[\] 0-9-]{0,30}"#) {
        let files = minimal_and("").set(&text).add(&text).remove(&text);
        let (_, found) = files.read();
        let _ = render(&found, Colours::Never);
    }
}
