//! The content store: copies of plugins named by the hash of their bytes.
//!
//! The dynamic linker is never given the file that was found, but a copy whose bytes were hashed on
//! the way, in a directory that only this user can write to. So what was inspected is what is
//! loaded, replacing or truncating the original cannot disturb a running process, and a rebuilt
//! plugin is a new file to the linker, which would otherwise hand out the old one of the same name.
//! Copies are written aside and renamed, so two hosts may do so at once.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::cache::SETTLED;
use super::discover;
use super::inspect::{self, FileId, Inspected, Sha256};
use super::report::{Reason, Refusal, Stage};
use super::shown;
use super::trust::{Trust, Trusted};

/// A directory of copies.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    /// Removed with the last store of it, if it is a private one of this process.
    _temporary: Option<Arc<tempfile::TempDir>>,
}

/// A plugin whose copy lies in the store.
#[derive(Clone, Debug)]
pub struct Stored {
    pub(super) plugin: Inspected,
    pub(super) path: PathBuf,
    pub(super) note: Note,
}

/// What was found out about a copy, written beside it so that it is not found out again: checking
/// takes longer than all the rest of loading.
///
/// Both facts follow from bytes that have not changed since. A copy whose identity is the same as
/// when its bytes were hashed has those bytes: nobody but this user and root can write to it, and
/// no write leaves the time of the inode's last change as it was. The layout of the tables follows
/// from the plugin's bytes and the host's executable; a comparison that failed is never noted. A
/// note that cannot be read counts as none.
#[derive(Clone, Debug, Default)]
pub(super) struct Note {
    path: Option<PathBuf>,
    facts: Facts,
    is_new: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Facts {
    /// State of the copy whose bytes were hashed.
    hashed: Option<FileId>,
    /// The host that has compared the layout of the tables.
    compared_by: String,
}

impl Note {
    fn read(path: PathBuf) -> Self {
        let facts = fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self { path: Some(path), facts, is_new: false }
    }

    /// Whether this very executable has compared the layout before.
    pub(super) fn has_layout(&self) -> bool {
        host().is_some_and(|host| self.facts.compared_by == host)
    }

    /// Takes down that the layout fits.
    pub(super) fn set_layout(&mut self) {
        if let Some(host) = host() {
            host.clone_into(&mut self.facts.compared_by);
            self.is_new = true;
        }
    }

    /// Takes down that the copy in this state was hashed, unless it was touched so recently that it
    /// could change unseen.
    fn set_hashed(&mut self, copy: FileId) {
        if copy.is_settled(SystemTime::now(), SETTLED) {
            self.facts.hashed = Some(copy);
            self.is_new = true;
        }
    }

    /// Keeps what was taken down. Without it the next run checks again, so a failure is none.
    pub(super) fn keep(&self) {
        let Some(path) = self.path.as_ref().filter(|_| self.is_new) else { return };
        let dir = path.parent().unwrap_or(Path::new("."));
        let text = serde_json::to_vec(&self.facts).unwrap_or_default();
        let written =
            tempfile::Builder::new().prefix(".new-").suffix(".tmp").tempfile_in(dir).and_then(
                |mut aside| {
                    aside.write_all(&text)?;
                    aside.persist(path).map_err(|error| error.error)
                },
            );
        if let Err(error) = written {
            log::debug!("{} cannot be written: {error}", shown::path(path));
        }
    }
}

/// Which host this is: its version, contract, and the state of the file that it runs from.
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

/// A file of this user's, opened without following a link.
fn open_ours(path: &Path) -> Option<(fs::File, FileId)> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)
        .ok()?;
    let metadata = file.metadata().ok()?;
    let is_ours = metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw();
    is_ours.then(|| (file, FileId::of(&metadata)))
}

