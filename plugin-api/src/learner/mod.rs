//! The learner: what an instance reads, writes and asks of the run while the host calls it.
//!
//! [`Learner`] is passed to callbacks and optimizers, [`PhaseLearner`] to phases. The other files
//! hold what they hand out: [`Batch`], [`Step`] and [`Epoch`] for phases, [`Rehearsal`] for
//! callbacks that try steps.

mod batch;
mod phase;
mod rehearsal;
mod step;

use std::marker::PhantomData;

use crate::{
    Error, Result,
    abi::{
        event::phase_kind,
        learner::mode,
        logger::{CheckpointRequest, scope},
        text::Text,
    },
    event::PhaseKind,
    logger::Record,
    state::{self, Readable, Value, Write},
    trampoline::calls,
};

pub use batch::Batch;
pub use phase::{Epoch, PhaseLearner};
pub use rehearsal::Rehearsal;
pub use step::{LossIndex, ModelIndex, Step};

/// The running learner: state, position, records, display. `[training thread]`
///
/// It exists only while the host is calling the plugin, so it can neither be kept nor sent to
/// another thread. Every function returns an error outside such a call.
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// # struct Watch { loss: Read<f64> }
/// # impl Watch {
/// fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
///     let loss = learner.get(&self.loss)?;
///     learner.print(&format!("epoch {}: loss {loss:.4}", learner.position()?.epoch))
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Learner {
    marker: PhantomData<*const ()>,
}

/// Where the run is, from [`Learner::position`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// Epoch of the fit, counted from 1; 0 before the first.
    pub epoch: u64,
    /// Number of epochs that the fit will run.
    pub epochs: u64,
    /// Step within the epoch, counted from 1; 0 outside steps.
    pub step: u64,
    /// Number of steps in an epoch of the running phase; 0 if unknown.
    pub steps_per_epoch: u64,
    /// Number of steps that the running phase has begun since the run began.
    pub total_steps: u64,
    /// Number of samples in the current batch; 0 outside steps.
    pub samples: u64,
    /// Number of samples that an epoch of the running phase reads; 0 if unknown.
    pub samples_per_epoch: u64,
    /// Index of the running phase; none outside phases.
    pub phase: Option<usize>,
    /// Kind of the running phase; none outside phases.
    pub phase_kind: Option<PhaseKind>,
    /// Number of phases in the run.
    pub phases: usize,
    /// Number of models in the run.
    pub models: usize,
}

/// State and position.
impl Learner {
    pub(crate) fn new() -> Learner {
        Learner { marker: PhantomData }
    }

    /// Reads the value of a slot.
    ///
    /// # Errors
    /// If nothing has been written yet, or the value has another type.
    #[inline]
    pub fn get<T: Value>(&self, slot: &impl Readable<T>) -> Result<T> {
        T::read(slot.slot())
    }

    /// Reads the value of a slot; none if nothing has been written yet.
    ///
    /// # Errors
    /// If the value has another type.
    pub fn find<T: Value>(&self, slot: &impl Readable<T>) -> Result<Option<T>> {
        match T::read(slot.slot()) {
            Ok(value) => Ok(Some(value)),
            Err(error) => state::none_if_absent(slot.slot(), error),
        }
    }

    /// Writes the value of a slot.
    ///
    /// # Errors
    /// If the path cannot hold the value, such as a hyper-parameter that is not finite.
    #[inline]
    pub fn set<T: Value>(&self, slot: &Write<T>, value: T) -> Result<()> {
        T::write(slot.slot(), &value)
    }

