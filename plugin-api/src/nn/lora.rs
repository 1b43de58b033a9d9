//! Low-rank adapters of linear layers.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Init, Module, Params, dropout};
use crate::{Error, Result, Setup, Tensor, abi::operation::op};

crate::config! {
    /// Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): the layers that they are for keep their
    /// weights, and only the adapters are trained.
    pub struct Lora {
        /// Folder with `adapter_model.safetensors` to start from, relative to the run file.
        from: Option<std::path::PathBuf> = null,
        /// Rank of each adapter.
        rank: usize = 8 => 1..,
        /// Scale of the adapters: they are multiplied by `alpha / rank`.
        alpha: f64 = 16.0 => 0.0..,
        /// Layers that get one: the last parts of their paths, such as `query` or `attention.self.query`.
        targets: Vec<String>,
        /// Layers that are trained as a whole, in the same form, such as a classifier.
        train: Vec<String> = [],
        /// Multiplied by `alpha / sqrt(rank)` instead (Kalajdzievski 2023, arXiv:2312.03732).
        rank_stabilized: bool = false,
        /// Dropout probability of what the adapters are given.
        dropout: f64 = 0.0 => 0.0..1.0,
        /// The length of each row of a weight is trained by itself, and adapters change its direction
        /// (DoRA, Liu et al. 2024, arXiv:2402.09353).
        weight_decomposed: bool = false,
    }
}

/// The adapters of a model while it is built.
#[derive(Debug)]
pub(crate) struct Adapters {
    lora: Lora,
    /// Targets that a layer was found for.
    found: RefCell<Vec<bool>>,
}

/// One adapter: `scale b (a x)`.
#[derive(Debug)]
pub(crate) struct Adapter {
    a: Tensor,
    b: Tensor,
    /// Length of each row of the weight, if it is trained by itself. A new run sets it to the lengths of
    /// the weight that it begins with.
    magnitude: Option<Tensor>,
    scale: f64,
    dropout: f64,
}

