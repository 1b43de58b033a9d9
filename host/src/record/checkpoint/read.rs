//! Lists, verifies and reads checkpoints.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    CheckpointData, CheckpointInfo, Content, Damage,
    manifest::{MANIFEST, Manifest, sha256},
    write::sweep,
};

/// A checkpoint's folder with the information of its manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundCheckpoint {
    /// The folder.
    pub path: PathBuf,
    /// Its information, or why the manifest cannot be read.
    pub about: Result<CheckpointInfo, Damage>,
}

/// The checkpoints of a folder, oldest first by the number in their names. Reads manifests only.
pub fn scan(folder: &Path) -> Vec<FoundCheckpoint> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| age(path).is_some())
        .filter(|path| path.is_dir());
    let mut found: Vec<FoundCheckpoint> = paths
        .map(|path| FoundCheckpoint {
            about: read_manifest(&path).map(|manifest| manifest.about),
            path,
        })
        .collect();
    found.sort_by(|a, b| age(&a.path).cmp(&age(&b.path)).then_with(|| a.path.cmp(&b.path)));
    found
}

/// The checkpoints of a folder that are newer than `path`, which is one of them.
pub fn newer_than(folder: &Path, path: &Path) -> Vec<PathBuf> {
    let name = path.file_name();
    scan(folder)
        .into_iter()
        .map(|found| found.path)
        .skip_while(|path| path.file_name() != name)
        .skip(1)
        .collect()
}

/// The number at the start of a checkpoint's name.
fn age(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

/// Reads the newest intact checkpoint. Also returns the damaged ones that are newer, newest first.
/// Removes temporary folders of interrupted writes.
#[expect(clippy::type_complexity, reason = "two plain results")]
pub fn newest(folder: &Path) -> (Option<(PathBuf, CheckpointData)>, Vec<(PathBuf, Damage)>) {
    sweep(folder);
    let mut damaged = Vec::new();
    for found in scan(folder).into_iter().rev() {
        match read(&found.path) {
            Ok(data) => return (Some((found.path, data)), damaged),
            Err(damage) => damaged.push((found.path, damage)),
        }
    }
    (None, damaged)
}

/// Reads a checkpoint and verifies every byte.
///
/// # Errors
/// The first damage that is found.
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
pub fn verify(path: &Path) -> Result<CheckpointInfo, Damage> {
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
