//! Settings, plugins and state versions that are others than when the run stopped.

use std::fs;

use fluxbay_tests::{build_plugin, run, succeed};

use crate::place::{ADAMW, MLP, Place, digits};

#[test]
fn changes_are_refused_by_name_until_they_are_allowed() {
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let refused = run(&mut place.fluxbay(&[
        "resume",
        "out",
        "--set",
        "run.epochs=4",
        "--set",
        "optimizer.learning-rate=0.5",
    ]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("optimizer.learning-rate: 0.01 then, 0.5 now")
            && refused.stderr.contains("--allow-other-settings")
    );
    assert!(
        !refused.stderr.contains("run.epochs"),
        "training longer is no change: {}",
        refused.stderr
    );
    let allowed = [
        "resume",
        "out",
        "--set",
        "run.epochs=4",
        "--set",
        "optimizer.learning-rate=0.5",
        "--allow-other-settings",
    ];
    succeed(&mut place.fluxbay(&allowed));
    assert_eq!(place.state("out")["epoch"], 4);
    assert!(
        fs::read_to_string(place.path("out/resolved.toml")).unwrap().contains("0.5"),
        "the run is what it is now"
    );

    // The same plugin with other bytes: a section is added to the file.
    let plugin = fs::read_dir(place.plugins.path())
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().contains("models"));
    let path = plugin.unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    let refused = run(&mut place.fluxbay(&["resume", "out", "--set", "run.epochs=5"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("plugin `fluxbay-models` has changed"), "{}", refused.stderr);
    succeed(&mut place.fluxbay(&[
        "resume",
        "out",
        "--set",
        "run.epochs=5",
        "--allow-other-plugins",
    ]));
    assert_eq!(place.state("out")["epoch"], 5);
}

#[test]
fn state_of_another_component_is_named_and_never_loaded() {
    let callback = "[[callback]]\ncomponent = \"early-stopping\"\nid = \"x\"\npatience = 5\n[[callback]]\ncomponent = \"metrics\"\n";
    let place = Place::new(&digits(&format!("{MLP}{ADAMW}{callback}")));
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let other =
        ["resume", "out", "--set", "run.epochs=4", "--set", "callback.x.component=memory-trim"];
    let refused = run(&mut place.fluxbay(&other));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("component: \"early-stopping\" then, \"memory-trim\" now"),
        "{}",
        refused.stderr
    );
    assert_eq!(place.state("out")["epoch"], 3);
    let allowed = succeed(place.fluxbay(&other).arg("--allow-other-settings"));
    let said = "instance `x` is a callback/memory-trim in this run, a callback/early-stopping in the checkpoint";
    assert!(allowed.stderr.contains(said), "{}", allowed.stderr);
    assert_eq!(place.state("out")["epoch"], 4);
}

/// A callback whose state has a version; `{version}` and `{load}` are put in.
const VERSIONED: &str = r#"
use fluxbay_plugin::prelude::*;

struct Versioned { count: u64, out: Write<f64> }

impl Component for Versioned {
    type Config = NoConfig;
    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Versioned { count: 0, out: setup.write("cbstate.count")? })
    }
    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&self.count)
    }
    fn load(&mut self, version: u32, bytes: &[u8]) -> Result<()> {
        {load}
    }
}

impl Callback for Versioned {
    fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
        self.count += 1;
        learner.print(&format!("count {}", self.count))?;
        learner.set(&self.out, self.count as f64)
    }
}

plugin! {
    summary: "Versioned.",
    callback "versioned" => Versioned { summary: "Counts epochs.", state_version: {version}, on: [EpochEnd], writes: ["cbstate.count"] },
}
"#;

#[test]
fn state_of_another_version_is_upgraded_by_the_component_or_refused() {
    let place =
        Place::new(&digits(&format!("{MLP}{ADAMW}[[callback]]\ncomponent = \"versioned\"\n")));
    let install = |version: u32, load: &str| {
        let source = VERSIONED.replace("{version}", &version.to_string()).replace("{load}", load);
        let path = place.plugins.path().join("versioned.so");
        // Never in place: a mapped file that changes ends the process that mapped it.
        let _ = fs::remove_file(&path);
        fs::copy(build_plugin("versioned", &source), path).unwrap();
    };
    let resume = |epochs: u32| {
        run(&mut place.fluxbay(&[
            "resume",
            "out",
            "--set",
            &format!("run.epochs={epochs}"),
            "--allow-other-plugins",
        ]))
    };
    install(1, "let _ = version; self.count = from_bytes(bytes)?; Ok(())");
    assert!(
        succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]))
            .stderr
            .contains("count 6")
    );
    install(
        2,
        "if version != 2 { bail!(\"state of version {version} is too old for this\"); } self.count = from_bytes(bytes)?; Ok(())",
    );
    let refused = resume(4);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("`versioned`")
            && refused.stderr.contains("state of version 1 is too old for this"),
        "{}",
        refused.stderr
    );
    install(
        3,
        "let count: u64 = from_bytes(bytes)?; self.count = if version < 3 { count * 100 } else { count }; Ok(())",
    );
    let upgraded = resume(4);
    assert!(
        upgraded.code == Some(0) && upgraded.stderr.contains("count 602"),
        "{}",
        upgraded.stderr
    );
    install(2, "let _ = version; self.count = from_bytes(bytes)?; Ok(())");
    let older = resume(5);
    assert_eq!(older.code, Some(2), "{}", older.stderr);
    assert!(
        older.stderr.contains("has version 3") && older.stderr.contains("reads up to version 2"),
        "{}",
        older.stderr
    );
}
