//! Mixtures of experts: feed-forward layers of which each token passes through a few.

use super::{Activation, Init, Linear, Module, Params};
use crate::{Error, Result, Tensor};

/// The experts of each token and their shares: the `k` largest of `softmax(logits)`, logits `[tokens,
/// experts]`. Returns shares `[tokens, k]` and experts `[tokens, k]` (`u32`), from the largest share
/// on; if `normalised`, the shares of a token add up to 1. Gradients flow to the logits through the
/// shares.
///
/// # Errors
/// If there are fewer than `k` experts.
pub fn top_k_routing(logits: &Tensor, k: usize, normalised: bool) -> Result<(Tensor, Tensor)> {
    let (shares, experts) = logits.softmax(-1)?.top_k(k)?;
    let shares = if normalised { shares.div(&shares.sum_keepdim(-1)?)? } else { shares };
    Ok((shares, experts))
}

/// Gated feed-forward layers `down(act(gate(x)) up(x))`, of which each token passes through a few
/// (Shazeer et al. 2017, arXiv:1701.06538).
#[derive(Debug)]
pub struct MixtureOfExperts {
    router: Linear,
    /// Gate, up and down of each expert.
    experts: [Vec<Tensor>; 3],
    activation: Activation,
    used: usize,
    normalised: bool,
}

/// Sizes of a [`MixtureOfExperts`].
#[derive(Clone, Copy, Debug)]
pub struct MixtureConfig {
    /// Width of inputs and outputs.
    pub width: usize,
    /// Width between the layers of an expert.
    pub wide: usize,
    /// Number of experts.
    pub experts: usize,
    /// Experts that a token passes through.
    pub used: usize,
    /// Whether the shares of a token's experts add up to 1.
    pub normalised: bool,
    /// Activation of the gate.
    pub activation: Activation,
}

/// A mixture of experts. Parameters `weight` `[experts, width]` of `router`, and below the path that
/// `expert` gives for the number of an expert and for 0 (gate), 1 (up) and 2 (down): `weight`, `[wide,
/// width]` of the first two and `[width, wide]` of the last.
///
/// # Errors
/// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of such a path
/// already. Also if more experts are used than there are.
pub fn mixture_of_experts(
    config: MixtureConfig,
    router: Params,
    expert: impl Fn(usize, usize) -> Params,
) -> Result<MixtureOfExperts> {
    let MixtureConfig { width, wide, experts, used, normalised, activation } = config;
    if used == 0 || used > experts {
        return Err(Error::new(format!("a token cannot pass through {used} of {experts} experts")));
    }
    let weight = |index: usize, part: usize| {
        let [outputs, inputs] = if part == 2 { [width, wide] } else { [wide, width] };
        let first = Init::symmetric(1.0 / (inputs.max(1) as f64).sqrt());
        expert(index, part).get((outputs, inputs), "weight", first)
    };
    let all = |part| (0..experts).map(|index| weight(index, part)).collect::<Result<Vec<_>>>();
    Ok(MixtureOfExperts {
        router: super::linear_no_bias(width, experts, router)?,
        experts: [all(0)?, all(1)?, all(2)?],
        activation,
        used,
        normalised,
    })
}

impl Module for MixtureOfExperts {
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let dims = xs.dims()?;
        let Some(&width) = dims.last() else {
            return Err(Error::new("a mixture of experts takes vectors"));
        };
        let tokens: usize = dims[..dims.len() - 1].iter().product();
        let rows = xs.reshape((tokens, width))?;
        let logits = self.router.forward(&rows)?;
        let (shares, experts) = top_k_routing(&logits, self.used, self.normalised)?;
        let groups = experts.reshape(tokens * self.used)?;
        let rows = rows.unsqueeze(1)?.broadcast_as((tokens, self.used, width))?;
        let rows = rows.reshape((tokens * self.used, width))?;
        let run = |part: usize, rows: &Tensor| {
            rows.grouped_linear(&groups, &self.experts[part].iter().collect::<Vec<_>>())
        };
        let gate = self.activation.forward(&run(0, &rows)?)?;
        let outputs = run(2, &gate.mul(&run(1, &rows)?)?)?;
        let outputs = outputs.reshape((tokens, self.used, width))?;
        outputs.mul(&shares.unsqueeze(2)?)?.sum(1)?.reshape(&dims[..])
    }
}
