//! The names behind the numbers of a breadcrumb: JSON lines after the shared page.
//!
//! Written when instances are created, not when they are called. They are written by system calls
//! into the file, which is not mapped here, so that a stray write of a plugin cannot damage them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use super::memory::BYTES;

/// Most bytes of names that are read.
const MOST: usize = 16 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// An instance is about to be created.
    Instance {
        /// Its number.
        number: u32,
        /// Its id in the run.
        id: String,
        /// Its component.
        component: String,
        /// Its plugin.
        plugin: String,
    },
    /// The number of a phase.
    Phase {
        /// Its number.
        number: u32,
        /// Its instance's id.
        id: String,
    },
    /// The number of a custom event.
    Event {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
    },
    /// Folder of the run's record.
    Directory(PathBuf),
    /// File with the state of this process, in a run on several.
    Rank(PathBuf),
}

static FILE: OnceLock<Mutex<(File, u64)>> = OnceLock::new();

/// Sets the file that lines are written to.
pub fn open(file: File) {
    let _ = FILE.set(Mutex::new((file, BYTES as u64)));
}

/// Writes a line if the process has a supervisor.
pub fn write(line: &Line) {
    let Some(file) = FILE.get() else { return };
    let (file, end) = &mut *file.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(mut text) = serde_json::to_vec(line) else { return };
    text.push(b'\n');
    // If it cannot be written, a report has numbers instead of names.
    if file.write_all_at(&text, *end).is_ok() {
        *end += text.len() as u64;
    }
}

/// The names that this process has written.
pub fn here() -> Option<Names> {
    let file = FILE.get()?.lock().unwrap_or_else(PoisonError::into_inner);
    Names::read(&file.0).ok()
}

/// The names, as the supervisor reads them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Id, component and plugin by number.
    pub instances: BTreeMap<u32, (String, String, String)>,
    /// Instance ids of phases by number.
    pub phases: BTreeMap<u32, String>,
    /// Names of custom events by number.
    pub events: BTreeMap<u32, String>,
    /// Folder of the run's record.
    pub directory: Option<PathBuf>,
    /// File with the state of this process, in a run on several.
    pub rank: Option<PathBuf>,
}

impl Names {
    /// Reads what was written; skips what is no line.
    pub fn read(file: &File) -> io::Result<Self> {
        let end = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; end.saturating_sub(BYTES).min(MOST)];
        file.read_exact_at(&mut bytes, BYTES as u64)?;
        let mut names = Self::default();
        for line in
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
        {
            match line {
                Line::Instance { number, id, component, plugin } => {
                    names.instances.insert(number, (id, component, plugin));
                }
                Line::Phase { number, id } => {
                    names.phases.insert(number, id);
                }
                Line::Event { number, name } => {
                    names.events.insert(number, name);
                }
                Line::Directory(path) => names.directory = Some(path),
                Line::Rank(path) => names.rank = Some(path),
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_and_garbage_between_them_is_skipped() {
        let file = tempfile::tempfile().expect("temporary file");
        let line = Line::Instance {
            number: 3,
            id: "a\n\"b".into(),
            component: "callback/x".into(),
            plugin: "p".into(),
        };
        let mut text = serde_json::to_vec(&line).expect("plain");
        text.extend(b"\n\xff{\n");
        text.extend(
            serde_json::to_vec(&Line::Event { number: 64, name: "half".into() }).expect("plain"),
        );
        file.write_all_at(&text, BYTES as u64).expect("room");
        let names = Names::read(&file).expect("readable");
        assert_eq!(
            names.instances[&3],
            ("a\n\"b".to_owned(), "callback/x".to_owned(), "p".to_owned())
        );
        assert_eq!(names.events[&64], "half");
    }
}
