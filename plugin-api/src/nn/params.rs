//! Where a model's parameters come from.

use std::rc::Rc;

use super::lora::{Adapter, Adapters, Lora};
use crate::{
    Result, Tensor,
    abi::tensor::{InitRaw, init},
    tensor::Shape,
    trampoline::calls,
};

/// Distribution of a parameter's initial values.
///
/// They depend on the run's seed, the model's name and the parameter's path, not on the order of
/// creation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every element has this value.
    Const(f64),
    /// Uniform in `[low, high)`.
    Uniform {
        /// Lowest value.
        low: f64,
        /// Highest value, not reached.
        high: f64,
    },
    /// Normal distribution.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
}

impl Init {
    /// Zeros.
    pub const ZEROS: Init = Init::Const(0.0);
    /// Ones.
    pub const ONES: Init = Init::Const(1.0);

    /// Uniform in `[-bound, bound)`.
    pub fn symmetric(bound: f64) -> Init {
        Init::Uniform { low: -bound, high: bound }
    }

    /// Uniform for layers followed by ReLU: bound `sqrt(6 / fan_in)` (He et al. 2015,
    /// arXiv:1502.01852).
    pub fn kaiming_uniform(fan_in: usize) -> Init {
        Init::symmetric((6.0 / fan_in.max(1) as f64).sqrt())
    }

    /// Normal for layers followed by ReLU: standard deviation `sqrt(2 / fan_in)` (He et al. 2015,
    /// arXiv:1502.01852).
    pub fn kaiming_normal(fan_in: usize) -> Init {
        Init::Normal { mean: 0.0, std: (2.0 / fan_in.max(1) as f64).sqrt() }
    }

    /// Uniform with bound `sqrt(6 / (fan_in + fan_out))` (Glorot and Bengio 2010).
    pub fn xavier_uniform(fan_in: usize, fan_out: usize) -> Init {
        Init::symmetric((6.0 / (fan_in + fan_out).max(1) as f64).sqrt())
    }
}

/// The parameters of a model, under dotted paths. [`Model::build`](crate::Model::build) receives
/// the root; [`Params::pp`] makes the path of a layer.
#[derive(Clone, Debug)]
pub struct Params {
    prefix: String,
    adapters: Option<Rc<Adapters>>,
}

impl Params {
    pub(crate) fn root() -> Params {
        Params { prefix: String::new(), adapters: None }
    }

    /// Parameters below `name`: `params.pp("encoder").pp(0)` is `encoder.0`.
    pub fn pp(&self, name: impl std::fmt::Display) -> Params {
        Params { prefix: self.path(&name.to_string()), adapters: self.adapters.clone() }
    }

    /// With low-rank adapters: linear layers that `lora` names get one, and of all other parameters
    /// only those that it names are trained. Without `lora` as before.
    pub fn with_lora(&self, lora: Option<&Lora>) -> Params {
        Params { prefix: self.prefix.clone(), adapters: lora.map(Adapters::new) }
    }

    /// Checks that each layer that the adapters are for was made. Call it when all layers are.
    ///
    /// # Errors
    /// For a name in `lora.targets` that no linear layer has.
    pub fn check_lora(&self) -> Result<()> {
        self.adapters.as_ref().map_or(Ok(()), |adapters| adapters.check())
    }

    /// The adapter of a linear layer at this path, if it has one.
    pub(crate) fn adapter(&self, sizes: [usize; 2]) -> Result<Option<Adapter>> {
        match &self.adapters {
            Some(adapters) => adapters.of(&self.prefix, sizes, self),
            None => Ok(None),
        }
    }

    /// Creates a parameter that is trained whether or not there are adapters.
    pub(crate) fn own(&self, shape: impl Shape, name: &str, init: Init) -> Result<Tensor> {
        Params { prefix: self.prefix.clone(), adapters: None }.get(shape, name, init)
    }

    /// Creates the trainable parameter `name`.
    ///
    /// # Errors
    /// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
    pub fn get(&self, shape: impl Shape, name: &str, init: Init) -> Result<Tensor> {
        self.make(&shape, name, init, 0)
    }

    /// Creates the buffer `name`: saved with the model, but not updated by optimizers.
    ///
    /// # Errors
    /// Outside [`Model::build`](crate::Model::build), or if the model has a parameter of that path already.
    pub fn buffer(&self, shape: impl Shape, name: &str, init: Init) -> Result<Tensor> {
        self.make(&shape, name, init, 1)
    }

    fn make(&self, shape: &impl Shape, name: &str, first: Init, buffer: u32) -> Result<Tensor> {
        let (kind, a, b) = match first {
            Init::Const(value) => (init::CONSTANT, value, 0.0),
            Init::Uniform { low, high } => (init::UNIFORM, low, high),
            Init::Normal { mean, std } => (init::NORMAL, mean, std),
        };
        let shape: Vec<u64> = shape.sizes().iter().map(|size| *size as u64).collect();
        let path = self.path(name);
        let frozen = self.adapters.as_ref().is_some_and(|adapters| !adapters.trains(&path));
        let buffer = if frozen { 1 } else { buffer };
        let handle = calls::parameter(&path, &shape, &InitRaw { kind, buffer, a, b })?;
        Ok(Tensor::from_handle(handle))
    }

    fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}
