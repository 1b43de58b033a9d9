//! `fluxbay check`: the standard plugins pass, and each kind of mistake is found by its check, even
//! if it crashes the process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use fluxbay_tests::{
    build_plugin, fluxbay, plugin_dir, repository, run, scratch, standard_plugins, succeed, write,
};
use serde_json::Value;

/// Checks a plugin file. Returns the exit code and the JSON report.
fn check(file: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let (home, plugins) = (scratch(), plugin_dir());
    let finished =
        run(fluxbay(home.path(), plugins.path()).arg("check").arg(file).arg("--json").args(more));
    let report = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", finished.stdout, finished.stderr));
    (finished.code, report)
}

fn outcomes<'a>(report: &'a Value, check: &str) -> Vec<&'a Value> {
    report["outcomes"].as_array().unwrap().iter().filter(|one| one["check"] == check).collect()
}

/// Verdict of a check for a component.
fn verdict<'a>(report: &'a Value, check: &str, component: &str) -> (&'a str, &'a str) {
    let found = outcomes(report, check);
    let one = found
        .iter()
        .find(|one| one["component"] == component)
        .unwrap_or_else(|| panic!("{check} {component}: {report:#}"));
    (one["verdict"].as_str().unwrap(), one["message"].as_str().unwrap_or_default())
}

