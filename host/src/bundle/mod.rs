//! Bundles: folders with all that is needed to apply a model. Every finished run has one.
//!
//! | file | content |
//! |---|---|
//! | `README.md` | the model card |
//! | `bundle.json` | the same as data: models, data, figures, plugins |
//! | `model.safetensors` | parameters and buffers as `MODEL.PATH` |
//! | `resolved.toml` | the run with all defaults |
//! | `data.json`, `data-state.bin` | fields of the data, and what the data set learnt |
//! | `plugins.lock` | the plugins by sha256 |
//! | `SHA256SUMS` | hashes of all files above, as `sha256sum` writes them |
//!
//! [`write()`] makes one from the folder of a run; [`Source::open`] reads one, or the folder of a run,
//! and refuses a bundle with a changed file.

#![forbid(unsafe_code)]

mod card;
mod info;
mod source;
mod sums;
mod write;

pub use info::{BundleInfo, DataInfo, FieldInfo, FigureInfo, ModelInfo, PluginInfo, SplitInfo};
pub use source::Source;
pub use sums::verify;
pub use write::{Origin, write, write_into_run};

/// File with the description of a bundle; a folder with it is a bundle.
pub const INFO: &str = "bundle.json";
/// File with the model card.
pub const CARD: &str = "README.md";
/// File with the hashes.
pub const SUMS: &str = "SHA256SUMS";
/// Folder of the bundle within a run's folder.
pub const FOLDER: &str = "bundle";

/// Whether a folder holds a bundle.
pub fn is_bundle(folder: &std::path::Path) -> bool {
    folder.join(INFO).is_file()
}
