//! Transforms: a field of a sample in, a field of a sample out, on the loader's threads.

use abi_stable::StableAbi;

use super::{dataset::FieldSpec, handle::Instance};

/// The sample that a transform is applied to. Borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TransformContext {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// Epoch, counted from 1; 0 outside of an epoch.
    pub epoch: u64,
    /// Index of the sample within its split of the data set.
    pub index: u64,
    /// 1 if the sample is read for training, else 0.
    pub training: u32,
    /// 0.
    pub reserved: u32,
    /// Lower half of the number that all random draws of this call derive from. It depends on the
    /// run's seed, the epoch, the sample and the transform's id, so that the result does not depend
    /// on threads or on what was read before.
    pub draw_low: u64,
    /// Upper half of that number.
    pub draw_high: u64,
}

/// One field of one sample.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SampleRaw {
    /// What the field is: name, element type and shape.
    pub field: *const FieldSpec,
    /// First byte, aligned for the element type; elements in row-major order.
    pub ptr: *mut u8,
    /// Number of bytes.
    pub len: usize,
}

/// Functions of a transform.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TransformTable {
    /// Size of this struct in bytes, as the plugin was built.
    pub size: u64,
    /// Checks a field, and says what it becomes. Pointers in `output` stay valid until the next call
    /// of this instance. Called for each chain that the transform is part of. `[training]`
    pub describe: unsafe extern "C" fn(
        this: Instance,
        input: *const FieldSpec,
        output: *mut FieldSpec,
    ) -> i32,
    /// Transforms one sample. Every element of `output` must be written. `input` must not be changed.
    /// Called by several threads at a time, but never while another function of this instance runs.
    /// `[loader]`
    pub apply: unsafe extern "C" fn(
        this: Instance,
        context: *const TransformContext,
        input: *const SampleRaw,
        output: *const SampleRaw,
    ) -> i32,
}
