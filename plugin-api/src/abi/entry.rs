//! The entry of a plugin: what the host finds when it has opened the file.

use abi_stable::{StableAbi, library::RootModule, sabi_types::VersionStrings};

use super::{
    callback::CallbackTable, dataset::DatasetTable, host::HostTable, logger::LoggerTable,
    loss::LossTable, metric::MetricTable, model::ModelTable, optimizer::OptimizerTable,
    phase::PhaseTable, schedule::ScheduleTable, text::Text,
};
pub use super::{
    handle::Instance,
    kind,
    version::{CONTRACT, Version},
};

/// `FLUXBAY1` in ASCII, little-endian: first word of an [`Entry`].
pub const MAGIC: u64 = u64::from_le_bytes(*b"FLUXBAY1");

/// The C door: name under which a plugin that is not written in Rust exports its [`Entry`] as data.
pub const C_SYMBOL: &str = "fluxbay_entry";

/// Name of the ELF section that holds the manifest.
pub const MANIFEST_SECTION: &str = ".fluxbay.manifest";
/// First bytes of that section, before format version and length (both `u32`, little-endian).
pub const MANIFEST_MAGIC: [u8; 8] = *b"FLUXBAYM";
/// Format version of that section.
pub const MANIFEST_FORMAT: u32 = 1;
/// Bytes of that section before the JSON text.
pub const MANIFEST_HEADER: usize = 16;

/// One component. The table of its kind is present, all others are null.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Component {
    /// A number of [`kind`].
    pub kind: u32,
    /// Version of the state that `save` writes.
    pub state_version: u32,
    /// Name in kebab-case, unique within kind and plugin.
    pub name: Text,
    /// Makes an instance. `[training]`
    ///
    /// `config` is a JSON object that fits the manifest's schema, defaults filled in. Only the
    /// host's setup functions may be called. On success `instance` is filled; the host calls
    /// `destroy` once for it.
    pub create: unsafe extern "C" fn(config: Text, instance: *mut Instance) -> i32,
    /// Ends an instance, also one that panicked. `[training]`
    pub destroy: unsafe extern "C" fn(this: Instance) -> i32,
    /// Writes the state into a buffer of the plugin's that stays valid until the next call of this
    /// instance. `[training]`
    pub save: unsafe extern "C" fn(this: Instance, bytes: *mut Text) -> i32,
    /// Restores a state that was saved in the format of `state_version`; on failure the old state must
    /// stay. `[training]`
    pub load: unsafe extern "C" fn(this: Instance, state_version: u32, bytes: Text) -> i32,
    /// Table of a phase.
    pub phase: *const PhaseTable,
    /// Table of a callback.
    pub callback: *const CallbackTable,
    /// Table of a model.
    pub model: *const ModelTable,
    /// Table of a loss.
    pub loss: *const LossTable,
    /// Table of a data set.
    pub dataset: *const DatasetTable,
    /// Table of a metric.
    pub metric: *const MetricTable,
    /// Table of a schedule.
    pub schedule: *const ScheduleTable,
    /// Table of a logger.
    pub logger: *const LoggerTable,
    /// Table of an optimizer.
    pub optimizer: *const OptimizerTable,
}

// SAFETY: a component is immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for Component {}
// SAFETY: as above.
unsafe impl Sync for Component {}

impl Component {
    /// A component of no kind yet: fill in the table of its kind.
    pub const fn new(
        kind: u32,
        name: &'static str,
        state_version: u32,
        create: unsafe extern "C" fn(Text, *mut Instance) -> i32,
        destroy: unsafe extern "C" fn(Instance) -> i32,
        save: unsafe extern "C" fn(Instance, *mut Text) -> i32,
        load: unsafe extern "C" fn(Instance, u32, Text) -> i32,
    ) -> Component {
        Component {
            kind,
            state_version,
            name: Text::new(name),
            create,
            destroy,
            save,
            load,
            phase: std::ptr::null(),
            callback: std::ptr::null(),
            model: std::ptr::null(),
            loss: std::ptr::null(),
            dataset: std::ptr::null(),
            metric: std::ptr::null(),
            schedule: std::ptr::null(),
            logger: std::ptr::null(),
            optimizer: std::ptr::null(),
        }
    }
}

/// Everything that a plugin offers.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Entry {
    /// [`MAGIC`].
    pub magic: u64,
    /// Size of this struct in bytes, as the plugin was built.
    pub size: u64,
    /// Contract that the plugin was built for.
    pub contract: Version,
    /// The manifest's JSON: the same bytes as in the section.
    pub manifest: Text,
    /// First component.
    pub components: *const Component,
    /// Number of components.
    pub component_count: usize,
    /// Passes the host's functions to the plugin; called once per loaded file, before anything else.
    /// `[any]`
    ///
    /// Calling it again with the same table changes nothing.
    pub init: unsafe extern "C" fn(host: *const HostTable) -> i32,
    /// Most verbose level that the host wants to see: 0 nothing, 1 error ... 5 trace. `[any]`
    pub set_log_level: unsafe extern "C" fn(level: u32),
    /// A table that the plugin offers beyond 1.0, or null. `[any]`
    pub extension: unsafe extern "C" fn(id: Text) -> *const (),
}

// SAFETY: an entry is immutable data of the plugin's, whose functions state their own threads.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

/// Address of the entry: in the plugin's static memory, never null.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct EntryPointer(pub *const Entry);

// SAFETY: it points at immutable static data.
unsafe impl Send for EntryPointer {}
// SAFETY: as above.
unsafe impl Sync for EntryPointer {}

/// The Rust door: an abi_stable root module that holds the [`Entry`], so that abi_stable checks the
/// layout of everything that can be reached from it.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = RootRef, prefix_fields = RootPrefix)))]
#[sabi(missing_field(option))]
pub struct Root {
    /// All that the plugin offers.
    #[sabi(last_prefix_field)]
    pub entry: EntryPointer,
}

impl RootModule for RootRef {
    abi_stable::declare_root_module_statics! {RootRef}
    const BASE_NAME: &'static str = "fluxbay_plugin";
    const NAME: &'static str = "fluxbay_plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new("1.0.0");
}
