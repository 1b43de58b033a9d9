//! Trains on mixtures of two samples (Zhang et al. 2017, arXiv:1710.09412). Metrics use the original
//! labels.

use fluxbay_plugin::prelude::*;

use crate::{
    beta::{Uniforms, beta},
    targets::{as_rows, smooth},
};

config! {
    /// How samples are mixed.
    pub struct Config {
        /// Both parameters of the Beta distribution from which the share of the first sample is
        /// drawn; higher values mix more evenly.
        alpha: f64 = 0.4,
        /// Share of each label that is spread over all classes, as in label-smoothing.
        label_smoothing: f64 = 0.0 => 0.0..=1.0,
    }
}

/// The callback `mixup`.
pub struct Mixup {
    alpha: Read<f64>,
    label_smoothing: f64,
    xs: Write<Tensor>,
    ys: Write<Tensor>,
    yhats: Read<Tensor>,
    mixture: Option<Mixture>,
}

/// The mixture of the current step.
struct Mixture {
    share: f64,
    partners: Tensor,
    hard: Option<Tensor>,
}

impl Mixture {
    fn of(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor
            .affine(self.share, 0.0)?
            .add(&tensor.index_select(&self.partners, 0)?.affine(1.0 - self.share, 0.0)?)
    }
}

impl Component for Mixup {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        if config.alpha.is_nan() || config.alpha <= 0.0 {
            bail!("`alpha` is {}, but it must be above 0", config.alpha);
        }
        Ok(Mixup {
            alpha: setup.hyper_parameter("alpha", config.alpha)?,
            label_smoothing: config.label_smoothing,
            xs: setup.write("step.xs")?,
            ys: setup.write("step.ys")?,
            yhats: setup.read("step.yhats")?,
            mixture: None,
        })
    }
}

impl Mixup {
    fn mix_inputs(&mut self, learner: &Learner) -> Result<()> {
        let xs = learner.get(&self.xs)?;
        let samples = xs.dims()?.first().copied().unwrap_or(1);
        // Random numbers of the host, so that a resumed run draws the same ones.
        let mut uniforms =
            Uniforms::new(|count| Tensor::rand(0.0, 1.0, [count], DType::F64)?.to_vec());
        let share = beta(learner.get(&self.alpha)?, &mut uniforms)?;
        let mixture = Mixture {
            share: share.max(1.0 - share),
            partners: Tensor::permutation(samples)?,
            hard: None,
        };
        learner.set(&self.xs, mixture.of(&xs)?)?;
        self.mixture = Some(mixture);
        Ok(())
    }

    fn mix_targets(&mut self, learner: &Learner) -> Result<()> {
        let Some(mixture) = &mut self.mixture else { return Ok(()) };
        let hard = learner.get(&self.ys)?;
        let mut rows = as_rows(&hard, &learner.get(&self.yhats)?)?;
        if self.label_smoothing > 0.0 {
            rows = smooth(&rows, self.label_smoothing)?;
        }
        let mixed = mixture.of(&rows)?;
        mixture.hard = Some(hard);
        learner.set(&self.ys, mixed)
    }
}

impl Callback for Mixup {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        match event.kind() {
            StepBegin if event.is_training() => self.mix_inputs(learner),
            LossBegin if event.is_training() => self.mix_targets(learner),
            // The loss is computed: restore the labels for the events that follow.
            BackwardBegin => match self.mixture.take().and_then(|mixture| mixture.hard) {
                Some(hard) => learner.set(&self.ys, hard),
                None => Ok(()),
            },
            _ => {
                self.mixture = None;
                Ok(())
            }
        }
    }
}