/// Run files for components that need particular models, data or other components.
fn runs(dir: &Path) -> Vec<PathBuf> {
    let line = "it was the best of times, it was the worst of times.\n";
    write(dir, "text.txt", &line.repeat(8));
    let rows: String = (0..60).map(|x| format!("{x},{},{}\n", x * x % 17, 3 * x + x % 5)).collect();
    write(dir, "table.csv", &format!("a,b,y\n{rows}"));
    let rows: String = (0..60).map(|x| format!("{},{}\n", x * x % 17, x % 2)).collect();
    write(dir, "binary.csv", &format!("a,y\n{rows}"));
    let idx = |shape: &[u32], bytes: Vec<u8>| {
        let head = [0, 0, 8, shape.len() as u8]
            .into_iter()
            .chain(shape.iter().flat_map(|size| size.to_be_bytes()));
        head.chain(bytes).collect::<Vec<u8>>()
    };
    fs::write(
        dir.join("images"),
        idx(&[60, 2, 2], (0..240_u32).map(|x| (x * 37 % 251) as u8).collect()),
    )
    .unwrap();
    fs::write(dir.join("labels"), idx(&[60], (0..60_u32).map(|x| (x % 2) as u8).collect()))
        .unwrap();
    let rows: String = (0..60)
        .map(|x| {
            let label = ["low", "high"][x % 2];
            format!(
                "{{\"text\": \"{label} and {x}\", \"other\": \"{x}\", \"label\": \"{label}\"}}\n"
            )
        })
        .collect();
    write(dir, "texts.jsonl", &rows);
    let rows = (0..60_usize).map(|x| {
        let ids = &[1, 3, 2][..x % 4 % 3 + 1];
        format!(
            "{{\"a\": {x}, \"ids\": {ids:?}, \"pair\": [{}, 2], \"y\": {}}}\n",
            x * x % 17,
            x % 2
        )
    });
    write(dir, "rows.jsonl", &rows.collect::<String>());
    let array = |kind: &str, shape: &str, elements: Vec<u8>| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), &elements].concat()
    };
    let numbers = (0..120_i16).flat_map(|x| (x * 37 % 11).to_le_bytes()).collect();
    fs::write(dir.join("x.npy"), array("<i2", "(60, 2)", numbers)).unwrap();
    fs::write(dir.join("y.npy"), array("|u1", "(60,)", (0..60).map(|x| x % 3).collect())).unwrap();
    let labels = (0..120).map(|x| [1, 2, 2, 0][x % 4]).collect();
    fs::write(dir.join("labels.npy"), array("|u1", "(60, 2)", labels)).unwrap();
    let penguins = repository().join("plugins/parquet/tests/penguins.parquet");
    fs::copy(penguins, dir.join("penguins.parquet")).unwrap();
    let sound = repository().join("plugins/audio/tests/s16.wav");
    for file in 0..40 {
        let class = dir.join("sounds").join(["a", "b"][file % 2]);
        fs::create_dir_all(&class).unwrap();
        fs::copy(&sound, class.join(format!("{file}.wav"))).unwrap();
    }
    let run = |name: &str, data: &str, rest: &str| {
        let head = format!(
            "[run]\nepochs = 2\nseed = 3\nthreads = 1\ndefault-callbacks = false\nbase-dir = {dir:?}\n[data]\n{data}\n"
        );
        write(dir, name, &format!("{head}{rest}"))
    };
    let mlp = "[model]\ncomponent = \"mlp\"\nhidden = [4]\n";
    let sgd = "[optimizer]\ncomponent = \"sgd\"\nlearning-rate = 0.05\n";
    let phases = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n[[callback]]\ncomponent = \"metrics\"\n";
    let cross = "[loss]\ncomponent = \"cross-entropy\"\n";
    let gan = "[loader]\nbatch-size = 16\nvalidation = 0.0\n[model.generator]\ncomponent = \"mlp\"\nhidden = [8]\ninputs = 4\noutputs = 2\n\
               [model.critic]\ncomponent = \"mlp\"\nhidden = [8]\noutputs = 1\n[optimizer.generator]\ncomponent = \"adam\"\n\
               [optimizer.critic]\ncomponent = \"rmsprop\"\n[loss]\ncomponent = \"mse\"\n[[phase]]\ncomponent = \"gan\"\nlatent = 4\n";
    let features = "[loader]\nbatch-size = 480\nvalidation = 0.2\n[model.encoder]\ncomponent = \"mlp\"\nhidden = [8]\noutputs = 8\n\
                    [model.decoder]\ncomponent = \"mlp\"\nhidden = []\ninputs = 8\noutputs = 64\n[model.probe]\ncomponent = \"mlp\"\n\
                    hidden = []\ninputs = 8\noutputs = 10\n[optimizer.encoder]\ncomponent = \"lion\"\n[optimizer.decoder]\ncomponent = \
                    \"adam\"\n[optimizer.probe]\ncomponent = \"sgd\"\n[loss]\ncomponent = \"cross-entropy\"\n[[phase]]\ncomponent = \
                    \"masked-reconstruction\"\n[[phase]]\ncomponent = \"linear-probe\"\n[[phase]]\ncomponent = \"linear-probe-validation\"\n";
    let gpt = "[loader]\nbatch-size = 16\n[model]\ncomponent = \"gpt\"\nlayers = 1\nwidth = 8\nheads = 2\ndropout = 0.1\n";
    let sequences =
        "metrics = [\"accuracy\", \"bleu\", \"rouge\", \"word-error-rate\", \"exact-match\"]\n";
    let phase = |name: &str, more: &str| {
        format!(
            "[[phase]]\ncomponent = \"{name}\"\n{more}[[phase]]\ncomponent = \"{name}-validation\"\n{more}"
        )
    };
    let tasks = [
        phase("causal-language", "padding = 1\n"),
        phase("masked-language", "mask-token = 1\n"),
        phase("contrastive", "pair = \"xs\"\n"),
    ]
    .concat();
    let small = "component = \"gpt\"\nlayers = 1\nwidth = 4\nheads = 1\n";
    let pairs: String = ["student", "teacher", "policy", "reference"]
        .map(|name| format!("[model.{name}]\n{small}[optimizer.{name}]\ncomponent = \"adam\"\n"))
        .concat();
    let pairs = format!(
        "[loader]\nbatch-size = 16\n{pairs}{cross}{}{}",
        phase("distillation", ""),
        phase("preference", "")
    );
    let frames = "[model]\ncomponent = \"sequential\"\n[[model.layers]]\ntype = \"linear\"\nout = 15\n\
                  [[model.layers]]\ntype = \"reshape\"\nshape = [5, 3]\n";
    let every_phase = phases.split("[[callback]]").next().unwrap();
    let traces = "[loader]\nbatch-size = 128\n[[callback]]\ncomponent = \"traces\"\nvalues = { loss = \"step.loss\" }\n\
                  [[callback]]\ncomponent = \"throttle\"\nevent = \"step-end\"\nevery = 3\ncallback = { component = \"log-traces\" }\n";
    let log_traces =
        "[[callback]]\ncomponent = \"log-traces\"\n[[logger]]\ncomponent = \"jsonl\"\n";
    let bag = "[model]\ncomponent = \"bag-of-embeddings\"\nwidth = 4\nhidden = [4]\n";
    let one_hot = "[[transform]]\ncomponent = \"one-hot\"\n";
    let arrays = run(
        "arrays.toml",
        "component = \"arrays\"\npath = \"x.npy\"\ntargets = \"y.npy\"\nstandardize = true",
        &format!("{mlp}{sgd}{cross}{phases}"),
    );
    let plugins = plugin_dir();
    let pack = dir.join("all.pack");
    let mut packing = fluxbay(dir, plugins.path());
    succeed(packing.args(["data", "pack"]).arg(&arrays).arg("--output").arg(&pack));
    vec![
        arrays,
        run(
            "packed.toml",
            "component = \"packed\"\npath = \"all.pack\"",
            &format!("{mlp}{sgd}{cross}{phases}"),
        ),
        run(
            "categories.toml",
            "component = \"arrays\"\npath = \"x.npy\"\ntargets = \"y.npy\"\nids = true",
            &format!("{one_hot}{mlp}{sgd}{cross}{phases}"),
        ),
        run(
            "jsonl.toml",
            "component = \"jsonl\"\npath = \"texts.jsonl\"\npair = \"other\"\nvocabulary = 300\nlength = 8",
            &format!("{bag}{sgd}{cross}{phases}"),
        ),
        run(
            "tokens.toml",
            "component = \"tokens\"\npath = \"text.txt\"\nvocabulary = 258\ncontext = 8",
            &format!("{gpt}{sgd}{cross}{phases}"),
        ),
        run(
            "sequences.toml",
            "component = \"arrays\"\npath = \"x.npy\"\ntargets = \"labels.npy\"",
            &format!("{frames}{sgd}[loss]\ncomponent = \"ctc\"\n{every_phase}"),
        ),
        run(
            "parquet.toml",
            "component = \"parquet\"\npath = \"penguins.parquet\"\ntarget = \"species\"\nmissing = \"fill\"",
            &format!("{mlp}{sgd}{cross}{phases}"),
        ),
        run(
            "rows.toml",
            "component = \"jsonl-table\"\npath = \"rows.jsonl\"\ntarget = \"y\"\nids = [\"ids\"]",
            &format!("{mlp}{sgd}{cross}{phases}"),
        ),
        run(
            "audio.toml",
            "component = \"audio\"\nfolder = \"sounds\"\nseconds = 0.1\nrate = 8000\nmels = 4\nwindow = 256",
            &format!("{mlp}{sgd}{cross}{phases}"),
        ),
        run("gan.toml", "component = \"mixture\"\nsamples = 96", gan),
        run("features.toml", "component = \"digits\"", features),
        run(
            "gpt.toml",
            "component = \"text\"\npath = \"text.txt\"\ncontext = 8",
            &format!("{gpt}{sgd}{cross}{phases}{sequences}"),
        ),
        run(
            "tasks.toml",
            "component = \"text\"\npath = \"text.txt\"\ncontext = 8",
            &format!("{gpt}{sgd}{cross}{tasks}"),
        ),
        run("pairs.toml", "component = \"text\"\npath = \"text.txt\"\ncontext = 8", &pairs),
        run(
            "table.toml",
            "component = \"csv\"\npath = \"table.csv\"\ntarget = \"y\"",
            &format!("{mlp}{sgd}[loss]\ncomponent = \"mse\"\n{phases}"),
        ),
        run(
            "binary.toml",
            "component = \"csv\"\npath = \"binary.csv\"\ntarget = \"y\"\ntask = \"regression\"",
            &format!("{mlp}{sgd}[loss]\ncomponent = \"bce-with-logits\"\n{phases}"),
        ),
        run(
            "schedule-free.toml",
            "component = \"digits\"",
            &format!(
                "{mlp}[optimizer]\ncomponent = \"schedule-free-adamw\"\n{cross}{phases}[[callback]]\ncomponent = \"schedule-free-average\"\n"
            ),
        ),
        run(
            "images.toml",
            "component = \"idx\"\nimages = \"images\"\nlabels = \"labels\"",
            &format!("{mlp}{sgd}{cross}{phases}"),
        ),
        run(
            "throttled.toml",
            "component = \"digits\"",
            &format!("{mlp}{sgd}{cross}{phases}{traces}"),
        ),
        run(
            "unfreezing.toml",
            "component = \"digits\"",
            &format!(
                "{mlp}{sgd}{cross}{phases}[[callback]]\ncomponent = \"gradual-unfreezing\"\nparts = [\"*hidden*\"]\n"
            ),
        ),
        run(
            "cutmix.toml",
            "component = \"digits\"",
            &format!(
                "{mlp}{sgd}{cross}{phases}[[callback]]\ncomponent = \"cutmix\"\nmixup = 0.5\n"
            ),
        ),
        run(
            "traces.toml",
            "component = \"digits\"",
            &format!(
                "{mlp}{sgd}{cross}{phases}{}{log_traces}",
                traces.split("[[callback]]\ncomponent = \"throttle\"").next().unwrap()
            ),
        ),
    ]
}

