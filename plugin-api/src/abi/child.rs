//! Instances that belong to another instance: the metrics of a metrics callback, the schedule of a
//! scheduler, the callback inside a throttle. They may come from any plugin; the host passes each
//! call on.
//!
//! All functions are `[training]`; `child` is a number that the calling instance got from setup's
//! `child`.

use abi_stable::StableAbi;

use super::{event::EventRaw, metric::MetricInput, text::Text};

/// The child functions.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ChildTable {
    /// Calls a metric's `reset`.
    pub metric_reset: unsafe extern "C" fn(child: u32) -> i32,
    /// Calls a metric's `update`.
    pub metric_update:
        unsafe extern "C" fn(child: u32, input: *const MetricInput, value: *mut f64) -> i32,
    /// Calls a metric's `compute`.
    pub metric_compute: unsafe extern "C" fn(child: u32, value: *mut f64) -> i32,
    /// Calls a metric's `details`; valid until the next call of the host.
    pub metric_details: unsafe extern "C" fn(child: u32, json: *mut Text) -> i32,
    /// Calls a schedule's `value`.
    pub schedule_value: unsafe extern "C" fn(child: u32, t: f64, value: *mut f64) -> i32,
    /// Calls a schedule's `length`.
    pub schedule_length: unsafe extern "C" fn(child: u32, length: *mut u64) -> i32,
    /// Lets a callback handle an event, with that callback's own access to the state.
    pub callback_on: unsafe extern "C" fn(child: u32, event: *const EventRaw) -> i32,
    /// Whether a callback subscribes to event `kind`: 1 or 0.
    pub callback_handles: unsafe extern "C" fn(child: u32, kind: u32, handles: *mut u32) -> i32,
}
