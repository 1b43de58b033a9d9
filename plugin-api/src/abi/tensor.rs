//! Tensors: handles, operations, parameters.
//!
//! All functions are `[training]`. Operations are numbers of [`operation`](super::operation), with
//! integer and floating-point attributes; a new operation is a new number, not a new function.

use abi_stable::StableAbi;

use super::{handle::Handle, text::Text};

/// Largest number of dimensions of a tensor.
pub const MAX_RANK: usize = 8;

/// Shape and type of a tensor.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TensorInfo {
    /// Element type, a number of [`dtype`](super::handle::dtype).
    pub dtype: u32,
    /// Number of dimensions.
    pub rank: u32,
    /// The first `rank` are the dimensions, the rest 0.
    pub shape: [u64; MAX_RANK],
}

impl TensorInfo {
    /// The dimensions.
    pub fn dims(&self) -> &[u64] {
        &self.shape[..MAX_RANK.min(self.rank as usize)]
    }
}

/// Elements of a contiguous tensor in the processor's memory.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ViewRaw {
    /// First element.
    pub ptr: *const u8,
    /// Number of bytes.
    pub len: usize,
    /// Element type.
    pub dtype: u32,
    /// 0.
    pub reserved: u32,
}

/// Distributions of a parameter's initial values.
pub mod init {
    /// Every element is `a`.
    pub const CONSTANT: u32 = 0;
    /// Uniform in `[a, b)`.
    pub const UNIFORM: u32 = 1;
    /// Normal with mean `a` and standard deviation `b`.
    pub const NORMAL: u32 = 2;
}

/// A parameter's initial values. They depend on the run's seed, the model's name and the path, not
/// on the order of creation.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq)]
pub struct InitRaw {
    /// A number of [`init`].
    pub kind: u32,
    /// 1 for a buffer that no optimizer touches (such as running statistics), 0 for a parameter.
    pub buffer: u32,
    /// First value of the distribution.
    pub a: f64,
    /// Second value of the distribution.
    pub b: f64,
}

/// The tensor functions.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct TensorTable {
    /// Makes a tensor of elements of type `dtype` from `bytes` in row-major order.
    pub create: unsafe extern "C" fn(
        dtype: u32,
        shape: *const u64,
        rank: usize,
        bytes: Text,
        tensor: *mut Handle,
    ) -> i32,
    /// Adds a reference.
    pub retain: unsafe extern "C" fn(tensor: Handle) -> i32,
    /// Releases a reference.
    pub release: unsafe extern "C" fn(tensor: Handle) -> i32,
    /// Shape and type.
    pub info: unsafe extern "C" fn(tensor: Handle, info: *mut TensorInfo) -> i32,
    /// Copies the elements, converted to type `dtype` and in row-major order, to `bytes`.
    pub read: unsafe extern "C" fn(tensor: Handle, dtype: u32, bytes: *mut u8, len: usize) -> i32,
    /// The elements without a copy, valid while the reference is held and the tensor is not changed in
    /// place. An error if they are on another device or not contiguous.
    pub view: unsafe extern "C" fn(tensor: Handle, view: *mut ViewRaw) -> i32,
    /// Applies an operation. Writes `output_count` outputs, at most `capacity`, each one reference for
    /// the caller.
    pub apply: unsafe extern "C" fn(
        request: *const ApplyRaw,
        outputs: *mut Handle,
        capacity: usize,
        output_count: *mut usize,
    ) -> i32,
    /// Creates a parameter of the model that is being built. Only within a model's `build`. One
    /// reference for the caller.
    pub parameter: unsafe extern "C" fn(
        path: Text,
        shape: *const u64,
        rank: usize,
        init: *const InitRaw,
        tensor: *mut Handle,
    ) -> i32,
    /// The mode of the current forward pass, see [`mode`](super::learner::mode).
    pub mode: unsafe extern "C" fn(mode: *mut u32) -> i32,
    /// Name of the device, such as `cpu` or `cuda:0`.
    pub device: unsafe extern "C" fn(name: *mut Text) -> i32,
}

/// An operation with its inputs and attributes. Borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ApplyRaw {
    /// A number of [`operation`](super::operation).
    pub operation: u32,
    /// 0.
    pub reserved: u32,
    /// Input tensors.
    pub inputs: *const Handle,
    /// Number of inputs.
    pub input_count: usize,
    /// Integer attributes.
    pub ints: *const i64,
    /// Number of integer attributes.
    pub int_count: usize,
    /// Floating-point attributes.
    pub floats: *const f64,
    /// Number of floating-point attributes.
    pub float_count: usize,
}
