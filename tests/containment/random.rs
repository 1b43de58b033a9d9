//! Random bad plugins: a component of any kind, one of its calls or the constructor of its plugin,
//! and a misdeed. Whatever comes together, the run either keeps its bits and ends with 0, or ends
//! in time with a report that names the plugin.
//!
//! `FLUXBAY_RANDOM_PLUGINS=200 cargo test -p fluxbay-tests --test containment random` tries more.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fluxbay_tests::{Finished, build_plugin, fluxbay, plugin_dir, scratch, succeed, write};
use serde_json::Value;
use tempfile::TempDir;

/// Misdeeds that the host takes back: the run goes on.
const TAKEN_BACK: [&str; 9] = [
    "rounding",
    "denormals",
    "folder",
    "mode-mask",
    "descriptors",
    "environment",
    "handlers",
    "limits",
    "fork",
];

/// Misdeeds that end a run.
const ENDING: [&str; 13] = [
    "segfault",
    "illegal",
    "abort",
    "exit",
    "exit-at-once",
    "panic",
    "error",
    "long-error",
    "stop",
    "hang",
    "thread-exit",
    "thread-segfault",
    "panic",
];

/// Calls of each component of the plugin, by the table of the run file that configures it.
const CALLS: [(&str, &[&str]); 8] = [
    ("data", &["create", "open", "fields", "splits", "prepare", "fill", "save", "destroy"]),
    ("model", &["create", "build", "forward", "save", "destroy"]),
    ("loss", &["create", "forward", "save", "destroy"]),
    ("optimizer", &["create", "begin", "update", "save", "destroy"]),
    ("metric", &["create", "reset", "update", "compute", "direction", "save", "destroy"]),
    ("schedule", &["create", "value", "save", "destroy"]),
    ("logger", &["create", "open", "write", "flush", "close", "save", "destroy"]),
    (
        "callback",
        &[
            "create",
            "init",
            "fit-begin",
            "epoch-begin",
            "step-begin",
            "backward-end",
            "epoch-end",
            "fit-end",
            "save",
            "destroy",
        ],
    ),
];

/// Seconds after which a call that does not return ends the run.
const LIMIT: u64 = 2;

/// Time after which a run hangs: loading and the limit of the call, on a busy machine.
const HANGS: Duration = Duration::from_secs(60);

fn plugins() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = plugin_dir();
        let plugin = build_plugin("random", include_str!("random_plugin.rs"));
        fs::copy(plugin, dir.path().join("random.so")).unwrap();
        dir
    })
    .path()
}

/// A run of the plugin's components in `dir`, with `misdeed` in the configuration of one of them.
fn command(dir: &Path, of: &str, misdeed: &str) -> Command {
    let settings = |name: &str| if name == of { misdeed } else { "" };
    let lines = |name: &str| settings(name).replace(", ", "\n");
    let text = format!(
        "[run]\nepochs = 2\nseed = 1\nthreads = 1\ndefault-callbacks = false\nhandler-limit = {LIMIT}\n\
         [loader]\nbatch-size = 16\n\
         [data]\ncomponent = \"random-data\"\n{}\n\
         [model]\ncomponent = \"random-model\"\n{}\n\
         [loss]\ncomponent = \"random-loss\"\n{}\n\
         [optimizer]\ncomponent = \"random-optimizer\"\n{}\n\
         [[callback]]\ncomponent = \"metrics\"\nmetrics = [{{ component = \"random-metric\"{} }}]\n\
         [[callback]]\ncomponent = \"log-metrics\"\n\
         [[callback]]\ncomponent = \"scheduler\"\nschedules = {{ \"hyper.random-callback.level\" = {{ component = \"random-schedule\"{} }} }}\n\
         [[callback]]\ncomponent = \"random-callback\"\n{}\n\
         [[logger]]\ncomponent = \"random-logger\"\non-error = \"stop\"\n{}\n",
        lines("data"),
        lines("model"),
        lines("loss"),
        lines("optimizer"),
        if of == "metric" { format!(", {misdeed}") } else { String::new() },
        if of == "schedule" { format!(", {misdeed}") } else { String::new() },
        lines("callback"),
        lines("logger"),
    );
    write(dir, "run.toml", &text);
    let mut command = fluxbay(dir, plugins());
    command.args(["train", "run.toml", "--run-dir", "out"]);
    command
}

/// Runs a command and ends it if it hangs.
fn run_in_time(dir: &Path, command: &mut Command) -> Finished {
    let (out, err) = (dir.join("stdout"), dir.join("stderr"));
    let mut child = command
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > HANGS {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Finished { code: status.code(), stdout: text(out), stderr: text(err) }
}

fn model(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("out/model.safetensors")).unwrap()
}

/// Repeatable numbers (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014).
struct Draws(u64);

impl Draws {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % count as u64) as usize
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// What is wrong with the end of a run, if anything is.
fn fault(deed: &str, dir: &Path, finished: &Finished, right: &[u8]) -> Option<&'static str> {
    if finished.code == Some(0) {
        if model(dir) != right {
            return Some("it ended with 0 and other bits");
        }
        // What a call does after the last one that the run needs may leave no trace.
        let named = finished.stderr.contains("random");
        return (TAKEN_BACK.contains(&deed) && !named).then_some("it was not named");
    }
    if finished.code.is_none() {
        return Some("it hung, or a signal ended it");
    }
    if !finished.stderr.contains("random") {
        return Some("its end was not named");
    }
    let state = fs::read_to_string(dir.join("out/state.json"));
    let running = state.is_ok_and(|text| {
        serde_json::from_str::<Value>(&text).map_or(true, |state| state["status"] == "running")
    });
    running.then_some("its record says that it is running")
}

#[test]
fn random_misdeeds_change_no_bit_unnoticed_and_end_in_time_with_a_name() {
    let count = std::env::var("FLUXBAY_RANDOM_PLUGINS").map_or(20, |text| text.parse().unwrap());
    let seed = std::env::var("FLUXBAY_RANDOM_SEED").map_or(1, |text| text.parse().unwrap());
    let undisturbed = scratch();
    let finished = succeed(&mut command(undisturbed.path(), "", ""));
    assert!(!finished.stderr.contains("was changed"), "{}", finished.stderr);
    let right = model(undisturbed.path());
    let mut draws = Draws(seed);
    let mut faults = String::new();
    for number in 0..count {
        let dir = scratch();
        let deed = if draws.below(2) == 0 { draws.of(&TAKEN_BACK) } else { draws.of(&ENDING) };
        let in_constructor = draws.below(8) == 0;
        let (of, calls) = draws.of(&CALLS);
        let (call, after) = (draws.of(calls), draws.below(2));
        let misdeed = format!("at = \"{call}\", deed = \"{deed}\", after = {after}");
        let (what, finished) = if in_constructor {
            let mut command = command(dir.path(), "", "");
            command.env("RANDOM_MISDEED", deed).env("FLUXBAY_PROBE_LIMIT", "2");
            (format!("constructor: {deed}"), run_in_time(dir.path(), &mut command))
        } else {
            (
                format!("{of}: {misdeed}"),
                run_in_time(dir.path(), &mut command(dir.path(), of, &misdeed)),
            )
        };
        if let Some(fault) = fault(deed, dir.path(), &finished, &right) {
            faults.push_str(&format!(
                "== {number}, {what}: {fault} (exit code {:?})\n{}\n",
                finished.code, finished.stderr
            ));
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
