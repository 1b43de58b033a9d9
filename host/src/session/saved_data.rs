//! The data of a run as checkpoints and the folder of the final model keep it: what it looks like,
//! and what the data set learnt from the training samples.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use crate::loader::DataSummary;
use crate::record::checkpoint::CheckpointData;

/// File with the summary of the data.
pub const DATA: &str = "data.json";
/// File with what the data set learnt, in its own format; only if it supports this.
pub const DATA_STATE: &str = "data-state.bin";

/// Version of the format of [`DATA`].
const FORMAT: u32 = 1;

/// What a data set learnt from the training samples, such as means or classes, in its own format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// State version of the component.
    pub version: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Where a data set gets what it learns.
#[derive(Clone, Debug, Default)]
pub enum DataState {
    /// From the run of the fine-tuning file, or from the data.
    #[default]
    New,
    /// From the data.
    Refit,
    /// From a run, whatever the data is.
    Saved(SavedData),
}

/// The data of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedData {
    /// The data set, as `dataset/NAME`.
    pub component: String,
    /// Fields and splits.
    pub summary: DataSummary,
    /// What the data set learnt; `None` if it does not support this.
    pub learnt: Option<Learnt>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    format: u32,
    component: String,
    /// State version of what was learnt.
    state_version: Option<u32>,
    #[serde(flatten)]
    summary: DataSummary,
}

impl SavedData {
    /// The files, by name.
    pub fn to_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let written = Written {
            format: FORMAT,
            component: self.component.clone(),
            state_version: self.learnt.as_ref().map(|learnt| learnt.version),
            summary: self.summary.clone(),
        };
        // Texts and numbers: this does not fail.
        let mut text = serde_json::to_vec_pretty(&written).unwrap_or_default();
        text.push(b'\n');
        let state = self.learnt.as_ref().map(|learnt| (DATA_STATE, learnt.bytes.clone()));
        std::iter::once((DATA, text)).chain(state).collect()
    }

    /// Reads the files; `None` without [`DATA`], as in runs of older releases.
    ///
    /// # Errors
    /// A text for the user, if a file is damaged or has a newer format.
    pub fn from_files(
        file: impl Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Option<SavedData>, String> {
        let text = match file(DATA) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("`{DATA}` cannot be read: {error}")),
        };
        let written: Written = serde_json::from_slice(&text)
            .map_err(|error| format!("`{DATA}` is not a summary of data: {error}"))?;
        if written.format > FORMAT {
            return Err(format!(
                "`{DATA}` has format {}, this host reads up to {FORMAT}: use the newer host that wrote it",
                written.format
            ));
        }
        let learnt = match written.state_version {
            None => None,
            Some(version) => {
                let bytes = file(DATA_STATE)
                    .map_err(|error| format!("`{DATA_STATE}` cannot be read: {error}"))?;
                Some(Learnt { version, bytes })
            }
        };
        Ok(Some(SavedData { component: written.component, summary: written.summary, learnt }))
    }

    /// Reads the files of a checkpoint.
    ///
    /// # Errors
    /// As [`SavedData::from_files`].
    pub fn of_checkpoint(data: &CheckpointData) -> Result<Option<SavedData>, String> {
        SavedData::from_files(|name| {
            let content = data.files.get(name);
            let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
            content.map(|content| content.bytes().into_owned())
        })
    }

    /// Reads the files of a folder.
    ///
    /// # Errors
    /// As [`SavedData::from_files`].
    pub fn of_folder(folder: &Path) -> Result<Option<SavedData>, String> {
        SavedData::from_files(|name| std::fs::read(folder.join(name)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn saved(learnt: Option<Learnt>) -> SavedData {
        let summary = DataSummary { fields: Vec::new(), splits: Vec::new() };
        SavedData { component: "dataset/csv".to_owned(), summary, learnt }
    }

    fn read(files: &BTreeMap<&str, Vec<u8>>) -> Result<Option<SavedData>, String> {
        SavedData::from_files(|name| files.get(name).cloned().ok_or(io::ErrorKind::NotFound.into()))
    }

    #[test]
    fn saved_data_is_read_back() {
        for learnt in [
            None,
            Some(Learnt { version: 3, bytes: Vec::new() }),
            Some(Learnt { version: 1, bytes: vec![1, 2] }),
        ] {
            let files = saved(learnt.clone()).to_files().into_iter().collect();
            assert_eq!(read(&files), Ok(Some(saved(learnt))));
        }
        assert_eq!(read(&BTreeMap::new()), Ok(None), "of an older release");
    }

    #[test]
    fn damaged_and_newer_files_are_refused() {
        let mut files: BTreeMap<_, _> =
            saved(Some(Learnt { version: 1, bytes: vec![1] })).to_files().into_iter().collect();
        files.remove(DATA_STATE);
        assert!(read(&files).unwrap_err().contains("`data-state.bin` cannot be read"));
        let text = String::from_utf8(files[DATA].clone()).unwrap();
        files.insert(DATA, text.replace("\"format\": 1", "\"format\": 2").into_bytes());
        assert!(read(&files).unwrap_err().contains("has format 2"));
        files.insert(DATA, b"{".to_vec());
        assert!(read(&files).unwrap_err().contains("is not a summary"));
    }
}
