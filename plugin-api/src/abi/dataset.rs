//! Data sets: samples by index, written into the host's buffers by the loader's threads.

use abi_stable::StableAbi;

use super::{entry::Instance, text::Text};

/// One field of a sample.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct FieldSpec {
    /// `xs`, `ys`, or a name of its own; its state path is `step.NAME`.
    pub name: Text,
    /// Element type, a number of [`dtype`](super::handle::dtype).
    pub dtype: u32,
    /// 0.
    pub reserved: u32,
    /// Dimensions of one sample, without the batch's.
    pub shape: *const u64,
    /// Number of dimensions; 0 for a scalar per sample.
    pub rank: usize,
    /// Number of classes where the field holds class labels (`u32`, below this number); else 0.
    pub classes: u64,
}

/// One part of a data set.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SplitSpec {
    /// `training`, `validation`, or `all`: the host then divides it.
    pub name: Text,
    /// Number of samples.
    pub samples: u64,
}

/// Room for one field of a batch.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct BufferRaw {
    /// First byte, aligned for the field's element type; samples lie one after the other.
    pub ptr: *mut u8,
    /// Number of bytes: samples x bytes per sample.
    pub len: usize,
}

/// Functions of a data set.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DatasetTable {
    /// Opens files and learns shapes; called once, after the composition was found good.
    /// `[training]`
    pub open: unsafe extern "C" fn(this: Instance) -> i32,
    /// Number of fields. `[training]`
    pub field_count: unsafe extern "C" fn(this: Instance) -> usize,
    /// Field `index`; pointers in it stay valid as long as the instance. `[training]`
    pub field: unsafe extern "C" fn(this: Instance, index: usize, spec: *mut FieldSpec) -> i32,
    /// Number of splits. `[training]`
    pub split_count: unsafe extern "C" fn(this: Instance) -> usize,
    /// Split `index`; pointers in it stay valid as long as the instance. `[training]`
    pub split: unsafe extern "C" fn(this: Instance, index: usize, spec: *mut SplitSpec) -> i32,
    /// Tells which samples are for training, so that statistics (means, medians) come from them
    /// alone; called before the first `fill`, and again where the division is known only then: the
    /// last call counts. `[training]`
    pub prepare: unsafe extern "C" fn(
        this: Instance,
        split: usize,
        indices: *const u64,
        count: usize,
    ) -> i32,
    /// Writes the samples of `split` at `indices` into one buffer per field. `[loader]`
    pub fill: unsafe extern "C" fn(
        this: Instance,
        split: usize,
        indices: *const u64,
        count: usize,
        buffers: *const BufferRaw,
        buffer_count: usize,
    ) -> i32,
}
