//! Loss `cross-entropy`: softmax cross-entropy.

use fluxbay_plugin::{
    abi::operation::{op, reduction},
    prelude::*,
};

use crate::targets::{Classes, check_weights, per_class};

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

impl Loss for CrossEntropy {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let Config { label_smoothing, class_weights, ignore_index } = &self.0;
        if class_weights.is_empty() {
            let Some(ignored) = ignore_index else {
                return yhats.cross_entropy(ys, *label_smoothing);
            };
            let ints = [reduction::MEAN, *ignored];
            return Tensor::apply(op::CROSS_ENTROPY, &[yhats, ys], &ints, &[*label_smoothing]);
        }
        weighted(yhats, ys, class_weights, *ignore_index, *label_smoothing)
    }
}

/// `sum(weights * smoothed target * -log softmax(logits))`, divided by the sum of the weights of the
/// labels, or by the number of samples if the targets are probabilities.
fn weighted(
    yhats: &Tensor,
    ys: &Tensor,
    weights: &[f64],
    ignored: Option<i64>,
    smoothing: f64,
) -> Result<Tensor> {
    let weights = per_class("class-weights", weights, yhats)?;
    let (classes, dtype) = (yhats.dim(-1)?, yhats.dtype()?);
    let smooth = |targets: &Tensor| match smoothing > 0.0 {
        true => targets.affine(1.0 - smoothing, smoothing / classes as f64),
        false => Ok(targets.clone()),
    };
    let (targets, total) = match Classes::of(yhats, ys)? {
        Classes::Probabilities(_) if ignored.is_some() => {
            bail!("ignore-index needs labels, the targets are probabilities")
        }
        Classes::Probabilities(targets) => {
            let samples = yhats.elem_count()? / classes;
            (smooth(&targets)?, Tensor::full(samples as f64, (), dtype)?)
        }
        Classes::Labels(labels) => {
            let (labels, kept) = without(&labels, ignored)?;
            let one_hot = labels.one_hot(classes)?.to_dtype(dtype)?;
            let (mut targets, mut counted) = (smooth(&one_hot)?, one_hot.mul(&weights)?);
            if let Some(kept) = kept {
                let kept = kept.to_dtype(dtype)?.unsqueeze(-1)?;
                (targets, counted) = (targets.mul(&kept)?, counted.mul(&kept)?);
            }
            (targets, counted.sum_all()?)
        }
    };
    targets.mul(&weights)?.mul(&yhats.log_softmax(-1)?)?.sum_all()?.neg()?.div(&total)
}

/// Labels with ignored ones replaced by 0, and a mask that is 0 for these.
fn without(labels: &Tensor, ignored: Option<i64>) -> Result<(Tensor, Option<Tensor>)> {
    let Some(ignored) = ignored else { return Ok((labels.clone(), None)) };
    let labels = labels.to_dtype(DType::I64)?;
    let kept = labels.ne(&Tensor::full(ignored as f64, (), DType::I64)?)?;
    let labels = kept.where_cond(&labels, &labels.zeros_like()?)?;
    Ok((labels, Some(kept)))
}
