//! Text and progress on the terminal. The host decides how it looks: a bar on a terminal, plain lines
//! elsewhere, nothing with `--quiet`.

use abi_stable::StableAbi;

use super::text::Text;

/// The display functions. All `[training]`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct DisplayTable {
    /// Prints lines above any bar.
    pub print: unsafe extern "C" fn(text: Text) -> i32,
    /// Begins this instance's bar: a label and the number of units; 0 where unknown.
    pub progress_begin: unsafe extern "C" fn(label: Text, total: u64) -> i32,
    /// Moves the bar to unit `position` and sets the text beside it.
    pub progress_set: unsafe extern "C" fn(position: u64, message: Text) -> i32,
    /// Ends the bar and prints `message` in its place.
    pub progress_end: unsafe extern "C" fn(message: Text) -> i32,
    /// Whether progress is drawn as a bar: 1 or 0. If not, its texts need not be formatted.
    pub interactive: unsafe extern "C" fn() -> u32,
}
