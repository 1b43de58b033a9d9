//! The learner: what an instance reads, writes and asks of the run while the host calls it.

use std::marker::PhantomData;

use crate::{
    Error, Result, Tensor,
    abi::{
        event::phase_kind,
        handle::Handle,
        learner::{ALL, BatchRaw, FIELDS, mode},
        logger::{CheckpointRequest, scope},
        status,
        text::Text,
    },
    event::{EventKind, PhaseKind},
    logger::Record,
    setup::Setup,
    state::{self, Readable, Value, Write},
    trampoline::calls,
};

/// The learner, as any instance sees it. `[training thread]`
///
/// It exists only while the host is calling the plugin, so it cannot be kept or sent to another
/// thread.
#[derive(Debug)]
pub struct Learner {
    marker: PhantomData<*const ()>,
}

/// Where the run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Epoch of the fit, from 1; 0 before the first.
    pub epoch: u64,
    /// Epochs that the fit will run.
    pub epochs: u64,
    /// Step within the epoch, from 1; 0 outside steps.
    pub step: u64,
    /// Steps that an epoch of the running phase has; 0 where unknown.
    pub steps_per_epoch: u64,
    /// Steps that the running phase has begun since the run began.
    pub total_steps: u64,
    /// Samples of the current batch; 0 outside steps.
    pub samples: u64,
    /// Samples that an epoch of the running phase reads; 0 where unknown.
    pub samples_per_epoch: u64,
    /// Index of the running phase; none outside phases.
    pub phase: Option<usize>,
    /// Kind of the running phase.
    pub phase_kind: Option<PhaseKind>,
    /// Number of phases of the run.
    pub phases: usize,
    /// Number of models of the run.
    pub models: usize,
}

impl Learner {
    pub(crate) fn new() -> Learner {
        Learner { marker: PhantomData }
    }

    /// The value under a slot. An error where nothing was written yet.
    #[inline]
    pub fn get<T: Value>(&self, slot: &impl Readable<T>) -> Result<T> {
        T::read(slot.slot())
    }

    /// The value under a slot, or none where nothing was written yet.
    pub fn find<T: Value>(&self, slot: &impl Readable<T>) -> Result<Option<T>> {
        match T::read(slot.slot()) {
            Ok(value) => Ok(Some(value)),
            Err(error) => state::none_if_absent(slot.slot(), error),
        }
    }

    /// Writes a value.
    #[inline]
    pub fn set<T: Value>(&self, slot: &Write<T>, value: T) -> Result<()> {
        T::write(slot.slot(), &value)
    }

    /// Where the run stands.
    pub fn progress(&self) -> Result<Progress> {
        let raw = calls::progress()?;
        Ok(Progress {
            epoch: raw.at.epoch,
            epochs: raw.epochs,
            step: raw.at.step,
            steps_per_epoch: raw.at.steps_per_epoch,
            total_steps: raw.at.total_steps,
            samples: raw.samples,
            samples_per_epoch: raw.samples_per_epoch,
            phase: (raw.at.phase != u32::MAX).then_some(raw.at.phase as usize),
            phase_kind: match raw.at.phase_kind {
                phase_kind::TRAINING => Some(PhaseKind::Training),
                phase_kind::VALIDATION => Some(PhaseKind::Validation),
                phase_kind::OTHER => Some(PhaseKind::Other),
                _ => None,
            },
            phases: raw.phases as usize,
            models: raw.models as usize,
        })
    }

    /// Instance ids of the phases, in the order in which they run.
    pub fn phase_names(&self) -> Result<Vec<String>> {
        (0..calls::progress()?.phases).map(calls::phase_name).collect()
    }

    /// What phase `index` of [`phase_names`](Learner::phase_names) is for.
    pub fn phase_kind(&self, index: usize) -> Result<PhaseKind> {
        Ok(match calls::phase_kind(index as u32)? {
            phase_kind::TRAINING => PhaseKind::Training,
            phase_kind::VALIDATION => PhaseKind::Validation,
            _ => PhaseKind::Other,
        })
    }

