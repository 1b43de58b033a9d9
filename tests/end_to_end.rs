//! The product as users run it: the binary, plugins found in a folder, real data.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use fluxbay_tests::{
    altered_author_crate, binary, build_plugin, build_plugin_against, fluxbay, plugin_dir,
    repository, run, scratch, standard_plugins, succeed, write,
};
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_str(
        &fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
    .unwrap()
}

/// Records of `metrics.jsonl` without the `time` field.
fn metrics(run_dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        assert!(record["time"].is_number(), "{line}");
        record.as_object_mut().unwrap().remove("time");
        record
    });
    records.collect()
}

/// Last value of an epoch metric.
fn last(run_dir: &Path, phase: &str, name: &str) -> f64 {
    let of_epochs = |record: &&Value| {
        record["phase"] == phase && record["scope"] == "epoch" && record["name"] == name
    };
    metrics(run_dir).iter().rfind(of_epochs).and_then(|record| record["value"].as_f64()).unwrap()
}

#[test]
fn without_a_run_file_the_digits_train_to_97_percent_and_to_the_same_bits_again() {
    let (dir, plugins) = (scratch(), plugin_dir());
    for name in ["first", "second"] {
        succeed(fluxbay(dir.path(), plugins.path()).args(["train", "--run-dir", name]));
    }
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let accuracy = last(&first, "validation", "accuracy");
    assert!(accuracy >= 0.97, "validation accuracy {accuracy}");
    assert_eq!(metrics(&first), metrics(&second));
    let model = fs::read(first.join("model.safetensors")).unwrap();
    assert!(model == fs::read(second.join("model.safetensors")).unwrap(), "the models differ");
    assert_eq!(json(&first.join("state.json"))["status"], "finished");
    assert_eq!(
        fs::read_to_string(first.join("metrics.csv")).unwrap().lines().count(),
        metrics(&first).len() + 1
    );
    // The resolved run file reproduces the run.
    succeed(fluxbay(dir.path(), plugins.path()).args([
        "train",
        "first/resolved.toml",
        "--run-dir",
        "third",
    ]));
    assert_eq!(metrics(&first), metrics(&dir.path().join("third")));
}

/// Trains on a csv file and returns the last validation accuracy. `data` is the body of the
/// `[data]` section.
fn table(data: &str, epochs: u32) -> f64 {
    let (dir, plugins) = (scratch(), plugin_dir());
    write(
        dir.path(),
        "run.toml",
        &format!(
            "[run]\nepochs = {epochs}\nseed = 1\n[data]\ncomponent = \"csv\"\n{data}\n[loader]\nbatch-size = 16\nvalidation = 0.3\n[model]\n\
             component = \"mlp\"\nhidden = [16]\n[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\nlearning-rate = \
             0.01\n[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n[[callback]]\ncomponent = \
             \"metrics\"\nmetrics = [\"accuracy\"]\n"
        ),
    );
    succeed(fluxbay(dir.path(), plugins.path()).args(["train", "run.toml", "--run-dir", "out"]));
    last(&dir.path().join("out"), "validation", "accuracy")
}

fn data_file(name: &str) -> PathBuf {
    repository().join("tests/data").join(name)
}

#[test]
fn iris_is_classified_from_csv() {
    let accuracy =
        table(&format!("path = {:?}\ntarget = \"virginica\"", data_file("iris.csv")), 30);
    assert!(accuracy >= 0.9, "validation accuracy {accuracy}");
}

#[test]
fn penguins_are_classified_with_missing_values_filled_or_dropped() {
    for missing in ["fill", "drop"] {
        let data = format!(
            "path = {:?}\ntarget = \"species\"\nmissing = \"{missing}\"",
            data_file("penguins.csv")
        );
        let accuracy = table(&data, 20);
        assert!(accuracy >= 0.9, "{missing}: validation accuracy {accuracy}");
    }
}

