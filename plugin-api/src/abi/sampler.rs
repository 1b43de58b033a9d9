//! Samplers: the order in which an epoch reads the training samples.

use abi_stable::StableAbi;

use super::handle::Instance;

/// The training samples, as a sampler sees them. Borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SamplerSpec {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// Number of training samples, at least 1.
    pub samples: u64,
    /// The class label of each sample; null where the data has no field of class labels.
    pub labels: *const u32,
    /// Number of classes; 0 where `labels` is null.
    pub classes: u64,
}

/// The epoch whose order is wanted. Borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct OrderContext {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// Epoch, counted from 1.
    pub epoch: u64,
    /// Lower half of the number that all random draws of this call derive from; it depends on the
    /// run's seed, the epoch and the sampler's id.
    pub draw_low: u64,
    /// Upper half of that number.
    pub draw_high: u64,
}

/// Functions of a sampler. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SamplerTable {
    /// Size of this struct in bytes, as the plugin was built.
    pub size: u64,
    /// Receives the training samples; `count` is set to the number of samples that an epoch reads, at
    /// least 1. Called once, before `order`.
    pub open:
        unsafe extern "C" fn(this: Instance, spec: *const SamplerSpec, count: *mut u64) -> i32,
    /// Writes the order of an epoch: `count` places among the training samples, each below their
    /// number. It must depend on the context alone, so that a resumed run reads the same samples.
    pub order: unsafe extern "C" fn(
        this: Instance,
        context: *const OrderContext,
        places: *mut u64,
        count: usize,
    ) -> i32,
}