/// Hash of a file, read in pieces that stay in the processor's cache.
fn hash(file: &mut fs::File) -> io::Result<Sha256> {
    const PIECE: usize = 64 << 10;
    let mut hash = sha2::Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(Sha256(hash.finalize().into())),
            Ok(length) => hash.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn failed(message: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal::fixed(Stage::Store, Reason::StoreFailed, message, help)
}

/// Makes a directory that only this user can write to, or makes sure that it is one.
pub(super) fn private_dir(dir: &Path) -> Result<(), Refusal> {
    let place = |e: io::Error| {
        failed(
            format!("the directory {} cannot be used: {e}", shown::path(dir)),
            "set XDG_CACHE_HOME to a directory of yours",
        )
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(place)?;
    let metadata = fs::symlink_metadata(dir).map_err(place)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(failed(
            format!("{} is not a directory of yours", shown::path(dir)),
            "remove it, or set XDG_CACHE_HOME",
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(place)?;
    }
    Trust::new(&[])
        .check_dir(dir)
        .map_err(|why| failed(why, "take the right to write from others, or set XDG_CACHE_HOME"))?;
    Ok(())
}

impl Store {
    /// The store in the user's cache directory or, where that cannot be had, a temporary one of
    /// this process.
    ///
    /// # Errors
    /// `store-failed`, if neither can be made.
    pub fn open() -> Result<Self, Refusal> {
        if let Some(cache) = discover::user_cache_dir() {
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

    /// A store that ends with this process.
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
                format!("no temporary directory can be made: {e}"),
                "free some space, or set TMPDIR",
            )
        })?;
        Ok(Self { dir: dir.path().to_owned(), _temporary: Some(Arc::new(dir)) })
    }

    /// The store in `dir`, which is made if need be.
    ///
    /// # Errors
    /// `store-failed`, also if others could write to it.
    pub fn at(dir: &Path) -> Result<Self, Refusal> {
        private_dir(dir)?;
        Ok(Self { dir: dir.to_owned(), _temporary: None })
    }

    /// Where the copy of the bytes with this hash lies or would lie.
    pub fn path_of(&self, sha256: Sha256) -> PathBuf {
        self.dir.join(format!("{sha256}.so"))
    }

    /// Whether an intact copy is there.
    fn holds(&self, sha256: Sha256, note: &mut Note) -> bool {
        let Some((mut copy, id)) = open_ours(&self.path_of(sha256)) else { return false };
        if note.facts.hashed == Some(id) {
            return true;
        }
        let is_intact = hash(&mut copy).is_ok_and(|found| found == sha256)
            && copy.metadata().is_ok_and(|metadata| FileId::of(&metadata) == id);
        if is_intact {
            note.set_hashed(id);
        }
        is_intact
    }

    fn write(&self, sha256: Sha256, bytes: &[u8]) -> io::Result<()> {
        let mut aside =
            tempfile::Builder::new().prefix(".new-").suffix(".tmp").tempfile_in(&self.dir)?;
        aside.write_all(bytes)?;
        aside.as_file().set_permissions(Permissions::from_mode(0o500))?;
        aside.as_file().sync_data()?;
        aside.persist(self.path_of(sha256))?;
        Ok(())
    }

    fn note_of(&self, sha256: Sha256) -> Note {
        Note::read(self.dir.join(format!("{sha256}.checked")))
    }
}

impl Trusted {
    /// Makes sure that an exact copy of what was inspected lies in the store.
    ///
    /// # Errors
    /// `changed` if the file no longer has those bytes, `unreadable`, or `store-failed`.
    pub fn store(&self, store: &Store) -> Result<Stored, Refusal> {
        let plugin = &self.0;
        let path = store.path_of(plugin.sha256);
        let mut note = store.note_of(plugin.sha256);
        if !store.holds(plugin.sha256, &mut note) {
            let bytes = reread(plugin)?;
            let space = |e: io::Error| {
                failed(
                    format!("{} cannot be written: {e}", shown::path(&path)),
                    "free some space, or set XDG_CACHE_HOME to another place",
                )
            };
            store.write(plugin.sha256, &bytes).map_err(space)?;
        }
        Ok(Stored { plugin: plugin.clone(), path, note })
    }
}

/// The bytes that were inspected, read once more.
fn reread(plugin: &Inspected) -> Result<Vec<u8>, Refusal> {
    let at_this_stage = |mut refusal: Refusal| {
        refusal.stage = Stage::Store;
        refusal
    };
    let mut opened = inspect::open(&plugin.candidate.path).map_err(at_this_stage)?;
    let changed = |what: String| {
        Refusal::fixed(
            Stage::Store,
            Reason::Changed,
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
    let bytes = inspect::read_all(&mut opened.file, &opened.id).map_err(at_this_stage)?;
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
    use crate::library::elf::tests::library;
    use crate::library::manifest::{SECTION, encode};
    use crate::library::{Candidate, Inspection, Limits};

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
        assert_eq!((refusal.stage, refusal.reason), (Stage::Store, Reason::Changed));
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
        note.keep();
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
        note.keep();
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
