//! Parameters and buffers of models: identity, initial values, order.
//!
//! A parameter belongs to a model and has a dotted path. Its initial values depend on the seed, the
//! model's name and the path only, not on the order of creation. Listings are ordered by (model,
//! path).

use candle_core::{DType, Tensor};
use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::tensor::init as code;

use super::error::Result as TensorResult;
use super::random::{Random, normal_f64, unit_f64};
use super::value::host_tensor;

/// Initial values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All one value.
    Constant(f64),
    /// Uniform in `[low, high)`.
    Uniform {
        /// Smallest value.
        low: f64,
        /// Bound above.
        high: f64,
    },
    /// Normal.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
}

impl Init {
    /// From the contract's code and its two numbers; `None` for an unknown code.
    pub fn from_code(kind: u32, a: f64, b: f64) -> Option<Self> {
        Some(match kind {
            code::CONSTANT => Init::Constant(a),
            code::UNIFORM => Init::Uniform { low: a, high: b },
            code::NORMAL => Init::Normal { mean: a, std: b },
            _ => return None,
        })
    }

    /// Values for `shape`, from the words that belong to `name`.
    pub(crate) fn values(
        self,
        shape: &[usize],
        dtype: DType,
        random: &Random,
        name: &str,
    ) -> TensorResult<Tensor> {
        let count: usize = shape.iter().product();
        let words = random.named(name);
        let sample = |index: usize| {
            let block = words.block(index as u64);
            match self {
                Init::Constant(constant) => constant,
                Init::Uniform { low, high } => low + (high - low) * unit_f64(block[0], block[1]),
                Init::Normal { mean, std } => mean + std * normal_f64(block),
            }
        };
        Ok(if dtype == DType::F64 {
            host_tensor((0..count).map(sample).collect::<Vec<f64>>(), shape)?
        } else {
            let values: Vec<f32> = (0..count).map(|index| sample(index) as f32).collect();
            host_tensor(values, shape)?
        })
    }
}

/// Whether the optimizer changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It gets a gradient.
    Trainable,
    /// Part of the model's state, without a gradient (running statistics).
    Buffer,
}

/// One parameter in a listing.
#[derive(Clone, Copy, Debug)]
pub struct ParameterInfo<'a> {
    /// Its number: stable for the engine's life, in the order of creation.
    pub index: usize,
    /// Index of its model.
    pub model: usize,
    /// Dotted path within the model.
    pub path: &'a str,
    /// The tensor; stays valid while the engine lives.
    pub handle: Handle,
    /// Trainable or buffer.
    pub kind: Kind,
    /// Whether it was frozen: treated as a constant.
    pub frozen: bool,
    /// Whether a gradient is there.
    pub has_gradient: bool,
}

#[derive(Debug)]
pub(crate) struct Parameter {
    pub model: usize,
    pub path: String,
    pub handle: Handle,
    pub kind: Kind,
    pub frozen: bool,
    pub gradient: Option<Handle>,
}

/// All parameters, and their order.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    pub models: Vec<String>,
    pub list: Vec<Parameter>,
    /// Indices into `list`, by (model, path).
    pub order: Vec<usize>,
}

impl Parameters {
    /// The number of the model with this name, a new one if there is none.
    pub fn model(&mut self, name: &str) -> usize {
        self.models.iter().position(|known| known == name).unwrap_or_else(|| {
            self.models.push(name.to_owned());
            self.models.len() - 1
        })
    }

    pub fn find(&self, model: usize, path: &str) -> Result<usize, usize> {
        self.order
            .binary_search_by(|&index| {
                let parameter = &self.list[index];
                parameter.model.cmp(&model).then_with(|| parameter.path.as_str().cmp(path))
            })
            .map(|place| self.order[place])
    }

    pub fn info(&self, index: usize) -> ParameterInfo<'_> {
        let parameter = &self.list[index];
        ParameterInfo {
            index,
            model: parameter.model,
            path: &parameter.path,
            handle: parameter.handle,
            kind: parameter.kind,
            frozen: parameter.frozen,
            has_gradient: parameter.gradient.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_the_distribution_asked_for() {
        let random = Random::new(5);
        let numbers = |init: Init| {
            init.values(&[200, 100], DType::F64, &random, "w")
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f64>()
                .unwrap()
        };
        let normal = numbers(Init::Normal { mean: 1.0, std: 0.2 });
        let mean = normal.iter().sum::<f64>() / 20_000.0;
        let variance = normal.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 20_000.0;
        assert!(
            (mean - 1.0).abs() < 0.005 && (variance.sqrt() - 0.2).abs() < 0.005,
            "{mean} {variance}"
        );
        let uniform = numbers(Init::Uniform { low: -0.5, high: 1.5 });
        assert!(
            uniform.iter().all(|x| (-0.5..1.5).contains(x))
                && uniform.iter().any(|x| *x > 1.49)
                && uniform.iter().any(|x| *x < -0.49)
        );
    }

    #[test]
    fn an_unknown_code_is_no_distribution() {
        assert_eq!(Init::from_code(code::CONSTANT, 2.0, 0.0), Some(Init::Constant(2.0)));
        assert_eq!(Init::from_code(99, 0.0, 0.0), None);
    }
}
