//! Schedules.

use crate::{Component, Result};

/// A hyper-parameter's value over time. `[training thread]`
pub trait Schedule: Component {
    /// Value at time `t`, counted from 1 in whatever the scheduler counts (updates, epochs). The
    /// same `t` gives the same value.
    fn value(&self, t: f64) -> Result<f64>;

    /// After how many times the value stays; none for a schedule without end.
    fn length(&self) -> Option<u64> {
        None
    }
}
