//! Reading: which checkpoints there are, whether they are whole, what they hold.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    About, CheckpointData, Content, Damage,
    manifest::{MANIFEST, Manifest, sha256},
    write::sweep,
};

/// A checkpoint's folder with what its manifest says.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The folder.
    pub path: PathBuf,
    /// What it is about, or why that cannot be told.
    pub about: Result<About, Damage>,
}

/// The checkpoints in a folder, oldest first by the number that their names begin with. Reads
/// manifests only.
pub fn scan(folder: &Path) -> Vec<Found> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| age(path).is_some())
        .filter(|path| path.is_dir());
    let mut found: Vec<Found> = paths
        .map(|path| Found { about: read_manifest(&path).map(|manifest| manifest.about), path })
        .collect();
    found.sort_by(|a, b| age(&a.path).cmp(&age(&b.path)).then_with(|| a.path.cmp(&b.path)));
    found
}

/// Those that stand after `path`, which is one of the folder's.
pub fn newer_than(folder: &Path, path: &Path) -> Vec<PathBuf> {
    let name = path.file_name();
    scan(folder)
        .into_iter()
        .map(|found| found.path)
        .skip_while(|path| path.file_name() != name)
        .skip(1)
        .collect()
}

/// The number that a checkpoint's name begins with.
fn age(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

/// Reads the newest checkpoint that is whole. Also answers those that had to be passed over, newest
/// first, with the reason; clears away what a broken-off writing has left.
#[expect(clippy::type_complexity, reason = "two plain answers")]
pub fn newest(folder: &Path) -> (Option<(PathBuf, CheckpointData)>, Vec<(PathBuf, Damage)>) {
    sweep(folder);
    let mut passed = Vec::new();
    for found in scan(folder).into_iter().rev() {
        match read(&found.path) {
            Ok(data) => return (Some((found.path, data)), passed),
            Err(damage) => passed.push((found.path, damage)),
        }
    }
    (None, passed)
}

/// Reads a checkpoint and verifies every byte of it.
///
/// # Errors
/// The first thing that is not as it was written.
pub fn read(path: &Path) -> Result<CheckpointData, Damage> {
    let manifest = read_manifest(path)?;
    let mut files = BTreeMap::new();
    for (name, entry) in &manifest.files {
        let bytes = fs::read(path.join(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Damage::Missing(name.clone()),
            _ => Damage::Unreadable { file: name.clone(), error: error.to_string() },
        })?;
        let found = bytes.len() as u64;
        if found != entry.bytes {
            return Err(Damage::Length { file: name.clone(), wanted: entry.bytes, found });
        }
        if sha256(&bytes) != entry.sha256 {
            return Err(Damage::Content(name.clone()));
        }
        files.insert(name.clone(), Content::Bytes(bytes));
    }
    Ok(CheckpointData { about: manifest.about, files })
}

/// Verifies every byte of a checkpoint.
///
/// # Errors
/// As [`read`].
pub fn verify(path: &Path) -> Result<About, Damage> {
    read(path).map(|data| data.about)
}

fn read_manifest(path: &Path) -> Result<Manifest, Damage> {
    match fs::read(path.join(MANIFEST)) {
        Ok(text) => Manifest::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Damage::NoManifest),
        Err(error) => {
            Err(Damage::Unreadable { file: MANIFEST.to_owned(), error: error.to_string() })
        }
    }
}
