//! Components of kinds that contract 1.0 did not have: the extension `fluxbay.kinds/1`.

use abi_stable::StableAbi;

use super::{handle::Instance, text::Text};

/// Id of the plugin extension that holds [`KindRows`].
pub const KINDS_EXTENSION: &str = "fluxbay.kinds/1";

/// One component of a later kind. Its first fields are those of [`Component`](super::entry::Component),
/// with the same meaning.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct KindRow {
    /// A number of [`kind`](super::kind), above those of contract 1.0.
    pub kind: u32,
    /// Version of the state that `save` writes.
    pub state_version: u32,
    /// Name in kebab-case, unique within kind and plugin.
    pub component: Text,
    /// Makes an instance. `[training]`
    pub create: unsafe extern "C" fn(config: Text, instance: *mut Instance) -> i32,
    /// Ends an instance, also one that panicked. `[training]`
    pub destroy: unsafe extern "C" fn(this: Instance) -> i32,
    /// Writes the state into a buffer of the plugin's that stays valid until the next call of this
    /// instance. `[training]`
    pub save: unsafe extern "C" fn(this: Instance, bytes: *mut Text) -> i32,
    /// Restores a state that was saved in the format of `state_version`; on failure the old state must
    /// stay. `[training]`
    pub load: unsafe extern "C" fn(this: Instance, state_version: u32, bytes: Text) -> i32,
    /// Table of the kind. Its first word is its size in bytes, as the plugin was built.
    pub table: *const (),
}

/// The rows of a plugin: what its `extension` returns for [`KINDS_EXTENSION`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct KindRows {
    /// Size of a row in bytes, as the plugin was built.
    pub size: u64,
    /// First row.
    pub first: *const KindRow,
    /// Number of rows, each for another component.
    pub count: usize,
}

// SAFETY: immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for KindRows {}
// SAFETY: as above.
unsafe impl Sync for KindRows {}
// SAFETY: as above.
unsafe impl Send for KindRow {}
// SAFETY: as above.
unsafe impl Sync for KindRow {}
