//! Looking at a run before it trains in earnest.

use std::fs;
use std::path::Path;

use fluxbay_tests::{Finished, fluxbay, plugin_dir, run, scratch, succeed};
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_dry_run_says_what_would_be_trained_and_leaves_nothing() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let before: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let Finished { stderr, stdout, .. } =
        succeed(fluxbay(dir.path(), plugins.path()).args(["train", "--dry-run"]));
    for part in [
        "digits",
        "30 epochs, seed 42",
        "1,438 training",
        "parameters",
        "fluxbay-models",
        "dry run: nothing was trained",
    ] {
        assert!(stderr.contains(part), "{part} is missing in\n{stderr}");
    }
    assert_eq!(stdout, "");
    let left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != ".cache")
        .collect();
    assert_eq!(left, before);
}

#[test]
fn a_fast_dev_run_goes_through_everything_once_and_keeps_nothing() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let finished = succeed(fluxbay(dir.path(), plugins.path()).args(["train", "--fast-dev-run=3"]));
    assert!(
        finished.stderr.contains("finished 1 epoch")
            && finished.stderr.contains("3 training steps"),
        "{}",
        finished.stderr
    );
    assert!(
        !finished.stderr.contains("  record ") && !dir.path().join("runs").exists(),
        "{}",
        finished.stderr
    );
}

#[test]
fn limits_hold_for_every_phase_and_stand_in_the_record() {
    let (dir, plugins) = (scratch(), plugin_dir());
    succeed(fluxbay(dir.path(), plugins.path()).args([
        "train",
        "--limit-batches",
        "5",
        "--set",
        "run.epochs=2",
        "--run-dir",
        "out",
    ]));
    let steps = |phase: &str| {
        let text = fs::read_to_string(dir.path().join("out/metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter(|line| {
                line["phase"] == phase && line["scope"] == "step" && line["name"] == "loss"
            })
            .count()
    };
    assert_eq!((steps("training"), steps("validation")), (10, 10));
    assert!(
        fs::read_to_string(dir.path().join("out/resolved.toml"))
            .unwrap()
            .contains("limit-batches = 5")
    );
}

#[test]
fn a_model_learns_a_few_batches_by_heart() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let arguments = [
        "train",
        "--overfit-batches",
        "2",
        "--set",
        "run.epochs=60",
        "--run-dir",
        "out",
        "--set",
        "checkpoints.every-epochs=0",
    ];
    succeed(fluxbay(dir.path(), plugins.path()).args(arguments));
    let text = fs::read_to_string(dir.path().join("out/metrics.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = |phase: &str| {
        lines
            .iter()
            .rfind(|line| {
                line["phase"] == phase && line["scope"] == "epoch" && line["name"] == "loss"
            })
            .unwrap()["value"]
            .as_f64()
            .unwrap()
    };
    // Both phases read the same samples, so what was learnt holds for the other as well.
    assert!(
        last("training") < 0.05 && last("validation") < 0.05,
        "{} {}",
        last("training"),
        last("validation")
    );
}

#[test]
fn when_the_time_is_up_the_run_ends_in_an_orderly_way() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let arguments =
        ["train", "--max-time", "0.3s", "--set", "run.epochs=1000000", "--run-dir", "out"];
    let finished = succeed(fluxbay(dir.path(), plugins.path()).args(arguments));
    assert!(
        finished.stderr.contains("stopped")
            && finished.stderr.contains("the time that the run may take is up"),
        "{}",
        finished.stderr
    );
    let state = json(&dir.path().join("out/state.json"));
    assert_eq!(
        (&state["status"], &state["exit-code"]),
        (&Value::from("stopped"), &Value::from(0)),
        "{state}"
    );
    assert!(dir.path().join("out/model.safetensors").is_file());
}

#[test]
fn wrong_numbers_and_times_are_told_with_what_is_right() {
    let (dir, plugins) = (scratch(), plugin_dir());
    for (arguments, part) in [
        (["train", "--max-time", "soon"], "10m"),
        (["train", "--limit-batches", "0"], "from 1 on"),
        (["list", "--kind", "calback"], "did you mean `callback`?"),
        (["list", "--event", "step-ends"], "did you mean `step-end`?"),
        (["list", "--plugin", "fluxbay-modls"], "did you mean `fluxbay-models`?"),
        (["list", "--writes", "cbstat.history"], "did you mean `cbstate.history`?"),
        (["new", "callback", "My_Callback"], "`my-callback`"),
    ] {
        let finished = run(fluxbay(dir.path(), plugins.path()).args(arguments));
        assert!(
            finished.code == Some(2) && finished.stderr.contains(part),
            "{arguments:?}: {}",
            finished.stderr
        );
    }
}

