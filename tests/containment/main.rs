//! Plugins that fail during training: the run ends in order or continues as `on-error` says, the
//! report names plugin, component, event, epoch and step, the exit code is not 0, and the last
//! checkpoint is intact.

mod foreign;
mod random;
mod returned;
mod surroundings;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use fluxbay::record::checkpoint;
use fluxbay_tests::{Finished, build_plugin, fluxbay, plugin_dir, run, scratch, succeed, write};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with the standard plugins and the faulty one.
fn plugins() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = plugin_dir();
        fs::copy(
            build_plugin("faulty", include_str!("faulty_plugin.rs")),
            dir.path().join("faulty.so"),
        )
        .unwrap();
        dir
    })
    .path()
}

/// Three epochs of eight training steps; `callback` and `data` are tables of the run file.
fn run_file(dir: &Path, run: &str, data: &str, callback: &str) {
    write(
        dir,
        "run.toml",
        &format!(
            "[run]\nepochs = 3\nseed = 1\nthreads = 1\ndefault-callbacks = false\n{run}\n[data]\ncomponent = \"faulty-data\"\n{data}\n\
             [loader]\nbatch-size = 8\n[model]\ncomponent = \"mlp\"\nhidden = [4]\n[loss]\ncomponent = \"mse\"\n[optimizer]\ncomponent = \
             \"sgd\"\n[[callback]]\ncomponent = \"recorder\"\n[[callback]]\ncomponent = \"metrics\"\n{callback}\n"
        ),
    );
}

/// Trains with the fault `what`. Returns the folder and the output.
fn fault(what: &str, more: &str) -> (TempDir, Finished) {
    let dir = scratch();
    run_file(
        dir.path(),
        "",
        "",
        &format!("[[callback]]\ncomponent = \"fault\"\nwhat = \"{what}\"\n{more}"),
    );
    let finished = run(&mut train(dir.path()));
    (dir, finished)
}

fn train(dir: &Path) -> Command {
    let mut command = fluxbay(dir, plugins());
    command.args(["train", "run.toml", "--run-dir", "out"]);
    command
}

fn state(dir: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(dir.join("out/state.json")).unwrap()).unwrap()
}

/// Asserts that standard error contains all `words`.
fn says(finished: &Finished, words: &[&str]) {
    for word in words {
        assert!(
            finished.stderr.contains(word),
            "`{word}` is missing:\n{}\n{}",
            finished.stdout,
            finished.stderr
        );
    }
}

/// Asserts that there are checkpoints from before the fault and that all are intact.
fn keeps_checkpoints(dir: &Path) {
    let found = checkpoint::scan(&dir.join("out/checkpoints"));
    assert!(!found.is_empty());
    found.iter().for_each(|found| drop(checkpoint::verify(&found.path).unwrap()));
}

/// Asserts that the run resumes from the last checkpoint and finishes if the fault is switched off.
fn resumes(dir: &Path) {
    let resumed = run(fluxbay(dir, plugins())
        .args(["resume", "out", "--set", "callback.fault.what=none-any-more", "--set"])
        .args(["callback.fault.epoch=99", "--allow-other-settings"]));
    assert_eq!(resumed.code, Some(0), "{}\n{}", resumed.stdout, resumed.stderr);
    assert_eq!(state(dir)["status"], "finished");
}

#[test]
fn a_handler_that_ends_the_process_is_named_with_event_epoch_and_step_and_the_last_checkpoint_resumes()
 {
    for (what, how) in [
        ("segfault", "SIGSEGV"),
        ("illegal", "SIGILL"),
        ("abort", "SIGABRT"),
        ("overflow", "its stack overflowed"),
        ("exit", "exit code 0"),
        ("exit-at-once", "exit code 0"),
        ("process-exit", "exit code 0"),
    ] {
        let (dir, finished) = fault(what, "");
        assert_eq!(finished.code, Some(1), "{what}: {}", finished.stderr);
        let place = "`fault` (callback/fault of faulty), handling step-end in epoch 2, step 3 of phase training,";
        says(&finished, &[place, how, "faulty.so", "fluxbay resume"]);
        let state = state(dir.path());
        assert_eq!(
            (&state["status"], &state["by"], &state["exit-code"]),
            (&"failed".into(), &"fault".into(), &1.into()),
            "{what}"
        );
        assert!(state["reason"].as_str().unwrap().contains(how), "{state}");
        keeps_checkpoints(dir.path());
        if what == "segfault" || what == "exit" {
            resumes(dir.path());
        }
    }
}

