//! Results of calls across the contract.

/// Done.
pub const OK: i32 = 0;
/// Failed; the text says why.
pub const ERROR: i32 = 1;
/// Leave the current step; training goes on with the next batch. The text is the reason.
pub const CANCEL_STEP: i32 = 2;
/// Leave the current epoch; the next phase goes on. The text is the reason.
pub const CANCEL_EPOCH: i32 = 3;
/// Leave the fit: an orderly, early end. The text is the reason.
pub const CANCEL_FIT: i32 = 4;
/// The plugin panicked; the instance must not be called again. The text is message and place.
pub const PANIC: i32 = 5;
