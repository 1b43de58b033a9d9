//! Detection of NaN and infinities: which operation of a step first produced one.
//!
//! A host extension, see [`ANOMALY_EXTENSION`]. All functions are `[training]`.

use abi_stable::StableAbi;

use super::text::Text;

/// Id of the host extension that holds [`AnomalyTable`].
pub const ANOMALY_EXTENSION: &str = "fluxbay.anomaly/1";

/// Which elements are detected; bits of the number that `watch` takes.
pub mod detect {
    /// NaN.
    pub const NAN: u32 = 1;
    /// Infinities of either sign.
    pub const INFINITE: u32 = 2;
}

/// The functions for detection.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct AnomalyTable {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// Starts detection anew for the given bits of [`detect`]; 0 ends it. While it is on, the results
    /// of every operation and every gradient are read, which makes steps several times slower.
    pub watch: unsafe extern "C" fn(elements: u32) -> i32,
    /// The first result with such an element since `watch`. The caller sets `found.size`.
    pub first: unsafe extern "C" fn(found: *mut AnomalyRaw) -> i32,
}

/// A result of an operation that has an element that is NaN or infinite.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct AnomalyRaw {
    /// Size of this struct in bytes, as the caller was built.
    pub size: u64,
    /// 1 if there is one; otherwise the other fields are not set.
    pub found: u32,
    /// 1 if it is a gradient, computed in a backward pass.
    pub backward: u32,
    /// 1 if the element is NaN, 0 if it is infinite.
    pub nan: u32,
    /// 1 if an input of the operation had such an element already.
    pub from_input: u32,
    /// 1 if the operation uses `parameter`, 0 if the parameter was used before it.
    pub direct: u32,
    /// 0.
    pub reserved: u32,
    /// Number of results that were read before it.
    pub number: u64,
    /// Name of the operation, valid until the next call of the host.
    pub operation: Text,
    /// Model and path of the parameter that was used last, such as `model.hidden.0.weight`; empty
    /// if there is none. Valid until the next call of the host.
    pub parameter: Text,
}
