//! Lines of the log.

use abi_stable::StableAbi;

use super::text::Text;

/// One line of the log. Borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct LogRecordRaw {
    /// 1 error, 2 warning, 3 information, 4 debug, 5 trace.
    pub level: u32,
    /// Line in `file`, 0 where unknown.
    pub line: u32,
    /// Module path, or another name of where it comes from.
    pub target: Text,
    /// Source file, empty where unknown.
    pub file: Text,
    /// Name of the plugin.
    pub plugin: Text,
    /// The message.
    pub text: Text,
}
