//! `bundle.json`: what a bundle holds, as data.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::INFO;
use crate::library::escape;

/// Version of the format of [`INFO`].
pub(super) const FORMAT: u32 = 1;

/// The content of `bundle.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BundleInfo {
    /// Version of the format.
    pub format: u32,
    /// Name of the run.
    pub run: String,
    /// Version of the host that wrote it.
    pub fluxbay: String,
    /// When the run began.
    pub started: String,
    /// How the run ended.
    pub status: String,
    /// Epochs that the run began.
    pub epochs: u64,
    /// Seed of all random numbers.
    pub seed: Option<u64>,
    /// Processor that it was trained on; empty if unknown.
    pub processor: String,
    /// Licence of the parameters as the user gave it; empty if none was given.
    pub license: String,
    /// The models.
    pub models: Vec<ModelInfo>,
    /// The data; none for runs without, and of older releases.
    pub data: Option<DataInfo>,
    /// Figures of the training.
    pub figures: Vec<FigureInfo>,
    /// The plugins.
    pub plugins: Vec<PluginInfo>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModelInfo {
    /// Its name in the run.
    pub name: String,
    /// Its component.
    pub component: String,
    /// Parameters and buffers.
    pub tensors: usize,
    /// Their elements.
    pub elements: u64,
}

/// The data that a model was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataInfo {
    /// The data set.
    pub component: String,
    /// Whether what it learnt is in the bundle.
    pub keeps_learnt: bool,
    /// Fields of a sample.
    pub fields: Vec<FieldInfo>,
    /// Parts of the data.
    pub splits: Vec<SplitInfo>,
}

/// One field of a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FieldInfo {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Number of classes, if it holds labels.
    pub classes: Option<u32>,
}

/// One part of the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SplitInfo {
    /// Its name.
    pub name: String,
    /// Number of samples.
    pub samples: usize,
}

/// One figure of the training; NaN and infinities are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FigureInfo {
    /// The phase.
    pub phase: String,
    /// Its name.
    pub name: String,
    /// Last value.
    pub last: Option<f64>,
    /// Epoch of the last value.
    pub epoch: u64,
    /// Best value, if it is known which values are better.
    pub best: Option<f64>,
}

/// One plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Hash of its file.
    pub sha256: String,
    /// Its licence; empty if unknown.
    pub license: String,
}

impl BundleInfo {
    /// Reads the description of a bundle.
    ///
    /// # Errors
    /// A file that is missing, damaged or of a newer format.
    pub fn read(folder: &Path) -> Result<BundleInfo, String> {
        let place = escape::path(&folder.join(INFO));
        let text = std::fs::read(folder.join(INFO))
            .map_err(|error| format!("{place} cannot be read: {error}"))?;
        let info: BundleInfo = serde_json::from_slice(&text)
            .map_err(|error| format!("{place} does not describe a bundle: {error}"))?;
        if info.format > FORMAT {
            return Err(format!(
                "{place} has format {}, this host reads up to {FORMAT}: use the newer host that wrote it",
                info.format
            ));
        }
        Ok(info)
    }
}
