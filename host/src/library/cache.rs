//! A cache of the static stage's results by [`FileId`], so that a large directory is not read and
//! hashed at every start.
//!
//! Only results that depend on the bytes alone are cached. Contract and trust are checked at every
//! start, and loading hashes the bytes again: a forged cache can hide a plugin, but cannot make the
//! host load one. A cache that cannot be read or has another format is replaced.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::file::{self, FileId, SETTLED};
use super::report::{Refusal, RefusalReason};
use super::{directories, escape};

/// Format of the cache file; changes with its form and with the checks of the static stage.
const FORMAT: &str = concat!("fluxbay ", env!("CARGO_PKG_VERSION"), " static stage 1");
/// Size limit of the cache file, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// The result for one state of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Known {
    /// A shared library without a manifest.
    Ordinary,
    /// A plugin.
    Plugin {
        /// Hash of its bytes, in hexadecimal.
        sha256: String,
        /// The JSON of its manifest.
        manifest: String,
    },
    /// Refused because of its bytes.
    Refused {
        /// Code of the reason.
        reason: String,
        /// What was found.
        message: String,
        /// What to do.
        help: String,
    },
}

impl Known {
    /// An entry for a refusal; `None` if it depends on more than the bytes.
    pub(super) fn refused(refusal: &Refusal) -> Option<Self> {
        let lasting = matches!(
            refusal.reason,
            RefusalReason::NotElf
                | RefusalReason::Truncated
                | RefusalReason::MalformedElf
                | RefusalReason::WrongArchitecture
                | RefusalReason::NotASharedLibrary
                | RefusalReason::BadManifest
        );
        lasting.then(|| Self::Refused {
            reason: refusal.reason.code().to_owned(),
            message: refusal.message.clone(),
            help: refusal.help.clone(),
        })
    }
}

/// Contents of the cache file.
#[derive(Default, Serialize, Deserialize)]
struct CacheFile {
    format: String,
    entries: Vec<(FileId, Known)>,
}

/// The entries of the cache file, and those that a scan uses or adds.
#[derive(Debug, Default)]
pub(super) struct Cache {
    path: Option<PathBuf>,
    known: BTreeMap<FileId, Known>,
    /// Entries of this scan: `None` for one that was in the file, `Some` for a new one.
    used: Mutex<BTreeMap<FileId, Option<Known>>>,
}

impl Cache {
    /// Reads the cache file in `dir`. Without a directory the cache is empty and never written.
    pub(super) fn read(dir: Option<&Path>) -> Self {
        let Some(dir) = dir else { return Self::default() };
        if let Err(refusal) = directories::private_dir(dir) {
            log::warn!("the cache of plugins is not used: {}", refusal.message);
            return Self::default();
        }
        let path = dir.join("inspected.json");
        let known = match fs::symlink_metadata(&path) {
            Err(_) => BTreeMap::new(),
            Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_BYTES => parse(&path),
            Ok(_) => {
                log::warn!("{} is no cache of plugins and is replaced", escape::path(&path));
                BTreeMap::new()
            }
        };
        Self { path: Some(path), known, used: Mutex::default() }
    }

    /// The entry of a file in this state.
    pub(super) fn get(&self, id: &FileId) -> Option<&Known> {
        let known = self.known.get(id)?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, None);
        Some(known)
    }

    /// Adds an entry, unless the file changed too recently ([`FileId::is_settled`]).
    pub(super) fn put(&self, id: &FileId, known: Known) {
        if self.path.is_some() && id.is_settled(SystemTime::now(), SETTLED) {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, Some(known));
        }
    }

    /// Writes the cache file if the scan added entries. Entries of files in other directories are
    /// kept up to a limit.
    pub(super) fn write(self) {
        const MAX_ENTRIES: usize = 50_000;
        let Some(path) = self.path else { return };
        let used = self.used.into_inner().unwrap_or_else(PoisonError::into_inner);
        if used.values().all(Option::is_none) {
            return;
        }
        let keep_all = used.len() + self.known.len() <= MAX_ENTRIES;
        let mut all: BTreeMap<FileId, Known> =
            self.known.into_iter().filter(|(id, _)| keep_all || used.contains_key(id)).collect();
        all.extend(used.into_iter().filter_map(|(id, new)| Some((id, new?))));
        let file = CacheFile { format: FORMAT.to_owned(), entries: all.into_iter().collect() };
        let json = serde_json::to_vec(&file).unwrap_or_default();
        if let Err(error) = file::replace(&path, &json, 0o600) {
            log::warn!("the cache of plugins {} cannot be written: {error}", escape::path(&path));
        }
    }
}

fn parse(path: &Path) -> BTreeMap<FileId, Known> {
    let parsed =
        fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<CacheFile>(&bytes).ok());
    match parsed {
        Some(file) if file.format == FORMAT => file.entries.into_iter().collect(),
        Some(_) => BTreeMap::new(),
        None => {
            log::warn!("{} cannot be read and is replaced", escape::path(path));
            BTreeMap::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(inode: u64) -> FileId {
        FileId { device: 1, inode, size: 3, modified: 5, changed: 7 }
    }

    #[test]
    fn what_was_put_is_there_after_a_restart_and_other_states_of_the_file_are_not() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::read(Some(dir.path()));
        cache.put(&id(1), Known::Ordinary);
        let now =
            SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
        let young = FileId { changed: i128::try_from(now).expect("small"), ..id(2) };
        cache.put(&young, Known::Ordinary);
        cache.write();
        let cache = Cache::read(Some(dir.path()));
        assert_eq!(cache.get(&id(1)), Some(&Known::Ordinary));
        assert_eq!(cache.get(&FileId { size: 4, ..id(1) }), None);
        assert_eq!(cache.get(&young), None, "touched just now");
    }

    #[test]
    fn a_damaged_cache_or_one_of_another_format_is_made_anew() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let fill = || {
            let cache = Cache::read(Some(dir.path()));
            cache.put(&id(1), Known::Ordinary);
            cache.write();
        };
        let file = dir.path().join("inspected.json");
        fill();
        let good = fs::read(&file).expect("written");
        for text in [&good[..good.len() / 2], b"", b"[]", br#"{"format":"other","entries":[]}"#] {
            fs::write(&file, text).expect("ours");
            assert_eq!(Cache::read(Some(dir.path())).get(&id(1)), None);
            fill();
            assert_eq!(Cache::read(Some(dir.path())).get(&id(1)), Some(&Known::Ordinary));
        }
    }
}