/// Whether a path is `target`, or ends with it behind a dot.
fn ends_with(path: &str, target: &str) -> bool {
    path.strip_suffix(target).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

impl Lora {
    /// With `from` made absolute: relative paths start from the run file's folder.
    ///
    /// # Errors
    /// Outside [`Component::new`](crate::Component::new).
    pub fn resolved(lora: Option<Lora>, setup: &Setup) -> Result<Option<Lora>> {
        let Some(mut lora) = lora else { return Ok(None) };
        lora.from = lora.from.map(|from| setup.resolve_path(from)).transpose()?;
        Ok(Some(lora))
    }

    /// The factor of the adapters.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// As PEFT's `adapter_config.json`.
    pub fn peft(&self) -> serde_json::Value {
        serde_json::json!({
            "peft_type": "LORA", "r": self.rank, "lora_alpha": self.alpha, "lora_dropout": self.dropout,
            "target_modules": self.targets, "use_rslora": self.rank_stabilized, "use_dora": self.weight_decomposed, "bias": "none",
            "modules_to_save": if self.train.is_empty() { None } else { Some(&self.train) },
        })
    }
}

impl Adapters {
    pub fn new(lora: &Lora) -> Rc<Adapters> {
        let found = RefCell::new(vec![false; lora.targets.len()]);
        Rc::new(Adapters { lora: lora.clone(), found })
    }

    /// Whether the parameter at `path` is trained as a whole.
    pub fn trains(&self, path: &str) -> bool {
        let Some((layer, _)) = path.rsplit_once('.') else { return false };
        // Also what lies deeper: `classifier` is `classifier.dense.weight`, too.
        let mut parents = layer.match_indices('.').map(|(at, _)| &layer[..at]).chain([layer]);
        parents.any(|parent| self.lora.train.iter().any(|name| ends_with(parent, name)))
    }

    /// The adapter of the layer at `path`, if it is for it.
    pub fn of(
        &self,
        path: &str,
        [inputs, outputs]: [usize; 2],
        params: &Params,
    ) -> Result<Option<Adapter>> {
        let Lora { rank, targets, dropout, weight_decomposed, .. } = &self.lora;
        let Some(at) = targets.iter().position(|target| ends_with(path, target)) else {
            return Ok(None);
        };
        self.found.borrow_mut()[at] = true;
        let first = Init::symmetric(1.0 / (inputs.max(1) as f64).sqrt());
        Ok(Some(Adapter {
            a: params.own((*rank, inputs), "lora_A.weight", first)?,
            b: params.own((outputs, *rank), "lora_B.weight", Init::ZEROS)?,
            magnitude: match weight_decomposed {
                true => Some(params.own(outputs, "lora_magnitude_vector", Init::ONES)?),
                false => None,
            },
            scale: self.lora.scale(),
            dropout: *dropout,
        }))
    }

    /// An error for a target without a layer.
    pub fn check(&self) -> Result<()> {
        let found = self.found.borrow();
        match self.lora.targets.iter().zip(&*found).find(|(_, found)| !**found) {
            Some((target, _)) => {
                Err(Error::new(format!("lora.targets: the model has no linear layer `{target}`")))
            }
            None => Ok(()),
        }
    }
}

impl Adapter {
    /// What is added to the result `plain` of the layer with `weight` and `bias`.
    pub fn forward(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        (plain, bias): (&Tensor, Option<&Tensor>),
    ) -> Result<Tensor> {
        let product =
            |xs: &Tensor, weight: &Tensor| Tensor::apply(op::LINEAR, &[xs, weight], &[0], &[]);
        let dropped = dropout(self.dropout).forward(xs)?;
        let own = product(&product(&dropped, &self.a)?, &self.b)?.affine(self.scale, 0.0)?;
        let Some(magnitude) = &self.magnitude else { return Ok(own) };
        // The length of the sum is taken as a constant, as the authors do.
        let sum = self.b.detach()?.matmul(&self.a.detach()?)?.affine(self.scale, 0.0)?;
        let sum = weight.detach()?.add(&sum)?;
        let factor = magnitude.div(&sum.sqr()?.sum(1)?.sqrt()?)?;
        let without_bias = match bias {
            _ if self.dropout > 0.0 => product(&dropped, weight)?,
            Some(bias) => plain.sub(bias)?,
            None => plain.clone(),
        };
        without_bias.mul(&factor.affine(1.0, -1.0)?)?.add(&own.mul(&factor)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora(targets: &[&str], train: &[&str]) -> Lora {
        let config = serde_json::json!({
            "from": null, "rank": 4, "alpha": 8.0, "targets": targets, "train": train,
            "rank-stabilized": false, "dropout": 0.0, "weight-decomposed": true,
        });
        serde_json::from_value(config).unwrap()
    }

    #[test]
    fn targets_are_the_last_parts_of_paths() {
        assert!(ends_with("encoder.0.query", "query") && ends_with("query", "query"));
        assert!(ends_with("encoder.0.self.query", "self.query"));
        assert!(!ends_with("encoder.0.subquery", "query") && !ends_with("query.0", "query"));
        let adapters = Adapters::new(&lora(&["query"], &["classifier"]));
        assert!(adapters.trains("classifier.weight") && adapters.trains("classifier.dense.bias"));
        assert!(!adapters.trains("encoder.weight") && !adapters.trains("weight"));
        let text = adapters.check().unwrap_err();
        assert!(text.message().contains("`query`"), "{}", text.message());
    }

    #[test]
    fn the_scale_follows_alpha_and_rank() {
        let mut lora = lora(&["query"], &[]);
        assert_eq!(lora.scale(), 2.0);
        lora.rank_stabilized = true;
        assert_eq!(lora.scale(), 4.0);
        assert_eq!(
            (&lora.peft()["use_rslora"], &lora.peft()["use_dora"]),
            (&true.into(), &true.into())
        );
        assert_eq!(lora.peft()["modules_to_save"], serde_json::Value::Null);
    }
}
