//! Generalized cross-entropy (Zhang and Sabuncu 2018, equation 5): `(1 - p_y^q) / q`, where `p_y` is
//! the predicted probability of the label. It is the cross-entropy for `q` towards 0 and the mean
//! absolute error for `q = 1`, and tolerates more wrong labels the larger `q` is.
//!
//! It shows how a loss is composed from differentiable operations: the gradient needs no code.

use fluxbay_plugin::prelude::*;

config! {
    /// How much wrong labels are tolerated.
    struct Config {
        /// The exponent: near 0 like cross-entropy, 1 like the mean absolute error.
        q: f64 = 0.7 => 0.01..=1.0,
    }
}

struct RobustCrossEntropy(Config);

impl Component for RobustCrossEntropy {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(RobustCrossEntropy(config))
    }
}

impl Loss for RobustCrossEntropy {
    /// Logits `[samples, classes]`, labels `[samples]`; the mean over the samples.
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let probabilities = yhats.softmax(-1)?;
        let of_label = probabilities.gather(&ys.unsqueeze(-1)?, -1)?;
        of_label.powf(self.0.q)?.affine(-1.0 / self.0.q, 1.0 / self.0.q)?.mean_all()
    }
}

plugin! {
    summary: "A loss for noisy labels.",
    loss "robust-cross-entropy" => RobustCrossEntropy {
        summary: "Generalized cross-entropy, which tolerates wrong labels.",
        example: "[loss]\ncomponent = \"robust-cross-entropy\"\nq = 0.7\n",
    },
}
