//! Loss `bce-with-logits`: binary cross-entropy of logits.

use fluxbay_plugin::prelude::*;

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
        // (1 - y) x + (1 + (p - 1) y) log(1 + e^-x)
        let factor = match self.0.pos_weight.as_slice() {
            [] => return yhats.bce_with_logits(&ys),
            [weight] => ys.affine(weight - 1.0, 1.0)?,
            weights => {
                let weights = per_class("pos-weight", weights, yhats)?.affine(1.0, -1.0)?;
                ys.mul(&weights)?.affine(1.0, 1.0)?
            }
        };
        let linear = ys.affine(-1.0, 1.0)?.mul(yhats)?;
        linear.add(&factor.mul(&yhats.neg()?.softplus()?)?)?.mean_all()
    }
}
