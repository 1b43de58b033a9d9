//! What stands for an object of the other side: handles of the host's tensors, and instances of the
//! plugin's components.

use abi_stable::StableAbi;

/// A tensor of the host: slot index in the low 32 bits, generation in the high 32.
///
/// The host checks it at every use: a stale, foreign or invented handle is an error, never undefined
/// behaviour. A handle that a function returns is one reference, to be given back with `release`; a
/// handle passed as an argument stays with the caller.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(pub u64);

impl Handle {
    /// The handle that names no tensor.
    pub const NONE: Handle = Handle(u64::MAX);
}

/// An instance of a component: a pointer of the plugin's that the host only passes back.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(pub *mut ());

/// Element types of tensors.
pub mod dtype {
    /// Unsigned 8-bit integer; also the type of comparisons' results.
    pub const U8: u32 = 0;
    /// Unsigned 32-bit integer; the type of class labels and indices.
    pub const U32: u32 = 1;
    /// Signed 64-bit integer.
    pub const I64: u32 = 2;
    /// Brain floating point, 16 bits.
    pub const BF16: u32 = 3;
    /// IEEE half precision.
    pub const F16: u32 = 4;
    /// IEEE single precision.
    pub const F32: u32 = 5;
    /// IEEE double precision.
    pub const F64: u32 = 6;
}
