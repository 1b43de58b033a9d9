//! From `new` to a component seen at work in a run: three commands, for every kind.

use std::fs;
use std::path::Path;
use std::process::Command;

use fluxbay_tests::{fluxbay, outside_target, plugin_dir, repository, run, scratch, succeed};

/// The command with what cargo needs.
fn with_cargo(command: &mut Command) -> &mut Command {
    for name in ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    if let Some(home) = std::env::home_dir() {
        // What these fall back to; the command itself has a home of its own.
        for (name, below) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            if std::env::var_os(name).is_none() {
                command.env(name, home.join(below));
            }
        }
    }
    command.env("CARGO", env!("CARGO")).env("CARGO_TARGET_DIR", outside_target())
}

/// What a run with the component leaves behind or says.
fn is_at_work(kind: &str, name: &str, dir: &Path, stderr: &str) -> bool {
    let run = fs::read_dir(dir.join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(name))
        .unwrap();
    let read = |file: &str| fs::read_to_string(run.join(file)).unwrap_or_default();
    match kind {
        "callback" => stderr.matches(&format!("{name}: lowest loss")).count() == 3,
        "phase" => read("metrics.jsonl").contains(&format!("\"phase\":\"{name}\"")),
        "metric" => read("metrics.jsonl").contains(&format!("\"name\":\"{name}\"")),
        "logger" => fs::read_dir(run.join(name)).is_ok_and(|mut files| {
            files.any(|file| {
                fs::read_to_string(file.unwrap().path())
                    .unwrap()
                    .contains("epoch/validation/metrics/loss")
            })
        }),
        "model" => stderr.contains(&format!("{name}: 4,810 parameters")),
        "dataset" => stderr.contains(&format!("{name}: 800 training, 200 validation")),
        "schedule" => read("resolved.toml").contains(&format!("= \"{name}\"")),
        "optimizer" => read("resolved.toml")
            .contains(&format!("component = \"{name}\"\nlearning-rate = 0.001")),
        "loss" => {
            read("resolved.toml").contains(&format!("component = \"{name}\"\ntemperature = 2.0"))
        }
        _ => false,
    }
}

#[test]
fn three_commands_lead_from_nothing_to_a_component_at_work() {
    let (dir, plugins) = (scratch(), plugin_dir());
    for kind in [
        "callback",
        "phase",
        "model",
        "loss",
        "dataset",
        "metric",
        "schedule",
        "logger",
        "optimizer",
    ] {
        let name = format!("my-{kind}");
        let author = repository().join("plugin-api");
        let mut new = fluxbay(dir.path(), plugins.path());
        let made = succeed(new.args(["new", kind, &name, "--plugin-api"]).arg(author));
        assert!(
            made.stdout.contains(&format!("fluxbay dev {name}"))
                && made.stdout.contains(&format!("fluxbay train {name}/run.toml")),
            "{}",
            made.stdout
        );
        let installed = succeed(with_cargo(
            fluxbay(dir.path(), plugins.path()).args(["dev", &name, "--debug"]),
        ));
        assert!(
            installed.stdout.contains(&format!("installed plugins/libmy_{kind}.so")),
            "{}",
            installed.stdout
        );
        assert!(installed.stdout.contains(&format!("{kind}/{name}")), "{}", installed.stdout);
        assert!(
            installed.stderr.contains("Checked ") && installed.stderr.contains("licence-given"),
            "{}",
            installed.stderr
        );
        let trained = succeed(fluxbay(dir.path(), plugins.path()).args([
            "train",
            &format!("{name}/run.toml"),
            "--set",
            "checkpoints.every-epochs=0",
        ]));
        assert!(
            is_at_work(kind, &name, dir.path(), &trained.stderr),
            "{kind}:\n{}",
            trained.stderr
        );
        // Its own test, its README, and what the host says of it.
        let tested = succeed(with_cargo(
            Command::new(env!("CARGO"))
                .args(["test", "--quiet"])
                .current_dir(dir.path().join(&name)),
        ));
        assert!(tested.stdout.contains("test result: ok"), "{}", tested.stdout);
        assert!(
            fs::read_to_string(dir.path().join(&name).join("README.md"))
                .unwrap()
                .contains(&format!("\"{name}\""))
        );
    }
    let unseen = run(fluxbay(dir.path(), plugins.path()).args(["inspect", "my-callback"]));
    assert!(
        unseen.code == Some(2) && unseen.stderr.contains("`--plugin-dir plugins`"),
        "{}",
        unseen.stderr
    );
    let listed = succeed(fluxbay(dir.path(), plugins.path()).args([
        "list",
        "--plugin-dir",
        "plugins",
        "--plugin",
        "my-callback",
    ]));
    assert!(listed.stdout.contains("1 component of 1 plugin"), "{}", listed.stdout);
}

