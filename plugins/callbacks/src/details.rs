//! Files with more than one number of a run, in the folder `details` of the run: what the report shows
//! besides curves.

use std::{fs, path::Path};

use fluxbay_plugin::prelude::*;
use serde_json::{Value, json};

/// Name of the folder.
pub const FOLDER: &str = "details";

/// Replaces the file of a phase and a metric or callback. A file that cannot be written is reported;
/// training goes on.
pub fn write(folder: &Path, phase: &str, name: &str, epoch: u64, details: Value) {
    let content = json!({ "phase": phase, "metric": name, "epoch": epoch, "details": details });
    let path = folder.join(format!("{}.{}.json", file_name(phase), file_name(name)));
    let aside = path.with_extension("json.new");
    // Readers find the former file or the new one.
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&aside, format!("{content}\n")))
        .and_then(|()| fs::rename(&aside, &path));
    if let Err(error) = written {
        log::warn!("{} cannot be written: {error}; the report will not show it", path.display());
    }
}

/// A name as part of a file name.
fn file_name(name: &str) -> String {
    let plain = |ch: char| ch.is_alphanumeric() || matches!(ch, '-' | '_');
    name.chars().map(|ch| if plain(ch) { ch } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_have_no_separators() {
        assert_eq!(file_name("top-5"), "top-5");
        assert_eq!(file_name("../a b.json"), "___a_b_json");
    }
}
