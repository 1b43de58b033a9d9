//! When checkpoints are taken and which are kept.

use std::fs;

use fluxbay::record::checkpoint;
use fluxbay_tests::{build_plugin, succeed};

use crate::place::{ADAMW, MLP, Place, digits, long};

#[test]
fn minutes_go_by_between_steps() {
    // 30 milliseconds, and an epoch of thirty steps that takes twice as long.
    let policy = "[checkpoints]\nevery-epochs = 0\nevery-minutes = 0.0005\nkeep-last = 0\n";
    let slow = "[[callback]]\ncomponent = \"slow\"\nmilliseconds = 2\n";
    let place = Place::new(&format!("{}{policy}{slow}", long(5))).with_slow();
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let found = checkpoint::scan(&place.path("out/checkpoints"));
    let abouts: Vec<_> = found.iter().map(|found| found.about.clone().unwrap()).collect();
    assert!(abouts.iter().any(|about| about.reason == "time" && about.step > 0), "{abouts:?}");
}

/// A callback that asks for checkpoints.
const ASKING: &str = r#"
use fluxbay_plugin::{Better, Ranking, prelude::*};

struct Asking;

impl Component for Asking {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Asking)
    }
}

impl Callback for Asking {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if event.is_training() && event.step() != 2 {
            return Ok(());
        }
        let ranking = Ranking { metric: "validation/loss".into(), keep: Some(2), better: Better::Higher };
        if learner.request_checkpoint(&ranking)? { Ok(()) } else { Err(Error::new("the run keeps no checkpoints")) }
    }
}

plugin! {
    summary: "Asks.",
    callback "asking" => Asking { summary: "Asks for checkpoints in a step and at the end of an epoch.", on: [StepEnd, EpochEnd] },
}
"#;

#[test]
fn an_instance_asks_for_checkpoints_and_says_how_many_are_kept() {
    let place = Place::new(&digits(&format!(
        "{MLP}{ADAMW}[checkpoints]\nevery-epochs = 0\nat-end = false\n[[callback]]\ncomponent = \"asking\"\n"
    )));
    fs::copy(build_plugin("asking", ASKING), place.plugins.path().join("asking.so")).unwrap();
    succeed(&mut place.fluxbay(&["train", "run.toml", "--run-dir", "out"]));
    let found = checkpoint::scan(&place.path("out/checkpoints"));
    let abouts: Vec<_> = found.iter().map(|found| found.about.clone().unwrap()).collect();
    // Requested in steps 2, 7 and 12 of 15, and at the ends of the epochs after steps 5, 10 and 15.
    // Only the latter are ranked, since the metric was not measured in steps. The loss falls: the
    // two highest are those of the first two epochs, and the newest is kept as well.
    let kept: Vec<(u64, &str)> =
        abouts.iter().map(|about| (about.sequence, about.phase.as_str())).collect();
    assert_eq!(kept, [(5, ""), (10, ""), (15, "")]);
    assert!(abouts.iter().all(|about| about.asked_by == ["asking"]), "{abouts:?}");
    assert_eq!(abouts[1].reason, "asked for by asking");
    succeed(&mut place.fluxbay(&["resume", "--from", found[1].path.to_str().unwrap()]));
    assert_eq!(place.state("out")["status"], "finished");
}
