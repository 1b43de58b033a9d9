//! Where a trained model comes from: a bundle, or the folder of a run.

use std::path::{Path, PathBuf};

use candle_core::Tensor;

use super::{is_bundle, verify};
use crate::library::escape;
use crate::record::{RunEntry, checkpoint, file, tensors};
use crate::session::{SavedData, checkpoint::MODEL};

/// A trained model with what is needed to apply it.
pub struct Source {
    /// Folder with the run's description.
    pub folder: PathBuf,
    /// File or checkpoint that the parameters come from.
    pub model: PathBuf,
    /// Parameters and buffers as `MODEL.PATH`.
    pub tensors: Vec<(String, Tensor)>,
    /// Text of the lock of the run.
    pub plugins: String,
    /// The data that they were trained on; `None` for runs without data and those of older releases.
    pub data: Option<SavedData>,
}

impl Source {
    /// Reads a bundle, whose files are verified, or a run. The parameters are those of `checkpoint`;
    /// else of the final model; else of the newest intact checkpoint.
    ///
    /// # Errors
    /// A text for the user: a changed bundle, or a folder without a model.
    pub fn open(folder: &Path, checkpoint: Option<&Path>) -> Result<Source, String> {
        if is_bundle(folder) {
            verify(folder)?;
        }
        let lock = std::fs::read_to_string(folder.join(file::PLUGINS)).unwrap_or_default();
        let decode = |path: PathBuf, bytes: &[u8]| -> Result<Source, String> {
            let tensors = tensors::decode(bytes)
                .map_err(|error| format!("{} {error}", escape::path(&path)))?;
            let folder = folder.to_owned();
            Ok(Source { folder, model: path, tensors, plugins: lock.clone(), data: None })
        };
        let of = |path: PathBuf, data: &checkpoint::CheckpointData| {
            let bytes = data
                .files
                .get(MODEL)
                .ok_or_else(|| format!("{} has no model", escape::path(&path)))?;
            let mut source = decode(path.join(MODEL), &bytes.bytes())?;
            source.data = SavedData::of_checkpoint(data)
                .map_err(|problem| format!("{}: {problem}", escape::path(&path)))?;
            Ok(source)
        };
        if let Some(path) = checkpoint {
            let data = checkpoint::read(path).map_err(|damage| {
                format!("the checkpoint {} cannot be used: {damage}", escape::path(path))
            })?;
            return of(path.to_owned(), &data);
        }
        let model = folder.join(file::MODEL);
        if let Ok(bytes) = std::fs::read(&model) {
            let mut source = decode(model, &bytes)?;
            source.data = SavedData::of_folder(folder)
                .map_err(|problem| format!("{}: {problem}", escape::path(folder)))?;
            return Ok(source);
        }
        let checkpoints = RunEntry::read(folder).map(|run| run.checkpoints()).unwrap_or_default();
        for found in checkpoints.into_iter().rev() {
            if let Ok(data) = checkpoint::read(&found.path) {
                return of(found.path, &data);
            }
        }
        Err(format!(
            "{} has neither a model nor an intact checkpoint yet: train it further",
            escape::path(folder)
        ))
    }
}
