//! The static stage: opens a candidate without blocking, checks it, hashes it and reads its
//! manifest.
//!
//! No code of the file runs and no part of it is mapped: its bytes are read into memory, checked
//! there, hashed there. Anything that is no regular file is turned away before it is opened,
//! because opening a pipe blocks and opening a device can act.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use object::read::ReadCache;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::cache::{Cache, Known};
use super::discover::{Candidate, Origin};
use super::manifest::{ContractVersion, Manifest, PanicStrategy, SECTION, encode, section_text};
use super::report::{Reason, Refusal, Stage};
use super::{elf, shown};

/// SHA-256 of a file's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The hash that `hex` writes.
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

/// What tells one state of a file from another without reading it.
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
    /// The identity that `metadata` tells.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
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

    /// Whether the file was left alone for `nanoseconds` before `now`; a younger one may change
    /// again without its times telling, because clocks of file systems tick coarsely.
    pub fn is_settled(&self, now: SystemTime, nanoseconds: i128) -> bool {
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX));
        self.modified.max(self.changed) + nanoseconds < now
    }
}

/// Whose a file or directory is and who may write to it.
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
    /// What `metadata` tells.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        Self { user: metadata.uid(), group: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }
}

/// The contract that a host serves.
#[derive(Clone, Debug)]
pub struct HostContract {
    /// Its version.
    pub version: ContractVersion,
    /// Ids of the extensions that plugins may require.
    pub extensions: Vec<String>,
}

impl Default for HostContract {
    /// What this host serves.
    fn default() -> Self {
        Self {
            version: super::CONTRACT,
            extensions: super::EXTENSIONS.iter().map(|&id| id.to_owned()).collect(),
        }
    }
}

/// What the static stage allows.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest file that is read, in bytes.
    pub file_size: u64,
    /// The contract to compare with.
    pub host: HostContract,
}

/// A file that is a plugin, judged by its bytes alone.
#[derive(Clone, Debug)]
pub struct Inspected {
    pub(super) candidate: Candidate,
    pub(super) resolved: PathBuf,
    pub(super) id: FileId,
    pub(super) ownership: Ownership,
    pub(super) sha256: Sha256,
    pub(super) manifest: Manifest,
    pub(super) section: Vec<u8>,
}

impl Inspected {
    /// As found on the search path.
    pub fn path(&self) -> &Path {
        &self.candidate.path
    }

    /// The directory that it was found through.
    pub fn origin(&self) -> Origin {
        self.candidate.origin
    }

    /// Where it really lies, symbolic links followed.
    pub fn resolved(&self) -> &Path {
        &self.resolved
    }

    /// Hash of its bytes.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// What the static stage makes of a candidate that it does not refuse.
#[derive(Clone, Debug)]
pub enum Inspection {
    /// A plugin.
    Plugin(Box<Inspected>),
    /// A sound shared library without a manifest.
    OrdinaryLibrary,
}

fn refuse<T>(
    reason: Reason,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal::fixed(Stage::Static, reason, message, help))
}

fn unreadable(error: &io::Error) -> Refusal {
    use io::ErrorKind as Kind;
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return Refusal::fixed(
            Stage::Static,
            Reason::Unreadable,
            "its symbolic links lead in a circle",
            "remove the link, or point it to a file",
        );
    }
    let (message, help) = match error.kind() {
        Kind::NotFound => (
            "it is a symbolic link to a file that does not exist, or has just been removed"
                .to_owned(),
            "remove the link, or restore what it names",
        ),
        Kind::PermissionDenied => (
            "reading it is not permitted".to_owned(),
            "give yourself the right to read it, or remove it",
        ),
        _ => (format!("it cannot be read: {error}"), "remove it, or repair the file system"),
    };
    Refusal::fixed(Stage::Static, Reason::Unreadable, message, help)
}

/// A regular file, opened for reading.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) resolved: PathBuf,
    pub(super) id: FileId,
    pub(super) ownership: Ownership,
}

/// Opens the regular file at `path`, symbolic links followed, without ever blocking.
///
/// # Errors
/// `unreadable` or `not-a-regular-file`.
pub(super) fn open(path: &Path) -> Result<Opened, Refusal> {
    let resolved = std::fs::canonicalize(path).map_err(|e| unreadable(&e))?;
    let before = std::fs::symlink_metadata(&resolved).map_err(|e| unreadable(&e))?;
    regular(before.file_type())?;
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(&resolved)
        .map_err(|e| unreadable(&e))?;
    // What was opened counts, not what lay there before.
    let metadata = file.metadata().map_err(|e| unreadable(&e))?;
    regular(metadata.file_type())?;
    Ok(Opened { file, resolved, id: FileId::of(&metadata), ownership: Ownership::of(&metadata) })
}

