//! Checks in small trainings, with and without trouble.

use std::time::Instant;

use super::endings::{Untrained, finished, without_panic};
use super::harness::{Harness, Trial, bits};
use super::report::{Found, failed, passed, skipped, warning};
use super::{Verdict, log_counter, troublemaker};
use crate::learner::{Ending, StopKind};
use crate::library::Kind;
use crate::run_file::PhaseData;
use crate::session::Session;

/// A session; returns from the check if there is none.
macro_rules! session {
    ($harness:expr, $place:expr, $trial:expr) => {
        match $harness
            .run_kind($place)
            .map_err(String::from)
            .and_then(|_| $harness.session($place, &$trial))
        {
            Ok(session) => session,
            Err(problem) => return untried($harness, $place, problem),
        }
    };
}

pub(super) fn untried(harness: &Harness, place: usize, problem: String) -> Found {
    if harness.run_kind(place).is_err() {
        skipped("it does not train, see `trains`")
    } else {
        failed(problem)
    }
}

pub(super) fn trains(harness: &Harness, place: usize) -> Found {
    if harness.catalog.components().all(|component| component.manifest.name != "digits") {
        return skipped(
            "the standard plugins are not found: install them, or name their folder with --plugin-dir",
        );
    }
    if let Err(problem) = harness.config(&harness.components[place]) {
        return skipped(problem);
    }
    match harness.run_kind(place) {
        Err(Untrained::Fails(problem)) => failed(format!(
            "{problem}\nif it needs other data, give a run file that uses it with --run"
        )),
        Err(Untrained::Needs(problem)) => skipped(format!(
            "it needs other data or components, give a run file that uses it with --run\n{problem}"
        )),
        Ok(_) => match harness
            .session(place, &Trial::default())
            .map(|session| finished(&session.fit()))
        {
            Ok(Ok(())) => passed(),
            // Some callbacks end a training on purpose.
            Ok(Err(problem)) if problem.contains("ended it early") => (Verdict::Passed, problem),
            Ok(Err(problem)) | Err(problem) => failed(problem),
        },
    }
}

pub(super) fn twice(harness: &Harness, place: usize) -> Found {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let session = session!(harness, place, Trial::default());
        session.fit();
        seen.push(bits(&session));
    }
    match (&seen[0], &seen[1]) {
        (Ok(first), Ok(second)) if first == second => passed(),
        (Ok(_), Ok(_)) => failed(
            "two trainings with one seed end with different parameters: time, addresses or an order that is not fixed?",
        ),
        (Err(problem), _) | (_, Err(problem)) => failed(problem.clone()),
    }
}

/// Trains with a [`troublemaker`]; `fine` decides which endings pass.
fn trouble(
    harness: &Harness,
    place: usize,
    what: &'static str,
    fine: impl Fn(&Ending) -> bool,
) -> Found {
    let session = session!(harness, place, Trial { trouble: Some(what), ..Trial::default() });
    let report = session.fit();
    if let Err(problem) = without_panic(&report) {
        return failed(problem);
    }
    if fine(&report.ending) {
        return passed();
    }
    match &report.ending {
        Ending::Finished => failed("the fit continued although it was cancelled"),
        Ending::Stopped { by, reason } => failed(format!("`{by}` ended the fit: {reason}")),
        Ending::Failed(stop) => failed(stop.to_string()),
    }
}

pub(super) fn step_cancelled(harness: &Harness, place: usize) -> Found {
    trouble(harness, place, "cancel-step", |ending| !matches!(ending, Ending::Failed(_)))
}

pub(super) fn epoch_cancelled(harness: &Harness, place: usize) -> Found {
    trouble(harness, place, "cancel-epoch", |ending| !matches!(ending, Ending::Failed(_)))
}

pub(super) fn fit_cancelled(harness: &Harness, place: usize) -> Found {
    trouble(harness, place, "cancel-fit", |ending| !matches!(ending, Ending::Failed(_)))
}

pub(super) fn error_elsewhere(harness: &Harness, place: usize) -> Found {
    let passed_on = |ending: &Ending| match ending {
        Ending::Failed(stop) => {
            stop.0.text.contains(troublemaker::WORDS) && stop.kind() == StopKind::Error
        }
        // A phase without a backward pass never triggers the error.
        _ => true,
    };
    trouble(harness, place, "error", passed_on)
}

pub(super) fn not_a_number(harness: &Harness, place: usize) -> Found {
    trouble(harness, place, "nan", |_| true)
}

pub(super) fn interrupted(harness: &Harness, place: usize) -> Found {
    let session = session!(harness, place, Trial::default());
    session.interrupt().end(2);
    match session.fit().ending {
        Ending::Stopped { .. } => passed(),
        Ending::Finished => failed("the fit continued"),
        Ending::Failed(stop) => failed(stop.to_string()),
    }
}

pub(super) fn empty_epoch(harness: &Harness, place: usize) -> Found {
    let session = session!(harness, place, Trial { empty: true, ..Trial::default() });
    match without_panic(&session.fit()) {
        Ok(()) => passed(),
        Err(problem) => failed(problem),
    }
}

