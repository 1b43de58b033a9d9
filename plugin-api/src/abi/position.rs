//! Where the tokens of a forward pass stand, for models that are given a text piece by piece.
//!
//! A host extension, see [`POSITION_EXTENSION`]. All functions are `[training]`.

use abi_stable::StableAbi;

/// Id of the host extension that holds [`PositionTable`].
pub const POSITION_EXTENSION: &str = "fluxbay.position/1";

/// The place of the first token of a forward pass.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct PositionTable {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// Number of tokens of the same text that earlier forward passes have seen. It is 0 except while
    /// a text is generated with a cache: then the inputs are the new tokens only, and causal
    /// attention adds the keys and values of the earlier ones. Models with learnt or rotary
    /// positions begin to count them here.
    pub first: unsafe extern "C" fn(first: *mut u64) -> i32,
}