    /// The first phase of a kind, by its index; none where the run has none.
    pub fn first_phase(&self, kind: PhaseKind) -> Result<Option<usize>> {
        for index in 0..self.phase_names()?.len() {
            if self.phase_kind(index)? == kind {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Runs `body` as a rehearsal of phase `phase`: it may run steps of that phase, which leave no
    /// trace. Only between epochs, such as at fit-begin.
    ///
    /// Afterwards parameters, optimizer states, random numbers, counts, the state tree and the
    /// phases are what they were before, whatever `body` gives. So what is to stay in the state
    /// tree is written after the rehearsal.
    pub fn rehearse<T>(
        &self,
        phase: usize,
        body: impl FnOnce(&Rehearsal<'_>) -> Result<T>,
    ) -> Result<T> {
        calls::rehearse_begin(phase as u32)?;
        let result = body(&Rehearsal { learner: self });
        calls::rehearse_end()?;
        result
    }

    /// Gives memory that the host holds for later use back to the system, and answers how much the
    /// process occupies then, in bytes; none where the system does not say.
    pub fn trim_memory(&self) -> Result<Option<u64>> {
        let resident = calls::trim_memory()?;
        Ok((resident > 0).then_some(resident))
    }

    /// Asks for a checkpoint at the end of this epoch of the fit. Answers whether the run keeps
    /// checkpoints at all.
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

    /// Puts a figure of the current step of the running phase into the run's metrics files.
    pub fn record_step(&self, name: &str, value: f64) -> Result<()> {
        calls::record_metric(scope::STEP, name, value)
    }

    /// Puts a figure of the current epoch of the running phase into the run's metrics files.
    pub fn record_epoch(&self, name: &str, value: f64) -> Result<()> {
        calls::record_metric(scope::EPOCH, name, value)
    }

    /// Hands a record to every logger of the run.
    pub fn log(&self, record: &Record) -> Result<()> {
        record.with_raw(calls::record_log)
    }

    /// Number of loggers of the run: where there are none, records need not be made.
    pub fn loggers(&self) -> Result<usize> {
        calls::loggers()
    }

    /// Prints lines for the person at the terminal, above any bar.
    pub fn print(&self, text: &str) -> Result<()> {
        calls::print(text)
    }

    /// Begins this instance's progress bar; `total` is 0 where unknown.
    pub fn progress_begin(&self, label: &str, total: u64) -> Result<()> {
        calls::progress_begin(label, total)
    }

    /// Moves the bar and sets the text beside it.
    pub fn progress_set(&self, position: u64, message: &str) -> Result<()> {
        calls::progress_set(position, message)
    }

    /// Ends the bar; `message` stays as a line.
    pub fn progress_end(&self, message: &str) -> Result<()> {
        calls::progress_end(message)
    }

    /// Whether progress is drawn as a bar that moves with every step.
    pub fn is_interactive(&self) -> bool {
        calls::interactive()
    }

    /// Whether forward passes are in training mode: dropout drops, batch normalisation uses the
    /// batch's own statistics.
    pub fn is_training_mode(&self) -> Result<bool> {
        Ok(calls::mode()? & mode::TRAINING != 0)
    }

    /// The device that the run trains on, such as `cpu`.
    pub fn device(&self) -> Result<String> {
        calls::device()
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

/// Which of the checkpoints that an instance asks for stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// The metric that ranks them, as `PHASE/NAME` such as `validation/loss`.
    pub metric: String,
    /// How many of the best stay, beside the newest; none keeps all.
    pub keep: Option<u64>,
    /// Which of its values are better.
    pub better: Better,
}

/// A rehearsal that is under way, see [`Learner::rehearse`].
#[derive(Debug)]
pub struct Rehearsal<'a> {
    learner: &'a Learner,
}

impl std::ops::Deref for Rehearsal<'_> {
    type Target = Learner;

    fn deref(&self) -> &Learner {
        self.learner
    }
}

impl Rehearsal<'_> {
    /// Runs one step on the phase's next batch; after the last one the data begins anew. No
    /// callback hears of it. The step state stays readable until the next one.
    pub fn step(&self) -> Result<()> {
        calls::rehearse_step()
    }
}

/// One batch of samples.
#[derive(Debug)]
pub struct Batch {
    raw: BatchRaw,
    /// Tensors that a batch of the phase's own keeps alive.
    own: Vec<Tensor>,
}

impl Batch {
    pub(crate) fn borrowed(raw: BatchRaw) -> Batch {
        Batch { raw, own: Vec::new() }
    }

    /// A batch of the phase's own making: fields `[samples, ...]`, field 0 is `xs`, field 1 is
    /// `ys`.
    pub fn new(fields: &[&Tensor]) -> Result<Batch> {
        let first = fields.first().ok_or_else(|| Error::new("a batch needs at least one field"))?;
        if fields.len() > FIELDS {
            return Err(Error::new(format!(
                "a batch has at most {FIELDS} fields, not {}",
                fields.len()
            )));
        }
        let samples = first.dims()?.first().copied().unwrap_or(1);
        let mut raw = BatchRaw {
            fields: [Handle::NONE; FIELDS],
            field_count: fields.len() as u32,
            samples: samples as u32,
            index: 0,
        };
        for (place, tensor) in raw.fields.iter_mut().zip(fields) {
            *place = tensor.handle();
        }
        Ok(Batch { raw, own: fields.iter().map(|tensor| (*tensor).clone()).collect() })
    }

    /// Field `index`, `[samples, ...]`.
    pub fn field(&self, index: usize) -> Result<Tensor> {
        if index >= self.raw.field_count as usize {
            return Err(Error::new(format!(
                "the batch has {} fields, there is no field {index}",
                self.raw.field_count
            )));
        }
        Tensor::from_borrowed(self.raw.fields[index])
    }

    /// The inputs: field 0, `[samples, ...]`.
    pub fn xs(&self) -> Result<Tensor> {
        self.field(0)
    }

    /// The targets: field 1, `[samples, ...]`.
    pub fn ys(&self) -> Result<Tensor> {
        self.field(1)
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.raw.samples as usize
    }

    /// Position of the batch in its epoch, from 0.
    pub fn index(&self) -> u64 {
        self.raw.index
    }

    pub(crate) fn raw(&self) -> &BatchRaw {
        debug_assert!(self.own.is_empty() || self.own.len() == self.raw.field_count as usize);
        &self.raw
    }
}

/// The learner, as a phase sees it: it also runs steps and epochs.
#[derive(Debug)]
pub struct PhaseLearner {
    learner: Learner,
    xs: Write<Tensor>,
    ys: Write<Tensor>,
    yhats: Write<Tensor>,
    loss: Write<Tensor>,
}

impl std::ops::Deref for PhaseLearner {
    type Target = Learner;

    fn deref(&self) -> &Learner {
        &self.learner
    }
}

impl PhaseLearner {
    pub(crate) fn new(setup: &mut Setup) -> Result<PhaseLearner> {
        Ok(PhaseLearner {
            learner: Learner::new(),
            xs: setup.write("step.xs")?,
            ys: setup.write("step.ys")?,
            yhats: setup.write("step.yhats")?,
            loss: setup.write("step.loss")?,
        })
    }

    /// Runs one step: empties the step state, puts the batch there as `step.xs` and `step.ys`,
    /// fires step-begin, runs `body`, fires step-end.
    ///
    /// Where something cancels the step, step-cancelled takes the place of step-end and the answer
    /// is `Ok`: training goes on with the next batch. Cancelling the epoch or the fit, and errors,
    /// travel on.
    pub fn run_step(
        &self,
        batch: &Batch,
        body: impl FnOnce(&Step<'_>) -> Result<()>,
    ) -> Result<()> {
        let result = calls::step_begin(batch.raw()).and_then(|()| body(&Step { learner: self }));
        calls::step_end(status_of(result))
    }

    /// Runs one epoch: fires epoch-begin, runs `body`, fires epoch-end.
    ///
    /// Where something cancels the epoch, epoch-cancelled comes before epoch-end and the answer is
    /// `Ok`: the next phase goes on. Cancelling the fit, and errors, travel on.
    pub fn run_epoch(&self, body: impl FnOnce(&Epoch<'_>) -> Result<()>) -> Result<()> {
        let result = calls::epoch_begin().and_then(|()| body(&Epoch { learner: self }));
        calls::epoch_end(status_of(result))
    }
}

/// The status of a result, with the error's text left with the host.
fn status_of(result: Result<()>) -> i32 {
    match result {
        Ok(()) => status::OK,
        Err(error) => calls::leave(&error),
    }
}

/// An epoch that is running.
#[derive(Debug)]
pub struct Epoch<'a> {
    learner: &'a PhaseLearner,
}

impl std::ops::Deref for Epoch<'_> {
    type Target = Learner;

    fn deref(&self) -> &Learner {
        self.learner
    }
}

impl Epoch<'_> {
    /// The next batch of the phase's data; none after the last.
    pub fn next_batch(&self) -> Result<Option<Batch>> {
        Ok(calls::next_batch()?.map(Batch::borrowed))
    }
}

/// A model of the run, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelIndex(u32);

/// A loss of the run, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossIndex(u32);

impl Learner {
    /// The model called `name`: look it up in a phase's `init`.
    pub fn model_named(&self, name: &str) -> Result<ModelIndex> {
        calls::model_index(name).map(ModelIndex)
    }