/// Batches of one sample, in every phase that measures and then in training. Normalisation over a
/// batch is not defined for one sample in training, so a model may refuse it there.
pub(super) fn small_batches(harness: &Harness, place: usize) -> Found {
    let trial = Trial { batch_size: 1, batches: 8, epochs: 1, ..Trial::default() };
    let session = session!(harness, place, trial);
    for (index, phase) in session.run().phases.iter().enumerate() {
        if phase.data == PhaseData::Validation
            && let Err(stop) = session.run_epoch(index)
        {
            return failed(format!("in the phase {}: {stop}", phase.spec.id));
        }
    }
    let may_refuse = harness.components[place].kind == Kind::Model;
    let session = session!(harness, place, trial);
    let report = session.fit();
    match &report.ending {
        Ending::Failed(stop) if may_refuse && without_panic(&report).is_ok() => {
            (Verdict::Passed, format!("it refuses to train on one sample: {stop}"))
        }
        Ending::Failed(stop) => failed(stop.to_string()),
        _ => passed(),
    }
}

/// Creates an instance and trains with it, for checks of what that leaves behind.
pub(super) fn use_once(harness: &Harness, place: usize) {
    super::instance::created(harness, place);
    if let Ok(session) = harness.session(place, &Trial { epochs: 1, ..Trial::default() }) {
        session.fit();
    }
}

pub(super) fn records_written(harness: &Harness, place: usize) -> Found {
    trouble(harness, place, "records", |ending| matches!(ending, Ending::Finished))
}

pub(super) fn parameters_finite(harness: &Harness, place: usize) -> Found {
    let session = session!(harness, place, Trial::default());
    session.fit();
    match bits(&session) {
        Err(problem) => failed(problem),
        Ok(parameters) => {
            let is_finite =
                |values: &[u32]| values.iter().all(|bits| f32::from_bits(*bits).is_finite());
            match parameters.iter().find(|(_, values)| !is_finite(values)) {
                None => passed(),
                Some((name, _)) => failed(format!(
                    "after a small training with its default settings, {name} is not finite"
                )),
            }
        }
    }
}

pub(super) fn tensors(harness: &Harness, place: usize) -> Found {
    let session = session!(harness, place, Trial { epochs: 4, ..Trial::default() });
    let living = |session: &Session| session.runtime().engine.borrow().living();
    session.fit_epochs(2);
    let before = living(&session);
    session.fit_epochs(2);
    let after = living(&session);
    if after <= before {
        return passed();
    }
    failed(format!(
        "{before} tensors after two epochs, {after} after four: references that are not released, or a list that only grows"
    ))
}

pub(super) fn time_per_step(harness: &Harness, place: usize) -> Found {
    let mut times = Vec::new();
    let mut steps = 1;
    for without in [true, false] {
        let session = session!(harness, place, Trial { without, epochs: 2, ..Trial::default() });
        let begin = Instant::now();
        session.fit();
        times.push(begin.elapsed().as_secs_f64());
        steps = session.runtime().at().total_steps.max(1) * 2;
    }
    let each = (times[1] - times[0]).max(0.0) * 1000.0 / steps as f64;
    let text = format!("about {each:.3} ms");
    if each < 1.0 { (Verdict::Passed, text) } else { warning(text) }
}

pub(super) fn logs_little(harness: &Harness, place: usize) -> Found {
    let session = session!(harness, place, Trial::default());
    let before = log_counter::lines(&harness.plugin);
    session.fit();
    let lines = log_counter::lines(&harness.plugin) - before;
    // Two epochs of at least four steps each in two phases.
    if lines <= 16 {
        passed()
    } else {
        warning(format!("{lines} lines in a training of two epochs: log less at level info"))
    }
}

pub(super) fn gradients(harness: &Harness, place: usize) -> Found {
    let session = session!(harness, place, Trial::default());
    if let Err(stop) = session.run_epoch(0) {
        return failed(stop.to_string());
    }
    let trainable: Vec<_> = session.parameters().into_iter().filter(|one| one.trainable).collect();
    let without: Vec<&str> = trainable
        .iter()
        .filter(|one| session.gradient(&one.model, &one.path).is_none())
        .map(|one| one.path.as_str())
        .collect();
    if trainable.is_empty() {
        return warning("it has no trainable parameter");
    }
    if without.len() == trainable.len() {
        return skipped("gradients are not kept after a step");
    }
    if without.is_empty() {
        passed()
    } else {
        warning(format!("no gradient reaches {}", without.join(", ")))
    }
}

pub(super) fn loss_lowered(harness: &Harness, place: usize) -> Found {
    let session = session!(harness, place, Trial { epochs: 6, ..Trial::default() });
    let loss = |report: &crate::learner::FitReport| {
        let found =
            report.metrics.iter().find(|(phase, name, _)| phase == "training" && name == "loss");
        found.map_or(f64::NAN, |(_, _, value)| *value)
    };
    let first = loss(&session.fit_epochs(1));
    let last = loss(&session.fit_epochs(5));
    if last < first {
        passed()
    } else {
        warning(format!(
            "the loss was {first:.4} after one epoch and {last:.4} after six, with its default settings"
        ))
    }
}
