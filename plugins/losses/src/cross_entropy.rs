//! Loss `cross-entropy`: softmax cross-entropy.

use fluxbay_plugin::prelude::*;

config! {
    /// Treatment of the targets.
    pub struct Config {
        /// Share of each target that is distributed evenly over all classes (Szegedy et al. 2016,
        /// arXiv:1512.00567).
        label_smoothing: f64 = 0.0 => 0.0..1.0,
    }
}

/// The loss `cross-entropy`: `-sum(target * log softmax(logits))`, averaged over the samples.
pub struct CrossEntropy(Config);

impl Component for CrossEntropy {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(CrossEntropy(config))
    }
}

impl Loss for CrossEntropy {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        yhats.cross_entropy(ys, self.0.label_smoothing)
    }
}