/// Checks a standard plugin with the run files that its components need.
fn passes(theme: &str, components: usize) {
    let dir = scratch();
    let file = standard_plugins()
        .into_iter()
        .find(|file| file.ends_with(format!("libfluxbay_{theme}.so")))
        .unwrap();
    let runs = runs(dir.path());
    let mut more: Vec<&str> =
        runs.iter().flat_map(|run| ["--run", run.to_str().unwrap()]).collect();
    more.extend(["--budget", "2h"]);
    let (code, report) = check(&file, &more);
    let all = report["outcomes"].as_array().unwrap();
    let failed: Vec<_> = all.iter().filter(|one| one["verdict"] == "failed").collect();
    assert!(code == Some(0) && failed.is_empty(), "{theme}: {failed:#?}");
    for check in ["created", "trains", "state-round-trip"] {
        let found = outcomes(&report, check);
        let skipped: Vec<_> = found.iter().filter(|one| one["verdict"] != "passed").collect();
        assert!(
            found.len() >= components && skipped.is_empty(),
            "{theme}: {} components, {skipped:#?}",
            found.len()
        );
    }
    let resumed = outcomes(&report, "verify-resume");
    let compared = resumed.iter().filter(|one| {
        one["verdict"] == "passed"
            && one["message"].as_str().unwrap().contains("interrupted 2 times")
    });
    // Some components end the training early on purpose.
    assert!(compared.count() + 2 >= components, "{theme}: {resumed:#?}");
}

