//! The runs of a folder, read from their records. Takes no lock, so running ones are undisturbed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    EpochMetric, RecordError, RunState, STATE, Status, UsedPlugin,
    checkpoint::{self, FoundCheckpoint},
    directory::is_held,
    run::{file, read_summary},
    used_plugins,
};
use crate::library::escape;

/// The runs of a folder, oldest first.
#[derive(Debug, Default)]
pub struct RunIndex {
    folder: PathBuf,
    runs: Vec<RunEntry>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunEntry {
    /// Name of its folder.
    pub id: String,
    /// Its folder.
    pub path: PathBuf,
    /// Its state, or why it cannot be read.
    pub state: Result<RunState, String>,
    /// Whether a process works in it now.
    pub live: bool,
}

impl RunIndex {
    /// Reads the folder; a missing one has no runs.
    pub fn read(folder: &Path) -> RunIndex {
        let entries =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut runs: Vec<RunEntry> = entries.filter_map(|path| RunEntry::read(&path)).collect();
        let started = |run: &RunEntry| {
            run.state.as_ref().map(|state| state.started.clone()).unwrap_or_default()
        };
        runs.sort_by(|one, other| (started(one), &one.id).cmp(&(started(other), &other.id)));
        RunIndex { folder: folder.to_owned(), runs }
    }

    /// The runs, oldest first.
    pub fn runs(&self) -> &[RunEntry] {
        &self.runs
    }

    /// Finds a run by folder, name, prefix or suffix of a name, or `last`.
    ///
    /// # Errors
    /// A text for the user, if there is no such run or more than one.
    pub fn find(&self, text: &str) -> Result<RunEntry, String> {
        if let Some(run) = self.runs.iter().find(|run| run.id == text) {
            return Ok(run.clone());
        }
        if let Some(run) = RunEntry::read(Path::new(text)) {
            return Ok(run);
        }
        if text == "last" {
            return self.runs.last().cloned().ok_or_else(|| {
                format!("there is no run in {}; `fluxbay train` makes one", self.place())
            });
        }
        let meant: Vec<&RunEntry> = self
            .runs
            .iter()
            .filter(|run| run.id.starts_with(text) || run.id.ends_with(text))
            .collect();
        match meant.as_slice() {
            [only] => Ok((*only).clone()),
            [] if Path::new(text).is_dir() => Err(format!(
                "the folder `{}` holds no run: it has no {STATE}, which a run writes before its first step; \
                 `fluxbay runs list` shows all",
                escape::text(text),
            )),
            [] => Err(format!(
                "there is no run `{}`, neither a folder nor a name in {}; `fluxbay runs list` shows all",
                escape::text(text),
                self.place()
            )),
            several => {
                let names: Vec<&str> = several.iter().map(|run| run.id.as_str()).collect();
                Err(format!(
                    "`{}` is ambiguous: {}; write more of the name",
                    escape::text(text),
                    escape::text(&names.join(", "))
                ))
            }
        }
    }

    fn place(&self) -> String {
        escape::path(&self.folder)
    }
}

impl RunEntry {
    /// The run in a folder; `None` if it holds no run.
    pub fn read(path: &Path) -> Option<RunEntry> {
        let state = path.join(STATE);
        if !state.is_file() {
            return None;
        }
        let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let id =
            whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let state = RunState::read(&state).map_err(|error| error.to_string());
        Some(RunEntry { id, path: path.to_owned(), state, live: is_held(path) })
    }

    /// Its status in one word.
    pub fn standing(&self) -> String {
        match &self.state {
            Err(_) => "damaged".to_owned(),
            Ok(state) if state.status == Status::Running && !self.live => "broken-off".to_owned(),
            Ok(state) => state.status.name().to_owned(),
        }
    }

    /// Last and best value of each epoch metric; lines that cannot be read are left out.
    ///
    /// # Errors
    /// If `metrics.jsonl` cannot be read.
    pub fn epoch_metrics(&self) -> Result<Vec<EpochMetric>, RecordError> {
        read_summary(&self.path).map(|summary| summary.epoch_metrics)
    }