#[test]
fn rows_that_cannot_be_read_are_refused_or_counted_in_the_output_and_the_record() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let rows: String = (0..80).map(|row| format!("{row}.5,{}\n", row % 2)).collect();
    write(dir.path(), "table.csv", &format!("a,y\n{rows}one,1\n2.5\n"));
    write(
        dir.path(),
        "run.toml",
        &format!(
            "{}[data]\ncomponent = \"csv\"\npath = \"table.csv\"\ntarget = \"y\"\n",
            BASE.replace("[data]\ncomponent = \"digits\"\n", "")
        ),
    );
    let train = |more: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        run(command.args(["train", "run.toml", "--run-dir", "out"]).args(more))
    };
    let refused = train(&[]);
    assert_says((refused.code, refused.stderr), 2, &["table.csv:83: 1 values instead of 2"]);
    let trained = train(&["--set", "data.on-bad-row=\"skip\""]);
    assert_says(
        (trained.code, trained.stderr),
        0,
        &["2 of 82 rows are skipped", "line 82: column `a`: \"one\" is not a number"],
    );
    let record = json(&dir.path().join("out/skipped-rows.json"));
    assert_eq!(
        (&record["files"][0]["read"], &record["files"][0]["skipped"]),
        (&80.into(), &2.into())
    );
}

const COUNTER: &str = r#"
use fluxbay_plugin::prelude::*;

struct Counter { steps: u64 }

impl Component for Counter {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Counter { steps: 0 })
    }
}

impl Callback for Counter {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if event.kind() == FitEnd {
            return learner.print(&format!("counted {} steps", self.steps));
        }
        self.steps += 1;
        Ok(())
    }
}

plugin! {
    summary: "Counts.",
    callback "counter" => Counter { summary: "Counts training steps.", on: [StepEnd, FitEnd] },
}
"#;

const HALF: &str = r#"
use fluxbay_plugin::prelude::*;

struct Half { odd: bool }

impl Component for Half {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Half { odd: false })
    }
}

impl Phase for Half {
    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        self.odd = !self.odd;
        if !self.odd {
            return Ok(());
        }
        learner.run_step(batch, |step| {
            let loss = step.compute_loss(&step.forward(&step.xs()?)?, &step.ys()?)?;
            step.backward(&loss)?;
            step.update()
        })
    }
}

plugin! {
    summary: "Trains on every other batch.",
    phase "half" => Half { summary: "Trains on every other batch.", phase_kind: "training" },
}
"#;

#[test]
fn a_phase_and_a_callback_from_outside_change_a_run_without_rebuilding_the_host() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let host = || fs::read(binary()).unwrap();
    let before = host();
    let train = |name: &str, more: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        succeed(command.args(["train", "run.toml", "--run-dir", name]).args(more))
    };
    let run_file = |phase: &str, more: &str| {
        write(
            dir.path(),
            "run.toml",
            &format!(
                "[run]\nepochs = 1\n[data]\ncomponent = \"digits\"\n[loader]\nbatch-size = 100\nvalidation = 0.2\n[model]\ncomponent = \
                 \"mlp\"\n[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"sgd\"\n[[phase]]\ncomponent = \"{phase}\"\n{more}"
            ),
        )
    };
    run_file("training", "");
    train("without", &[]);
    for (name, source) in [("counter", COUNTER), ("half", HALF)] {
        fs::copy(build_plugin(name, source), plugins.path().join(format!("{name}.so"))).unwrap();
    }
    // 1,438 training samples in batches of 100: 15 steps, of which `half` runs 8.
    run_file("training", "[[callback]]\ncomponent = \"counter\"\n");
    assert!(train("counted", &[]).stderr.contains("counted 15 steps"));
    run_file("half", "[[callback]]\ncomponent = \"counter\"\n");
    assert!(train("halved", &[]).stderr.contains("counted 8 steps"));
    assert!(before == host(), "the host was rebuilt");
    let model = |name: &str| fs::read(dir.path().join(name).join("model.safetensors")).unwrap();
    assert!(
        model("without") == model("counted"),
        "a callback that only counts changed the training"
    );
    assert!(model("without") != model("halved"), "another phase did not change the training");
}

#[test]
fn the_first_plugin_of_the_readme_ends_a_run_as_it_says() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, after) = readme.split_once("<!-- plugin -->\n```rust\n").unwrap();
    let (source, _) = after.split_once("```").unwrap();
    let (dir, plugins) = (scratch(), plugin_dir());
    fs::copy(build_plugin("low-loss", source), plugins.path().join("low-loss.so")).unwrap();
    let added = ["train", "--run-dir", "out", "--add", "callback/low-loss{below = 0.05}"];
    assert!(readme.contains(added[4]));
    let finished = succeed(fluxbay(dir.path(), plugins.path()).args(added));
    assert!(finished.stderr.contains("is below 0.05"), "{}", finished.stderr);
    assert!(last(&dir.path().join("out"), "training", "loss") > 0.0);
}

