//! `resumes-the-same` and `verify-resume`: an interrupted and resumed training ends in the same state
//! as an uninterrupted one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::Verdict;
use super::endings::finished;
use super::harness::{Harness, Trial};
use super::report::{Found, failed, skipped};
use super::training::untried;
use crate::durable::compare::{Difference, states};
use crate::learner::{Ending, saving::SavePoint};
use crate::session::Session;
use crate::session::checkpoint::{Files, to_files};

const TRIAL: Trial =
    Trial { epochs: 2, batch_size: 0, batches: 0, trouble: None, empty: false, without: false };

/// Where a training is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    /// Once so many steps have begun.
    Step(u64),
    /// After an epoch of all phases.
    Epoch(u64),
}

pub(super) fn between_epochs(harness: &Harness, place: usize) -> Found {
    compare(harness, place, |_| vec![At::Epoch(1)])
}

/// In the first epoch, after its second step, and in the last one, before its last step.
pub(super) fn within_epochs(harness: &Harness, place: usize) -> Found {
    compare(harness, place, |steps| {
        let mut stops = vec![At::Step(2.min(steps)), At::Step(steps.saturating_sub(1).max(1))];
        stops.dedup();
        stops
    })
}

fn compare(harness: &Harness, place: usize, stops: impl Fn(u64) -> Vec<At>) -> Found {
    let whole = match straight(harness, place) {
        Ok(whole) => whole,
        Err(Unfit::Early(problem)) => {
            return skipped(format!("it does not train for two epochs: {problem}"));
        }
        Err(Unfit::Broken(problem)) => return untried(harness, place, problem),
    };
    let stops = stops(whole.steps);
    let compared =
        interrupted(harness, place, &stops).and_then(|files| states(&whole.files, &files));
    let mut comparison = match compared {
        Ok(comparison) => comparison,
        Err(problem) => return failed(problem),
    };
    if !comparison.differences.is_empty() {
        // Fields that differ between two uninterrupted trainings, too, such as times, are ignored.
        let by_itself =
            match straight(harness, place).map(|again| states(&whole.files, &again.files)) {
                Ok(Ok(by_itself)) => by_itself,
                _ => return failed("the same training does not end the same way again"),
            };
        let varying: BTreeSet<String> =
            by_itself.differences.into_iter().map(|one| one.field).collect();
        comparison.differences.retain(|one| !varying.contains(&one.field));
    }
    match comparison.differences.first() {
        None => (
            Verdict::Passed,
            format!("{} fields, interrupted {} times", comparison.fields, stops.len()),
        ),
        Some(Difference { field, first, second }) => failed(format!(
            "{field} is {first} at the end of an uninterrupted training, {second} after interruptions: `save` omits what it depends on, \
             or `load` does not restore it"
        )),
    }
}

/// An uninterrupted training: its final state and its number of steps.
struct Whole {
    files: Files,
    steps: u64,
}

/// Why there is no uninterrupted training to compare with.
enum Unfit {
    /// It ended early; some components do so on purpose.
    Early(String),
    Broken(String),
}

fn straight(harness: &Harness, place: usize) -> Result<Whole, Unfit> {
    let session = harness
        .run_kind(place)
        .map_err(String::from)
        .and_then(|_| harness.session(place, &TRIAL))
        .map_err(Unfit::Broken)?;
    finished(&session.fit()).map_err(Unfit::Early)?;
    let files = session
        .checkpoint()
        .map_err(|stop| Unfit::Broken(format!("a checkpoint cannot be taken: {stop}")))?;
    Ok(Whole { files, steps: session.runtime().steps_begun() })
}

/// The final state of a training that was interrupted, and resumed by a new session each time.
fn interrupted(harness: &Harness, place: usize, stops: &[At]) -> Result<Files, String> {
    let mut saved: Option<Files> = None;
    for stop in stops.iter().copied().map(Some).chain([None]) {
        let session = harness.session(place, &TRIAL)?;
        if let Some(files) = &saved {
            session
                .restore(files)
                .map_err(|stop| format!("the checkpoint cannot be used: {stop}"))?;
        }
        saved = Some(match stop {
            Some(stop) => until(&session, stop)?,
            None => {
                finished(&session.fit_rest())?;
                session
                    .checkpoint()
                    .map_err(|stop| format!("a checkpoint cannot be taken: {stop}"))?
            }
        });
    }
    saved.ok_or_else(|| "nothing was trained".to_owned())
}

/// Trains until `stop`, and saves a checkpoint there as a run does.
fn until(session: &Session, stop: At) -> Result<Files, String> {
    let saved = Rc::new(RefCell::new(None));
    let place = Rc::clone(&saved);
    session.on_checkpoint(move |runtime, moment| {
        let reached = match stop {
            At::Step(step) => runtime.steps_begun() >= step,
            At::Epoch(epoch) => {
                moment == SavePoint::Epoch
                    && runtime.at_end_of_epoch()
                    && runtime.at().epoch >= epoch
            }
        };
        if reached {
            runtime.interrupt().end(2);
            *place.borrow_mut() = Some(to_files(&runtime.snapshot()?)?);
        }
        Ok(())
    });
    session.runtime().watch_steps(true);
    match session.fit_rest().ending {
        Ending::Failed(stop) => Err(stop.to_string()),
        Ending::Finished | Ending::Stopped { .. } => {
            saved.take().ok_or_else(|| format!("it ended before {stop:?}"))
        }
    }
}
