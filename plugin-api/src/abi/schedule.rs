//! Schedules: a hyper-parameter's value over time.

use abi_stable::StableAbi;

use super::handle::Instance;

/// Functions of a schedule. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ScheduleTable {
    /// Value at time `t`, from 1. The same `t` always gives the same value.
    pub value: unsafe extern "C" fn(this: Instance, t: f64, value: *mut f64) -> i32,
    /// Number of times after which the value stays; 0 for a schedule without end.
    pub length: unsafe extern "C" fn(this: Instance, length: *mut u64) -> i32,
}