#[test]
fn a_plugin_that_fails_a_check_is_not_installed_unless_asked_for() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let author = repository().join("plugin-api");
    succeed(
        fluxbay(dir.path(), plugins.path())
            .args(["new", "callback", "mine", "--plugin-api"])
            .arg(author),
    );
    let dev = |more: &[&str]| {
        run(with_cargo(
            fluxbay(dir.path(), plugins.path()).args(["dev", "mine", "--debug"]).args(more),
        ))
    };
    let installed = || fs::read(dir.path().join("plugins/libmine.so")).unwrap();
    assert_eq!(dev(&[]).code, Some(0));
    let good = installed();
    let lib = dir.path().join("mine/src/lib.rs");
    let text = fs::read_to_string(&lib).unwrap();
    let unlucky = text.replace(
        "StepEnd => self.lowest",
        "StepEnd if event.step() == 3 => panic!(\"unlucky\"),\n            StepEnd => self.lowest",
    );
    assert_ne!(text, unlucky);
    fs::write(&lib, unlucky).unwrap();
    let refused = dev(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    for part in [
        "nothing was installed",
        "callback/mine: trains\n",
        "expected: a small training with it finishes",
        "unlucky",
        "--no-check",
    ] {
        assert!(refused.stderr.contains(part), "{part} is missing in\n{}", refused.stderr);
    }
    assert!(refused.stdout.is_empty() && installed() == good);
    let forced = dev(&["--no-check"]);
    assert!(
        forced.code == Some(0) && !forced.stderr.contains("Checked ") && installed() != good,
        "{}",
        forced.stderr
    );
    let left: Vec<_> = fs::read_dir(dir.path().join("plugins"))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(left, ["libmine.so"]);
}

#[test]
fn what_cannot_be_made_or_built_is_told_and_installs_nothing() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let author = repository().join("plugin-api");
    let new = |name: &str| {
        run(fluxbay(dir.path(), plugins.path())
            .args(["new", "callback", name, "--plugin-api"])
            .arg(&author))
    };
    assert_eq!(new("mine").code, Some(0));
    let again = new("mine");
    assert!(again.code == Some(2) && again.stderr.contains("exists already"), "{}", again.stderr);
    let elsewhere = run(fluxbay(dir.path(), plugins.path()).args([
        "new",
        "callback",
        "other",
        "--plugin-api",
        ".",
    ]));
    assert!(
        elsewhere.code == Some(2) && elsewhere.stderr.contains("plugin-api"),
        "{}",
        elsewhere.stderr
    );
    let nothing = run(fluxbay(dir.path(), plugins.path()).args(["dev", "nowhere"]));
    assert!(
        nothing.code == Some(2) && nothing.stderr.contains("fluxbay new"),
        "{}",
        nothing.stderr
    );
    // An error of the compiler is cargo's to tell; the last plugin that worked stays.
    let lib = dir.path().join("mine/src/lib.rs");
    fs::write(&lib, fs::read_to_string(&lib).unwrap() + "fn broken() { nonsense }\n").unwrap();
    let broken =
        run(with_cargo(fluxbay(dir.path(), plugins.path()).args(["dev", "mine", "--debug"])));
    assert!(
        broken.code == Some(1)
            && broken.stderr.contains("nonsense")
            && broken.stderr.contains("does not build"),
        "{}",
        broken.stderr
    );
    // A library that describes nothing is refused before it is installed.
    fs::write(&lib, "").unwrap();
    let empty =
        run(with_cargo(fluxbay(dir.path(), plugins.path()).args(["dev", "mine", "--debug"])));
    assert!(empty.code == Some(3) && empty.stderr.contains("no manifest"), "{}", empty.stderr);
    let left = fs::read_dir(dir.path().join("plugins")).map_or(0, |files| files.count());
    assert_eq!(left, 0);
}
