//! The data about each file that listings print and `--json` writes.
//!
//! A stage refuses a file with a [`Refusal`]; the catalog makes a [`FileReport`] of each file. A
//! message says what was found, its help what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::escape;

/// Which part of the search path a directory comes from; earlier ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SearchOrigin {
    /// `--plugin-dir`.
    CommandLine,
    /// `FLUXBAY_PLUGIN_PATH`.
    Environment,
    /// `[plugins] dirs` of the run file.
    Project,
    /// The user's data directory.
    User,
    /// Beside the executable.
    Executable,
}

impl SearchOrigin {
    /// The name in listings.
    pub fn label(self) -> &'static str {
        match self {
            SearchOrigin::CommandLine => "--plugin-dir",
            SearchOrigin::Environment => "FLUXBAY_PLUGIN_PATH",
            SearchOrigin::Project => "run file",
            SearchOrigin::User => "user data directory",
            SearchOrigin::Executable => "beside the executable",
        }
    }

    /// Whether the user named this directory, so that a missing one is reported.
    pub(super) fn is_named(self) -> bool {
        matches!(
            self,
            SearchOrigin::CommandLine | SearchOrigin::Environment | SearchOrigin::Project
        )
    }
}

/// The stages that a file passes, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Found in a directory of the search path.
    Discover,
    /// Read and checked without running anything.
    Static,
    /// Owner and modes of the file and its parents.
    Trust,
    /// Loaded in a child process.
    Probe,
    /// Copied under the hash of its bytes.
    Store,
    /// Loaded into this process.
    Load,
}

impl Stage {
    /// The name in listings.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Discover => "discover",
            Stage::Static => "static",
            Stage::Trust => "trust",
            Stage::Probe => "probe",
            Stage::Store => "store",
            Stage::Load => "load",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)+) => {
        /// Why a file is refused: a short code for scripts and tests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RefusalReason { $($(#[$doc])* $variant,)+ }

        impl RefusalReason {
            /// All reasons.
            pub const ALL: &[RefusalReason] = &[$(RefusalReason::$variant),+];

            /// The code, in kebab-case.
            pub fn code(self) -> &'static str {
                match self { $(RefusalReason::$variant => $code),+ }
            }
        }
    };
}

reasons! {
    /// It is not an ELF file.
    NotElf = "not-elf",
    /// It ends before the end of a segment or section.
    Truncated = "truncated",
    /// Its tables contradict each other.
    MalformedElf = "malformed-elf",
    /// Built for another machine, word size or byte order.
    WrongArchitecture = "wrong-architecture",
    /// An executable, an object file or a core dump.
    NotASharedLibrary = "not-a-shared-library",
    /// A directory, socket, device or pipe.
    NotARegularFile = "not-a-regular-file",
    /// It cannot be opened or read.
    Unreadable = "unreadable",
    /// Larger than the limit.
    TooLarge = "too-large",
    /// A directory holds more files than the limit.
    TooManyFiles = "too-many-files",
    /// Its description is wrong.
    BadManifest = "bad-manifest",
    /// Built against a contract that this host no longer supports.
    ContractTooOld = "contract-too-old",
    /// Built against a contract that this host does not support yet.
    ContractTooNew = "contract-too-new",
    /// It needs an extension that this host lacks.
    MissingExtension = "missing-extension",
    /// Other users can change it.
    Untrusted = "untrusted",
    /// It has no signature although keys are trusted.
    Unsigned = "unsigned",
    /// Its signature does not match its bytes.
    BadSignature = "bad-signature",
    /// Its signature was made with a key that is not trusted.
    UnknownKey = "unknown-key",
    /// Its bytes changed since it was inspected.
    Changed = "changed",
    /// A copy of it could not be stored.
    StoreFailed = "store-failed",
    /// The dynamic linker refuses it.
    LinkFailed = "link-failed",
    /// It does not export the entry point of a plugin.
    NoEntry = "no-entry",
    /// The layout of its tables differs from the host's.
    LayoutMismatch = "layout-mismatch",
    /// Its description at run time differs from its manifest section.
    ManifestMismatch = "manifest-mismatch",
    /// It breaks a rule of the contract.
    ContractViolation = "contract-violation",
    /// Built with `panic = "abort"`: a panic would end the process.
    PanicAborts = "panic-aborts",
    /// Its `init` function failed.
    InitFailed = "init-failed",
    /// It ended the probe process by a signal.
    Crashed = "crashed",
    /// It ended the probe process by calling `exit`.
    Exited = "exited",
    /// Loading it took longer than the probe's time limit.
    TimedOut = "timed-out",
    /// The probe process sent something that is no valid answer.
    ProtocolError = "protocol-error",
    /// Loading it took more memory than the probe's limit.
    OutOfMemory = "out-of-memory",
    /// The probe process could not be started.
    ProbeUnavailable = "probe-unavailable",
    /// A file with the same bytes failed the probe before.
    Quarantined = "quarantined",
    /// Disabled by the user.
    Disabled = "disabled",
    /// The lock file pins other bytes, or does not name it.
    NotLocked = "not-locked",
    /// Another file in the same directory offers the same component.
    Ambiguous = "ambiguous",
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl Serialize for RefusalReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// Why a file did not pass a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}: {message}; {help}")]
pub struct Refusal {
    /// Where it stopped.
    pub stage: Stage,
    /// Short code.
    pub reason: RefusalReason,
    /// What was found; printable without escaping.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Refusal {
    /// A refusal with its texts.
    pub(super) fn new(
        stage: Stage,
        reason: RefusalReason,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { stage, reason, message: message.into(), help: help.into() }
    }
}

/// How a file is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// A plugin; at least one of its components is reached by its bare name.
    Ok,
    /// A plugin; files earlier on the search path offer all its components.
    Shadowed,
    /// Not used, see the refusal.
    Refused,
    /// A shared library without a manifest.
    Ignored,
}

impl FileState {
    /// The name in listings.
    pub fn name(self) -> &'static str {
        match self {
            FileState::Ok => "ok",
            FileState::Shadowed => "shadowed",
            FileState::Refused => "refused",
            FileState::Ignored => "ignored",
        }
    }
}

/// What is known about one file (or, for limits, one directory) of the search path.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// Path as found on the search path.
    #[serde(serialize_with = "serialize_path")]
    pub path: PathBuf,
    /// Path without symbolic links, if it differs.
    #[serde(serialize_with = "serialize_option", skip_serializing_if = "Option::is_none")]
    pub resolved: Option<PathBuf>,
    /// Other files with the same bytes; they are loaded once.
    #[serde(serialize_with = "serialize_list", skip_serializing_if = "Vec::is_empty")]
    pub also_at: Vec<PathBuf>,
    /// Which part of the search path led to it.
    pub origin: SearchOrigin,
    /// How it is used.
    pub state: FileState,
    /// Plugin's name, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Plugin's version, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Hash of its bytes in hexadecimal, where they were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The files that shadow it.
    #[serde(serialize_with = "serialize_list", skip_serializing_if = "Vec::is_empty")]
    pub shadowed_by: Vec<PathBuf>,
    /// Why it is refused.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

pub(super) fn serialize_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&escape::path(path))
}

fn serialize_option<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    path.as_deref().map(escape::path).serialize(serializer)
}

fn serialize_list<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| escape::path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_reasons_are_kebab_case_and_distinct() {
        let codes: std::collections::BTreeSet<_> =
            RefusalReason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), RefusalReason::ALL.len());
        for code in codes {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
        }
    }
}
