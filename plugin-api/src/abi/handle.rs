//! Handles of tensors: numbers that the host checks at every use.

use abi_stable::StableAbi;

/// A tensor of the host: slot index in the low 32 bits, generation in the high 32.
///
/// A stale, foreign or invented handle is answered with an error, never with undefined behaviour.
/// Whoever receives a handle as a result owns one reference and gives it back with `release`; a
/// handle passed as an argument stays with the caller.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(pub u64);

impl Handle {
    /// The handle that names no tensor.
    pub const NONE: Handle = Handle(u64::MAX);
}

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
