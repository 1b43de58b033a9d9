//! Callbacks: code that handles events.

use abi_stable::StableAbi;

use super::{event::EventRaw, handle::Instance, text::Text};

/// How a callback gets along with another one that writes the same path.
pub mod resolution {
    /// It does not decide it.
    pub const NOT_DEFINED: u32 = 0;
    /// The two cannot be in one run.
    pub const UNRESOLVABLE: u32 = 1;
    /// This one runs first.
    pub const RUN_FIRST: u32 = 2;
    /// They do not disturb each other.
    pub const NO_CONFLICT: u32 = 3;
}

/// Functions of a callback. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct CallbackTable {
    /// Called once, when all instances exist and before the first event; state may be written.
    pub init: unsafe extern "C" fn(this: Instance) -> i32,
    /// Handles an event that this instance subscribed to.
    pub on: unsafe extern "C" fn(this: Instance, event: *const EventRaw) -> i32,
    /// How this instance gets along with an instance of component `other` (such as
    /// `callback/scheduler`) that also writes `path`: a number of [`resolution`]. Called during
    /// composition; no host function may be called.
    pub resolve: unsafe extern "C" fn(this: Instance, other: Text, path: Text) -> u32,
}
