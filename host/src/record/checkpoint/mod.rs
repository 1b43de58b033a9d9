//! Checkpoints on the disk: a folder of files that is either whole or not there.
//!
//! A checkpoint is written aside and synced file by file; its manifest, with the sha256 of every
//! file, comes last; then the folder takes its name. What is read back is verified to the last byte
//! before anything uses it. What the files mean is the learner's business: here they are named
//! bytes.

mod keeper;
mod manifest;
mod read;
mod retention;
mod write;

use std::{borrow::Cow, collections::BTreeMap, io};

use serde::{Deserialize, Serialize};

use super::tensors::Encoded;

pub use self::{
    keeper::{Keeper, Kept, Produce},
    read::{Found, newer_than, newest, read, scan, verify},
    retention::{Best, Keep, Retention},
    write::{remove, set_aside, write},
};

/// What a checkpoint is about: readable without its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct About {
    /// Grows from one checkpoint of a run to the next: steps of all phases since the run began.
    pub sequence: u64,
    /// Epochs of all phases that were completed.
    pub epochs: u64,
    /// Phase that was running, by instance id; empty between two epochs of the fit.
    pub phase: String,
    /// Steps of its epoch that were completed.
    pub step: u64,
    /// Why it was written, such as `interval`, `signal`, `end`.
    pub reason: String,
    /// Who asked for it: instances by their id, `run` for the run's own settings. Each has a say in
    /// how long it is kept.
    pub asked_by: Vec<String>,
    /// Last value of each epoch metric, by `PHASE/NAME`; only finite ones. Written as texts: a
    /// number of JSON is not read back to the last bit, and the manifest must be.
    #[serde(with = "exact")]
    pub metrics: BTreeMap<String, f64>,
}

/// Numbers as texts that are read back to the last bit.
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
    /// What it is about.
    pub about: About,
    /// Files by name: letters, digits, `.`, `-` and `_` only.
    pub files: BTreeMap<String, Content>,
}

/// Content of a file that is written: bytes, or tensors that need not be copied together first.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes.
    Bytes(Vec<u8>),
    /// A safetensors file.
    Tensors(Encoded),
}

impl Content {
    /// Its length in bytes.
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

    /// Hands its bytes over, piece by piece.
    ///
    /// # Errors
    /// What `take` answers, or a tensor that cannot be read.
    pub fn each(&self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Content::Bytes(bytes) => take(bytes),
            Content::Tensors(tensors) => tensors.each(take),
        }
    }

    /// Its bytes in one piece.
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

/// Why a checkpoint could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It has no manifest.
    #[error("its manifest is missing: it was not written to its end, or is no checkpoint")]
    NoManifest,
    /// The manifest is not what was written.
    #[error("its manifest is damaged: {0}")]
    Manifest(String),
    /// It is of a form that this host does not know.
    #[error("it has form {found}, this host reads up to {known}: use the newer host that wrote it")]
    Form {
        /// Its form.
        found: u32,
        /// Newest form known.
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
        /// The system's answer.
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
