//! What callbacks that mix samples share: mixed inputs at the beginning of a step, mixed targets for the
//! loss, and the labels again for what follows.

use fluxbay_plugin::prelude::*;

use crate::targets::{as_rows, smooth};

/// How the samples of a step are mixed with others of the batch.
pub struct Mixture {
    /// Share of a target that is the sample's own.
    pub share: f64,
    /// The other sample of each.
    pub partners: Tensor,
    /// 1 where elements are those of the other sample, broadcasting to the inputs; without it, elements
    /// are weighted sums.
    pub part: Option<Tensor>,
}

impl Mixture {
    fn blended(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor
            .affine(self.share, 0.0)?
            .add(&tensor.index_select(&self.partners, 0)?.affine(1.0 - self.share, 0.0)?)
    }

    fn inputs(&self, xs: &Tensor) -> Result<Tensor> {
        match &self.part {
            None => self.blended(xs),
            Some(part) => {
                part.broadcast_as(xs.dims()?)?.where_cond(&xs.index_select(&self.partners, 0)?, xs)
            }
        }
    }
}

/// The state paths that are changed, and the mixture of the current step.
pub struct Mixing {
    label_smoothing: f64,
    xs: Write<Tensor>,
    ys: Write<Tensor>,
    yhats: Read<Tensor>,
    mixture: Option<Mixture>,
    /// The labels, while mixed targets are in their place.
    labels: Option<Tensor>,
}

impl Mixing {
    /// Asks for the paths. `label_smoothing` is the share of each label that is spread over all classes.
    pub fn new(label_smoothing: f64, setup: &mut Setup) -> Result<Mixing> {
        Ok(Mixing {
            label_smoothing,
            xs: setup.write("step.xs")?,
            ys: setup.write("step.ys")?,
            yhats: setup.read("step.yhats")?,
            mixture: None,
            labels: None,
        })
    }

    /// Handles an event. `draw` gets the shape of the inputs at the beginning of a step of training, and
    /// returns how they are mixed, if they are.
    pub fn on(
        &mut self,
        event: &Event,
        learner: &Learner,
        draw: impl FnOnce(&[usize]) -> Result<Option<Mixture>>,
    ) -> Result<()> {
        match event.kind() {
            StepBegin if event.is_training() => {
                let xs = learner.get(&self.xs)?;
                self.mixture = draw(&xs.dims()?)?;
                match &self.mixture {
                    Some(mixture) => learner.set(&self.xs, mixture.inputs(&xs)?),
                    None => Ok(()),
                }
            }
            LossBegin if event.is_training() => self.mix_targets(learner),
            // The loss is computed: restore the labels for the events that follow.
            BackwardBegin => {
                self.mixture = None;
                match self.labels.take() {
                    Some(labels) => learner.set(&self.ys, labels),
                    None => Ok(()),
                }
            }
            _ => {
                (self.mixture, self.labels) = (None, None);
                Ok(())
            }
        }
    }

    fn mix_targets(&mut self, learner: &Learner) -> Result<()> {
        let Some(mixture) = &self.mixture else { return Ok(()) };
        let labels = learner.get(&self.ys)?;
        let mut rows = as_rows(&labels, &learner.get(&self.yhats)?)?;
        if self.label_smoothing > 0.0 {
            rows = smooth(&rows, self.label_smoothing)?;
        }
        let mixed = mixture.blended(&rows)?;
        self.labels = Some(labels);
        learner.set(&self.ys, mixed)
    }
}
