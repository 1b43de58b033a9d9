//! Loss `cross-entropy`: softmax cross-entropy.

use fluxbay_plugin::{
    abi::operation::{op, reduction},
    prelude::*,
};

use crate::targets::{check_weights, per_class};

config! {
    /// Treatment of the targets.
    pub struct Config {
        /// Share of each target that is distributed evenly over all classes (Szegedy et al. 2016,
        /// arXiv:1512.00567).
        label_smoothing: f64 = 0.0 => 0.0..1.0,
        /// Weight of each class, in the order of the classes; by default all are 1. The mean is
        /// weighted, too, as in PyTorch.
        class_weights: Vec<f64> = [],
        /// Label of samples that do not count.
        ignore_index: Option<i64> = null,
    }
}

/// The loss `cross-entropy`: `-sum(target * log softmax(logits))`, averaged over the samples.
pub struct CrossEntropy(Config);

impl Component for CrossEntropy {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        check_weights("class-weights", &config.class_weights)?;
        Ok(CrossEntropy(config))
    }
}

/// Logits with the classes as the last dimension, if they are the second: those of pixels,
/// `[samples, classes, ...]` with labels `[samples, ...]`.
fn classes_last(yhats: &Tensor, ys: &Tensor) -> Result<Option<Tensor>> {
    let (logits, labels) = (yhats.dims()?, ys.dims()?);
    let rank = logits.len();
    let second = labels.len() + 1 == rank
        && labels[..] != logits[..rank - 1]
        && labels[0] == logits[0]
        && labels[1..] == logits[2..];
    let order: Vec<i64> = [0].into_iter().chain(2..rank as i64).chain([1]).collect();
    second.then(|| yhats.permute(&order[..])).transpose()
}

impl Loss for CrossEntropy {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let moved = if yhats.rank()? > 2 { classes_last(yhats, ys)? } else { None };
        let yhats = moved.as_ref().unwrap_or(yhats);
        let Config { label_smoothing, class_weights, ignore_index } = &self.0;
        let ints = [reduction::MEAN, ignore_index.unwrap_or_default()];
        let ints = if ignore_index.is_some() { &ints[..] } else { &ints[..1] };
        if class_weights.is_empty() {
            return Tensor::apply(op::CROSS_ENTROPY, &[yhats, ys], ints, &[*label_smoothing]);
        }
        let weights = per_class("class-weights", class_weights, yhats)?;
        let inputs = [yhats, ys, &weights];
        Tensor::apply(op::WEIGHTED_CROSS_ENTROPY, &inputs, ints, &[*label_smoothing])
    }
}
