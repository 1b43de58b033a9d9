//! Callbacks: code that handles events.

use abi_stable::StableAbi;

use super::{event::EventRaw, handle::Instance, text::Text};

/// What a callback answers when it shares a write path with another one.
pub mod resolution {
    /// It has no opinion.
    pub const NOT_DEFINED: u32 = 0;
    /// The two cannot work in one run.
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
    /// Called once when the composition stands and before the first event; state may be written.
    pub init: unsafe extern "C" fn(this: Instance) -> i32,
    /// Handles an event that this instance subscribed to.
    pub on: unsafe extern "C" fn(this: Instance, event: *const EventRaw) -> i32,
    /// How to live with an instance of component `other` (such as `callback/scheduler`) that writes
    /// `path` too: a number of [`resolution`]. Called during composition; no host function may be
    /// called.
    pub resolve: unsafe extern "C" fn(this: Instance, other: Text, path: Text) -> u32,
}
