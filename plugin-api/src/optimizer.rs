//! Optimizers.

use std::borrow::Cow;

use crate::{Component, Learner, Result, Tensor};

/// The rule that updates a parameter from its gradient. `[training thread]`
///
/// The host keeps and saves the state tensors that `new` declares with
/// [`Setup::optimizer_state`](crate::Setup::optimizer_state). The arithmetic runs on the host's
/// tensors in place: [`Tensor::add_scaled_`] and its siblings, or a fused operation through
/// [`Tensor::apply_in_place`].
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// /// `m = 0.9 m + g; p -= rate m`
/// struct Momentum {
///     rate: Read<f64>,
///     now: f64,
/// }
///
/// impl Component for Momentum {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
///         setup.optimizer_state("momentum")?;
///         Ok(Momentum { rate: setup.hyper_parameter("learning-rate", 0.01)?, now: 0.0 })
///     }
/// }
///
/// impl Optimizer for Momentum {
///     fn begin(&mut self, learner: &Learner) -> Result<()> {
///         self.now = learner.get(&self.rate)?;
///         Ok(())
///     }
///
///     fn update(&mut self, update: &Update<'_>) -> Result<()> {
///         let momentum = update.state(0)?;
///         momentum.scale_(0.9)?;
///         momentum.add_scaled_(update.gradient, 1.0)?;
///         update.parameter.add_scaled_(momentum, -self.now)
///     }
/// }
/// ```
pub trait Optimizer: Component {
    /// Called once per step, before its updates: read the hyper-parameters here.
    ///
    /// # Errors
    /// The step ends with the error.
    fn begin(&mut self, learner: &Learner) -> Result<()>;

    /// Updates one parameter in place.
    ///
    /// # Errors
    /// The step ends with the error.
    fn update(&mut self, update: &Update<'_>) -> Result<()>;
}

/// One parameter to update, with its gradient and state. Borrowed for the call.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    pub(crate) path: &'a [u8],
    /// The parameter.
    pub parameter: &'a Tensor,
    /// Its gradient, of the same shape.
    pub gradient: &'a Tensor,
    /// Its state tensors in the order of `optimizer_state`, each of the parameter's shape; zeros
    /// before the first update.
    pub states: &'a [Tensor],
    /// Number of this update of the parameter, counted from 1.
    pub step: u64,
}

impl<'a> Update<'a> {
    /// Dotted path of the parameter within its model.
    pub fn path(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.path)
    }

    /// State tensor `index`.
    ///
    /// # Errors
    /// If the optimizer declared fewer.
    pub fn state(&self, index: usize) -> Result<&'a Tensor> {
        self.states.get(index).ok_or_else(|| {
            crate::Error::new(format!(
                "this optimizer named {} state tensors, there is no {index}",
                self.states.len()
            ))
        })
    }
}