/// All files below a folder with what is in them.
fn content(dir: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else if !path.ends_with(".lock") {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_run_can_be_tried_before_it_is_resumed_and_stays_as_it_is() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let command = |arguments: &[&str]| run(fluxbay(dir.path(), plugins.path()).args(arguments));
    let begun = [
        "train",
        "--run-dir",
        "out",
        "--set",
        "run.epochs=3",
        "--interrupt-at",
        "70",
        "--add",
        "logger/jsonl",
        "--add",
        "callback/log-metrics",
    ];
    assert_eq!(command(&begun).code, Some(130));
    let before = content(&dir.path().join("out"));
    let looked = command(&["resume", "out", "--dry-run"]);
    assert_eq!(looked.code, Some(0), "{}", looked.stderr);
    for part in [
        "resuming from out/checkpoints/",
        "epochs 2 to 3",
        "record     out",
        "dry run: nothing was trained, and the run is unchanged",
    ] {
        assert!(looked.stderr.contains(part), "{part} is missing in\n{}", looked.stderr);
    }
    assert!(before == content(&dir.path().join("out")));
    let tried = command(&["resume", "out", "--fast-dev-run=2"]);
    assert_eq!(tried.code, Some(0), "{}", tried.stderr);
    // It was interrupted within an epoch: two more batches of that.
    assert!(
        tried.stderr.contains("finished 2 epochs")
            && tried.stderr.contains("2/2 training: 15 steps"),
        "{}",
        tried.stderr
    );
    assert!(
        !tried.stderr.contains("  record ") && !tried.stderr.contains("warning"),
        "{}",
        tried.stderr
    );
    assert!(before == content(&dir.path().join("out")));
    // Other data would make it another run.
    for option in ["--limit-batches", "--overfit-batches"] {
        let refused = command(&["resume", "out", option, "20"]);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        let key = option.trim_start_matches("--");
        for part in [
            "a run with other settings",
            &format!("loader.{key}: 0 then, 20 now"),
            "--allow-other-settings",
        ] {
            assert!(refused.stderr.contains(part), "{part} is missing in\n{}", refused.stderr);
        }
    }
    // The checkpoint lies after 13 batches of an epoch.
    let behind = command(&[
        "resume",
        "out",
        "--from",
        "out/checkpoints/0000000070-epoch-1",
        "--limit-batches",
        "5",
    ]);
    assert!(behind.code == Some(2) && behind.stderr.contains("at least 13"), "{}", behind.stderr);
    let limited = command(&["resume", "out", "--limit-batches", "20", "--allow-other-settings"]);
    assert_eq!(limited.code, Some(0), "{}", limited.stderr);
    assert!(limited.stderr.contains("3/3 training: 20 steps"), "{}", limited.stderr);
    // Of a run that is over there is nothing to go on with, but it can be tried all the same.
    let over = command(&["resume", "out", "--fast-dev-run"]);
    assert!(
        over.code == Some(0) && over.stderr.contains("4/4 training: 1 step"),
        "{}",
        over.stderr
    );
}

#[test]
fn measuring_can_be_tried_limited_and_given_up() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let command = |arguments: &[&str]| run(fluxbay(dir.path(), plugins.path()).args(arguments));
    assert_eq!(
        command(&["train", "--run-dir", "out", "--limit-batches", "3", "--set", "run.epochs=1"])
            .code,
        Some(0)
    );
    let looked = command(&["evaluate", "out", "--dry-run", "--set", "loader.limit-batches=0"]);
    assert_eq!((looked.code, looked.stdout.as_str()), (Some(0), ""), "{}", looked.stderr);
    for part in [
        "out/model.safetensors",
        "validation  12 batches of 32, validation data",
        "metrics",
        "dry run: nothing was evaluated",
    ] {
        assert!(looked.stderr.contains(part), "{part} is missing in\n{}", looked.stderr);
    }
    let figure = |arguments: &[&str]| {
        let finished = command(&[&["evaluate", "out", "--json"], arguments].concat());
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        serde_json::from_str::<Value>(&finished.stdout).unwrap()["figures"].clone()
    };
    assert_eq!(figure(&["--fast-dev-run=2"]), figure(&["--limit-batches", "2"]));
    assert_ne!(figure(&["--fast-dev-run"]), figure(&["--limit-batches", "2"]));
    let nothing = command(&["evaluate", "out", "--overfit-batches", "2"]);
    assert!(
        nothing.code == Some(2) && nothing.stderr.contains("trains nothing, so it cannot overfit"),
        "{}",
        nothing.stderr
    );
    assert!(
        nothing.stderr.contains("`--limit-batches 2`")
            && nothing.stderr.contains("train out/resolved.toml --overfit-batches 2"),
        "{}",
        nothing.stderr
    );
    // So much to measure that the time is up long before.
    let slow = [
        "train",
        "--run-dir",
        "slow",
        "--limit-batches",
        "1",
        "--set",
        "run.epochs=1",
        "--set",
        "model.hidden=[2048, 2048]",
    ];
    assert_eq!(command(&slow).code, Some(0));
    let whole = ["--data", "training", "--set", "loader.limit-batches=0"];
    let given_up = command(&[&["evaluate", "slow", "--max-time", "0.001s"], &whole[..]].concat());
    assert!(given_up.code == Some(1) && given_up.stdout.is_empty(), "{}", given_up.stderr);
    assert!(
        given_up.stderr.contains("the time limit was reached before `validation`")
            && given_up.stderr.contains("--limit-batches"),
        "{}",
        given_up.stderr
    );
}

