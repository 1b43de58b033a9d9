//! The content store: copies of plugins named by the hash of their bytes.
//!
//! The dynamic linker is never given the file that was found, but a copy whose bytes were hashed on the way, in a
//! directory that only this user can write to. So what was inspected is what is loaded, replacing or truncating the
//! original cannot disturb a running process, and a rebuilt plugin is a new file to the linker, which would otherwise
//! hand out the old one of the same name. Copies are written aside and renamed, so two hosts may do so at once.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::discover;
use super::inspect::{self, Inspected, Sha256};
use super::report::{Reason, Refusal, Stage};
use super::shown;
use super::trust::{Trust, Trusted};

/// A directory of copies.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// Removed with the store, if it is a private one of this process.
    _temporary: Option<tempfile::TempDir>,
}

/// A plugin whose copy lies in the store.
#[derive(Clone, Debug)]
pub struct Stored {
    pub(super) plugin: Inspected,
    pub(super) path: PathBuf,
}

impl Stored {
    /// The copy.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn failed(message: impl Into<String>, mend: impl Into<String>) -> Refusal {
    Refusal::fixed(Stage::Store, Reason::StoreFailed, message, mend)
}

/// Makes a directory that only this user can write to, or makes sure that it is one.
pub(super) fn private_dir(dir: &Path) -> Result<(), Refusal> {
    let place = |e: io::Error| {
        failed(format!("the directory {} cannot be used: {e}", shown::path(dir)), "set XDG_CACHE_HOME to a directory of yours")
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(place)?;
    let metadata = fs::symlink_metadata(dir).map_err(place)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(failed(format!("{} is not a directory of yours", shown::path(dir)), "remove it, or set XDG_CACHE_HOME"));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(place)?;
    }
    Trust::new(&[]).check_dir(dir).map_err(|why| failed(why, "take the right to write from others, or set XDG_CACHE_HOME"))?;
    Ok(())
}

impl Store {
    /// The store in the user's cache directory or, where that cannot be had, a temporary one of this process.
    ///
    /// # Errors
    /// `store-failed`, if neither can be made.
    pub fn open() -> Result<Self, Refusal> {
        if let Some(cache) = discover::user_cache_dir() {
            match Self::at(&cache.join("plugins")) {
                Ok(store) => return Ok(store),
                Err(refusal) => log::warn!("plugins are copied to a temporary directory, because {}", refusal.message),
            }
        }
        Self::temporary()
    }

    /// A store that ends with this process.
    ///
    /// # Errors
    /// `store-failed`.
    pub fn temporary() -> Result<Self, Refusal> {
        let made = tempfile::Builder::new().prefix("fluxbay-").permissions(Permissions::from_mode(0o700)).tempdir();
        let dir = made.map_err(|e| failed(format!("no temporary directory can be made: {e}"), "free some space, or set TMPDIR"))?;
        Ok(Self { dir: dir.path().to_owned(), _temporary: Some(dir) })
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
    fn holds(&self, sha256: Sha256) -> bool {
        let Ok(mut copy) = inspect::open(&self.path_of(sha256)) else { return false };
        copy.ownership.user == rustix::process::geteuid().as_raw()
            && inspect::read_all(&mut copy.file, &copy.id).is_ok_and(|bytes| Sha256::of(&bytes) == sha256)
    }

    fn write(&self, sha256: Sha256, bytes: &[u8]) -> io::Result<()> {
        let mut aside = tempfile::Builder::new().prefix(".new-").suffix(".tmp").tempfile_in(&self.dir)?;
        aside.write_all(bytes)?;
        aside.as_file().set_permissions(Permissions::from_mode(0o500))?;
        aside.as_file().sync_data()?;
        aside.persist(self.path_of(sha256))?;
        Ok(())
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
        if !store.holds(plugin.sha256) {
            let bytes = reread(plugin)?;
            let space = |e: io::Error| {
                failed(format!("{} cannot be written: {e}", shown::path(&path)), "free some space, or set XDG_CACHE_HOME to another place")
            };
            store.write(plugin.sha256, &bytes).map_err(space)?;
        }
        Ok(Stored { plugin: plugin.clone(), path })
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
        Refusal::fixed(Stage::Store, Reason::Changed, what, "run the command again, once the file is no longer being written")
    };
    if opened.id.size != plugin.id.size {
        return Err(changed(format!("it had {} bytes when it was looked at and has {} now", plugin.id.size, opened.id.size)));
    }
    let bytes = inspect::read_all(&mut opened.file, &opened.id).map_err(at_this_stage)?;
    let now = Sha256::of(&bytes);
    if now != plugin.sha256 {
        return Err(changed(format!("its sha256 was {} when it was looked at and is {now} now", plugin.sha256)));
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
        let Ok(Inspection::Plugin(plugin)) = Candidate::named(path).inspect(&limits) else { panic!("not a plugin") };
        plugin.trust(&Trust::new(&[])).expect("private")
    }

    fn plugin(name: &str) -> Vec<u8> {
        let text = format!(r#"{{"schema":1,"contract":"1.0","plugin":{{"name":"{name}","version":"1.0.0"}}}}"#);
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
    fn a_store_that_others_could_write_to_is_not_used() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("ours");
        assert!(Store::at(&dir.path().join("cache")).is_err());
    }
}
