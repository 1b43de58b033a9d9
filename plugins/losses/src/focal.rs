//! Loss `focal`: cross-entropy with less weight on samples that are predicted well (Lin et al. 2017,
//! arXiv:1708.02002).

use fluxbay_plugin::prelude::*;

use crate::targets::{Classes, check_weights, matched, per_class};

config! {
    /// Weights of samples and classes.
    pub struct Config {
        /// Exponent of `1 - p`, where `p` is the predicted probability of the target; 0 gives the
        /// cross-entropy.
        gamma: f64 = 2.0 => 0.0..,
        /// Weight of each class; by default all are 1. With binary logits one number: the weight of
        /// class 1, where class 0 has the rest to 1.
        alpha: Vec<f64> = [],
    }
}

/// The loss `focal`: `-alpha (1 - p)^gamma log p`, averaged over the samples. Logits `[.., classes]`
/// with labels, or binary logits with targets 0 and 1 of the same shape.
pub struct Focal(Config);

impl Component for Focal {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        check_weights("alpha", &config.alpha)?;
        Ok(Focal(config))
    }
}

impl Loss for Focal {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let binary = yhats.rank()? < 2 || yhats.dim(-1)? == 1 || yhats.dims()? == ys.dims()?;
        if binary { self.binary(yhats, &matched(yhats, ys)?) } else { self.classes(yhats, ys) }
    }
}

impl Focal {
    /// `loss (1 - p)^gamma`.
    fn focused(&self, loss: &Tensor, p: &Tensor) -> Result<Tensor> {
        if self.0.gamma == 0.0 {
            return Ok(loss.clone());
        }
        // The slope of a power below 1 is infinite at 0.
        let least = if self.0.gamma < 1.0 { 1e-6 } else { 0.0 };
        loss.mul(&p.affine(-1.0, 1.0)?.clamp(least, 1.0)?.powf(self.0.gamma)?)
    }

    fn classes(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let Classes::Labels(labels) = Classes::of(yhats, ys)? else {
            bail!("focal needs labels");
        };
        let one_hot = labels.one_hot(yhats.dim(-1)?)?.to_dtype(yhats.dtype()?)?;
        let log_p = one_hot.mul(&yhats.log_softmax(-1)?)?.sum(-1_i64)?;
        let mut loss = self.focused(&log_p.neg()?, &log_p.exp()?)?;
        if !self.0.alpha.is_empty() {
            let weights = one_hot.mul(&per_class("alpha", &self.0.alpha, yhats)?)?.sum(-1_i64)?;
            loss = loss.mul(&weights)?;
        }
        loss.mean_all()
    }

    fn binary(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let rest = ys.affine(-1.0, 1.0)?;
        let loss = rest.mul(yhats)?.add(&yhats.neg()?.softplus()?)?;
        let p = yhats.sigmoid()?;
        let p = p.mul(ys)?.add(&p.affine(-1.0, 1.0)?.mul(&rest)?)?;
        let mut loss = self.focused(&loss, &p)?;
        match self.0.alpha.as_slice() {
            [] => {}
            [alpha] => loss = loss.mul(&ys.affine(2.0 * alpha - 1.0, 1.0 - alpha)?)?,
            more => bail!("alpha lists {} numbers, binary logits take one", more.len()),
        }
        loss.mean_all()
    }
}