#[test]
fn threads_are_an_option_and_any_number_gives_the_same_bits() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let train = |out: &str, arguments: &[&str], variable: Option<&str>| {
        let mut command = fluxbay(dir.path(), plugins.path());
        command.args(["train", "--set", "run.epochs=1", "--run-dir", out]).args(arguments);
        command.envs(variable.map(|threads| ("FLUXBAY__RUN__THREADS", threads)));
        // Other programs' variables change nothing.
        for name in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS"] {
            command.env(name, if out == "one" { "1" } else { "2" });
        }
        succeed(&mut command);
        (
            json(&dir.path().join(out).join("environment.json"))["threads"].clone(),
            fs::read(dir.path().join(out).join("model.safetensors")).unwrap(),
        )
    };
    let one = train("one", &["--threads", "2"], None);
    assert_eq!(one.0, 2);
    assert!(
        one == train("two", &["--threads", "2"], Some("1"))
            && one == train("three", &["--set", "run.threads=2"], None)
    );
    let by_variable = train("four", &[], Some("1"));
    assert_eq!(by_variable.0, 1);
    assert!(by_variable == train("five", &["--threads", "1"], None));
    assert!(by_variable.1 == one.1);
    // Resuming with another number of threads is nothing to warn of.
    let resumed = succeed(fluxbay(dir.path(), plugins.path()).args([
        "resume",
        "one",
        "--set",
        "run.epochs=2",
        "--threads",
        "1",
    ]));
    assert!(!resumed.stderr.contains("warning"), "{}", resumed.stderr);
    let figures = |threads: &str| {
        succeed(fluxbay(dir.path(), plugins.path()).args([
            "evaluate",
            "two",
            "--json",
            "--threads",
            threads,
        ]))
        .stdout
    };
    assert_eq!(figures("2"), figures("2"));
    let wrong = run(fluxbay(dir.path(), plugins.path()).args(["train", "--threads", "0"]));
    assert!(wrong.code == Some(2) && wrong.stderr.contains("from 1 to 1024"), "{}", wrong.stderr);
}

#[test]
fn a_trace_is_in_the_format_of_chrome_and_shows_what_ran_when() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let arguments = ["train", "--set", "run.epochs=1", "--limit-batches", "3", "--threads", "2"];
    let mut train = fluxbay(dir.path(), plugins.path());
    let said = succeed(train.args(arguments).args(["--run-dir", "out", "--trace", "trace.json"]));
    assert!(said.stderr.contains("spans: trace.json"), "{}", said.stderr);
    let trace = json(&dir.path().join("trace.json"));
    let events = trace["traceEvents"].as_array().unwrap();
    let threads: Vec<(u64, &str)> = events
        .iter()
        .filter(|event| event["ph"] == "M" && event["name"] == "thread_name")
        .map(|event| (event["tid"].as_u64().unwrap(), event["args"]["name"].as_str().unwrap()))
        .collect();
    assert!(threads.iter().any(|(_, name)| *name == "main"), "{threads:?}");
    let spans: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    let of = |category: &str, name: &str| -> Vec<(f64, f64)> {
        let of = spans.iter().filter(|span| span["cat"] == category && span["name"] == name);
        let number = |span: &Value, key: &str| span[key].as_f64().unwrap();
        of.map(|span| (number(span, "ts"), number(span, "ts") + number(span, "dur"))).collect()
    };
    let epoch = of("epoch", "training epoch 1")[0];
    let steps = of("phase", "step");
    assert_eq!((steps.len(), of("epoch", "validation epoch 1").len()), (6, 1));
    let within = |inner: (f64, f64), outer: (f64, f64)| {
        inner.0 >= outer.0 - 0.002 && inner.1 <= outer.1 + 0.002
    };
    assert_eq!(steps.iter().filter(|step| within(**step, epoch)).count(), 3);
    for (category, name, least) in [
        ("operation", "linear", 6),
        ("gradient", "linear", 3),
        ("callback", "metrics step-end", 6),
        ("event", "step-end", 6),
        ("phase", "backward", 3),
        ("phase", "update", 3),
    ] {
        let found = of(category, name).len();
        let names: std::collections::BTreeSet<String> =
            spans.iter().map(|span| format!("{} {}", span["cat"], span["name"])).collect();
        assert!(found >= least, "{found} of {category} {name}: {names:?}");
    }
    assert_eq!(trace["otherData"]["complete"], true);
}