macro_rules! passes {
    ($($name:ident: $theme:literal, $components:literal;)+) => { $(
        #[test]
        fn $name() {
            passes($theme, $components);
        }
    )+ };
}

passes! {
    the_standard_callbacks_pass_every_check: "callbacks", 22;
    the_standard_data_sets_pass_every_check: "data", 6;
    the_standard_loggers_pass_every_check: "loggers", 3;
    the_standard_losses_pass_every_check: "losses", 7;
    the_standard_metrics_pass_every_check: "metrics", 17;
    the_standard_models_pass_every_check: "models", 5;
    the_parquet_data_set_passes_every_check: "parquet", 1;
    the_standard_optimizers_pass_every_check: "optimizers", 9;
    the_standard_phases_pass_every_check: "phases", 16;
    the_standard_schedules_pass_every_check: "schedules", 15;
    the_audio_data_set_passes_every_check: "audio", 1;
    the_text_data_sets_pass_every_check: "text", 2;
    the_mpi_communicator_passes_every_check: "mpi", 1;
}

/// Checks a standard plugin without run files, and returns the report of a success.
fn without_runs(theme: &str) -> Value {
    let name = format!("libfluxbay_{theme}.so");
    let file = standard_plugins().into_iter().find(|file| file.ends_with(&name)).unwrap();
    let only = ["loads", "created", "trains", "trains-twice-the-same", "resumes-the-same"];
    let more: Vec<&str> = only.iter().flat_map(|check| ["--only", check]).collect();
    let (code, report) = check(&file, &more);
    assert_eq!(code, Some(0), "{report:#}");
    report
}