fn regular(kind: std::fs::FileType) -> Result<(), Refusal> {
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
        "something else than a file"
    };
    refuse(
        Reason::NotARegularFile,
        format!("it is {what}"),
        "remove it, or rename it so that it does not end in .so",
    )
}

/// All bytes of an opened file, which must be as many as its identity says.
pub(super) fn read_all(file: &mut File, id: &FileId) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::with_capacity(usize::try_from(id.size).unwrap_or(0));
    file.rewind().map_err(|e| unreadable(&e))?;
    file.by_ref()
        .take(id.size.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| unreadable(&e))?;
    let after = file.metadata().map_err(|e| unreadable(&e))?;
    if bytes.len() as u64 != id.size || FileId::of(&after) != *id {
        return refuse(
            Reason::Changed,
            "it changed while it was read",
            "wait until it is written, then try again",
        );
    }
    Ok(bytes)
}

impl Candidate {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// Any reason of the static stage; the candidate's path is known to the caller.
    pub fn inspect(&self, limits: &Limits) -> Result<Inspection, Refusal> {
        self.inspect_with(limits, &Cache::default())
    }

    /// As [`Candidate::inspect`], by way of what is known of the file.
    pub(super) fn inspect_with(
        &self,
        limits: &Limits,
        cache: &Cache,
    ) -> Result<Inspection, Refusal> {
        let mut opened = open(&self.path)?;
        let recalled = cache
            .get(&opened.id)
            .filter(|_| opened.id.size <= limits.file_size)
            .and_then(|known| self.recall(known, &opened));
        let result = recalled.unwrap_or_else(|| {
            let result = self.examine(&mut opened, limits);
            if let Some(known) = to_remember(&result) {
                cache.put(&opened.id, known);
            }
            result
        });
        if let Ok(Inspection::Plugin(plugin)) = &result {
            check_contract(&plugin.manifest, &limits.host)?;
        }
        result
    }

    /// What the bytes say.
    fn examine(&self, opened: &mut Opened, limits: &Limits) -> Result<Inspection, Refusal> {
        let size = opened.id.size;
        if !looks_at_manifest(&opened.file, size, limits.file_size)? {
            return Ok(Inspection::OrdinaryLibrary);
        }
        let bytes = read_all(&mut opened.file, &opened.id)?;
        // Once more on the bytes that are hashed: the first look only spared reading what is no
        // plugin.
        let Some(range) = elf::check(&bytes[..], size, SECTION)?.manifest else {
            return Ok(Inspection::OrdinaryLibrary);
        };
        let section = bounds(range).and_then(|range| bytes.get(range)).unwrap_or_default().to_vec();
        let manifest = Manifest::from_section(&section).or_else(|e| {
            refuse(
                Reason::BadManifest,
                e.to_string(),
                "build it again with the current export macro, or tell its author",
            )
        })?;
        Ok(self.found(opened, Sha256::of(&bytes), manifest, section))
    }

    fn found(
        &self,
        opened: &Opened,
        sha256: Sha256,
        manifest: Manifest,
        section: Vec<u8>,
    ) -> Inspection {
        let (resolved, id, ownership) = (opened.resolved.clone(), opened.id, opened.ownership);
        Inspection::Plugin(Box::new(Inspected {
            candidate: self.clone(),
            resolved,
            id,
            ownership,
            sha256,
            manifest,
            section,
        }))
    }

    /// What the cache says; nothing if that makes no sense.
    fn recall(&self, known: &Known, opened: &Opened) -> Option<Result<Inspection, Refusal>> {
        match known {
            Known::Ordinary => Some(Ok(Inspection::OrdinaryLibrary)),
            Known::Plugin { sha256, manifest: text } => {
                let (sha256, manifest) = (Sha256::from_hex(sha256)?, Manifest::recall(text)?);
                Some(Ok(self.found(opened, sha256, manifest, encode(text))))
            }
            Known::Refused { reason, message, help } => {
                let reason = Reason::ALL.iter().find(|known| known.code() == reason)?;
                Some(refuse(*reason, shown::controls(message), shown::controls(help)))
            }
        }
    }
}

/// What of a result the bytes alone decide.
fn to_remember(result: &Result<Inspection, Refusal>) -> Option<Known> {
    match result {
        Ok(Inspection::OrdinaryLibrary) => Some(Known::Ordinary),
        Ok(Inspection::Plugin(plugin)) => {
            let text = section_text(&plugin.section).ok()?;
            Some(Known::Plugin { sha256: plugin.sha256.hex(), manifest: text.to_owned() })
        }
        Err(refusal) => Known::refused(refusal),
    }
}

