//! Optimizers.

use std::borrow::Cow;

use crate::{Component, Learner, Result, Tensor};

/// The rule of an update. `[training thread]`
///
/// The host keeps the state tensors that `new` named with
/// [`Setup::optimizer_state`](crate::Setup::optimizer_state); the arithmetic is a fused operation
/// on [`Tensor`], such as `Tensor::adamw_update`.
pub trait Optimizer: Component {
    /// Called before the updates of a step: read the hyper-parameters here.
    fn begin(&mut self, learner: &Learner) -> Result<()>;

    /// Changes one parameter in place.
    fn update(&mut self, update: &Update<'_>) -> Result<()>;
}

/// One parameter to update.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    pub(crate) path: &'a [u8],
    /// The parameter.
    pub parameter: &'a Tensor,
    /// Its gradient, of the same shape.
    pub gradient: &'a Tensor,
    /// Its state tensors in the order of `optimizer_state`, each of the parameter's shape.
    pub states: &'a [Tensor],
    /// Which update of this parameter this is, from 1.
    pub step: u64,
}

impl<'a> Update<'a> {
    /// Dotted path of the parameter within its model.
    pub fn path(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.path)
    }

    /// State tensor `index`.
    pub fn state(&self, index: usize) -> Result<&'a Tensor> {
        self.states.get(index).ok_or_else(|| {
            crate::Error::new(format!(
                "this optimizer named {} state tensors, there is no {index}",
                self.states.len()
            ))
        })
    }
}
