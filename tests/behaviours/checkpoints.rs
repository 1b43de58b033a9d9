//! A resumed run gives the same bits as an uninterrupted one.

use std::cell::RefCell;
use std::rc::Rc;

use fluxbay::learner::ports::{At, Scope, Sink, SinkError};
use fluxbay::session::checkpoint::{Files, to_files};
use fluxbay::session::{Session, Surroundings};

use crate::run::*;

/// A run record in memory.
#[derive(Default)]
struct Lines(RefCell<Vec<String>>);

impl Sink for Lines {
    fn metric(&self, at: &At<'_>, scope: Scope, name: &str, value: f64) -> Result<(), SinkError> {
        self.0.borrow_mut().push(format!(
            "{} {} {}/{} {name} {:x}",
            at.phase,
            scope.name(),
            at.epoch,
            at.step,
            value.to_bits()
        ));
        Ok(())
    }
    fn event(&self, at: &At<'_>, kind: &str, by: &str, detail: &str) -> Result<(), SinkError> {
        self.0
            .borrow_mut()
            .push(format!("{kind} {} {}/{} {by} {detail}", at.phase, at.epoch, at.step));
        Ok(())
    }
    fn flush(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn recorded(text: &str) -> (Session, Rc<Lines>) {
    let lines: Rc<Lines> = Rc::default();
    let surroundings =
        Surroundings { sink: Rc::clone(&lines) as Rc<dyn Sink>, ..Surroundings::default() };
    (whole_session(&fixture(text), surroundings), lines)
}

/// The complete state after the run.
fn state(session: &Session) -> Files {
    session.checkpoint().unwrap()
}

/// Checkpoints of a run, each with the lines written before it.
type Saved = Rc<RefCell<Vec<(Files, usize)>>>;

fn keep(session: &Session, lines: &Rc<Lines>) -> Saved {
    let saved = Saved::default();
    let (into, lines) = (Rc::clone(&saved), Rc::clone(lines));
    session.on_checkpoint(move |runtime, _| {
        into.borrow_mut().push((to_files(&runtime.snapshot()?)?, lines.0.borrow().len()));
        Ok(())
    });
    saved
}

/// Trains `text` without interruption with a checkpoint at every opportunity, resumes from each of
/// them, and compares the results.
fn resumes_everywhere(text: &str, moments: usize) {
    let (whole, lines) = recorded(text);
    let saved = keep(&whole, &lines);
    whole.runtime().watch_steps(true);
    let report = whole.fit_rest();
    assert_eq!(saved.borrow().len(), moments);
    let whole_state = state(&whole);
    // The stride covers the beginning, the middle and the end of both phases.
    for (number, (files, at)) in saved.borrow().iter().enumerate().step_by(moments / 12) {
        let (resumed, rest) = recorded(text);
        resumed.restore(files).unwrap();
        assert_eq!(resumed.fit_rest(), report, "resumed at moment {number}");
        assert_eq!(rest.0.borrow()[..], lines.0.borrow()[*at..], "resumed at moment {number}");
        for (name, bytes) in &whole_state {
            let other = &state(&resumed)[name];
            let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(
                bytes == other,
                "{name} after moment {number}\n{}\n{}",
                shown(&bytes.bytes()),
                shown(&other.bytes())
            );
        }
    }
}

const MODEL: &str = "[model]\ncomponent = \"mlp\"\nhidden = [8]\n[optimizer]\ncomponent = \"adamw\"\nlearning-rate = 0.01\n";
const PHASES: &str = "[[phase]]\ncomponent = \"training\"\n[[phase]]\ncomponent = \"validation\"\n";

#[test]
fn resuming_between_any_two_steps_and_epochs_gives_the_same_bits() {
    // 5 epochs of 2 phases of 16 steps: before each step except the first of an epoch of a phase,
    // and after each phase.
    resumes_everywhere(
        &format!(
            "{MODEL}{PHASES}[[callback]]\ncomponent = \"recorder\"\n[[callback]]\ncomponent = \"metrics\"\n"
        ),
        5 * 2 * 17,
    );
}
