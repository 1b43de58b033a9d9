//! Results of calls across the contract.

/// Done.
pub const OK: i32 = 0;
/// Failed; the text says why.
pub const ERROR: i32 = 1;
/// End the current step; training continues with the next batch. The text is the reason.
pub const CANCEL_STEP: i32 = 2;
/// End the current epoch; the next phase runs. The text is the reason.
pub const CANCEL_EPOCH: i32 = 3;
/// End the fit early, without an error. The text is the reason.
pub const CANCEL_FIT: i32 = 4;
/// The plugin panicked; the instance is not called again, except by `destroy`. The text is message
/// and place.
pub const PANIC: i32 = 5;
