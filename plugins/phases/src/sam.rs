//! Sharpness-aware minimisation (Foret et al. 2020, arXiv:2010.01412), and its adaptive form (Kwon
//! et al. 2021, arXiv:2102.11600).
//!
//! Each step runs the model twice: the gradient at the parameters gives a nearby point of higher
//! loss, and the gradient at that point updates the parameters.

use fluxbay_plugin::prelude::*;

config! {
    /// Size of the neighbourhood.
    pub struct Config {
        /// Distance of the nearby point from the parameters; about 0.05, and ten times as much in
        /// the adaptive form.
        rho: f64 = 0.05 => 0.0..,
        /// Whether distances are measured relative to the magnitude of each parameter (ASAM).
        adaptive: bool = false,
    }
}

/// The phase `sam`.
pub struct Sam {
    config: Config,
    params: Write<Tensors>,
    grads: Read<Tensors>,
    model: Write<Tensors>,
    /// Indices of the buffers in `model`.
    buffers: Vec<usize>,
}

impl Component for Sam {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(Sam {
            config,
            params: setup.write("params")?,
            grads: setup.read("step.grads")?,
            model: setup.write("model")?,
            buffers: Vec::new(),
        })
    }
}

/// A tensor of a map and its original value.
type Original = (usize, Tensor);

fn copies(tensors: &Write<Tensors>, indices: &[usize]) -> Result<Vec<Original>> {
    let copy = |&index: &usize| match tensors.get(index)? {
        // x * 1 + (-0) equals x bit for bit.
        Some(tensor) => Ok((index, tensor.detach()?.affine(1.0, -0.0)?)),
        None => bail!("tensor {index} of the model has no value"),
    };
    indices.iter().map(copy).collect()
}

fn restore(tensors: &Write<Tensors>, originals: &[Original]) -> Result<()> {
    originals.iter().try_for_each(|(index, value)| tensors.set(*index, value))
}

impl Sam {
    /// Moves the parameters to the nearby point; returns their original values.
    fn climb(&self) -> Result<Vec<Original>> {
        let mut gradients = Vec::new();
        for index in 0..self.grads.len()? {
            if let Some(gradient) = self.grads.get(index)? {
                gradients.push((index, gradient));
            }
        }
        let indices: Vec<usize> = gradients.iter().map(|(index, _)| *index).collect();
        let originals = copies(&self.params, &indices)?;
        let pairs = || originals.iter().zip(&gradients);
        let mut squares = 0.0;
        for ((_, value), (_, gradient)) in pairs() {
            let weighted = if self.config.adaptive {
                value.abs()?.mul(gradient)?
            } else {
                gradient.detach()?
            };
            squares += weighted.norm()?.to_scalar::<f64>()?.powi(2);
        }
        let scale = self.config.rho / (squares.sqrt() + 1e-12);
        for ((index, value), (_, gradient)) in pairs() {
            let direction = if self.config.adaptive {
                value.sqr()?.mul(gradient)?
            } else {
                gradient.detach()?
            };
            self.params.set(*index, &value.add(&direction.affine(scale, 0.0)?)?)?;
        }
        Ok(originals)
    }

    /// The second pass: leaves the gradients at the nearby point.
    fn descend(&self, step: &Step<'_>, ys: &Tensor) -> Result<()> {
        step.forward(&step.xs()?)?;
        step.compute_loss(&step.yhats()?, ys)?;
        step.dispatch(BackwardBegin)?;
        step.backward(&step.loss()?)
    }
}

impl Phase for Sam {
    fn init(&mut self, _: &PhaseLearner) -> Result<()> {
        let trainable = self.params.names()?;
        let names = self.model.names()?;
        self.buffers = (0..names.len()).filter(|&at| !trainable.contains(&names[at])).collect();
        Ok(())
    }

    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        learner.run_step(batch, |step| {
            step.forward(&step.xs()?)?;
            step.dispatch(LossBegin)?;
            // Callbacks may have changed the targets for the loss; both passes use them.
            let (yhats, ys) = (step.yhats()?, step.ys()?);
            let loss = step.compute_loss(&yhats, &ys)?;
            step.backward(&loss)?;

            // The second pass does not count in running statistics.
            let buffers = step.without_gradients(|| copies(&self.model, &self.buffers))?;
            let originals = step.without_gradients(|| self.climb())?;
            let descended = self.descend(step, &ys);
            restore(&self.params, &originals)?;
            restore(&self.model, &buffers)?;
            descended?;
            step.dispatch(BackwardEnd)?;
            step.update()?;
            // Metrics measure the model itself, not the nearby point.
            step.set_yhats(&yhats)?;
            step.set_loss(&loss.detach()?)
        })
    }
}