    /// The run with all defaults; empty if it cannot be read.
    pub fn resolved(&self) -> toml::Table {
        self.table(file::RESOLVED)
    }

    /// Its plugins.
    pub fn plugins(&self) -> Vec<UsedPlugin> {
        used_plugins(&fs::read_to_string(self.path.join(file::PLUGINS)).unwrap_or_default())
    }

    fn table(&self, name: &str) -> toml::Table {
        fs::read_to_string(self.path.join(name))
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    }

    /// The content of `environment.json`; null if it cannot be read.
    pub fn environment(&self) -> serde_json::Value {
        let text = fs::read(self.path.join(file::ENVIRONMENT)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Its checkpoints, oldest first.
    pub fn checkpoints(&self) -> Vec<FoundCheckpoint> {
        checkpoint::scan(&self.path.join(file::CHECKPOINTS))
    }

    /// Total size of its files in bytes.
    pub fn size(&self) -> u64 {
        bytes_below(&self.path)
    }

    /// Removes the run. Renames it first, so that no partial run is left behind.
    ///
    /// # Errors
    /// If a process uses it, or a file cannot be removed.
    pub fn remove(&self) -> Result<(), RecordError> {
        let held = super::RunDirectory::open(&self.path)?;
        let aside =
            self.path.with_file_name(format!(".removing-{}-{}", std::process::id(), self.id));
        fs::rename(&self.path, &aside).map_err(RecordError::io("remove", &self.path))?;
        let removed = fs::remove_dir_all(&aside).map_err(RecordError::io("remove", &aside));
        drop(held);
        removed
    }
}

fn bytes_below(path: &Path) -> u64 {
    let size = |entry: io::Result<fs::DirEntry>| -> Option<u64> {
        let entry = entry.ok()?;
        let about = entry.metadata().ok()?;
        Some(if about.is_dir() { bytes_below(&entry.path()) } else { about.len() })
    };
    fs::read_dir(path).map_or(0, |entries| entries.filter_map(size).sum())
}

#[cfg(test)]
mod tests {
    use super::super::RunDirectory;
    use super::*;

    fn run(runs: &Path, name: &str, status: Status) -> RunDirectory {
        let directory = RunDirectory::at(&runs.join(name)).unwrap();
        let mut state = RunState::begin();
        state.status = status;
        state.write(&directory.file(STATE)).unwrap();
        directory
    }

    #[test]
    fn runs_are_found_by_name_part_of_it_and_age() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path();
        drop(run(runs, "20260101-000000-digits", Status::Finished));
        drop(run(runs, "20260102-000000-digits", Status::Running));
        let held = run(runs, "20260103-000000-fashion", Status::Running);
        fs::create_dir(runs.join("notes")).unwrap();
        let index = RunIndex::read(runs);
        assert_eq!(
            index.runs().iter().map(RunEntry::standing).collect::<Vec<_>>(),
            ["finished", "broken-off", "running"]
        );
        assert_eq!(index.find("last").unwrap().id, "20260103-000000-fashion");
        assert_eq!(index.find("fashion").unwrap().id, "20260103-000000-fashion");
        assert_eq!(index.find("20260102").unwrap().id, "20260102-000000-digits");
        assert!(index.find("digits").unwrap_err().contains("is ambiguous"));
        assert!(index.find("notes").unwrap_err().contains("runs list"));
        assert_eq!(
            index.find(&runs.join("20260101-000000-digits").to_string_lossy()).unwrap().id,
            "20260101-000000-digits"
        );
        // A running one stays; another one is removed.
        assert!(matches!(index.find("last").unwrap().remove(), Err(RecordError::Locked { .. })));
        drop(held);
        index.find("20260101").unwrap().remove().unwrap();
        assert_eq!(fs::read_dir(runs).unwrap().count(), 3);
        assert!(
            RunIndex::read(&runs.join("nowhere"))
                .find("last")
                .unwrap_err()
                .contains("fluxbay train")
        );
    }
}
