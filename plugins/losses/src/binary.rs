//! Loss `bce-with-logits`: binary cross-entropy of logits.

use fluxbay_plugin::{abi::operation::reduction, prelude::*};

use crate::targets::{check_weights, matched, per_class};

config! {
    /// Weights of the positive targets.
    pub struct Config {
        /// Factor of the loss of positive targets: one number for all outputs, or one for each; by
        /// default 1.
        pos_weight: Vec<f64> = [],
    }
}

/// The loss `bce-with-logits`: `-(p y log s + (1 - y) log(1 - s))` with `s = sigmoid(logit)` and
/// `p = pos-weight`, averaged over all elements.
pub struct BinaryCrossEntropy(Config);

impl Component for BinaryCrossEntropy {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        check_weights("pos-weight", &config.pos_weight)?;
        Ok(BinaryCrossEntropy(config))
    }
}

impl Loss for BinaryCrossEntropy {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let ys = matched(yhats, ys)?;
        match self.0.pos_weight.as_slice() {
            [] => yhats.bce_with_logits(&ys),
            [weight] => {
                let weight = Tensor::full(*weight, (), yhats.dtype()?)?;
                yhats.weighted_bce_with_logits(&ys, &weight, reduction::MEAN)
            }
            weights => {
                let weights = per_class("pos-weight", weights, yhats)?;
                yhats.weighted_bce_with_logits(&ys, &weights, reduction::MEAN)
            }
        }
    }
}