#[test]
fn a_thread_that_ends_the_process_is_distinguished_from_the_running_handler() {
    for (what, how) in [("thread-segfault", "SIGSEGV"), ("thread-exit", "exit code 0")] {
        let (dir, finished) = fault(what, "");
        assert_eq!(finished.code, Some(1), "{what}: {}", finished.stderr);
        says(
            &finished,
            &[
                "a thread that a plugin started",
                how,
                "meanwhile `fault` (callback/fault of faulty), handling step-end in epoch 2",
            ],
        );
        keeps_checkpoints(dir.path());
    }
}

#[test]
fn a_data_set_that_crashes_on_a_loader_thread_is_named() {
    let dir = scratch();
    run_file(dir.path(), "", "what = \"segfault\"", "");
    let finished = run(&mut train(dir.path()));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(&finished, &["`data` (dataset/faulty-data of faulty), filling a batch", "SIGSEGV"]);
}

#[test]
fn a_call_that_does_not_return_is_reported_and_with_a_limit_ended() {
    let dir = scratch();
    let patience = "handler-warning = 0.3\nhandler-limit = 2";
    run_file(dir.path(), patience, "", "[[callback]]\ncomponent = \"fault\"\nwhat = \"hang\"\n");
    let finished = run(&mut train(dir.path()));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let place = "`fault` (callback/fault of faulty), handling step-end in epoch 2, step 3 of phase training,";
    says(
        &finished,
        &[
            &format!("{place} has not returned for"),
            &format!("{place} did not return for 2 s"),
            "run.handler-limit",
        ],
    );
    assert_eq!(state(dir.path())["by"], "fault");
    keeps_checkpoints(dir.path());

    let dir = scratch();
    run_file(dir.path(), "handler-warning = 0\nhandler-limit = 1", "what = \"hang\"", "");
    let finished = run(&mut train(dir.path()));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(&finished, &["`data` (dataset/faulty-data of faulty), filling a batch", "did not return"]);
}

#[test]
fn a_panic_anywhere_is_an_error_with_its_message_and_place_and_stops_the_run() {
    for (what, message, code) in [
        ("panic", "out of ideas", 1),
        ("panic-in-init", "no beginning", 2),
        ("panic-in-create", "not even created", 2),
        ("drop-panic", "panicked", 1),
    ] {
        let (dir, finished) = fault(what, "");
        assert_eq!(finished.code, Some(code), "{what}: {}\n{}", finished.stdout, finished.stderr);
        says(&finished, &["`fault`", message]);
        if what == "panic" {
            keeps_checkpoints(dir.path());
            says(
                &finished,
                &[
                    "callback/fault of faulty",
                    "handling step-end in epoch 2, step 3 of phase training",
                    "lib.rs:",
                ],
            );
        }
    }
    // These panic after everything has been written, so the run succeeds.
    let (dir, finished) = fault("panic-in-destroy", "");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    says(
        &finished,
        &["`fault` (callback/fault of faulty) failed while it was destroyed", "no goodbye"],
    );
    assert_eq!(state(dir.path())["status"], "finished");
}

#[test]
fn an_instance_whose_on_error_is_disable_is_left_out_and_the_run_finishes() {
    for what in ["panic", "error"] {
        let (dir, finished) = fault(what, "on-error = \"disable\"");
        assert_eq!(finished.code, Some(0), "{what}: {}", finished.stderr);
        says(&finished, &["`fault` (callback/fault of faulty)", "left out from here on"]);
        let events = fs::read_to_string(dir.path().join("out/events.jsonl")).unwrap();
        assert_eq!(events.matches("instance-disabled").count(), 1, "{events}");
    }
}

#[test]
fn the_host_called_from_another_thread_answers_with_an_error() {
    let (_dir, finished) = fault("wrong-thread", "");
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(&finished, &["from a thread: ", "wrong thread: "]);
}

