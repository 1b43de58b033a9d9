//! Rows of a batch that hold several samples, for models whose positions look at each other.
//!
//! A host extension, see [`PACKING_EXTENSION`]. All functions are `[training]`.

use abi_stable::StableAbi;

use super::handle::Handle;

/// Id of the host extension that holds [`PackingTable`].
pub const PACKING_EXTENSION: &str = "fluxbay.packing/1";

/// Which elements of a row belong to one sample.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct PackingTable {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// Segments and positions for inputs `xs` of shape `[batch, time, ..]`: both u32 `[batch, time]`, the
    /// number of the sample that an element belongs to, from 1 on (0 behind the last), and its place in
    /// that sample. The caller owns one reference to each. Both are `Handle::NONE` where rows hold
    /// one sample each: outside of steps, for batches without the fields `segments` and `positions`,
    /// and for inputs with another number of rows or elements. In a forward pass over a part of a batch
    /// they are those of its rows.
    pub of: unsafe extern "C" fn(xs: Handle, segments: *mut Handle, positions: *mut Handle) -> i32,
}
