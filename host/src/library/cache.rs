//! What the static stage found out, remembered by file, so that a large directory is not read and
//! hashed each time.
//!
//! A file counts as the same while its device, inode, size and both times are the same and had been
//! so for a while when it was looked at. Only what the bytes alone decide is kept; the contract and
//! the trust stage are judged anew each time, and loading hashes the bytes once more, so a forged
//! cache can hide a plugin but not smuggle one in. A cache that cannot be read, or is of another
//! format, is made anew.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::inspect::FileId;
use super::report::{Reason, Refusal};
use super::{shown, store};

/// Changes whenever the checks of the static stage or this file's form do.
const FORMAT: &str = concat!("fluxbay ", env!("CARGO_PKG_VERSION"), " static stage 1");
/// The largest cache that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// How long a file must have been left alone, in nanoseconds: clocks of some file systems tick
/// every two seconds.
pub(super) const SETTLED: i128 = 2_000_000_000;

/// What is known of one state of a file.
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
    /// Refused for what its bytes are.
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
    /// A refusal, if it is one that the bytes alone decide.
    pub(super) fn refused(refusal: &Refusal) -> Option<Self> {
        let lasting = matches!(
            refusal.reason,
            Reason::NotElf
                | Reason::Truncated
                | Reason::MalformedElf
                | Reason::WrongArchitecture
                | Reason::NotASharedLibrary
                | Reason::BadManifest
        );
        lasting.then(|| Self::Refused {
            reason: refusal.reason.code().to_owned(),
            message: refusal.message.clone(),
            help: refusal.help.clone(),
        })
    }
}

/// The file's own form.
#[derive(Default, Serialize, Deserialize)]
struct Form {
    format: String,
    entries: Vec<(FileId, Known)>,
}

/// Everything known, and what a scan adds to it.
#[derive(Debug, Default)]
pub(super) struct Cache {
    path: Option<PathBuf>,
    known: BTreeMap<FileId, Known>,
    /// What of it a scan met, and what the scan adds.
    used: Mutex<BTreeMap<FileId, Option<Known>>>,
}

impl Cache {
    /// The cache file in `dir`; an empty cache that is never written where there is no directory.
    pub(super) fn read(dir: Option<&Path>) -> Self {
        let Some(dir) = dir else { return Self::default() };
        if let Err(refusal) = store::private_dir(dir) {
            log::warn!("plugins are read anew each time, because {}", refusal.message);
            return Self::default();
        }
        let path = dir.join("inspected.json");
        let known = match fs::symlink_metadata(&path) {
            Err(_) => BTreeMap::new(),
            Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_BYTES => parse(&path),
            Ok(_) => {
                log::warn!("{} is no cache of this program and is made anew", shown::path(&path));
                BTreeMap::new()
            }
        };
        Self { path: Some(path), known, used: Mutex::default() }
    }

    /// What is known of a file in this state.
    pub(super) fn get(&self, id: &FileId) -> Option<&Known> {
        let known = self.known.get(id)?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, None);
        Some(known)
    }

    /// Remembers what was found out, unless the file was touched so recently that it could change
    /// unseen.
    pub(super) fn put(&self, id: &FileId, known: Known) {
        if self.path.is_some() && id.is_settled(SystemTime::now(), SETTLED) {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, Some(known));
        }
    }

    /// Writes the cache, if the scan found out anything new. Files of other directories stay in it,
    /// up to a limit.
    pub(super) fn write(self) {
        const MAX_ENTRIES: usize = 50_000;
        let Some(path) = self.path else { return };
        let used = self.used.into_inner().unwrap_or_else(PoisonError::into_inner);
        if used.values().all(Option::is_none) {
            return;
        }
        let room = used.len() + self.known.len() <= MAX_ENTRIES;
        let mut all: BTreeMap<FileId, Known> =
            self.known.into_iter().filter(|(id, _)| room || used.contains_key(id)).collect();
        all.extend(used.into_iter().filter_map(|(id, new)| Some((id, new?))));
        let form = Form { format: FORMAT.to_owned(), entries: all.into_iter().collect() };
        let json = serde_json::to_vec(&form).unwrap_or_default();
        let dir = path.parent().unwrap_or(Path::new("."));
        let written =
            tempfile::Builder::new().prefix(".new-").tempfile_in(dir).and_then(|mut aside| {
                aside.write_all(&json)?;
                aside.persist(&path).map_err(|error| error.error)?;
                Ok(())
            });
        if let Err(error) = written {
            log::warn!(
                "what was found out about plugins cannot be kept in {}: {error}",
                shown::path(&path)
            );
        }
    }
}

fn parse(path: &Path) -> BTreeMap<FileId, Known> {
    let form = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Form>(&bytes).ok());
    match form {
        Some(form) if form.format == FORMAT => form.entries.into_iter().collect(),
        Some(_) => BTreeMap::new(),
        None => {
            log::warn!("{} cannot be read and is made anew", shown::path(path));
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
