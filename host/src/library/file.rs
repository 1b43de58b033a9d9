//! Regular files: opening them without blocking, and what identifies their contents.
//!
//! [`Sha256`] is the hash of the bytes, [`FileId`] identifies one state of a file without reading
//! it, [`Ownership`] says who may write to it. `replace` writes a file atomically.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::report::{Refusal, RefusalReason, Stage};

/// Age in nanoseconds from which an unchanged file counts as settled, see [`FileId::is_settled`].
/// Some file systems store times with a resolution of two seconds.
pub(super) const SETTLED: i128 = 2_000_000_000;

/// SHA-256 of a file's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The hash of what `file` contains from its current position on, read in pieces that fit into
    /// the processor's cache.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn of_file(file: &mut File) -> io::Result<Self> {
        const PIECE: usize = 64 << 10;
        let mut hash = sha2::Sha256::new();
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(Self(hash.finalize().into())),
                Ok(length) => hash.update(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The inverse of [`Sha256::hex`]; `None` for any other text.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = hex.get(2 * index..2 * index + 2)?;
            *byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        }
        Some(Self(bytes))
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

impl std::fmt::Display for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.hex())
    }
}

/// Identifies one state of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Time of the last change of its bytes, in nanoseconds since 1970.
    pub modified: i128,
    /// Time of the last change of its inode, in nanoseconds since 1970.
    pub changed: i128,
}

impl FileId {
    /// The identity in `metadata`.
    pub fn of(metadata: &fs::Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file has not changed for `nanoseconds` before `now`. A file that changed more
    /// recently could change again with the same times, because file systems store them coarsely.
    pub fn is_settled(&self, now: SystemTime, nanoseconds: i128) -> bool {
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX));
        self.modified.max(self.changed) + nanoseconds < now
    }
}

/// Owner, group and mode of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Permission bits with the sticky bit.
    pub mode: u32,
}

impl Ownership {
    /// The ownership in `metadata`.
    pub fn of(metadata: &fs::Metadata) -> Self {
        Self { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }
}

/// A regular file, opened for reading.
pub(super) struct OpenedFile {
    pub(super) file: File,
    pub(super) resolved: PathBuf,
    pub(super) id: FileId,
    pub(super) ownership: Ownership,
}

/// Opens the regular file at `path`, following symbolic links, without ever blocking. Anything
/// else is refused before it is opened: opening a pipe blocks, opening a device can act.
///
/// # Errors
/// `unreadable` or `not-a-regular-file`.
pub(super) fn open(path: &Path) -> Result<OpenedFile, Refusal> {
    let resolved = fs::canonicalize(path).map_err(|e| not_found_or_unreadable(path, &e))?;
    let before = fs::symlink_metadata(&resolved).map_err(|e| unreadable(&e))?;
    regular(before.file_type())?;
    let file = open_without_link(&resolved).map_err(|e| unreadable(&e))?;
    // The path may lead to another file by now: check the one that was opened.
    let metadata = file.metadata().map_err(|e| unreadable(&e))?;
    regular(metadata.file_type())?;
    let (id, ownership) = (FileId::of(&metadata), Ownership::of(&metadata));
    Ok(OpenedFile { file, resolved, id, ownership })
}

fn open_without_link(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)
}

/// Opens a regular file that belongs to the effective user, without following a link.
pub(super) fn open_own(path: &Path) -> Option<(File, FileId)> {
    let file = open_without_link(path).ok()?;
    let metadata = file.metadata().ok()?;
    let is_own = metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw();
    is_own.then(|| (file, FileId::of(&metadata)))
}

/// Reads all bytes of an opened file and makes sure that it did not change meanwhile.
///
/// # Errors
/// `unreadable` or `changed`.
pub(super) fn read_all(file: &mut File, id: &FileId) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::with_capacity(usize::try_from(id.size).unwrap_or(0));
    file.rewind().map_err(|e| unreadable(&e))?;
    io::Read::by_ref(file)
        .take(id.size.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| unreadable(&e))?;
    let after = file.metadata().map_err(|e| unreadable(&e))?;
    if bytes.len() as u64 != id.size || FileId::of(&after) != *id {
        return Err(refusal(
            RefusalReason::Changed,
            "it changed while it was read",
            "wait until it is written, then try again",
        ));
    }
    Ok(bytes)
}