#[test]
fn the_host_called_while_a_batch_is_filled_answers_with_an_error_on_every_thread() {
    for prefetch in ["loader.prefetch=0", "loader.prefetch=2"] {
        let dir = scratch();
        run_file(dir.path(), "", "what = \"call-host\"", "");
        let finished = run(train(dir.path()).args(["--set", prefetch]));
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        says(&finished, &["from fill: ", "wrong thread: "]);
    }
}

#[test]
fn wrong_shapes_are_an_error_with_both_shapes() {
    let (_dir, finished) = fault("other-shape", "");
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(&finished, &["[2]", "[3]", "step 3 of phase training"]);
}

#[test]
fn threads_left_running_and_calling_do_not_spoil_a_run() {
    let (dir, finished) = fault("left-over", "");
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(state(dir.path())["status"], "finished");
    // Between calls and after the instance is destroyed, the host is not calling the plugin; during
    // a call the thread is the wrong one.
    let answers = fs::read_to_string(dir.path().join("out/answers.txt")).unwrap();
    let known = |line: &str| {
        line.starts_with("wrong thread: ")
            || line.starts_with("the host is not calling this plugin now: ")
    };
    assert!(answers.lines().count() > 0 && answers.lines().all(known), "{answers}");
}

#[test]
fn a_flood_of_log_lines_is_held_back_and_escaped() {
    let (dir, finished) = fault("flood", "");
    assert_eq!(finished.code, Some(0), "{}", &finished.stderr[..finished.stderr.len().min(2000)]);
    assert!(
        finished.stderr.lines().count() < 5000 && !finished.stderr.contains('\x1b'),
        "{}",
        finished.stderr.lines().count()
    );
    let log = fs::read_to_string(dir.path().join("out/log.txt")).unwrap();
    assert!(
        log.contains("line 0\\x1b[2J") && log.lines().count() < 5000,
        "{}",
        log.lines().count()
    );
}

#[test]
fn faults_while_a_run_is_composed_are_reported() {
    let dir = scratch();
    run_file(
        dir.path(),
        "",
        "",
        "[[callback]]\ncomponent = \"fault\"\nwhat = \"segfault-in-create\"\n",
    );
    let finished = run(fluxbay(dir.path(), plugins()).args(["compose", "run.toml"]));
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    says(
        &finished,
        &["`fault` (callback/fault of faulty), while it was created, ended the process by SIGSEGV"],
    );
}

#[test]
fn a_plugin_whose_panics_abort_is_refused_before_it_runs() {
    let source = include_str!("faulty_plugin.rs");
    let (dir, plugins) = (scratch(), scratch());
    let bytes = fs::read(build_plugin("faulty", source)).unwrap();
    // Writes the manifest of a build with `panic = "abort"` instead of building everything again.
    let at = bytes.windows(16).position(|window| window == b"\"panic\":\"unwind\"").unwrap();
    let mut aborting = bytes.clone();
    aborting[at..at + 16].copy_from_slice(b"\"panic\":\"abort\" ");
    fs::write(plugins.path().join("aborting.so"), aborting).unwrap();
    let listed = succeed(fluxbay(dir.path(), plugins.path()).arg("list"));
    assert!(listed.stdout.contains("panic-aborts"), "{}", listed.stdout);
}

#[test]
fn a_file_replaced_while_it_is_loaded_changes_the_next_run_only() {
    let (dir, own) = (scratch(), plugin_dir());
    run_file(dir.path(), "", "", "[[callback]]\ncomponent = \"fault\"\nwhat = \"hang\"\n");
    let file: PathBuf = own.path().join("faulty.so");
    fs::copy(plugins().join("faulty.so"), &file).unwrap();
    let mut command = fluxbay(dir.path(), own.path());
    let mut child = command
        .args(["train", "run.toml", "--run-dir", "out", "--set", "run.handler-limit=3"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        // The run folder is created before the plugins are loaded, the record afterwards.
        dir.path().join("out/events.jsonl").exists()
    });
    assert!(begun, "the run does not begin");
    // Overwrites the file in place, the worst case for mapped code.
    fs::write(&file, b"no plugin any more").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(state(dir.path())["by"], "fault", "it ended for another reason than its fault");
    let next = run(command.args(["--run-dir", "next"]));
    assert!(next.code == Some(2) || next.code == Some(3), "{:?} {}", next.code, next.stderr);
}