    /// Where the run is.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn position(&self) -> Result<Position> {
        let raw = calls::progress()?;
        Ok(Position {
            epoch: raw.at.epoch,
            epochs: raw.epochs,
            step: raw.at.step,
            steps_per_epoch: raw.at.steps_per_epoch,
            total_steps: raw.at.total_steps,
            samples: raw.samples,
            samples_per_epoch: raw.samples_per_epoch,
            phase: (raw.at.phase != u32::MAX).then_some(raw.at.phase as usize),
            phase_kind: PhaseKind::from_raw(raw.at.phase_kind),
            phases: raw.phases as usize,
            models: raw.models as usize,
        })
    }

    /// Instance ids of the phases, in the order in which they run.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn phase_names(&self) -> Result<Vec<String>> {
        (0..calls::progress()?.phases).map(calls::phase_name).collect()
    }

    /// The kind of phase `index` of [`phase_names`](Learner::phase_names).
    ///
    /// # Errors
    /// If there is no phase `index`.
    pub fn phase_kind(&self, index: usize) -> Result<PhaseKind> {
        Ok(match calls::phase_kind(index as u32)? {
            phase_kind::TRAINING => PhaseKind::Training,
            phase_kind::VALIDATION => PhaseKind::Validation,
            _ => PhaseKind::Other,
        })
    }

    /// Index of the first phase of a kind; none if the run has no such phase.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn first_phase(&self, kind: PhaseKind) -> Result<Option<usize>> {
        for index in 0..self.phase_names()?.len() {
            if self.phase_kind(index)? == kind {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The model called `name`. Look it up once, in [`Phase::init`](crate::Phase::init).
    ///
    /// # Errors
    /// If the run has no such model.
    pub fn model_named(&self, name: &str) -> Result<ModelIndex> {
        calls::model_index(name).map(ModelIndex)
    }

    /// The model of a run that has one.
    ///
    /// # Errors
    /// If the run has several.
    pub fn only_model(&self) -> Result<ModelIndex> {
        match calls::progress()?.models {
            1 => Ok(ModelIndex(0)),
            count => Err(Error::new(format!("this takes a run with one model, it has {count}"))),
        }
    }

    /// The loss called `name`. Look it up once, in [`Phase::init`](crate::Phase::init).
    ///
    /// # Errors
    /// If the run has no such loss.
    pub fn loss_named(&self, name: &str) -> Result<LossIndex> {
        calls::loss_index(name).map(LossIndex)
    }

    /// Freezes or unfreezes the parameters whose path, `PATH` or `MODEL.PATH`, matches a pattern, in which
    /// `*` stands for any text; returns their number. A frozen parameter has no gradient and is not
    /// updated. Call it outside of forward and backward passes, such as at step-begin, and again
    /// after a resume: checkpoints do not keep it.
    ///
    /// # Errors
    /// In a host without the extension `fluxbay.freezing/1`.
    pub fn freeze(&self, pattern: &str, frozen: bool) -> Result<u64> {
        calls::freeze(pattern, frozen)
    }

    /// Whether forward passes run in training mode: dropout is active, batch normalisation uses the
    /// statistics of the batch.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn is_training_mode(&self) -> Result<bool> {
        Ok(calls::mode()? & mode::TRAINING != 0)
    }

    /// Name of the device that the run trains on, such as `cpu`.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn device(&self) -> Result<String> {
        calls::device()
    }

    /// Returns cached memory to the system. The result is the resident memory of the process
    /// afterwards, in bytes; none if the system does not report it.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn trim_memory(&self) -> Result<Option<u64>> {
        let resident = calls::trim_memory()?;
        Ok((resident > 0).then_some(resident))
    }
}

/// Records: metrics files, loggers, checkpoints.
impl Learner {
    /// Records a metric of the current step of the running phase in the run's metrics files. `name`
    /// is in kebab-case.
    ///
    /// # Errors
    /// If no phase is running, or the name is not one.
    pub fn record_step(&self, name: &str, value: f64) -> Result<()> {
        calls::record_metric(scope::STEP, name, value)
    }

    /// Records a metric of the current epoch of the running phase in the run's metrics files. `name`
    /// is in kebab-case.
    ///
    /// # Errors
    /// If no phase is running, or the name is not one.
    pub fn record_epoch(&self, name: &str, value: f64) -> Result<()> {
        calls::record_metric(scope::EPOCH, name, value)
    }

    /// Passes a record to every logger of the run. The host sets its time.
    ///
    /// # Errors
    /// If the record is not valid, or a logger fails whose `on-error` is `stop`.
    pub fn log(&self, record: &Record) -> Result<()> {
        record.with_raw(calls::record_log)
    }

    /// Number of loggers in the run. If it is 0, records need not be made.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn loggers(&self) -> Result<usize> {
        calls::loggers()
    }

    /// Requests a checkpoint at the end of this epoch of the fit. Returns whether the run keeps
    /// checkpoints at all.
    ///
    /// # Errors
    /// If the ranking names no metric of the run.
    pub fn request_checkpoint(&self, ranking: &Ranking) -> Result<bool> {
        let Ranking { metric, keep, better } = ranking;
        let request = CheckpointRequest {
            metric: Text::new(metric),
            keep: keep.unwrap_or(0),
            higher_is_better: u32::from(*better == Better::Higher),
            reserved: 0,
        };
        calls::checkpoint(&request)
    }
}

/// Display: lines and a progress bar for the person at the terminal.
impl Learner {
    /// Prints lines, above any progress bar.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn print(&self, text: &str) -> Result<()> {
        calls::print(text)
    }

    /// Begins this instance's progress bar. `total` is the number of units; 0 if unknown.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn progress_begin(&self, label: &str, total: u64) -> Result<()> {
        calls::progress_begin(label, total)
    }

    /// Moves the bar to unit `position` and sets the text beside it.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn progress_set(&self, position: u64, message: &str) -> Result<()> {
        calls::progress_set(position, message)
    }

    /// Ends the bar and prints `message` in its place.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn progress_end(&self, message: &str) -> Result<()> {
        calls::progress_end(message)
    }

    /// Whether progress is drawn as a bar that moves. If not, its texts need not be formatted.
    pub fn is_interactive(&self) -> bool {
        calls::interactive()
    }
}

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Lower ones, as of a loss.
    Lower,
    /// Higher ones, as of an accuracy.
    Higher,
}

/// Which of the checkpoints that an instance requests are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// Metric that ranks them, as `PHASE/NAME`, such as `validation/loss`.
    pub metric: String,
    /// Number of best checkpoints that are kept besides the newest; none keeps all.
    pub keep: Option<u64>,
    /// Which values of the metric are better.
    pub better: Better,
}