#[test]
fn without_a_run_file_what_needs_other_data_is_skipped_and_says_so() {
    let report = without_runs("losses");
    let (verdict_of_ctc, message) = verdict(&report, "trains", "loss/ctc");
    assert_eq!(verdict_of_ctc, "skipped", "{message}");
    for words in ["needs other data", "--run", "with ten classes", "ctc takes logits"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(verdict(&report, "trains", "loss/cross-entropy").0, "passed");
    // Its example names the optimizer that it belongs to.
    let report = without_runs("optimizers");
    for component in ["optimizer/schedule-free-adamw", "callback/schedule-free-average"] {
        let (verdict, message) = verdict(&report, "trains", component);
        assert_eq!(verdict, "passed", "{component}: {message}");
    }
}

#[test]
fn every_mistake_is_found_by_its_check_and_a_crash_is_the_result_of_one_check_alone() {
    let file = build_plugin("mistaken", include_str!("check/mistaken_plugin.rs"));
    let (code, report) = check(&file, &["--budget", "2h"]);
    assert_eq!(code, Some(1));
    for (check, component, words) in [
        ("created", "callback/crasher", "SIGSEGV"),
        (
            "trains",
            "callback/late-crasher",
            "handling step-end in epoch 1, step 2 of phase training",
        ),
        ("state-round-trip", "callback/forgetful", "different ones after loading"),
        ("state-random-refused", "callback/credulous", "a panic, with seed"),
        ("state-empty-refused", "callback/credulous", "panicked"),
        ("access-refused", "callback/stubborn", "although the host refused"),
        ("settings-fuzzed", "callback/touchy", "panicked"),
        ("memory-given-back", "callback/leaky", "leaks"),
        ("threads-ended", "callback/busy", "threads"),
        ("tensors-given-back", "callback/hoarder", "tensors"),
        ("trains-twice-the-same", "callback/moody", "different parameters"),
        ("samples-same-again", "dataset/drifting", "differ"),
        ("schedule-same-again", "schedule/stateful", "another order"),
    ] {
        let (verdict, message) = verdict(&report, check, component);
        assert!(
            verdict == "failed" && message.contains(words),
            "{check} {component}: {verdict}: {message}"
        );
    }
    // A failed creation is reported once; the other checks of the component are skipped.
    assert_eq!(verdict(&report, "created", "callback/overreaching").0, "failed");
    let rest = outcomes(&report, "trains")
        .into_iter()
        .find(|one| one["component"] == "callback/overreaching")
        .unwrap();
    assert!(
        rest["verdict"] == "skipped" && rest["message"].as_str().unwrap().contains("see `created`"),
        "{rest}"
    );
    // After a crash the next check runs, and other components are not affected.
    assert_eq!(verdict(&report, "settings-hostile", "callback/late-crasher").0, "passed");
    assert_eq!(verdict(&report, "trains", "callback/good").0, "passed");
    assert_eq!(verdict(&report, "resumes-the-same", "callback/good").0, "passed");
    assert_eq!(verdict(&report, "verify-resume", "callback/good").0, "passed");
    assert_eq!(outcomes(&report, "quiet")[0]["verdict"], "warning");
    let failed = |component: &str| {
        let all = report["outcomes"].as_array().unwrap().iter();
        all.filter(|one| one["component"] == component && one["verdict"] == "failed").count()
    };
    assert_eq!(failed("callback/good"), 0, "{report:#}");
}

#[test]
fn changes_of_the_process_hangs_and_invalid_answers_are_found() {
    let file = build_plugin("careless", include_str!("check/careless_plugin.rs"));
    let only = [
        "loads",
        "created",
        "settings-hostile",
        "surroundings-kept-in-use",
        "threads-of-training-ended",
        "conflicts-resolved",
        "records-written",
        "details-are-json",
        "parameters-finite",
    ];
    let mut more: Vec<&str> = only.iter().flat_map(|check| ["--only", check]).collect();
    more.extend(["--budget", "2h"]);
    let (code, report) = check(&file, &more);
    assert_eq!(code, Some(1));
    for (check, component, words) in [
        ("surroundings-kept-in-use", "callback/mask", "file mode mask"),
        ("surroundings-kept-in-use", "callback/folder", "working folder"),
        ("surroundings-kept-in-use", "callback/silence", "standard descriptor"),
        ("surroundings-kept-in-use", "callback/rounding", "floating-point"),
        ("surroundings-kept-in-use", "callback/variable", "environment"),
        ("surroundings-kept-in-use", "callback/twin", "process"),
        ("threads-of-training-ended", "callback/threads", "threads"),
        ("created", "callback/sleeper", "sleeper"),
        ("conflicts-resolved", "callback/resolver", "SIGSEGV"),
        ("records-written", "logger/crashing", "SIGSEGV"),
        ("records-written", "logger/failing", "disk of the logger"),
        ("records-written", "logger/scalars", "only numbers"),
        ("details-are-json", "metric/gossip", "no JSON"),
        ("parameters-finite", "optimizer/divider", "not finite"),
    ] {
        let (verdict, message) = verdict(&report, check, component);
        assert!(
            verdict == "failed" && message.contains(words),
            "{check} {component}: {verdict}: {message}"
        );
    }
    // After a hang in `created`, the other checks of the component are skipped.
    let (skipped, message) = verdict(&report, "settings-hostile", "callback/sleeper");
    assert!(skipped == "skipped" && message.contains("see `created`"), "{message}");
    for good in ["callback/harmless", "logger/quiet"] {
        let all = report["outcomes"].as_array().unwrap().iter();
        let failed: Vec<_> =
            all.filter(|one| one["component"] == good && one["verdict"] == "failed").collect();
        assert!(failed.is_empty(), "{failed:#?}");
    }
}

#[test]
fn a_resnet_with_batch_normalisation_fails_no_check_within_its_budget() {
    let file = build_plugin("resnet", include_str!("check/resnet_plugin.rs"));
    let (code, report) = check(&file, &["--budget", "30s"]);
    let all = report["outcomes"].as_array().unwrap();
    let failed: Vec<_> = all.iter().filter(|one| one["verdict"] == "failed").collect();
    assert!(code == Some(0) && failed.is_empty(), "{failed:#?}");
    assert_eq!(verdict(&report, "created", "model/resnet18").0, "passed");
    // How much fits depends on the machine; what does not is skipped with the reason.
    for one in all.iter().filter(|one| one["verdict"] == "skipped") {
        assert!(one["message"].as_str().unwrap().contains("--budget"), "{one}");
    }
}

#[test]
fn without_a_budget_nothing_is_trained_and_the_reason_is_given() {
    let file = build_plugin("careless", include_str!("check/careless_plugin.rs"));
    let (code, report) = check(&file, &["--budget", "0.001s", "--only", "trains"]);
    assert_eq!(code, Some(0), "{report:#}");
    let trains = outcomes(&report, "trains");
    let skipped = trains.iter().filter(|one| {
        one["verdict"] == "skipped" && one["message"].as_str().unwrap().contains("--budget")
    });
    assert!(!trains.is_empty() && skipped.count() == trains.len(), "{report:#}");
}

#[test]
fn an_interrupted_check_leaves_no_folders() {
    let file = build_plugin("careless", include_str!("check/careless_plugin.rs"));
    let (home, plugins, folders) = (scratch(), plugin_dir(), scratch());
    let mut check = fluxbay(home.path(), plugins.path());
    check.env("TMPDIR", folders.path()).arg("check").arg(&file).args(["--only", "created"]);
    let mut check = check.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let count = || fs::read_dir(folders.path()).unwrap().count();
    while count() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    // The sleeper keeps the check busy for seconds.
    let pid = check.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(check.wait().unwrap().code(), Some(130));
    assert_eq!(count(), 0);
}

#[test]
fn what_is_no_plugin_fails_the_first_check_and_checks_are_listed() {
    let home = scratch();
    let file = home.path().join("text.so");
    fs::write(&file, "hello").unwrap();
    let (code, report) = check(&file, &[]);
    assert_eq!(
        (code, outcomes(&report, "file-readable")[0]["verdict"].as_str()),
        (Some(1), Some("failed"))
    );
    let listed = run(fluxbay(home.path(), home.path()).args(["check", "--list"]));
    assert!(listed.stdout.lines().count() >= 50, "{}", listed.stdout);
    let unknown =
        run(fluxbay(home.path(), home.path()).args(["check", "text.so", "--only", "nonsense"]));
    assert_eq!(unknown.code, Some(2));
}
