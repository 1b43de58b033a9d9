//! Text to run description: run files, overrides and defaults become one checked, typed
//! [`RunDescription`].
//!
//! Called by the command line and by embedders, in three steps: [`Draft::read`] needs nothing but
//! the texts and knows where plugins are; the caller scans the catalog; [`resolve()`] checks every
//! instance's configuration against its component. Problems of all steps gather in one
//! [`Diagnostics`], each with file, line, column and help. Nothing here loads a plugin or knows of
//! tensors.
//!
//! Precedence, lowest first: defaults, run files from left to right, environment variables,
//! `--add`, `--set`, `--remove`.

#![forbid(unsafe_code)]

pub mod description;
pub mod diagnostic;
mod draft;
mod export;
#[cfg(test)]
pub(crate) mod fixture;
mod instance;
mod layers;
pub mod layout;
pub mod nearest;
mod overrides;
mod parse;
pub mod render;
mod resolve;
mod resolved;
pub mod schema;
pub mod settings;
pub mod source;
pub mod tree;

#[cfg(test)]
mod tests;

pub use description::{InstanceSpec, Named, OnError, PhaseData, PhaseSpec, RunDescription};
pub use diagnostic::{Diagnostic, Diagnostics, Related, Severity};
pub use draft::Draft;
pub use export::json_schema;
pub use layers::{BUILT_IN, Inputs};
pub use overrides::PREFIX as ENVIRONMENT_PREFIX;
pub use render::{Colours, render};
pub use resolve::{DEFAULT_CALLBACKS, resolve};
pub use resolved::{to_json, to_toml, with_origins};
pub use schema::{Checked, Origin, check_json};
pub use settings::{
    CheckpointSettings, Device, FineTuningSettings, LoaderSettings, PluginSettings, RunSettings,
};
pub use source::{Location, Place, SourceKind, Sources};
