//! What is said about each file: the data that listings print and that `--json` gives out.
//!
//! Every stage refuses with a [`Refusal`]; the catalog turns what it knows about a file into a
//! [`FileReport`]. The texts are complete sentences' worth of what, where and why, and the help
//! says what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::discover::Origin;
use super::shown;

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
        /// Why a file is refused: a short code that scripts and tests can rely on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $variant,)+ }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Reason] = &[$(Reason::$variant),+];

            /// The code, in kebab-case.
            pub fn code(self) -> &'static str {
                match self { $(Reason::$variant => $code),+ }
            }
        }
    };
}

reasons! {
    /// Its bytes are something else than ELF.
    NotElf = "not-elf",
    /// It ends before what its own tables promise.
    Truncated = "truncated",
    /// Its tables contradict each other.
    MalformedElf = "malformed-elf",
    /// Made for another machine, word size or byte order.
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
    /// Built against a contract that this host no longer serves.
    ContractTooOld = "contract-too-old",
    /// Built against a contract that this host does not know yet.
    ContractTooNew = "contract-too-new",
    /// It needs an extension that this host lacks.
    MissingExtension = "missing-extension",
    /// Others could have changed it.
    Untrusted = "untrusted",
    /// Keys are trusted, but it has no signature.
    Unsigned = "unsigned",
    /// Its signature is not one of its bytes.
    BadSignature = "bad-signature",
    /// Its signature was made with a key that is not trusted.
    UnknownKey = "unknown-key",
    /// Its bytes are not those that were looked at before.
    Changed = "changed",
    /// A copy of it could not be stored.
    StoreFailed = "store-failed",
    /// The dynamic linker refuses it.
    LinkFailed = "link-failed",
    /// It does not export the entry of a plugin.
    NoEntry = "no-entry",
    /// Its tables are laid out differently from the host's.
    LayoutMismatch = "layout-mismatch",
    /// What it says when running differs from its manifest section.
    ManifestMismatch = "manifest-mismatch",
    /// It breaks a rule of the contract.
    ContractViolation = "contract-violation",
    /// It was built so that a panic ends the process.
    PanicAborts = "panic-aborts",
    /// Its own start-up failed.
    InitFailed = "init-failed",
    /// It ended the process that tried it by a signal.
    Crashed = "crashed",
    /// It ended the process that tried it by leaving.
    Exited = "exited",
    /// It did not answer in time.
    TimedOut = "timed-out",
    /// What came over the probe's channel was no answer.
    ProtocolError = "protocol-error",
    /// It wanted more memory than the limit.
    OutOfMemory = "out-of-memory",
    /// The process that tries plugins could not be started.
    ProbeUnavailable = "probe-unavailable",
    /// It failed before and its bytes have not changed.
    Quarantined = "quarantined",
    /// Somebody switched it off.
    Disabled = "disabled",
    /// The lock file pins other bytes or does not name it.
    NotLocked = "not-locked",
    /// A component of the same name lies in the same directory.
    Ambiguous = "ambiguous",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl Serialize for Reason {
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
    pub reason: Reason,
    /// What was found, printable as it is.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Refusal {
    /// A refusal of the static stage.
    pub(super) fn fixed(
        stage: Stage,
        reason: Reason,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { stage, reason, message: message.into(), help: help.into() }
    }
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A plugin, at least one of whose components is in use.
    Ok,
    /// A plugin, all of whose components are offered by files earlier on the search path.
    Shadowed,
    /// Not used, see the refusal.
    Refused,
    /// A shared library that is no plugin.
    Ignored,
}

impl State {
    /// The name in listings.
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Shadowed => "shadowed",
            State::Refused => "refused",
            State::Ignored => "ignored",
        }
    }
}

/// What is known about one file (or, for limits, one directory) of the search path.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// As found on the search path.
    #[serde(serialize_with = "shown_path")]
    pub path: PathBuf,
    /// Where it really lies, when that is elsewhere.
    #[serde(serialize_with = "shown_option", skip_serializing_if = "Option::is_none")]
    pub resolved: Option<PathBuf>,
    /// Other names of the same bytes; they are loaded once.
    #[serde(serialize_with = "shown_list", skip_serializing_if = "Vec::is_empty")]
    pub also_at: Vec<PathBuf>,
    /// Which part of the search path led to it.
    pub origin: Origin,
    /// What became of it.
    pub state: State,
    /// Plugin's name, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Plugin's version, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Hash of its bytes in hexadecimal, where they were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// For a shadowed file: those that come first.
    #[serde(serialize_with = "shown_list", skip_serializing_if = "Vec::is_empty")]
    pub shadowed_by: Vec<PathBuf>,
    /// Why it is refused.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

fn shown_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown::path(path))
}

fn shown_option<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(shown::path).serialize(serializer)
}

fn shown_list<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| shown::path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_reasons_are_kebab_case_and_distinct() {
        let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for code in codes {
            assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
        }
    }
}
