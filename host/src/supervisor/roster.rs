//! The names that go with the numbers of the breadcrumb, one JSON text a line behind the shared
//! page.
//!
//! Written when instances come to be, not when they are called; by system calls, so that a plugin
//! that writes where it should not cannot spoil them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use super::page::BYTES;

/// The most text that is believed.
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
    /// A phase has a number.
    Phase {
        /// Its number.
        number: u32,
        /// Its instance's id.
        id: String,
    },
    /// An event of a plugin's own has a number.
    Event {
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
    },
    /// The run keeps its record here.
    Directory(PathBuf),
}

static FILE: OnceLock<Mutex<(File, u64)>> = OnceLock::new();

/// From now on lines are written.
pub(super) fn open(file: File) {
    let _ = FILE.set(Mutex::new((file, BYTES as u64)));
}

/// Writes a line, where there is a supervisor to read it.
pub fn write(line: &Line) {
    let Some(file) = FILE.get() else { return };
    let (file, end) = &mut *file.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(mut text) = serde_json::to_vec(line) else { return };
    text.push(b'\n');
    // Without it a report names numbers only.
    if file.write_all_at(&text, *end).is_ok() {
        *end += text.len() as u64;
    }
}

/// The names that this process has written.
pub(super) fn here() -> Option<Roster> {
    let file = FILE.get()?.lock().unwrap_or_else(PoisonError::into_inner);
    Roster::read(&file.0).ok()
}

/// The names, as the supervisor reads them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Roster {
    /// Id, component and plugin by number.
    pub(super) instances: BTreeMap<u32, (String, String, String)>,
    pub(super) phases: BTreeMap<u32, String>,
    pub(super) events: BTreeMap<u32, String>,
    pub(super) directory: Option<PathBuf>,
}

impl Roster {
    /// Reads what was written; what is no line is passed over.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let end = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; end.saturating_sub(BYTES).min(MOST)];
        file.read_exact_at(&mut bytes, BYTES as u64)?;
        let mut roster = Self::default();
        for line in
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
        {
            match line {
                Line::Instance { number, id, component, plugin } => {
                    roster.instances.insert(number, (id, component, plugin));
                }
                Line::Phase { number, id } => {
                    roster.phases.insert(number, id);
                }
                Line::Event { number, name } => {
                    roster.events.insert(number, name);
                }
                Line::Directory(path) => roster.directory = Some(path),
            }
        }
        Ok(roster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_and_garbage_between_them_is_passed_over() {
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
        let roster = Roster::read(&file).expect("readable");
        assert_eq!(
            roster.instances[&3],
            ("a\n\"b".to_owned(), "callback/x".to_owned(), "p".to_owned())
        );
        assert_eq!(roster.events[&64], "half");
    }
}
