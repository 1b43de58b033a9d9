//! Limits the common norm of the gradients, or each of their values (Pascanu et al. 2012,
//! arXiv:1211.5063).

use fluxbay_plugin::prelude::*;

config! {
    /// Limits of the gradients.
    pub struct Config {
        /// Largest allowed Euclidean norm of all gradients together; larger ones are scaled down.
        norm: Option<f64> = null => 0.0..,
        /// Largest allowed magnitude of each value; applied before the norm.
        value: Option<f64> = null => 0.0..,
    }
}

/// The callback `gradient-clipping`.
pub struct GradientClipping {
    norm: Option<Read<f64>>,
    value: Option<Read<f64>>,
    gradients: Write<Tensors>,
    measured: Write<f64>,
    skipped: Read<bool>,
}

impl Component for GradientClipping {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        if config.norm.is_none() && config.value.is_none() {
            bail!("gradient-clipping needs `norm` or `value`");
        }
        let mut limit = |name: &str, initial: Option<f64>| {
            initial.map(|initial| setup.hyper_parameter(name, initial)).transpose()
        };
        Ok(GradientClipping {
            norm: limit("norm", config.norm)?,
            value: limit("value", config.value)?,
            gradients: setup.write("step.grads")?,
            measured: setup.write("step.gradient-norm")?,
            skipped: setup.read("step.update-skipped")?,
        })
    }
}

/// The Euclidean norm of a tensor. Where the sum of squares leaves the range of the element type, the
/// tensor is scaled by its largest magnitude first.
fn norm(tensor: &Tensor) -> Result<f64> {
    let norm: f64 = tensor.norm()?.to_scalar()?;
    if norm.is_finite() && norm > 0.0 {
        return Ok(norm);
    }
    let largest: f64 = tensor.abs()?.max_all()?.to_scalar()?;
    if !largest.is_finite() || largest == 0.0 {
        // NaN, an infinite value or zero.
        return Ok(norm);
    }
    let scaled: f64 = scale(tensor, 1.0 / largest)?.norm()?.to_scalar()?;
    Ok(largest * scaled)
}

/// `factor * tensor`, in two steps where the factor alone would leave the range of the element type.
fn scale(tensor: &Tensor, factor: f64) -> Result<Tensor> {
    let range = if tensor.dtype()? == DType::F16 { 1e4 } else { 1e30 };
    if factor < range && factor > 1.0 / range {
        return tensor.affine(factor, 0.0);
    }
    let root = factor.sqrt();
    tensor.affine(root, 0.0)?.affine(root, 0.0)
}

/// The norm of all tensors together, given the norm of each.
fn total(norms: &[f64]) -> f64 {
    norms.iter().map(|norm| norm.powi(2)).sum::<f64>().sqrt()
}

/// The factor that scales `norm` down to `limit`. Gradients with an infinite or NaN norm are left
/// unchanged; stop-on-nan reports them.
fn factor(norm: f64, limit: f64) -> Option<f64> {
    (norm > limit && norm.is_finite()).then(|| limit / (norm + 1e-6))
}

impl GradientClipping {
    fn all(&self) -> Result<Vec<(usize, Tensor)>> {
        let mut all = Vec::new();
        for index in 0..self.gradients.len()? {
            if let Some(gradient) = self.gradients.get(index)? {
                all.push((index, gradient));
            }
        }
        Ok(all)
    }
}

impl Callback for GradientClipping {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.is_training() || learner.find(&self.skipped)?.unwrap_or(false) {
            return Ok(());
        }
        if let Some(limit) = &self.value {
            let limit = learner.get(limit)?;
            for (index, gradient) in self.all()? {
                self.gradients.set(index, &gradient.clamp(-limit, limit)?)?;
            }
        }
        let Some(limit) = &self.norm else { return Ok(()) };
        let all = self.all()?;
        let norms: Vec<f64> =
            all.iter().map(|(_, gradient)| norm(gradient)).collect::<Result<_>>()?;
        let norm = total(&norms);
        learner.set(&self.measured, norm)?;
        if let Some(factor) = factor(norm, learner.get(limit)?) {
            for (index, gradient) in all {
                self.gradients.set(index, &scale(&gradient, factor)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_norms_above_the_limit_are_scaled() {
        assert_eq!(factor(0.5, 1.0), None);
        assert_eq!(factor(f64::INFINITY, 1.0), None);
        assert_eq!(factor(f64::NAN, 1.0), None);
        assert!((factor(4.0, 1.0).unwrap() - 0.25).abs() < 1e-6);
    }
}
