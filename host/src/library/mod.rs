//! From a file on disk to a loaded plugin, in stages that are types.
//!
//! [`Candidate`] (found by name) -> [`Inspected`] (read and checked, nothing of it ran) ->
//! [`Trusted`] (nobody else can have changed it) -> a copy in the content store -> loaded.
//! [`Catalog`] does the first three for a whole search path and answers which component a name
//! means. Composition, learner and commands work with the catalog; only the learner's start loads
//! anything. Nothing here prints.

pub mod built;
mod cache;
pub mod catalog;
pub mod discover;
pub mod elf;
pub mod inspect;
pub mod keys;
pub mod load;
pub mod lock;
pub mod manifest;
pub mod probe;
pub mod quarantine;
pub mod report;
pub mod shown;
pub mod store;
pub mod trust;

use std::sync::OnceLock;

pub use built::Built;
pub use catalog::{Catalog, ComponentRef, FindError, PluginEntry, ScanOptions, Standing};
pub use discover::{Candidate, DirReport, Origin, SearchDir, SearchPath, user_cache_dir};
pub use inspect::{HostContract, Inspected, Inspection, Limits, Sha256};
pub use keys::Keys;
pub use load::{LoadError, Loaded, PluginLoader, load, load_from};
pub use lock::{Lock, LockError};
pub use manifest::{
    ComponentManifest, ContractVersion, Kind, Manifest, ManifestError, PanicStrategy, PluginInfo,
};
pub use quarantine::Quarantine;
pub use report::{FileReport, Reason, Refusal, Stage, State};
pub use store::{Store, Stored};
pub use trust::{Trust, Trusted};

/// The contract that this host serves.
pub const CONTRACT: ContractVersion = {
    let version = fluxbay_plugin::abi::entry::CONTRACT;
    ContractVersion::new(version.major as u16, version.minor as u16)
};
/// Ids of the extensions that this host offers to plugins.
pub const EXTENSIONS: &[&str] = &[];

/// Threads for `jobs` independent pieces of work, the caller's among them: 1 to 8. Asking the
/// system takes longer than reading what is known of a plugin, so it is asked once, and only where
/// there is more than one piece.
fn workers(jobs: usize) -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    if jobs < 2 {
        1
    } else {
        *PROCESSORS
            .get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
            .min(&jobs.min(8))
    }
}
