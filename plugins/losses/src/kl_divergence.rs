//! Loss `kl-divergence`: divergence of the predicted distribution from the target (Kullback and
//! Leibler 1951).

use fluxbay_plugin::prelude::*;

use crate::targets::Classes;

choice! {
    /// Form of the predictions.
    pub enum Predictions {
        /// Unnormalised scores, of which softmax makes probabilities.
        Logits,
        /// Natural logarithms of probabilities.
        LogProbabilities,
    }
}

choice! {
    /// Form of the targets.
    pub enum Targets {
        /// Probabilities with sum 1, or labels.
        Probabilities,
        /// Natural logarithms of probabilities.
        LogProbabilities,
    }
}

config! {
    /// Form of predictions and targets.
    pub struct Config {
        /// Form of the predictions.
        predictions: Predictions = "logits",
        /// Form of the targets.
        targets: Targets = "probabilities",
    }
}

/// The loss `kl-divergence`: `sum(target (log target - log prediction))` over the classes, averaged
/// over the samples.
pub struct KlDivergence(Config);

impl Component for KlDivergence {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(KlDivergence(config))
    }
}

impl Loss for KlDivergence {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let predicted = match self.0.predictions {
            Predictions::Logits => yhats.log_softmax(-1)?,
            Predictions::LogProbabilities => yhats.clone(),
        };
        let given = match Classes::of(yhats, ys)? {
            Classes::Labels(labels) => labels.one_hot(yhats.dim(-1)?)?.to_dtype(yhats.dtype()?)?,
            Classes::Probabilities(given) => given,
        };
        let (targets, logarithms) = match self.0.targets {
            // The smallest normal number: 0 log 0 is 0.
            Targets::Probabilities => {
                (given.clone(), given.clamp(f64::from(f32::MIN_POSITIVE), f64::MAX)?.log()?)
            }
            Targets::LogProbabilities => (given.exp()?, given),
        };
        let samples = yhats.elem_count()? / yhats.dim(-1)?.max(1);
        targets.mul(&logarithms.sub(&predicted)?)?.sum_all()?.affine(1.0 / samples as f64, 0.0)
    }
}
