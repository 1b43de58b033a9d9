//! Checkpoints on disk: folders that are either complete or absent.
//!
//! A checkpoint is written to a temporary folder: every file is written and synced, the manifest
//! with the sha256 of every file comes last, then the folder is renamed. Reading verifies every
//! byte. The content of the files is up to the learner; here they are named bytes.
//!
//! `write` and `read` do that, `retention` decides which old checkpoints are removed,
//! `writer_thread` writes in the background, `manifest` holds the hashes.

mod manifest;
mod read;
mod retention;
mod write;
mod writer_thread;

use std::{borrow::Cow, collections::BTreeMap, io};

use serde::{Deserialize, Serialize};

use super::tensors::Encoded;

pub use self::{
    read::{FoundCheckpoint, newer_than, newest, read, scan, verify},
    retention::{KeepBest, Retention, Retentions, best},
    write::{remove, set_aside, write},
    writer_thread::{Produce, WriterThread},
};

/// Information about a checkpoint, readable without its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckpointInfo {
    /// Steps of all phases since the run began; grows from one checkpoint to the next.
    pub sequence: u64,
    /// Completed epochs.
    pub epochs: u64,
    /// Id of the running phase; empty between two epochs of the fit.
    pub phase: String,
    /// Completed steps of the running phase's epoch.
    pub step: u64,
    /// Why it was written, such as `interval`, `signal`, `end`.
    pub reason: String,
    /// Requesters: ids of instances, or `run` for `[checkpoints]`. Each decides how long the
    /// checkpoint is kept.
    pub asked_by: Vec<String>,
    /// Last finite value of each epoch metric, by `PHASE/NAME`. Written as texts, since a JSON number
    /// may be read back with other bits.
    #[serde(with = "exact")]
    pub metrics: BTreeMap<String, f64>,
}

/// Numbers as texts that are read back with the same bits.
mod exact {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(
        numbers: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let texts: BTreeMap<&String, String> =
            numbers.iter().map(|(name, number)| (name, format!("{number:?}"))).collect();
        texts.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let number =
            |(name, text): (String, String)| Ok((name, text.parse().map_err(D::Error::custom)?));
        texts.into_iter().map(number).collect()
    }
}

/// A checkpoint in memory: named bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointData {
    /// Its information.
    pub about: CheckpointInfo,
    /// Files by name: letters, digits, `.`, `-` and `_` only.
    pub files: BTreeMap<String, Content>,
}

/// Content of a file: bytes, or tensors that are written without copying them together first.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes.
    Bytes(Vec<u8>),
    /// A safetensors file.
    Tensors(Encoded),
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Tensors(tensors) => tensors.len(),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `take` with the bytes in pieces.
    ///
    /// # Errors
    /// Errors of `take`, or a tensor that cannot be read.
    pub fn each(&self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Content::Bytes(bytes) => take(bytes),
            Content::Tensors(tensors) => tensors.each(take),
        }
    }

    /// The bytes in one piece.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Content::Bytes(bytes) => Cow::Borrowed(bytes),
            Content::Tensors(tensors) => Cow::Owned(tensors.bytes()),
        }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        self.bytes() == other.bytes()
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content::Bytes(bytes)
    }
}

/// Why a checkpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It has no manifest.
    #[error("its manifest is missing: it is incomplete, or not a checkpoint")]
    NoManifest,
    /// The manifest has changed.
    #[error("its manifest is damaged: {0}")]
    Manifest(String),
    /// It has a newer format.
    #[error(
        "it has format {found}, this host reads up to {known}: use the newer host that wrote it"
    )]
    Format {
        /// Its format.
        found: u32,
        /// Newest known format.
        known: u32,
    },
    /// A file is missing.
    #[error("its file `{0}` is missing")]
    Missing(String),
    /// A file cannot be read.
    #[error("its file `{file}` cannot be read: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// The error of the system.
        error: String,
    },
    /// A file has another length.
    #[error("its file `{file}` is cut short or has grown: {found} bytes instead of {wanted}")]
    Length {
        /// The file.
        file: String,
        /// Bytes that were written.
        wanted: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A file has other content.
    #[error("its file `{0}` is damaged: the sha256 is not the one in the manifest")]
    Content(String),
}

#[cfg(test)]
mod tests;
