//! Trains on mixtures of two samples (Zhang et al. 2017, arXiv:1710.09412). Metrics use the original
//! labels.

use fluxbay_plugin::prelude::*;

use crate::{
    beta::{Uniforms, beta},
    mixing::{Mixing, Mixture},
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
    mixing: Mixing,
}

impl Component for Mixup {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        if config.alpha.is_nan() || config.alpha <= 0.0 {
            bail!("`alpha` is {}, but it must be above 0", config.alpha);
        }
        Ok(Mixup {
            alpha: setup.hyper_parameter("alpha", config.alpha)?,
            mixing: Mixing::new(config.label_smoothing, setup)?,
        })
    }
}

/// A weighted sum of each sample and another one. The sample's own share is the larger one.
pub fn blend<F: FnMut(usize) -> Result<Vec<f64>>>(
    alpha: f64,
    uniforms: &mut Uniforms<F>,
    samples: usize,
) -> Result<Mixture> {
    let share = beta(alpha, uniforms)?;
    let partners = Tensor::permutation(samples)?;
    Ok(Mixture { share: share.max(1.0 - share), partners, part: None })
}

impl Callback for Mixup {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let alpha = &self.alpha;
        self.mixing.on(event, learner, |shape| {
            let samples = shape.first().copied().unwrap_or(1);
            blend(learner.get(alpha)?, &mut Uniforms::of_host(), samples).map(Some)
        })
    }
}
