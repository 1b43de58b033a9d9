//! The manifest of a checkpoint: its files with their hashes, and a hash of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CheckpointInfo, Damage};

/// Name of the file.
pub(super) const MANIFEST: &str = "manifest.json";
/// Version of its format.
const FORM: u32 = 1;

/// The manifest's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    form: u32,
    pub(super) about: CheckpointInfo,
    pub(super) files: BTreeMap<String, FileEntry>,
    /// sha256 of the manifest's text with this field empty.
    sha256: String,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

#[derive(Deserialize)]
struct Version {
    form: u32,
}

/// sha256 of bytes, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Manifest {
    pub(super) fn new(about: CheckpointInfo, files: BTreeMap<String, FileEntry>) -> Manifest {
        let mut manifest = Manifest { form: FORM, about, files, sha256: String::new() };
        manifest.sha256 = manifest.own_hash();
        manifest
    }

    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    fn own_hash(&self) -> String {
        sha256(&Manifest { sha256: String::new(), ..self.clone() }.text())
    }

    /// Parses a manifest. Accepts exactly the text that was written, so every changed byte is found.
    pub(super) fn parse(text: &[u8]) -> Result<Manifest, Damage> {
        let broken = |error: serde_json::Error| Damage::Manifest(error.to_string());
        let Version { form } = serde_json::from_slice(text).map_err(broken)?;
        if form > FORM {
            return Err(Damage::Format { found: form, known: FORM });
        }
        let manifest: Manifest = serde_json::from_slice(text).map_err(broken)?;
        if manifest.text() != text || manifest.own_hash() != manifest.sha256 {
            return Err(Damage::Manifest("its sha256 is not the one that was written".to_owned()));
        }
        Ok(manifest)
    }
}
