//! The content store: copies of plugins, named by the hash of their bytes.
//!
//! The dynamic linker loads the copy, never the file that was found. The copy has the bytes that
//! were inspected and lies in a directory that only the user can write to. So replacing or
//! truncating the original cannot disturb a running process, and a rebuilt plugin is a new file to
//! the linker, which caches libraries by name. Copies are written to a temporary file and renamed,
//! so two hosts may write the same one at once.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::file::{self, FileId, SETTLED, Sha256};
use super::inspect::Inspected;
use super::report::{Refusal, RefusalReason, Stage};
use super::shared_names::SharedNames;
use super::trusted::Trusted;
use super::{directories, escape};

/// A directory of copies.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    /// For a store of this process alone: removes the directory when the last clone is dropped.
    _temporary: Option<Arc<tempfile::TempDir>>,
}

/// A plugin whose copy lies in the store.
#[derive(Clone, Debug)]
pub struct Stored {
    pub(super) plugin: Inspected,
    pub(super) path: PathBuf,
    pub(super) note: Note,
    pub(super) shared_names: SharedNames,
}

/// Results of checks of a copy, saved beside it (`SHA256.checked`) because the checks take longer
/// than the rest of loading.
///
/// Both results hold as long as the bytes are the same. A copy with the same [`FileId`] as when it
/// was hashed has the same bytes: only the user and root can write to it, and every write changes
/// the inode's time. The result of the layout comparison depends on the plugin's bytes and the
/// host's executable; only a success is saved. A note that cannot be read counts as missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Note {
    path: Option<PathBuf>,
    facts: Facts,
    is_new: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Facts {
    /// FileState of the copy whose bytes were hashed.
    hashed: Option<FileId>,
    /// The host that compared the layout of the tables, see [`host`].
    compared_by: String,
    /// Names that the dynamic linker shares with other plugins.
    #[serde(default)]
    shared_names: Option<SharedNames>,
}

impl Note {
    fn read(path: PathBuf) -> Self {
        let facts = fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self { path: Some(path), facts, is_new: false }
    }

    /// Whether this executable has compared the layout before.
    pub(super) fn has_layout(&self) -> bool {
        host().is_some_and(|host| self.facts.compared_by == host)
    }

    /// Records that the layout fits.
    pub(super) fn set_layout(&mut self) {
        if let Some(host) = host() {
            host.clone_into(&mut self.facts.compared_by);
            self.is_new = true;
        }
    }

    /// The names that the plugin at `copy` shares with others.
    fn shared_names(&mut self, copy: &Path) -> SharedNames {
        let known = &mut self.facts.shared_names;
        if known.is_none() {
            self.is_new = true;
        }
        known.get_or_insert_with(|| SharedNames::read(copy)).clone()
    }

    /// Records that the copy was hashed in this state, unless it changed too recently
    /// ([`FileId::is_settled`]).
    fn set_hashed(&mut self, copy: FileId) {
        if copy.is_settled(SystemTime::now(), SETTLED) {
            self.facts.hashed = Some(copy);
            self.is_new = true;
        }
    }

    /// Saves what was recorded. If that fails, the next run checks again.
    pub(super) fn save(&self) {
        let Some(path) = self.path.as_ref().filter(|_| self.is_new) else { return };
        let text = serde_json::to_vec(&self.facts).unwrap_or_default();
        if let Err(error) = file::replace(path, &text, 0o600) {
            log::debug!("{} cannot be written: {error}", escape::path(path));
        }
    }
}

/// Identifies this host: version, contract, and the identity of its executable file.
fn host() -> Option<&'static str> {
    static HOST: OnceLock<Option<String>> = OnceLock::new();
    HOST.get_or_init(|| {
        let file = fs::metadata("/proc/self/exe").ok().map(|metadata| FileId::of(&metadata))?;
        Some(format!("fluxbay {} contract {} {file:?}", env!("CARGO_PKG_VERSION"), super::CONTRACT))
    })
    .as_deref()
}

impl Stored {
    /// The copy.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn failed(message: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal::new(Stage::Store, RefusalReason::StoreFailed, message, help)
}

impl Store {
    /// The store in the user's cache directory, or a temporary one if that cannot be used.
    ///
    /// # Errors
    /// `store-failed` if neither can be created.
    pub fn open() -> Result<Self, Refusal> {
        if let Some(cache) = directories::user_cache_dir() {
            match Self::at(&cache.join("plugins")) {
                Ok(store) => return Ok(store),
                Err(refusal) => log::warn!(
                    "plugins are copied to a temporary directory, because {}",
                    refusal.message
                ),
            }
        }
        Self::temporary()
    }

