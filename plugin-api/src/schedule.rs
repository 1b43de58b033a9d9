//! Schedules.

use crate::{Component, Result};

/// A hyper-parameter's value over time. `[training thread]`
///
/// A schedule takes effect through a callback such as `scheduler`, which asks it for values and
/// writes them to a hyper-parameter:
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// struct Halving;
///
/// impl Component for Halving {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(Halving)
///     }
/// }
///
/// impl Schedule for Halving {
///     fn value(&self, t: f64) -> Result<f64> {
///         Ok(0.1 * 0.5_f64.powf(t - 1.0))
///     }
/// }
/// ```
pub trait Schedule: Component {
    /// The value at time `t`, counted from 1 in the scheduler's unit: updates or epochs. The value
    /// must be finite and depend on nothing but `t` and the configuration.
    ///
    /// # Errors
    /// The run ends.
    fn value(&self, t: f64) -> Result<f64>;

    /// The time from which the value no longer changes; none if there is no such time.
    fn length(&self) -> Option<u64> {
        None
    }
}
