//! From a file on disk to a loaded plugin.
//!
//! The life of a plugin, in the order of the modules:
//!
//! 1. [`discover`]: a file of the search path whose name ends in `.so` is a [`Candidate`].
//! 2. [`inspect`]: the file is opened, its ELF tables are checked ([`elf`]), its bytes are hashed,
//!    its [`manifest`] is read; the result is [`Inspected`]. Nothing is mapped or run. Results are
//!    kept in a cache.
//! 3. [`trust`]: owner and mode of the file and everything on the path to it; the result is
//!    [`Trusted`]. Then the user's list of disabled plugins, signatures ([`keys`]), the [`lock`]
//!    file, and the [`quarantine`].
//! 4. [`catalog`]: all files of the search path after steps 1 to 3, and which component a name
//!    refers to. Commands that only show plugins end here.
//! 5. [`store`]: the bytes are copied to a file named by their hash; the result is [`Stored`].
//! 6. [`probe`]: a child process loads the copy under limits. Its result is saved.
//! 7. `load`: the copy is opened in this process, its tables are checked, `init` is called; the
//!    result is [`Loaded`]. [`plugin_loader`] does steps 5 to 7 for several plugins.
//! 8. The learner creates instances of its components. A library stays loaded until the process
//!    ends.
//!
//! A file that fails a step is refused with a [`Refusal`]: stage, reason, message and help
//! ([`report`]). Nothing here prints.

pub mod built;
mod cache;
pub mod catalog;
mod directories;
pub mod discover;
pub mod elf;
pub mod escape;
pub mod file;
pub mod inspect;
pub mod keys;
pub mod load;
pub mod lock;
pub mod manifest;
pub mod plugin_loader;
pub mod probe;
pub mod quarantine;
pub mod report;
mod shared_names;
pub mod store;
pub mod trust;
pub mod trusted;

use std::sync::OnceLock;

pub use built::Built;
pub use catalog::{Catalog, ComponentRef, FindError, PluginEntry, ScanOptions, Standing};
pub use directories::{installed, user_cache_dir};
pub use discover::{Candidate, DirReport, SearchDir, SearchPath};
pub(crate) use file::replace_durably;
pub use file::{FileId, Ownership, Sha256};
pub use inspect::{HostContract, Inspected, Inspection, Limits};
pub use keys::Keys;
pub use load::{ComponentRows, LoadError, Loaded};
pub use lock::{Lock, LockError};
pub use manifest::{
    ComponentManifest, ContractVersion, Kind, Manifest, ManifestError, PanicStrategy, PluginInfo,
};
pub use plugin_loader::{PluginLoader, load, load_from};
pub use quarantine::Quarantine;
pub use report::{FileReport, FileState, Refusal, RefusalReason, SearchOrigin, Stage};
pub use store::{Store, Stored};
pub use trust::Trust;
pub use trusted::Trusted;

/// The contract of this host.
pub const CONTRACT: ContractVersion = {
    let version = fluxbay_plugin::abi::entry::CONTRACT;
    ContractVersion::new(version.major as u16, version.minor as u16)
};
/// Ids of the host's extensions that plugins can require.
pub const EXTENSIONS: &[&str] = &[fluxbay_plugin::abi::figures::FIGURES_EXTENSION];

/// Number of threads for `jobs` independent jobs, including the caller's: 1 to 8. The number of
/// processors is queried once and only for several jobs, because that takes longer than a cache hit.
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