    /// The loss called `name`: look it up in a phase's `init`.
    pub fn loss_named(&self, name: &str) -> Result<LossIndex> {
        calls::loss_index(name).map(LossIndex)
    }
}

/// A step that is running: its state, and what a phase does with it.
#[derive(Debug)]
pub struct Step<'a> {
    learner: &'a PhaseLearner,
}

impl std::ops::Deref for Step<'_> {
    type Target = Learner;

    fn deref(&self) -> &Learner {
        self.learner
    }
}

impl Step<'_> {
    /// `step.xs`: the inputs, as callbacks of step-begin left them.
    pub fn xs(&self) -> Result<Tensor> {
        self.get(&self.learner.xs)
    }

    /// `step.ys`: the targets, as callbacks of step-begin left them.
    pub fn ys(&self) -> Result<Tensor> {
        self.get(&self.learner.ys)
    }

    /// `step.yhats`: the predictions.
    pub fn yhats(&self) -> Result<Tensor> {
        self.get(&self.learner.yhats)
    }

    /// Runs the run's only model on `xs` and keeps what it gives as `step.yhats`.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let yhats = self.run_model(ModelIndex(0), xs)?;
        self.set_yhats(&yhats)?;
        Ok(yhats)
    }

    /// Runs one of several models, and leaves the step state alone.
    pub fn run_model(&self, model: ModelIndex, xs: &Tensor) -> Result<Tensor> {
        let mut output = [Handle::NONE];
        match calls::forward(model.0, &[xs.handle()], &mut output)? {
            1 => Ok(Tensor::from_handle(output[0])),
            count => {
                Err(Error::new(format!("the model gave {count} outputs; use `run_model_many`")))
            }
        }
    }

    /// Runs a model with several inputs or outputs.
    pub fn run_model_many(&self, model: ModelIndex, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let inputs: Vec<Handle> = inputs.iter().map(|tensor| tensor.handle()).collect();
        let mut outputs = [Handle::NONE; 8];
        let count = calls::forward(model.0, &inputs, &mut outputs)?;
        Ok(outputs[..count].iter().map(|handle| Tensor::from_handle(*handle)).collect())
    }

    /// Sets `step.yhats`.
    pub fn set_yhats(&self, yhats: &Tensor) -> Result<()> {
        calls::set_tensor(self.learner.yhats.slot(), yhats.handle())
    }

    /// Runs the run's only loss on predictions and targets and keeps it as `step.loss`: one
    /// element, the mean over the samples.
    pub fn loss(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let loss = self.run_loss(LossIndex(0), yhats, ys)?;
        self.set_loss(&loss)?;
        Ok(loss)
    }

    /// Runs one of several losses, and leaves the step state alone.
    pub fn run_loss(&self, loss: LossIndex, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        calls::loss(loss.0, yhats.handle(), ys.handle()).map(Tensor::from_handle)
    }

    /// `step.loss`: one element, as callbacks left it.
    pub fn current_loss(&self) -> Result<Tensor> {
        self.get(&self.learner.loss)
    }

    /// Sets `step.loss`: a tensor with one element.
    pub fn set_loss(&self, loss: &Tensor) -> Result<()> {
        calls::set_tensor(self.learner.loss.slot(), loss.handle())
    }

    /// Sends a standard event to its subscribers.
    #[inline]
    pub fn dispatch(&self, event: EventKind) -> Result<()> {
        calls::dispatch(event.number())
    }

    /// Gradients of `loss` for the parameters of all models; they appear as `step.grads`.
    pub fn backward(&self, loss: &Tensor) -> Result<()> {
        calls::backward(ALL, loss.handle())
    }

    /// Gradients of `loss` for the parameters of one model alone.
    pub fn backward_for(&self, model: ModelIndex, loss: &Tensor) -> Result<()> {
        calls::backward(model.0, loss.handle())
    }

    /// Applies `step.grads` to the parameters of all models, each with its optimizer.
    pub fn update(&self) -> Result<()> {
        calls::update(ALL)
    }

    /// Applies `step.grads` to the parameters of one model alone.
    pub fn update_for(&self, model: ModelIndex) -> Result<()> {
        calls::update(model.0)
    }

    /// Runs `body` with forward passes that are not recorded and do not drop: as in validation.
    pub fn without_gradients<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.with_mode(0, body)
    }

    /// Runs `body` with forward passes that are recorded and drop: as in training.
    pub fn with_gradients<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.with_mode(mode::RECORDING | mode::TRAINING, body)
    }

    fn with_mode<T>(&self, mode: u32, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let old = calls::set_mode(mode)?;
        let result = body();
        calls::set_mode(old)?;
        result
    }
}