/// The bytes of a regular file of at most `limit` bytes; `None` if it cannot be read.
pub(super) fn read_at_most(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut opened = open(path).ok().filter(|opened| opened.id.size <= limit)?;
    read_all(&mut opened.file, &opened.id).ok()
}

/// Replaces the file at `path` atomically: writes a temporary file beside it and renames it. For
/// caches: after a power failure the new file may be incomplete.
///
/// # Errors
/// The temporary file cannot be written or renamed; the old file is unchanged then.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_aside(path, bytes, mode)?.persist(path).map(drop).map_err(|error| error.error)
}

/// As [`replace`], and the new bytes are on the disk before the old ones are gone.
///
/// # Errors
/// As [`replace`].
pub(crate) fn replace_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = write_aside(path, bytes, mode)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map(drop).map_err(|error| error.error)
}

/// Creates the file at `path` with these bytes, all at once, unless there is one. Returns whether it
/// was created. The bytes are on the disk before the file has its name.
///
/// # Errors
/// The temporary file cannot be written or renamed.
pub(super) fn create_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    let temporary = write_aside(path, bytes, mode)?;
    temporary.as_file().sync_all()?;
    match temporary.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

fn write_aside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".new-").suffix(".tmp").tempfile_in(dir)?;
    temporary.write_all(bytes)?;
    temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    Ok(temporary)
}

fn refusal(reason: RefusalReason, message: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal::new(Stage::Static, reason, message, help)
}

/// A path that leads nowhere: the file is missing, or it is a link whose target is missing.
fn not_found_or_unreadable(path: &Path, error: &io::Error) -> Refusal {
    if error.kind() != io::ErrorKind::NotFound {
        return unreadable(error);
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return refusal(
            RefusalReason::Unreadable,
            "it is a symbolic link to a file that does not exist",
            "remove the link, or restore the file that it points to",
        );
    }
    refusal(
        RefusalReason::Unreadable,
        "there is no such file",
        "correct the path, or build the file",
    )
}

pub(super) fn unreadable(error: &io::Error) -> Refusal {
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return refusal(
            RefusalReason::Unreadable,
            "its symbolic links form a circle",
            "remove the link, or point it to a file",
        );
    }
    let (message, help) = match error.kind() {
        io::ErrorKind::NotFound => ("it has just been removed".to_owned(), "restore it"),
        io::ErrorKind::PermissionDenied => (
            "reading it is not permitted".to_owned(),
            "give yourself the right to read it, or remove it",
        ),
        _ => (format!("it cannot be read: {error}"), "remove it, or repair the file system"),
    };
    refusal(RefusalReason::Unreadable, message, help)
}

fn regular(kind: fs::FileType) -> Result<(), Refusal> {
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "no regular file"
    };
    Err(refusal(
        RefusalReason::NotARegularFile,
        format!("it is {what}"),
        "remove it, or rename it so that it does not end in .so",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_back_and_nothing_else_does() {
        let hash = Sha256::of(b"abc");
        assert_eq!(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Sha256::from_hex(&hash.hex()), Some(hash));
        assert_eq!(Sha256::from_hex(&"+1".repeat(32)), None);
        assert_eq!(Sha256::from_hex("ba"), None);
        assert_eq!(Sha256::from_hex(&"é".repeat(32)), None);
    }

    #[test]
    fn a_missing_file_and_a_dangling_link_are_told_apart() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let message = |path: &Path| open(path).map(drop).expect_err("nothing there").message;
        let missing = dir.path().join("missing.so");
        assert_eq!(message(&missing), "there is no such file");
        assert_eq!(message(&dir.path().join("no/such/dir.so")), "there is no such file");
        let link = dir.path().join("link.so");
        std::os::unix::fs::symlink(&missing, &link).expect("writable");
        assert!(message(&link).contains("symbolic link"));
    }
}
