//! What a plugin says about itself: the JSON in its ELF section `.fluxbay.manifest`.
//!
//! The export macro writes these bytes at compile time, so they are read from the file without
//! running anything. [`Manifest::from_section`] is the only way in: whoever holds a [`Manifest`]
//! holds one whose names, versions, paths and schemas have been checked. Used by the catalog, the
//! composition and every listing. Nothing here opens a file.

mod locate;
mod section;
#[cfg(test)]
mod tests;
mod validate;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(super) use section::text as section_text;
pub use section::{FORMAT, HEADER, MAGIC, MAX_BYTES, SECTION, encode};

/// The number of the manifest's schema that this host reads.
pub const SCHEMA: u64 = 1;

/// What is wrong with a manifest and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem} (byte {offset} of the manifest section)", self.prefix())]
pub struct ManifestError {
    /// The field, as in `components[2].config.type`; empty when the bytes themselves are wrong.
    pub field: String,
    /// Where in the section, in bytes from its start.
    pub offset: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl ManifestError {
    fn prefix(&self) -> String {
        if self.field.is_empty() { String::new() } else { format!("field `{}`: ", self.field) }
    }
}

/// The kinds of components that plugins offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Says what an epoch and a step do.
    Phase,
    /// Reacts to events of the loop.
    Callback,
    /// Layers and their forward pass.
    Model,
    /// From predictions and targets to a number to be made small.
    Loss,
    /// Samples by index.
    Dataset,
    /// A figure gathered over steps and epochs.
    Metric,
    /// A number as a function of progress.
    Schedule,
    /// Receives what is recorded.
    Logger,
    /// Turns gradients into updates of parameters.
    Optimizer,
}

impl Kind {
    /// All kinds in the order in which listings show them.
    pub const ALL: [Kind; 9] = [
        Kind::Phase,
        Kind::Callback,
        Kind::Model,
        Kind::Loss,
        Kind::Dataset,
        Kind::Metric,
        Kind::Schedule,
        Kind::Logger,
        Kind::Optimizer,
    ];

    /// The name as written in run files and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Phase => "phase",
            Kind::Callback => "callback",
            Kind::Model => "model",
            Kind::Loss => "loss",
            Kind::Dataset => "dataset",
            Kind::Metric => "metric",
            Kind::Schedule => "schedule",
            Kind::Logger => "logger",
            Kind::Optimizer => "optimizer",
        }
    }

    /// The heading of a list of components of this kind.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Phase => "phases",
            Kind::Callback => "callbacks",
            Kind::Model => "models",
            Kind::Loss => "losses",
            Kind::Dataset => "data sets",
            Kind::Metric => "metrics",
            Kind::Schedule => "schedules",
            Kind::Logger => "loggers",
            Kind::Optimizer => "optimizers",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no kind of component; kinds are phase, callback, model, loss, dataset, metric, schedule, logger, optimizer"
)]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A version of the contract: tables of a major version never change, a minor version only adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContractVersion {
    /// Plugins of another major version cannot be loaded, except those of the one before the
    /// host's.
    pub major: u16,
    /// Grows with each addition.
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
                    super::shown::text(text)
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

/// A plugin's whole description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Number of this description's own schema, [`SCHEMA`].
    pub schema: u64,
    /// The contract that the plugin was built against.
    pub contract: ContractVersion,
    /// The plugin itself.
    pub plugin: PluginInfo,
    /// What it offers, in the author's order; no two with the same kind and name.
    #[serde(default)]
    pub components: Vec<ComponentManifest>,
}

/// Who a plugin is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginInfo {
    /// Kebab-case name, the prefix in `plugin:kind/name`.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One line.
    #[serde(default)]
    pub summary: String,
    /// SPDX expression.
    #[serde(default)]
    pub license: String,
    /// Authors, separated by `:`, as cargo gives them.
    #[serde(default)]
    pub authors: String,
    /// Address of its home page.
    #[serde(default)]
    pub homepage: String,
    /// What a panic in it does.
    #[serde(default)]
    pub panic: PanicStrategy,
}

/// What a panic in a plugin does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PanicStrategy {
    /// It becomes an error at the plugin's boundary; also the word of languages without panics.
    #[default]
    Unwind,
    /// It ends the process.
    Abort,
}

/// One thing that a plugin offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ComponentManifest {
    /// What it is.
    pub kind: Kind,
    /// Kebab-case name, unique within the plugin and kind.
    pub name: String,
    /// One line.
    #[serde(default)]
    pub summary: String,
    /// Longer text; may be empty.
    #[serde(default)]
    pub details: String,
    /// JSON Schema of its configuration (the subset that `docs/` names).
    #[serde(default = "empty_schema")]
    pub config: serde_json::Value,
    /// Events that it handles.
    #[serde(default)]
    pub events: Vec<String>,
    /// State paths that it may read.
    #[serde(default)]
    pub reads: Vec<String>,
    /// State paths that it may write.
    #[serde(default)]
    pub writes: Vec<String>,
    /// Components that come before it at an event.
    #[serde(default)]
    pub run_after: Vec<String>,
    /// Components that come after it at an event.
    #[serde(default)]
    pub run_before: Vec<String>,
    /// Custom events that a phase dispatches.
    #[serde(default)]
    pub emits: Vec<String>,
    /// For a phase: `training`, `validation` or `other`; otherwise empty.
    #[serde(default)]
    pub phase_kind: String,
    /// Hyper-parameters that it can set or that can be set on it.
    #[serde(default)]
    pub hyper_parameters: Vec<String>,
    /// Ids of the host's extensions that it cannot do without, such as `fluxbay.state/1`.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Version of its saved state.
    #[serde(default = "one")]
    pub state_version: u32,
    /// A run-file snippet.
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
    /// The first thing that is wrong, with its field and its offset in the section.
    pub fn from_section(bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = section::text(bytes)?;
        Self::parse(text).map_err(|mut error| {
            error.offset += HEADER;
            error
        })
    }

    /// Reads and checks the JSON text alone; offsets count from its start.
    ///
    /// # Errors
    /// As [`Manifest::from_section`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        validate::parse(text)
    }

    /// A manifest that [`Manifest::parse`] took before; nothing if it would not do so now. Quicker,
    /// for it need not say why.
    pub(super) fn recall(text: &str) -> Option<Self> {
        validate::recall(text)
    }
}
