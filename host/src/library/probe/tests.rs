//! Tests of the probe, with plugins in C whose constructors misbehave. The child is this test
//! program again.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;
use crate::library::Store;
use crate::library::load::fixtures::{MANIFEST, compile, has_compiler, scan};

const VARIABLE: &str = "FLUXBAY_TEST_PROBED_COPY";

/// Not a test of its own: the child's body, when the script below runs this program.
#[test]
fn child_process() {
    if let Some(copy) = std::env::var_os(VARIABLE) {
        let never = run_child(Path::new(&copy), &crate::bridge::HOST);
        panic!("the channel is broken: {never:?}");
    }
}

/// A program that takes the arguments of the hidden command and becomes [`child_process`].
fn program(dir: &Path) -> PathBuf {
    let script = dir.join("child.sh");
    let test = std::env::current_exe().expect("known");
    let text = format!(
        "#!/bin/sh\n{VARIABLE}=\"$2\" exec '{}' --exact library::probe::tests::child_process --nocapture --test-threads=1\n",
        test.display()
    );
    std::fs::write(&script, text).expect("writable");
    std::fs::set_permissions(&script, Permissions::from_mode(0o700)).expect("ours");
    script
}

fn limits() -> ProbeLimits {
    ProbeLimits { time: Duration::from_secs(20), ..ProbeLimits::default() }
}

/// Probes the fixture compiled with `options`.
fn probe(options: &[&str], limits: &ProbeLimits) -> Result<(), Box<ProbeFailure>> {
    let dir = tempfile::tempdir().expect("temporary directory");
    compile(dir.path(), "fixture", options, MANIFEST);
    let catalog = scan(dir.path());
    let store = Store::at(&dir.path().join("store")).expect("private");
    let stored = catalog.plugins()[0].trusted().store(&store).expect("stored");
    stored.probe(&program(dir.path()), limits)
}

fn with_constructor(code: &str, limits: &ProbeLimits) -> Result<(), Box<ProbeFailure>> {
    probe(&[&format!("-DCONSTRUCTOR={code}")], limits)
}

#[test]
fn a_good_plugin_passes_whatever_it_prints() {
    if !has_compiler() {
        return;
    }
    probe(&[], &limits()).expect("sound");
    let forged = r#"printf("FBPR0123456789abcdef\2{\"passed\":true}"); fflush(stdout); fputs("noise\n", stderr)"#;
    with_constructor(forged, &limits()).expect("sound");
}

#[test]
fn a_crash_is_named_by_its_signal_with_the_last_output() {
    if !has_compiler() {
        return;
    }
    for (signal, word) in [
        ("SIGSEGV", "SIGSEGV"),
        ("SIGBUS", "SIGBUS"),
        ("SIGILL", "SIGILL"),
        ("SIGFPE", "SIGFPE"),
        ("SIGABRT", "SIGABRT"),
    ] {
        let code = format!(
            "fputs(\"last \\033words\\n\", stderr); signal({signal}, SIG_DFL); raise({signal})"
        );
        let failure = with_constructor(&code, &limits()).expect_err(signal);
        assert_eq!(failure.refusal.reason, RefusalReason::Crashed, "{failure:?}");
        assert!(failure.refusal.message.contains(word), "{failure:?}");
        assert!(failure.output.contains("last \\x1bwords"), "{failure:?}");
    }
    let failure =
        probe(&["-DFAULT_CRASH_IN_INIT"], &limits()).expect_err("crashes when it is connected");
    assert_eq!(failure.refusal.reason, RefusalReason::Crashed, "{failure:?}");
}

#[test]
fn leaving_early_is_never_success() {
    if !has_compiler() {
        return;
    }
    for code in ["exit(0)", "_exit(0)", "exit(7)"] {
        let failure = with_constructor(code, &limits()).expect_err(code);
        assert_eq!(failure.refusal.reason, RefusalReason::Exited, "{failure:?}");
    }
}

#[test]
fn what_does_not_come_to_an_end_is_ended() {
    if !has_compiler() {
        return;
    }
    let limits = ProbeLimits { time: Duration::from_secs(2), ..ProbeLimits::default() };
    for code in ["for (;;)", "sleep(1000)", "signal(SIGTERM, SIG_IGN); for (;;) pause()"] {
        let started = Instant::now();
        let failure = with_constructor(code, &limits).expect_err(code);
        assert_eq!(failure.refusal.reason, RefusalReason::TimedOut, "{failure:?}");
        assert!(started.elapsed() < Duration::from_secs(60), "{code}: the time-out did not end it");
    }
}

