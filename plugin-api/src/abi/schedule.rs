//! Schedules: a hyper-parameter's value over time.

use abi_stable::StableAbi;

use super::handle::Instance;

/// Functions of a schedule. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ScheduleTable {
    /// The value at time `t`, counted from 1. It must be finite and depend on nothing but `t` and the
    /// configuration.
    pub value: unsafe extern "C" fn(this: Instance, t: f64, value: *mut f64) -> i32,
    /// The time from which the value no longer changes; 0 if there is none.
    pub length: unsafe extern "C" fn(this: Instance, length: *mut u64) -> i32,
}
