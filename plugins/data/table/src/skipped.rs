//! Rows that were left out because they could not be read.

use std::path::{Path, PathBuf};

use fluxbay_plugin::prelude::*;

/// Number of skipped rows that are described.
const DESCRIBED: usize = 5;

/// The skipped rows of a file.
#[derive(Clone, Debug, Default)]
pub struct Skipped {
    /// How many.
    pub rows: u64,
    /// Line and reason of the first ones.
    pub first: Vec<(u64, String)>,
}

impl Skipped {
    /// Counts one in `line`.
    pub fn add(&mut self, line: u64, reason: &str) {
        self.rows += 1;
        if self.first.len() < DESCRIBED {
            self.first.push((line, reason.to_owned()));
        }
    }
}

/// Logs the rows that were skipped, and writes them to `skipped-rows.json` in `dir`, the run's folder,
/// if there is one. `files` are paths with the number of rows that were read.
///
/// # Errors
/// The file cannot be written.
pub fn report(dir: Option<&Path>, files: &[(PathBuf, usize, Skipped)]) -> Result<()> {
    for (path, rows, skipped) in files.iter().filter(|(_, _, skipped)| skipped.rows > 0) {
        let first: Vec<String> =
            skipped.first.iter().map(|(line, reason)| format!("line {line}: {reason}")).collect();
        let more = if skipped.rows > first.len() as u64 { "; ..." } else { "" };
        log::warn!(
            "{}: {} of {} rows are skipped because they cannot be read: {}{more}",
            path.display(),
            skipped.rows,
            *rows as u64 + skipped.rows,
            first.join("; ")
        );
    }
    let Some(dir) = dir.filter(|dir| dir.is_dir()) else { return Ok(()) };
    let files: Vec<_> = files
        .iter()
        .map(|(path, rows, skipped)| {
            let first: Vec<_> = skipped
                .first
                .iter()
                .map(|(line, reason)| serde_json::json!({"line": line, "reason": reason}))
                .collect();
            serde_json::json!({
                "path": path.display().to_string(),
                "read": rows,
                "skipped": skipped.rows,
                "first": first,
            })
        })
        .collect();
    let file = dir.join("skipped-rows.json");
    let text = serde_json::json!({ "files": files }).to_string();
    std::fs::write(&file, text + "\n").map_err(Error::from).context(file.display())
}