/// Lets a constructor fork; `child` is what the new process does first. Tells whether it is gone
/// after the probe.
fn forked_process_is_gone(child: &str) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let note = dir.path().join("pid");
    let code = format!(
        "if (fork() == 0) {{ {child}; FILE *f = fopen(\"{}\", \"w\"); fprintf(f, \"%d\", getpid()); fclose(f); sleep(1000); _exit(0); }} usleep(300000)",
        note.display()
    );
    let started = Instant::now();
    with_constructor(&code, &limits()).expect("the plugin itself is sound");
    assert!(started.elapsed() < Duration::from_secs(20));
    let pid = std::fs::read_to_string(&note).expect("it ran");
    // Killed, but perhaps not yet reaped by its new parent.
    let state = || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|s| s.rsplit(") ").next().and_then(|s| s.chars().next()))
    };
    let gone = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        matches!(state(), None | Some('Z' | 'X'))
    });
    assert!(gone, "the forked process lives on: {:?}", state());
}

#[test]
fn a_forked_process_that_keeps_everything_open_does_not_hold_up_the_host_and_is_killed() {
    if has_compiler() {
        forked_process_is_gone("");
    }
}

#[test]
fn a_forked_process_that_leaves_its_process_group_is_killed_too() {
    if has_compiler() {
        forked_process_is_gone("setsid(); if (fork()) _exit(0)");
    }
}

#[test]
fn garbage_and_floods_on_the_channel_are_a_protocol_error() {
    if !has_compiler() {
        return;
    }
    for code in [
        "for (int i = 3; i < 64; i++) write(i, \"garbage\", 7)",
        "for (;;) for (int i = 3; i < 64; i++) write(i, \"endless garbage\", 15)",
    ] {
        let failure = with_constructor(code, &limits()).expect_err(code);
        assert_eq!(failure.refusal.reason, RefusalReason::ProtocolError, "{failure:?}");
    }
}

#[test]
fn output_without_end_keeps_its_last_part_only() {
    if !has_compiler() {
        return;
    }
    let code = "for (int i = 0; i < 300000; i++) puts(\"flood flood flood flood\"); puts(\"the end\"); fflush(stdout); abort()";
    let failure = with_constructor(code, &limits()).expect_err("aborts");
    assert_eq!(failure.refusal.reason, RefusalReason::Crashed, "{failure:?}");
    assert!(
        failure.output.trim_end().ends_with("the end") && failure.output.len() <= 4 << 10,
        "{}",
        failure.output.len()
    );
}

#[test]
fn memory_without_bounds_is_stopped() {
    if !has_compiler() {
        return;
    }
    let limits = ProbeLimits { memory: 512 << 20, ..limits() };
    let code =
        "for (;;) { char *p = malloc(1 << 20); for (int i = 0; i < 1 << 20; i += 512) p[i] = 1; }";
    let failure = with_constructor(code, &limits).expect_err("takes all");
    assert_eq!(failure.refusal.reason, RefusalReason::OutOfMemory, "{failure:?}");
}

#[test]
fn what_loading_would_refuse_is_refused_here_with_the_same_reason() {
    if !has_compiler() {
        return;
    }
    let failure = probe(&["-DFAULT_UNRESOLVED"], &limits()).expect_err("unresolved");
    assert_eq!(
        (failure.refusal.stage, failure.refusal.reason),
        (Stage::Probe, RefusalReason::LinkFailed)
    );
    let failure = probe(&["-DFAULT_INIT"], &limits()).expect_err("start-up fails");
    assert_eq!(failure.refusal.reason, RefusalReason::InitFailed);
    assert!(failure.refusal.message.contains("no\\x1b luck"), "{failure:?}");
}

#[test]
fn a_program_that_cannot_be_started_or_never_answers_is_no_success() {
    let limits = limits();
    let at = |program: &str| {
        watch::probe(Path::new(program), Path::new("/nonexistent"), &limits)
            .expect_err("no answer")
            .refusal
            .reason
    };
    assert_eq!(at("/nonexistent/program"), RefusalReason::ProbeUnavailable);
    assert_eq!(at("/bin/true"), RefusalReason::Exited);
    assert_eq!(at("/bin/echo"), RefusalReason::Exited);
}

#[test]
fn the_time_limit_is_a_number_of_seconds() {
    let time = |text: &str| ProbeLimits::with_time(text).map(|limits| limits.time.as_secs());
    assert_eq!([time("30"), time(" 1 "), time("3600")], [Some(30), Some(1), Some(3600)]);
    for wrong in ["", "0", "3601", "-5", "10s", "1e3"] {
        assert_eq!(time(wrong), None, "{wrong}");
    }
}