#[test]
fn a_plugin_compiles_without_candle_and_exports_one_symbol() {
    let file = build_plugin("counter", COUNTER);
    let mut all = standard_plugins();
    all.push(file);
    for file in &all {
        let symbols = succeed(Command::new("nm").args(["-D", "--defined-only"]).arg(file)).stdout;
        assert_eq!(symbols.lines().count(), 1, "{}:\n{symbols}", file.display());
    }
    let tree = succeed(
        Command::new(env!("CARGO"))
            .args(["tree", "--prefix", "none", "-p", "fluxbay-plugin"])
            .current_dir(repository()),
    )
    .stdout;
    assert!(tree.contains("abi_stable") && !tree.contains("candle"), "{tree}");
    for theme in fs::read_dir(repository().join("plugins")).unwrap() {
        let theme = theme.unwrap().path();
        let tree = succeed(
            Command::new(env!("CARGO"))
                .args(["tree", "--prefix", "none", "-e", "normal"])
                .current_dir(&theme),
        )
        .stdout;
        assert!(!tree.contains("candle"), "{}:\n{tree}", theme.display());
    }
}

#[test]
fn listing_runs_no_code_of_a_plugin() {
    let (dir, plugins) = (scratch(), scratch());
    let trace = dir.path().join("was-run");
    let source = format!(
        "{COUNTER}\n#[used]\n#[unsafe(link_section = \".init_array\")]\nstatic AT_LOAD: extern \"C\" fn() = at_load;\nextern \"C\" fn at_load() \
         {{ std::fs::write({trace:?}, \"\").unwrap(); }}\n"
    );
    fs::copy(build_plugin("constructor", &source), plugins.path().join("constructor.so")).unwrap();
    let listed = succeed(fluxbay(dir.path(), plugins.path()).args(["list", "--json"]));
    assert!(listed.stdout.contains("counter"), "{}", listed.stdout);
    serde_json::from_str::<Value>(&listed.stdout).unwrap();
    assert!(!trace.exists(), "list ran the plugin's constructor");
    // Control: training loads the plugin, which runs the constructor.
    let standard = plugin_dir();
    fs::copy(plugins.path().join("constructor.so"), standard.path().join("constructor.so"))
        .unwrap();
    write(dir.path(), "run.toml", &format!("{BASE}[[callback]]\ncomponent = \"counter\"\n"));
    succeed(fluxbay(dir.path(), standard.path()).args(["train", "run.toml", "--run-dir", "out"]));
    assert!(trace.exists());
}

/// A complete run file; a second file overrides parts of it.
const BASE: &str = "[run]\nepochs = 1\n[data]\ncomponent = \"digits\"\n[model]\ncomponent = \"mlp\"\n[loss]\ncomponent = \
                    \"cross-entropy\"\n[optimizer]\ncomponent = \"sgd\"\n";

/// Trains with an invalid run file. Returns the exit code and standard error.
fn wrong(run_file: &str, prepare: impl FnOnce(&Path)) -> (Option<i32>, String) {
    let (dir, plugins) = (scratch(), plugin_dir());
    prepare(dir.path());
    write(dir.path(), "base.toml", BASE);
    write(dir.path(), "run.toml", run_file);
    let finished = run(fluxbay(dir.path(), plugins.path()).args([
        "train",
        "base.toml",
        "run.toml",
        "--run-dir",
        "out",
    ]));
    (finished.code, finished.stderr)
}

fn assert_says(outcome: (Option<i32>, String), code: i32, parts: &[&str]) {
    assert_eq!(outcome.0, Some(code), "{}", outcome.1);
    for part in parts {
        assert!(outcome.1.contains(part), "{part:?} is missing in:\n{}", outcome.1);
    }
}

#[test]
fn an_empty_plugin_folder_is_explained() {
    let dir = scratch();
    let finished =
        run(fluxbay(dir.path(), &dir.path().join("nowhere")).args(["train", "--run-dir", "out"]));
    assert_says(
        (finished.code, finished.stderr),
        2,
        &["no plugin was found", "nowhere", "--plugin-dir"],
    );
}

#[test]
fn an_unknown_component_is_named_with_the_nearest() {
    let outcome = wrong("[model]\ncomponent = \"mpl\"\n", |_| {});
    assert_says(outcome, 2, &["mpl", "mlp", "run.toml:2:13"]);
}

