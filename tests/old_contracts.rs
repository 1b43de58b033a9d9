//! Plugins compiled against released versions of the contract, kept as binary files, still load,
//! train and resume.

use std::fs;

use fluxbay_tests::{fluxbay, plugin_dir, repository, run, scratch, succeed, write};
use serde_json::Value;

const RUN: &str = r#"
[run]
epochs = 3
seed = 1
threads = 1
default-callbacks = false
[data]
component = "old-data"
amount = 3.0
[loader]
batch-size = 8
[model]
component = "old-model"
[loss]
component = "old-loss"
[optimizer]
component = "old-optimizer"
amount = 0.5
[[phase]]
component = "old-training"
[[phase]]
component = "validation"
[[callback]]
component = "recorder"
[[callback]]
component = "metrics"
metrics = ["old-metric"]
[[callback]]
component = "old-counter"
[[callback]]
component = "scheduler"
schedules = { "optimizer.learning-rate" = { component = "old-schedule", amount = 0.5 } }
[[callback]]
component = "log-metrics"
[[logger]]
component = "old-logger"
"#;

#[test]
fn the_plugin_of_contract_1_0_loads_trains_and_resumes() {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        eprintln!("skipped: the plugin that is kept was compiled for x86-64 Linux with glibc");
        return;
    }
    let (dir, plugins) = (scratch(), plugin_dir());
    fs::copy(repository().join("tests/contract-1.0/plugin.so"), plugins.path().join("old.so"))
        .unwrap();
    write(dir.path(), "run.toml", RUN);
    let fluxbay = |arguments: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        command.args(arguments);
        command
    };
    let listed: Value =
        serde_json::from_str(&succeed(&mut fluxbay(&["list", "--json"])).stdout).unwrap();
    let file = listed["files"]
        .as_array()
        .unwrap()
        .iter()
        .find(|file| file["path"].as_str().unwrap().ends_with("old.so"))
        .unwrap();
    assert_eq!(file["state"], "ok", "{file:#}");
    let straight = succeed(&mut fluxbay(&["train", "run.toml", "--run-dir", "straight"]));
    // 8 training and 2 validation steps per epoch.
    assert!(straight.stderr.contains("counted 30 steps"), "{}", straight.stderr);
    let stopped =
        run(&mut fluxbay(&["train", "run.toml", "--run-dir", "out", "--interrupt-at", "13"]));
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    let resumed = succeed(&mut fluxbay(&["resume", "out"]));
    assert!(resumed.stderr.contains("counted 30 steps"), "{}", resumed.stderr);
    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(read("straight/model.safetensors") == read("out/model.safetensors"));
    let lines = |name: &str| {
        let folder = dir.path().join(name);
        let mut open = vec![folder];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                match entry.path() {
                    path if path.is_dir() => open.push(path),
                    path if path.ends_with("lines.txt") => {
                        return fs::read_to_string(path).unwrap();
                    }
                    _ => {}
                }
            }
        }
        panic!("the logger wrote nothing")
    };
    assert!(lines("straight").contains("old-metric"), "{}", lines("straight"));
    assert_eq!(lines("straight"), lines("out"));
}
