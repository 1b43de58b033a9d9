//! `fluxbay check`: good plugins pass, and each kind of mistake is found by the check that is for it, whatever becomes of the
//! process that it happens in.

use std::{fs, path::Path};

use fluxbay_tests::{build_plugin, fluxbay, plugin_dir, run, scratch, standard_plugins};
use serde_json::Value;

/// Checks a file and gives exit code and report.
fn check(file: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let (home, plugins) = (scratch(), plugin_dir());
    let finished = run(fluxbay(home.path(), plugins.path()).arg("check").arg(file).arg("--json").args(more));
    let report = serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", finished.stdout, finished.stderr));
    (finished.code, report)
}

fn outcomes<'a>(report: &'a Value, check: &str) -> Vec<&'a Value> {
    report["outcomes"].as_array().unwrap().iter().filter(|one| one["check"] == check).collect()
}

/// Verdict of a check for a component.
fn verdict<'a>(report: &'a Value, check: &str, component: &str) -> (&'a str, &'a str) {
    let found = outcomes(report, check);
    let one = found.iter().find(|one| one["component"] == component).unwrap_or_else(|| panic!("{check} {component}: {report:#}"));
    (one["verdict"].as_str().unwrap(), one["message"].as_str().unwrap_or_default())
}

#[test]
fn a_standard_plugin_passes_every_check() {
    for name in ["libfluxbay_losses.so", "libfluxbay_optimizers.so"] {
        let file = standard_plugins().into_iter().find(|file| file.ends_with(name)).unwrap();
        let (code, report) = check(&file, &[]);
        let failed: Vec<_> = report["outcomes"].as_array().unwrap().iter().filter(|one| one["verdict"] == "failed").collect();
        assert!(code == Some(0) && failed.is_empty(), "{name}: {failed:#?}");
        assert!(report["outcomes"].as_array().unwrap().len() > 40, "{report:#}");
        assert_eq!(verdict(&report, "trains", if name.contains("losses") { "loss/cross-entropy" } else { "optimizer/sgd" }).0, "passed");
    }
}

#[test]
fn every_mistake_is_found_by_its_check_and_a_crash_is_the_result_of_one_check_alone() {
    let file = build_plugin("mistaken", include_str!("check/mistaken_plugin.rs"));
    let (code, report) = check(&file, &[]);
    assert_eq!(code, Some(1));
    for (check, component, words) in [
        ("created", "callback/crasher", "SIGSEGV"),
        ("trains", "callback/late-crasher", "handling step-end in epoch 1, step 2 of phase training"),
        ("state-round-trip", "callback/forgetful", "other ones after loading"),
        ("state-random-refused", "callback/credulous", "a panic, with seed"),
        ("state-empty-refused", "callback/credulous", "panicked"),
        ("access-refused", "callback/stubborn", "although the host refused"),
        ("settings-fuzzed", "callback/touchy", "panicked"),
        ("memory-given-back", "callback/leaky", "behind"),
        ("threads-ended", "callback/busy", "threads"),
        ("tensors-given-back", "callback/hoarder", "tensors"),
        ("trains-twice-the-same", "callback/moody", "different parameters"),
        ("samples-same-again", "dataset/drifting", "differ"),
        ("schedule-same-again", "schedule/stateful", "another order"),
    ] {
        let (verdict, message) = verdict(&report, check, component);
        assert!(verdict == "failed" && message.contains(words), "{check} {component}: {verdict}: {message}");
    }
    // Where there is no instance, that is told once.
    assert_eq!(verdict(&report, "created", "callback/overreaching").0, "failed");
    let rest = outcomes(&report, "trains").into_iter().find(|one| one["component"] == "callback/overreaching").unwrap();
    assert!(rest["verdict"] == "skipped" && rest["message"].as_str().unwrap().contains("see `created`"), "{rest}");
    // The check after a crash is made, and the other components are none the worse.
    assert_eq!(verdict(&report, "settings-hostile", "callback/late-crasher").0, "passed");
    assert_eq!(verdict(&report, "trains", "callback/good").0, "passed");
    assert_eq!(verdict(&report, "resumes-the-same", "callback/good").0, "passed");
    assert_eq!(outcomes(&report, "quiet")[0]["verdict"], "warning");
    let failed = |component: &str| {
        let all = report["outcomes"].as_array().unwrap().iter();
        all.filter(|one| one["component"] == component && one["verdict"] == "failed").count()
    };
    assert_eq!(failed("callback/good"), 0, "{report:#}");
}

#[test]
fn what_is_no_plugin_fails_the_first_check_and_checks_are_listed() {
    let home = scratch();
    let file = home.path().join("text.so");
    fs::write(&file, "hello").unwrap();
    let (code, report) = check(&file, &[]);
    assert_eq!((code, outcomes(&report, "file-readable")[0]["verdict"].as_str()), (Some(1), Some("failed")));
    let listed = run(fluxbay(home.path(), home.path()).args(["check", "--list"]));
    assert!(listed.stdout.lines().count() >= 50, "{}", listed.stdout);
    let unknown = run(fluxbay(home.path(), home.path()).args(["check", "text.so", "--only", "nonsense"]));
    assert_eq!(unknown.code, Some(2));
}
