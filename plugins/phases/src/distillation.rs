//! Distillation (Hinton et al. 2015, arXiv:1503.02531).

use fluxbay_plugin::{ModelIndex, prelude::*};

use crate::task::Task;

config! {
    /// How teacher and targets are weighed.
    pub struct Config {
        /// Divides the logits of both models before they are compared.
        temperature: f64 = 2.0,
        /// Share of the teacher in the loss; the rest is the loss of the targets.
        weight: f64 = 0.5 => 0.0..=1.0,
    }
}

/// The task `distillation`: `model.student` learns the predictions of `model.teacher`, which is not
/// trained, and the targets.
pub struct Distillation {
    config: Config,
    models: Option<[ModelIndex; 2]>,
    teacher: Option<Tensor>,
}

impl Task for Distillation {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        if config.temperature <= 0.0 {
            bail!("temperature = {} must be above 0", config.temperature);
        }
        Ok(Distillation { config, models: None, teacher: None })
    }

    fn models(&mut self, learner: &Learner) -> Result<Vec<ModelIndex>> {
        let models = [learner.model_named("student")?, learner.model_named("teacher")?];
        self.models = Some(models);
        Ok(vec![models[0]])
    }

    fn predict(&mut self, step: &Step<'_>) -> Result<()> {
        let Some([student, teacher]) = self.models else {
            bail!("distillation was not initialised")
        };
        let xs = step.xs()?;
        self.teacher = Some(step.without_gradients(|| step.run_model(teacher, &xs))?);
        step.set_yhats(&step.run_model(student, &xs)?)
    }

    fn loss(&mut self, step: &Step<'_>) -> Result<Tensor> {
        let Some(teacher) = self.teacher.take() else { bail!("there are no predictions") };
        let Config { temperature, weight } = self.config;
        let student = step.yhats()?;
        let shape = teacher.dims()?;
        if student.dims()? != shape {
            bail!("the student predicts {:?}, the teacher {shape:?}", student.dims()?);
        }
        // The mean over the rows of the Kullback-Leibler divergence.
        let rows: usize = shape[..shape.len() - 1].iter().product();
        let log = |logits: &Tensor| logits.affine(1.0 / temperature, 0.0)?.log_softmax(-1);
        let (wanted, found) = (log(&teacher)?, log(&student)?);
        let divergence = wanted.exp()?.mul(&wanted.sub(&found)?)?.sum_all()?;
        let soft = divergence.affine(temperature * temperature / rows.max(1) as f64, 0.0)?;
        if weight == 1.0 {
            return Ok(soft);
        }
        let hard = step.compute_loss(&student, &step.ys()?)?;
        soft.affine(weight, 0.0)?.add(&hard.affine(1.0 - weight, 0.0)?)
    }
}
