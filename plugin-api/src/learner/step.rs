//! A running step: its state, and what a phase does with it.

use super::{Learner, PhaseLearner};
use crate::{
    Error, Result, Tensor,
    abi::{
        handle::Handle,
        learner::{ALL, mode},
    },
    event::EventKind,
    state::Readable,
    trampoline::calls,
};

/// A model of the run, see [`Learner::model_named`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelIndex(pub(super) u32);

/// A loss of the run, see [`Learner::loss_named`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossIndex(pub(super) u32);

/// A running step, see [`PhaseLearner::run_step`]. It dereferences to the learner.
/// `[training thread]`
///
/// Callbacks may change `step.xs` and `step.ys` at step-begin, `step.yhats` at loss-begin and
/// `step.loss` at backward-begin. So read each of them back after the event, as the example of
/// [`Phase`](crate::Phase) does.
#[derive(Debug)]
pub struct Step<'a> {
    pub(super) learner: &'a PhaseLearner,
}

impl std::ops::Deref for Step<'_> {
    type Target = Learner;

    fn deref(&self) -> &Learner {
        self.learner
    }
}

/// The step state.
impl Step<'_> {
    /// Reads `step.xs`: the inputs `[batch, ...]`.
    ///
    /// # Errors
    /// If a callback has cleared it.
    pub fn xs(&self) -> Result<Tensor> {
        self.get(&self.learner.xs)
    }

    /// Reads `step.ys`: the targets `[batch, ...]`.
    ///
    /// # Errors
    /// If the data set has no targets.
    pub fn ys(&self) -> Result<Tensor> {
        self.get(&self.learner.ys)
    }

    /// Reads `step.yhats`: the predictions `[batch, ...]`.
    ///
    /// # Errors
    /// If they have not been set.
    pub fn yhats(&self) -> Result<Tensor> {
        self.get(&self.learner.yhats)
    }

    /// Reads `step.loss`: a tensor with one element.
    ///
    /// # Errors
    /// If it has not been set.
    pub fn loss(&self) -> Result<Tensor> {
        self.get(&self.learner.loss)
    }

    /// Sets `step.yhats`: the predictions `[batch, ...]`.
    ///
    /// # Errors
    /// Outside the step.
    pub fn set_yhats(&self, yhats: &Tensor) -> Result<()> {
        calls::set_tensor(self.learner.yhats.slot(), yhats.handle())
    }

    /// Sets `step.loss`: a tensor with one element.
    ///
    /// # Errors
    /// Outside the step.
    pub fn set_loss(&self, loss: &Tensor) -> Result<()> {
        calls::set_tensor(self.learner.loss.slot(), loss.handle())
    }
}

/// Models, losses, events.
impl Step<'_> {
    /// Runs the run's only model on `xs` `[batch, ...]`, sets `step.yhats` to the predictions, and
    /// returns them.
    ///
    /// # Errors
    /// Those of the model.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let yhats = self.run_model(ModelIndex(0), xs)?;
        self.set_yhats(&yhats)?;
        Ok(yhats)
    }

    /// Runs one of several models on `xs` `[batch, ...]` and returns its output. The step state does
    /// not change.
    ///
    /// # Errors
    /// Those of the model; also if it returns several outputs.
    pub fn run_model(&self, model: ModelIndex, xs: &Tensor) -> Result<Tensor> {
        let mut output = [Handle::NONE];
        match calls::forward(model.0, &[xs.handle()], &mut output)? {
            1 => Ok(Tensor::from_handle(output[0])),
            count => {
                Err(Error::new(format!("the model gave {count} outputs; use `run_model_many`")))
            }
        }
    }

    /// Runs a model with several inputs or outputs, at most 8 outputs. The step state does not
    /// change.
    ///
    /// # Errors
    /// Those of the model.
    pub fn run_model_many(&self, model: ModelIndex, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let inputs: Vec<Handle> = inputs.iter().map(|tensor| tensor.handle()).collect();
        let mut outputs = [Handle::NONE; 8];
        let count = calls::forward(model.0, &inputs, &mut outputs)?;
        Ok(outputs[..count].iter().map(|handle| Tensor::from_handle(*handle)).collect())
    }

    /// Computes the run's only loss of predictions and targets, sets `step.loss` to it, and returns
    /// it: one element, the mean over the samples.
    ///
    /// # Errors
    /// Those of the loss.
    pub fn compute_loss(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let loss = self.run_loss(LossIndex(0), yhats, ys)?;
        self.set_loss(&loss)?;
        Ok(loss)
    }

    /// Computes one of several losses and returns it: one element. The step state does not change.
    ///
    /// # Errors
    /// Those of the loss.
    pub fn run_loss(&self, loss: LossIndex, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        calls::loss(loss.0, yhats.handle(), ys.handle()).map(Tensor::from_handle)
    }

    /// Calls the subscribers of an event, in their order.
    ///
    /// # Errors
    /// Those of the callbacks, including their cancelling. Return them.
    #[inline]
    pub fn dispatch(&self, event: EventKind) -> Result<()> {
        calls::dispatch(event.number())
    }
}

/// Gradients and updates.
impl Step<'_> {
    /// Computes the gradients of `loss` (one element) for the parameters of all models and sets
    /// `step.grads` to them.
    ///
    /// # Errors
    /// If `loss` does not depend on recorded operations or has more than one element.
    pub fn backward(&self, loss: &Tensor) -> Result<()> {
        calls::backward(ALL, loss.handle())
    }

    /// As [`Step::backward`], for the parameters of one model.
    ///
    /// # Errors
    /// As [`Step::backward`].
    pub fn backward_for(&self, model: ModelIndex, loss: &Tensor) -> Result<()> {
        calls::backward(model.0, loss.handle())
    }

    /// Applies `step.grads` to the parameters of all models, with the optimizer of each.
    ///
    /// # Errors
    /// Those of the optimizers.
    pub fn update(&self) -> Result<()> {
        calls::update(ALL)
    }

    /// As [`Step::update`], for the parameters of one model.
    ///
    /// # Errors
    /// Those of its optimizer.
    pub fn update_for(&self, model: ModelIndex) -> Result<()> {
        calls::update(model.0)
    }

    /// Runs `body` with forward passes in evaluation mode that are not recorded, as in validation.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn without_gradients<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.with_mode(0, body)
    }

    /// Runs `body` with forward passes in training mode that are recorded for a backward pass.
    ///
    /// # Errors
    /// Those of `body`.
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
