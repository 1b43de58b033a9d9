//! A plugin's description: the JSON in its ELF section `.fluxbay.manifest`.
//!
//! The export macro writes it at compile time, so it can be read without running code of the plugin.
//! [`Manifest::from_section`] and [`Manifest::parse`] check names, versions, paths and schemas, so
//! every [`Manifest`] is valid. Nothing here opens a file.

mod locate;
mod section;
#[cfg(test)]
mod tests;
mod validate;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use fluxbay_plugin::abi::kind::{Kind, UnknownKind};
pub(super) use section::text as section_text;
pub use section::{FORMAT, HEADER, MAGIC, MAX_BYTES, SECTION, encode};

/// Version of the manifest's schema that this host reads.
pub const SCHEMA: u64 = 1;

/// An invalid manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem} (byte {offset} of the manifest section)", self.prefix())]
pub struct ManifestError {
    /// The field, such as `components[2].config.type`; empty if the section itself is invalid.
    pub field: String,
    /// Offset in the section in bytes.
    pub offset: usize,
    /// What is wrong, and what is expected.
    pub problem: String,
}

impl ManifestError {
    fn prefix(&self) -> String {
        if self.field.is_empty() { String::new() } else { format!("field `{}`: ", self.field) }
    }
}

/// A version of the contract. Within a major version, tables never change; minor versions add to
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContractVersion {
    /// The host loads plugins of its own major version and of the one before.
    pub major: u16,
    /// Incremented with each addition.
    pub minor: u16,
}

impl ContractVersion {
    /// The version `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for ContractVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ContractVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let plain = !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_digit())
                && (part == "0" || !part.starts_with('0'));
            if plain { part.parse::<u16>().ok() } else { None }
        };
        text.split_once('.')
            .and_then(|(major, minor)| Some(Self::new(number(major)?, number(minor)?)))
            .ok_or_else(|| {
                format!(
                    "`{}` is no contract version; expected MAJOR.MINOR such as 1.0",
                    super::escape::text(text)
                )
            })
    }
}

impl Serialize for ContractVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContractVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A plugin's description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Version of the description's schema, [`SCHEMA`].
    pub schema: u64,
    /// The contract that the plugin was built against.
    pub contract: ContractVersion,
    /// Name, version and origin of the plugin.
    pub plugin: PluginInfo,
    /// Its components in the author's order; no two have the same kind and name.
    #[serde(default)]
    pub components: Vec<ComponentManifest>,
}

/// Name, version and origin of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginInfo {
    /// Kebab-case name, the prefix in `plugin:kind/name`.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// Summary of one line.
    #[serde(default)]
    pub summary: String,
    /// Licence as SPDX expression.
    #[serde(default)]
    pub license: String,
    /// Authors, separated by `:`, as cargo gives them.
    #[serde(default)]
    pub authors: String,
    /// URL of its home page.
    #[serde(default)]
    pub homepage: String,
    /// Effect of a panic in it.
    #[serde(default)]
    pub panic: PanicStrategy,
}

/// Effect of a panic in a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PanicStrategy {
    /// The plugin returns an error. Also the value for languages without panics.
    #[default]
    Unwind,
    /// It ends the process.
    Abort,
}

/// A component of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ComponentManifest {
    /// Its kind.
    pub kind: Kind,
    /// Kebab-case name, unique within the plugin and kind.
    pub name: String,
    /// Summary of one line.
    #[serde(default)]
    pub summary: String,
    /// Longer description; may be empty.
    #[serde(default)]
    pub details: String,
    /// JSON Schema of its configuration (the subset in `docs/writing-plugins.md`).
    #[serde(default = "empty_schema")]
    pub config: serde_json::Value,
    /// Events that it handles.
    #[serde(default)]
    pub events: Vec<String>,
    /// FileState paths that it may read.
    #[serde(default)]
    pub reads: Vec<String>,
    /// FileState paths that it may write.
    #[serde(default)]
    pub writes: Vec<String>,
    /// Components that run before it at an event.
    #[serde(default)]
    pub run_after: Vec<String>,
    /// Components that run after it at an event.
    #[serde(default)]
    pub run_before: Vec<String>,
    /// Custom events that it dispatches.
    #[serde(default)]
    pub emits: Vec<String>,
    /// For a phase: `training`, `validation` or `other`; otherwise empty.
    #[serde(default)]
    pub phase_kind: String,
    /// For a loss: the targets that it takes, of `classes`, `binary`, `probabilities` and `numbers`; empty if
    /// that is not declared.
    #[serde(default)]
    pub targets: Vec<String>,
    /// For a transform: whether it is applied to training samples only, unless the run file sets
    /// `when`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub augments: bool,
    /// Hyper-parameters that can be set on it during a run.
    #[serde(default)]
    pub hyper_parameters: Vec<String>,
    /// Ids of host extensions that it requires, such as `fluxbay.state/1`.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Version of the format of its saved state.
    #[serde(default = "one")]
    pub state_version: u32,
    /// Example for a run file.
    #[serde(default)]
    pub example: String,
}

fn empty_schema() -> serde_json::Value {
    serde_json::json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

fn one() -> u32 {
    1
}

impl ComponentManifest {
    /// `kind/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl Manifest {
    /// Reads and checks the bytes of a manifest section.
    ///
    /// # Errors
    /// The first invalid field, with its offset in the section.
    pub fn from_section(bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = section::text(bytes)?;
        Self::parse(text).map_err(|mut error| {
            error.offset += HEADER;
            error
        })
    }

    /// Searches the bytes of a damaged file for a valid manifest section.
    pub(super) fn find_in(bytes: &[u8]) -> Option<Self> {
        let starts = (0..bytes.len()).filter(|start| bytes[*start..].starts_with(&MAGIC));
        starts
            .filter_map(|start| section::text(section::cut(&bytes[start..])?).ok())
            .find_map(Self::recall)
    }

    /// Reads and checks the JSON text; offsets count from its start.
    ///
    /// # Errors
    /// As [`Manifest::from_section`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        validate::parse(text)
    }

    /// As [`Manifest::parse`], for a text that was valid before; `None` if it is not valid now.
    /// Faster, because it does not locate errors.
    pub(super) fn recall(text: &str) -> Option<Self> {
        validate::recall(text)
    }
}
