//! Plugins that change the surroundings of the process: the run keeps its bits and its record, and the
//! plugin is named.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use fluxbay_tests::{Finished, build_plugin, fluxbay, plugin_dir, run, scratch, succeed, write};
use tempfile::TempDir;

use super::says;

fn plugins() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = plugin_dir();
        let plugin = build_plugin("meddling", include_str!("meddling_plugin.rs"));
        fs::copy(plugin, dir.path().join("meddling.so")).unwrap();
        dir
    })
    .path()
}

const RUN: &str = "\
[run]
epochs = 2
seed = 1
threads = 1
default-callbacks = false
handler-limit = 60

[data]
component = \"digits\"

[loader]
limit-batches = 4
validation = 0.2

[model]
component = \"mlp\"
hidden = [8]

[loss]
component = \"cross-entropy\"

[optimizer]
component = \"sgd\"

[[callback]]
component = \"metrics\"

[[callback]]
component = \"meddler\"
";

fn command(dir: &Path, settings: &str) -> std::process::Command {
    write(dir, "run.toml", &format!("{RUN}{settings}\n"));
    let mut command = fluxbay(dir, plugins());
    command.args(["train", "run.toml", "--run-dir", "out"]);
    command
}

/// Bytes of the model, and the lines of the record's files without times.
fn results(dir: &Path) -> (Vec<u8>, Vec<usize>) {
    let out = dir.join("out");
    let lines = |name: &str| fs::read_to_string(out.join(name)).unwrap().lines().count();
    let counts = ["metrics.jsonl", "metrics.csv", "events.jsonl"].map(lines);
    for entry in fs::read_dir(&out).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert!(mode & 0o400 != 0, "{} has mode {mode:o}", entry.path().display());
    }
    (fs::read(out.join("model.safetensors")).unwrap(), counts.to_vec())
}

fn undisturbed() -> &'static (Vec<u8>, Vec<usize>) {
    static RESULTS: OnceLock<(Vec<u8>, Vec<usize>)> = OnceLock::new();
    RESULTS.get_or_init(|| {
        let dir = scratch();
        let finished = succeed(&mut command(dir.path(), ""));
        assert!(!finished.stderr.contains("was changed"), "{}", finished.stderr);
        results(dir.path())
    })
}

const DEEDS: [(&str, &str); 6] = [
    ("rounding", "the floating-point control was changed (rounding from to nearest to upward)"),
    ("denormals", "flush to zero on"),
    ("folder", "the working folder was changed"),
    ("mode-mask", "the file mode mask was changed"),
    ("descriptors", "a standard descriptor was changed"),
    ("environment", "the environment was changed (PATH)"),
];

fn is_undisturbed(what: &str, dir: &Path, finished: &Finished) {
    assert_eq!(finished.code, Some(0), "{what}: {}", finished.stderr);
    assert!(results(dir) == *undisturbed(), "{what}: {}", finished.stderr);
}

#[test]
fn what_a_constructor_changes_is_restored_and_reported() {
    for (deed, words) in DEEDS {
        let dir = scratch();
        let finished = run(command(dir.path(), "").env("MEDDLE_IN_CONSTRUCTOR", deed));
        is_undisturbed(deed, dir.path(), &finished);
        says(&finished, &["plugin `meddling`, while it was loaded", words]);
    }
}

#[test]
fn what_an_instance_changes_while_it_is_created_is_restored_and_reported() {
    for (deed, words) in DEEDS {
        let dir = scratch();
        let finished = run(&mut command(dir.path(), &format!("created = \"{deed}\"")));
        is_undisturbed(deed, dir.path(), &finished);
        says(&finished, &["`meddler` (callback/meddler of meddling), while it was created", words]);
    }
}

#[test]
fn what_a_callback_changes_does_not_reach_the_run_and_is_reported() {
    for (deed, words) in DEEDS {
        let dir = scratch();
        let finished = run(&mut command(dir.path(), &format!("step = \"{deed}\"")));
        is_undisturbed(deed, dir.path(), &finished);
        says(&finished, &[words]);
    }
}

#[test]
fn a_forked_process_that_comes_back_is_ended_and_the_run_continues() {
    let cases = [("created = \"fork\"", "`meddler`"), ("step = \"fork\"", "`meddler`")];
    for (settings, name) in cases {
        let dir = scratch();
        let finished = run(&mut command(dir.path(), settings));
        is_undisturbed(settings, dir.path(), &finished);
        says(&finished, &[name, "it called fork"]);
    }
    let dir = scratch();
    let finished = run(command(dir.path(), "").env("MEDDLE_IN_CONSTRUCTOR", "fork"));
    is_undisturbed("constructor", dir.path(), &finished);
    says(&finished, &["plugin `meddling`", "it called fork"]);
}

#[test]
fn what_a_plugin_prints_does_not_stand_in_the_data_of_a_command() {
    let dir = scratch();
    write(dir.path(), "run.toml", &format!("{RUN}created = \"print\"\n"));
    let composed = succeed(fluxbay(dir.path(), plugins()).args(["compose", "run.toml", "--json"]));
    serde_json::from_str::<serde_json::Value>(&composed.stdout).expect(&composed.stdout);
    assert!(composed.stderr.contains("[not json"), "{}", composed.stderr);
    let graph =
        succeed(fluxbay(dir.path(), plugins()).args(["compose", "run.toml", "--graph", "dot"]));
    assert!(graph.stdout.starts_with("digraph"), "{}", graph.stdout);
}

#[test]
fn a_second_signal_ends_a_run_that_ignores_signals() {
    let dir = scratch();
    let mut command = command(dir.path(), "step = \"ignore-signals\"");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    while !dir.path().join("ignoring").exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..2 {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        std::thread::sleep(Duration::from_millis(400));
    }
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{printed}");
    assert!(printed.contains("ended by a second SIGTERM"), "{printed}");
    assert!(printed.contains("`meddler`"), "{printed}");
}

#[test]
fn a_stopped_process_is_reported_with_the_callback_that_stopped_it() {
    let dir = scratch();
    let mut command = command(dir.path(), "step = \"stop\"");
    let finished = run(command.args(["--set", "run.handler-limit=5"]));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(&finished, &["is stopped, as by SIGSTOP", "`meddler`"]);
}
