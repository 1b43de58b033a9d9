//! Reads run files: texts, overrides and defaults become one checked, typed [`RunDescription`].
//!
//! Used by the command line and by embedders, in three steps:
//!
//! 1. [`Draft::read`] parses and merges the texts. It returns the plugin directories.
//! 2. The caller scans these directories for a catalog.
//! 3. [`resolve()`] looks up every component in the catalog, checks its configuration and fills in
//!    defaults.
//!
//! The problems of all steps are collected in one [`Diagnostics`], each with file, line, column
//! and help. Nothing here loads a plugin or knows tensors.
//!
//! Precedence, lowest first: defaults, run files from left to right, environment variables,
//! `--add`, `--set`, `--remove`.
//!
//! | file | content |
//! |---|---|
//! | `source`, `parse`, `tree` | texts, places in them, TOML values with places |
//! | `inputs`, `layers`, `merge`, `overrides` | reading and merging all layers |
//! | `layout`, `settings` | the sections of a run file; schemas of the host's sections |
//! | `draft`, `instance`, `instance_reader` | sections and instances before components are known |
//! | `groups`, `selection` | parameter groups of optimizers; patterns over the paths of parameters |
//! | `schema`, `resolve` | checking configurations against the catalog |
//! | `description`, `writer`, `export` | the result, written as TOML or JSON; the JSON Schema |
//! | `diagnostic`, `render`, `nearest` | problems and how they are shown |

#![forbid(unsafe_code)]

pub mod description;
pub mod diagnostic;
mod draft;
mod export;
#[cfg(test)]
pub(crate) mod fixture;
pub mod groups;
mod inputs;
mod instance;
mod instance_reader;
mod layers;
pub mod layout;
mod merge;
pub mod nearest;
mod overrides;
mod parse;
pub mod render;
mod resolve;
pub mod schema;
pub mod selection;
pub mod settings;
pub mod source;
pub mod tree;
mod writer;

#[cfg(test)]
mod tests;

pub use description::{
    GroupSpec, InstanceSpec, Named, OnError, PhaseData, PhaseSpec, RunDescription, TransformSpec,
    When,
};
pub use diagnostic::{Diagnostic, Diagnostics, Related, Severity};
pub use draft::Draft;
pub use export::json_schema;
pub use inputs::Inputs;
pub use layers::BUILT_IN;
pub use overrides::PREFIX as ENVIRONMENT_PREFIX;
pub use render::{Colours, render};
pub use resolve::{DEFAULT_CALLBACKS, INPUTS, resolve};
pub use schema::{Checked, Origin, check_json};
pub use selection::Selection;
pub use settings::{
    CheckpointSettings, Device, FineTuningSettings, LoaderSettings, MemoryLimit, PluginSettings,
    Precision, RaggedRule, RunSettings, Sampling,
};
pub use source::{Location, Place, SourceKind, Sources};
