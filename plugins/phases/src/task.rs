//! What the phases of a task share: each trains models by a loss of its own, and has a phase that
//! measures the same loss without training.

use fluxbay_plugin::{Config, CrossEntropy, ModelIndex, abi::operation::reduction, prelude::*};

/// A loss of one or more models on a batch.
pub trait Task: Sized + 'static {
    /// Settings.
    type Config: Config;

    /// The task with its settings.
    ///
    /// # Errors
    /// Settings that do not fit together.
    fn new(config: Self::Config, setup: &mut Setup) -> Result<Self>;

    /// The models that are trained. Other models of the run are left as they are.
    ///
    /// # Errors
    /// The run has no such model.
    fn models(&mut self, learner: &Learner) -> Result<Vec<ModelIndex>>;

    /// Runs the models and sets `step.yhats`.
    ///
    /// # Errors
    /// Those of the models.
    fn predict(&mut self, step: &Step<'_>) -> Result<()>;

    /// The loss, after callbacks may have changed `step.yhats`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn loss(&mut self, step: &Step<'_>) -> Result<Tensor>;
}

/// The phase that trains.
pub struct Train<T> {
    task: T,
    models: Vec<ModelIndex>,
}

/// The phase that measures.
pub struct Measure<T>(T);

impl<T: Task> Component for Train<T> {
    type Config = T::Config;

    fn new(config: T::Config, setup: &mut Setup) -> Result<Self> {
        Ok(Train { task: T::new(config, setup)?, models: Vec::new() })
    }
}

impl<T: Task> Component for Measure<T> {
    type Config = T::Config;

    fn new(config: T::Config, setup: &mut Setup) -> Result<Self> {
        T::new(config, setup).map(Measure)
    }
}

impl<T: Task> Phase for Train<T> {
    fn init(&mut self, learner: &PhaseLearner) -> Result<()> {
        self.models = self.task.models(learner)?;
        Ok(())
    }

    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        let Train { task, models } = self;
        learner.run_step(batch, |step| {
            task.predict(step)?;
            step.dispatch(LossBegin)?;
            step.set_loss(&task.loss(step)?)?;
            step.dispatch(BackwardBegin)?;
            step.backward(&step.loss()?)?;
            step.dispatch(BackwardEnd)?;
            models.iter().try_for_each(|&model| step.update_for(model))
        })
    }
}

impl<T: Task> Phase for Measure<T> {
    fn init(&mut self, learner: &PhaseLearner) -> Result<()> {
        self.0.models(learner).map(drop)
    }

    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        let Measure(task) = self;
        learner.run_step(batch, |step| {
            task.predict(step)?;
            step.dispatch(LossBegin)?;
            step.set_loss(&task.loss(step)?)
        })
    }
}

/// The mean cross-entropy of logits `[.., classes]` over the labels `[..]` that count; 0 if none does.
///
/// # Errors
/// Shapes that do not fit.
pub fn mean_over(logits: &Tensor, labels: &[u32], counts: &[bool]) -> Result<Tensor> {
    let shape: Vec<usize> = {
        let mut shape = logits.dims()?;
        shape.pop();
        shape
    };
    let expected: usize = shape.iter().product();
    if labels.len() != expected || counts.len() != expected {
        bail!("the model predicts {expected} tokens, there are {} targets", labels.len());
    }
    let count = counts.iter().filter(|counts| **counts).count();
    let label = |(&label, &counts): (&u32, &bool)| if counts { i64::from(label) } else { IGNORED };
    let labels: Vec<i64> = labels.iter().zip(counts).map(label).collect();
    let options = CrossEntropy {
        ignored: Some(IGNORED),
        reduction: reduction::SUM,
        ..CrossEntropy::default()
    };
    let sum = logits.cross_entropy_with(&Tensor::from_slice(&labels, shape)?, &options)?;
    sum.affine(1.0 / count.max(1) as f64, 0.0)
}

/// The label of tokens that do not count, as in PyTorch.
const IGNORED: i64 = -100;