    /// A store that is removed when the last clone is dropped.
    ///
    /// # Errors
    /// `store-failed`.
    pub fn temporary() -> Result<Self, Refusal> {
        let made = tempfile::Builder::new()
            .prefix("fluxbay-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir();
        let dir = made.map_err(|e| {
            failed(
                format!("no temporary directory can be created: {e}"),
                "free some space, or set TMPDIR",
            )
        })?;
        Ok(Self { dir: dir.path().to_owned(), _temporary: Some(Arc::new(dir)) })
    }

    /// The store in `dir`, which is created if it does not exist.
    ///
    /// # Errors
    /// `store-failed`, also if others could write to it.
    pub fn at(dir: &Path) -> Result<Self, Refusal> {
        directories::private_dir(dir)?;
        Ok(Self { dir: dir.to_owned(), _temporary: None })
    }

    /// Path of the copy with this hash, whether it exists or not.
    pub fn path_of(&self, sha256: Sha256) -> PathBuf {
        self.dir.join(format!("{sha256}.so"))
    }

    /// Whether the store has an intact copy.
    fn holds(&self, sha256: Sha256, note: &mut Note) -> bool {
        let Some((mut copy, id)) = file::open_own(&self.path_of(sha256)) else { return false };
        if note.facts.hashed == Some(id) {
            return true;
        }
        let is_intact = Sha256::of_file(&mut copy).is_ok_and(|found| found == sha256)
            && copy.metadata().is_ok_and(|metadata| FileId::of(&metadata) == id);
        if is_intact {
            note.set_hashed(id);
        }
        is_intact
    }

    fn note_of(&self, sha256: Sha256) -> Note {
        Note::read(self.dir.join(format!("{sha256}.checked")))
    }
}

impl Trusted {
    /// Makes sure that the store has an exact copy of the inspected file.
    ///
    /// # Errors
    /// `changed` if the file has other bytes by now, `unreadable`, or `store-failed`.
    pub fn store(&self, store: &Store) -> Result<Stored, Refusal> {
        let plugin = &self.0;
        let path = store.path_of(plugin.sha256);
        let mut note = store.note_of(plugin.sha256);
        if !store.holds(plugin.sha256, &mut note) {
            let bytes = reread(plugin)?;
            let space = |e: io::Error| {
                failed(
                    format!("{} cannot be written: {e}", escape::path(&path)),
                    "free some space, or set XDG_CACHE_HOME to another place",
                )
            };
            // Another process may have stored the same bytes by now, and be reading them: to replace
            // its copy would be a change of that file.
            let is_new = file::create_durably(&path, &bytes, 0o500).map_err(space)?;
            if !is_new && !store.holds(plugin.sha256, &mut note) {
                file::replace_durably(&path, &bytes, 0o500).map_err(space)?;
            }
        }
        let shared_names = note.shared_names(&path);
        Ok(Stored { plugin: plugin.clone(), path, note, shared_names })
    }
}

/// Reads the inspected file again and compares its hash.
fn reread(plugin: &Inspected) -> Result<Vec<u8>, Refusal> {
    let at_this_stage = |mut refusal: Refusal| {
        refusal.stage = Stage::Store;
        refusal
    };
    let mut opened = file::open(&plugin.candidate.path).map_err(at_this_stage)?;
    let changed = |what: String| {
        Refusal::new(
            Stage::Store,
            RefusalReason::Changed,
            what,
            "run the command again, once the file is no longer being written",
        )
    };
    if opened.id.size != plugin.id.size {
        return Err(changed(format!(
            "it had {} bytes when it was looked at and has {} now",
            plugin.id.size, opened.id.size
        )));
    }
    let bytes = file::read_all(&mut opened.file, &opened.id).map_err(at_this_stage)?;
    let now = Sha256::of(&bytes);
    if now != plugin.sha256 {
        return Err(changed(format!(
            "its sha256 was {} when it was looked at and is {now} now",
            plugin.sha256
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    use crate::library::elf::tests::library;
    use crate::library::manifest::{SECTION, encode};
    use crate::library::{Candidate, Inspection, Limits, Trust};

    fn trusted(path: &Path) -> Trusted {
        let limits = Limits { file_size: 1 << 20, host: crate::library::HostContract::default() };
        let Ok(Inspection::Plugin(plugin)) = Candidate::named(path).inspect(&limits) else {
            panic!("not a plugin")
        };
        plugin.trust(&Trust::new(&[])).expect("private")
    }

    fn plugin(name: &str) -> Vec<u8> {
        let text = format!(
            r#"{{"schema":1,"contract":"1.0","plugin":{{"name":"{name}","version":"1.0.0"}}}}"#
        );
        library(&[(SECTION, &encode(&text))])
    }

    fn place(name: &str) -> (tempfile::TempDir, PathBuf, Store) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("x.so");
        fs::write(&file, plugin(name)).expect("writable");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("own file");
        let store = Store::at(&dir.path().join("cache/plugins")).expect("private");
        (dir, file, store)
    }

    #[test]
    fn processes_that_store_the_same_file_at_once_do_not_replace_each_others_copy() {
        let (_dir, file, store) = place("a");
        let copies: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let stored = trusted(&file).store(&store).expect("stored");
                        fs::metadata(stored.path()).expect("the copy").ino()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(copies.iter().all(|copy| *copy == copies[0]), "{copies:?}");
    }

    #[test]
    fn the_copy_has_the_inspected_bytes_and_outlives_the_original() {
        let (_dir, file, store) = place("a");
        let trusted = trusted(&file);
        let stored = trusted.store(&store).expect("stored");
        assert_eq!(Sha256::of(&fs::read(stored.path()).expect("readable")), trusted.0.sha256);
        assert_eq!(fs::metadata(stored.path()).expect("there").mode() & 0o777, 0o500);
        fs::remove_file(&file).expect("ours");
        assert!(trusted.store(&store).is_ok(), "the copy is enough");
    }

    #[test]
    fn a_file_replaced_after_the_scan_is_refused_and_a_damaged_copy_is_made_anew() {
        let (_dir, file, store) = place("a");
        let trusted = trusted(&file);
        fs::write(&file, plugin("b")).expect("writable");
        let refusal = trusted.store(&store).expect_err("other bytes");
        assert_eq!((refusal.stage, refusal.reason), (Stage::Store, RefusalReason::Changed));
        fs::write(&file, plugin("a")).expect("writable");
        let stored = trusted.store(&store).expect("the same bytes again");
        fs::set_permissions(stored.path(), Permissions::from_mode(0o700)).expect("ours");
        fs::write(stored.path(), b"damaged").expect("ours");
        let again = trusted.store(&store).expect("made anew");
        assert_eq!(Sha256::of(&fs::read(again.path()).expect("readable")), trusted.0.sha256);
    }

    #[test]
    fn a_copy_is_hashed_until_it_is_known_and_again_once_anything_of_it_changes() {
        let (_dir, file, store) = place("a");
        let trusted = trusted(&file);
        let sha256 = trusted.0.sha256;
        let stored = trusted.store(&store).expect("stored");
        let id = FileId::of(&fs::metadata(stored.path()).expect("there"));
        let mut note = Note::default();
        note.set_hashed(id);
        assert_eq!(note.facts.hashed, None, "written just now");
        // As if it had been left alone for long.
        note = Note {
            path: store.note_of(sha256).path,
            facts: Facts { hashed: Some(id), ..Facts::default() },
            is_new: true,
        };
        note.save();
        assert_eq!(store.note_of(sha256).facts, note.facts);
        // File systems stamp changes with a clock that ticks every few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(50));
        // Other bytes, as many as before, and the same time of the last change: the inode's own
        // time tells.
        let times = fs::metadata(stored.path()).expect("there").modified().expect("has one");
        fs::set_permissions(stored.path(), Permissions::from_mode(0o700)).expect("ours");
        let mut bytes = fs::read(stored.path()).expect("readable");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(stored.path(), &bytes).expect("ours");
        fs::File::options()
            .write(true)
            .open(stored.path())
            .and_then(|file| file.set_modified(times))
            .expect("ours");
        fs::set_permissions(stored.path(), Permissions::from_mode(0o500)).expect("ours");
        let again = trusted.store(&store).expect("made anew");
        assert_eq!(Sha256::of(&fs::read(again.path()).expect("readable")), sha256);
    }

    #[test]
    fn a_layout_is_known_to_this_executable_alone() {
        let (_dir, _, store) = place("a");
        let sha256 = Sha256::of(b"x");
        let mut note = store.note_of(sha256);
        assert!(!note.has_layout());
        note.set_layout();
        note.save();
        assert!(store.note_of(sha256).has_layout());
        for text in
            ["", "{}", "fluxbay", r#"{"hashed":null,"compared-by":"fluxbay of another day"}"#]
        {
            fs::write(store.note_of(sha256).path.expect("has one"), text).expect("ours");
            assert!(!store.note_of(sha256).has_layout(), "{text}");
        }
    }

    #[test]
    fn a_store_that_others_could_write_to_is_not_used() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("ours");
        assert!(Store::at(&dir.path().join("cache")).is_err());
    }
}