#[test]
fn a_misspelt_key_is_shown_with_line_and_column() {
    let outcome = wrong("[optimizer]\ncomponent = \"sgd\"\nlearning-rat = 0.1\n", |_| {});
    assert_says(outcome, 2, &["learning-rat", "learning-rate", "run.toml:3:1"]);
}

#[test]
fn a_plugin_with_another_layout_of_the_contract_is_refused_before_any_of_its_functions_runs() {
    let altered =
        altered_author_crate("src/abi/event.rs", "pub reserved: u32", "pub reserved: i32");
    let (dir, plugins) = (scratch(), plugin_dir());
    fs::copy(build_plugin_against(&altered, "counter", COUNTER), plugins.path().join("counter.so"))
        .unwrap();
    write(dir.path(), "run.toml", &format!("{BASE}[[callback]]\ncomponent = \"counter\"\n"));
    let parts = [
        "counter.so",
        "on.param_1.EventRaw.reserved: type is i32 in the plugin, u32 in the host",
        "run.toml:",
    ];
    // The comparison is not cached for a plugin that was refused.
    for _ in 0..2 {
        let finished = run(fluxbay(dir.path(), plugins.path()).args([
            "train",
            "run.toml",
            "--run-dir",
            "out",
        ]));
        assert_says((finished.code, finished.stderr), 3, &parts);
    }
    assert!(!dir.path().join("out").exists());
}

#[test]
fn tables_are_compared_once_for_each_plugin_and_executable() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let compared = |program: Option<&Path>| {
        let usual = fluxbay(dir.path(), plugins.path());
        let mut command =
            Command::new(program.map_or(usual.get_program().as_ref(), Path::as_os_str));
        command
            .current_dir(dir.path())
            .env_clear()
            .envs(usual.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = succeed(command.args(["-vv", "compose"])).stderr;
        said.matches("comparing the tables of a plugin").count()
    };
    let first = compared(None);
    assert!(first > 3, "{first}");
    assert_eq!(compared(None), 0);
    // The cache is per executable file, even if the bytes are equal.
    let other = dir.path().join("fluxbay");
    fs::copy(binary(), &other).unwrap();
    assert_eq!(compared(Some(&other)), first);
    assert_eq!(compared(Some(&other)), 0);
    // A truncated cache entry is ignored.
    let store = fs::read_dir(dir.path().join(".cache/fluxbay/plugins"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let notes: Vec<_> =
        store.filter(|path| path.extension().is_some_and(|end| end == "checked")).collect();
    assert_eq!(notes.len(), first, "one beside each copy");
    notes.iter().for_each(|note| fs::write(note, "fluxbay").unwrap());
    assert_eq!(compared(Some(&other)), first);
}

#[test]
fn a_missing_data_file_is_named() {
    let outcome =
        wrong("[data]\ncomponent = \"csv\"\npath = \"nowhere.csv\"\ntarget = \"y\"\n", |_| {});
    assert_says(outcome, 2, &["nowhere.csv", "No such file"]);
}

fn idx(shape: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    file.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
    file.extend(bytes);
    file
}

const IDX: &str =
    "[data]\ncomponent = \"idx\"\nimages = \"images\"\nlabels = \"labels\"\nclasses = 3\n";

#[test]
fn an_idx_file_that_was_cut_short_is_refused() {
    let outcome = wrong(IDX, |dir| {
        fs::write(dir.join("images"), idx(&[4, 2, 2], &[7; 15])).unwrap();
        fs::write(dir.join("labels"), idx(&[4], &[0, 1, 2, 0])).unwrap();
    });
    assert_says(outcome, 2, &["images", "cut short", "16 bytes", "15"]);
}

#[test]
fn labels_out_of_range_are_refused_with_their_place() {
    let outcome = wrong(IDX, |dir| {
        fs::write(dir.join("images"), idx(&[4, 2, 2], &[7; 16])).unwrap();
        fs::write(dir.join("labels"), idx(&[4], &[0, 1, 3, 0])).unwrap();
    });
    assert_says(outcome, 2, &["labels", "label 3", "image 2", "out of range"]);
}

#[test]
fn shapes_that_do_not_fit_the_model_are_explained() {
    let outcome = wrong(
        &format!(
            "[data]\ncomponent = \"csv\"\npath = {:?}\ntarget = \"virginica\"\n[model]\ncomponent = \"cnn\"\n",
            data_file("iris.csv")
        ),
        |_| {},
    );
    assert_says(outcome, 2, &["cnn", "[4]"]);
}
