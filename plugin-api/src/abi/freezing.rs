//! Parameters that a callback takes out of training, and back in.
//!
//! A host extension, see [`FREEZING_EXTENSION`]. All functions are `[training]`.

use abi_stable::StableAbi;

use super::text::Text;

/// Id of the host extension that holds [`FreezingTable`].
pub const FREEZING_EXTENSION: &str = "fluxbay.freezing/1";

/// The functions for freezing.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct FreezingTable {
    /// Size of this struct in bytes, as the host was built.
    pub size: u64,
    /// Freezes (`frozen` 1) or unfreezes (0) the parameters whose path, `PATH` or `MODEL.PATH`, matches a
    /// pattern, in which `*` stands for any text. `count` is set to their number. A frozen parameter is a
    /// constant: it has no gradient and no optimizer changes it. To be called outside of forward and
    /// backward passes, such as at step-begin. Checkpoints do not keep it.
    pub freeze: unsafe extern "C" fn(pattern: Text, frozen: u32, count: *mut u64) -> i32,
}