fn bounds(range: std::ops::Range<u64>) -> Option<std::ops::Range<usize>> {
    Some(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

/// Whether the file, judged by its headers alone, has a manifest, and may be read whole.
fn looks_at_manifest(file: &File, size: u64, limit: u64) -> Result<bool, Refusal> {
    let too_large = || {
        refuse(
            Reason::TooLarge,
            format!("it has {size} bytes; at most {limit} are read"),
            "strip its debug information, or keep it elsewhere",
        )
    };
    let cache = ReadCache::new(file);
    match elf::check(&cache, size, SECTION) {
        Ok(found) if found.manifest.is_none() => Ok(false),
        Err(refusal) if refusal.reason != Reason::NotElf => Err(refusal),
        _ if size > limit => too_large(),
        Ok(_) => Ok(true),
        Err(refusal) => Err(refusal),
    }
}

/// Whether the host serves what the plugin was built against, and who must be rebuilt if not.
fn check_contract(manifest: &Manifest, host: &HostContract) -> Result<(), Refusal> {
    let (theirs, ours) = (manifest.contract, host.version);
    // The host serves its own major version and, from the second on, the one before.
    let oldest = ours.major.saturating_sub(1).max(1);
    if theirs.major < oldest {
        let message = format!(
            "it was built against contract {theirs}; this host serves {oldest}.0 to {ours}"
        );
        return refuse(
            Reason::ContractTooOld,
            message,
            format!("build the plugin again against contract {ours}"),
        );
    }
    if theirs.major > ours.major {
        let message = format!(
            "it was built against contract {theirs}; this host serves {oldest}.0 to {ours}"
        );
        return refuse(
            Reason::ContractTooNew,
            message,
            format!(
                "install a fluxbay that serves contract {theirs}, or an older release of the plugin"
            ),
        );
    }
    if manifest.plugin.panic == PanicStrategy::Abort {
        return refuse(
            Reason::PanicAborts,
            "it was built with panic = \"abort\", so that a panic in it would end the whole run",
            "remove `panic = \"abort\"` from the profile that it is built with, and build it again",
        );
    }
    for component in &manifest.components {
        if let Some(missing) = component.requires.iter().find(|id| !host.extensions.contains(id)) {
            let message = format!(
                "its {} needs the extension {}, which this host lacks",
                component.id(),
                shown::text(missing)
            );
            return refuse(
                Reason::MissingExtension,
                message,
                "install a newer fluxbay, or an older release of the plugin",
            );
        }
    }
    Ok(())
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
    fn a_plugin_whose_panics_abort_is_refused() {
        let text = r#"{"schema":1,"contract":"1.0","plugin":{"name":"a","version":"1.0.0","panic":"abort"},"components":[]}"#;
        let manifest = Manifest::parse(text).expect("good");
        let refusal = check_contract(&manifest, &HostContract::default()).expect_err("aborts");
        assert_eq!(refusal.reason, Reason::PanicAborts);
    }

    #[test]
    fn the_contract_is_served_for_this_and_the_previous_major_version() {
        let manifest = |contract: &str| {
            let text = format!(
                r#"{{"schema":1,"contract":"{contract}","plugin":{{"name":"a","version":"1.0.0"}},
                "components":[{{"kind":"loss","name":"l","requires":["fluxbay.x/2"]}}]}}"#
            );
            Manifest::parse(&text).expect("good")
        };
        let verdict = |contract: &str, major: u16, minor: u16, extensions: &[&str]| {
            let host = HostContract {
                version: ContractVersion::new(major, minor),
                extensions: extensions.iter().map(|&e| e.to_owned()).collect(),
            };
            check_contract(&manifest(contract), &host).map_err(|r| r.reason)
        };
        assert_eq!(verdict("1.0", 1, 0, &["fluxbay.x/2"]), Ok(()));
        assert_eq!(verdict("1.7", 1, 0, &["fluxbay.x/2"]), Ok(()));
        assert_eq!(verdict("0.9", 1, 0, &["fluxbay.x/2"]), Err(Reason::ContractTooOld));
        assert_eq!(verdict("1.0", 2, 3, &["fluxbay.x/2"]), Ok(()));
        assert_eq!(verdict("1.0", 3, 0, &["fluxbay.x/2"]), Err(Reason::ContractTooOld));
        assert_eq!(verdict("2.0", 1, 9, &["fluxbay.x/2"]), Err(Reason::ContractTooNew));
        assert_eq!(verdict("1.0", 1, 0, &["fluxbay.x/1"]), Err(Reason::MissingExtension));
    }
}
