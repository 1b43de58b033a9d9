//! Writing: aside, synced, manifest last, renamed, the parent synced; only then are older ones
//! removed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    CheckpointData, Content, Keep,
    manifest::{FileEntry, MANIFEST, Manifest, hexadecimal},
    retention::superfluous,
    scan,
};
use crate::record::{RecordError, atomic::sync_folder};

/// Writes a checkpoint into the folder of a run's checkpoints, which is made where it is not there,
/// and removes those that nobody in `keep` keeps. Answers its folder.
///
/// # Errors
/// Where the system refuses: nothing was added then, and every older checkpoint is still there. An
/// old one that cannot be removed is no error; the log names it.
pub fn write(folder: &Path, data: &CheckpointData, keep: &Keep) -> Result<PathBuf, RecordError> {
    fs::create_dir_all(folder).map_err(RecordError::io("create the folder", folder))?;
    let name = free_name(folder, data);
    let aside = folder.join(format!(".{name}.new"));
    let path = folder.join(name);
    let written = write_aside(&aside, data)
        .and_then(|()| fs::rename(&aside, &path).map_err(RecordError::io("rename to", &path)))
        .and_then(|()| sync_folder(folder));
    if let Err(error) = written {
        // The error that matters is the one above; what is left aside is swept by the next writing.
        let _ = fs::remove_dir_all(&aside);
        return Err(error);
    }
    for old in superfluous(keep, &scan(folder)) {
        remove(&old);
    }
    Ok(path)
}

/// `0000000135-epoch-3`, with a number where that is taken.
fn free_name(folder: &Path, data: &CheckpointData) -> String {
    let stem = format!("{:010}-epoch-{}", data.about.sequence, data.about.epochs);
    let mut name = stem.clone();
    let mut number = 1;
    while folder.join(&name).exists() {
        number += 1;
        name = format!("{stem}-{number}");
    }
    name
}

fn write_aside(aside: &Path, data: &CheckpointData) -> Result<(), RecordError> {
    if aside.exists() {
        fs::remove_dir_all(aside).map_err(RecordError::io("remove", aside))?;
    }
    fs::create_dir(aside).map_err(RecordError::io("create the folder", aside))?;
    if let Some(name) = data.files.keys().find(|name| !is_plain(name)) {
        return Err(RecordError::Content {
            path: aside.join(name),
            problem: "is no name for a file of a checkpoint".to_owned(),
        });
    }
    let files = write_files(aside, data)?;
    let manifest = Content::Bytes(Manifest::new(data.about.clone(), files).text());
    write_synced(&aside.join(MANIFEST), &manifest)?;
    sync_folder(aside)
}

/// Writes and syncs every file on a thread of its own, and computes the hashes meanwhile: the
/// disk's waits overlap, and a processor is free while it waits.
fn write_files(
    aside: &Path,
    data: &CheckpointData,
) -> Result<BTreeMap<String, FileEntry>, RecordError> {
    std::thread::scope(|scope| {
        let written: Vec<_> = data
            .files
            .iter()
            .map(|(name, content)| {
                let path = aside.join(name);
                scope.spawn(move || write_synced(&path, content))
            })
            .collect();
        let mut files = BTreeMap::new();
        for (name, content) in &data.files {
            let sha256 = hash(content)
                .map_err(RecordError::io("read back what goes to", &aside.join(name)))?;
            files.insert(name.clone(), FileEntry { bytes: content.len(), sha256 });
        }
        for thread in written {
            thread.join().unwrap_or_else(|_| {
                Err(RecordError::Content {
                    path: aside.to_owned(),
                    problem: "a thread that wrote it panicked".to_owned(),
                })
            })?;
        }
        Ok(files)
    })
}

fn hash(content: &Content) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    content.each(&mut |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(hexadecimal(&hasher.finalize()))
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && !name.starts_with('.') && name != MANIFEST && name.bytes().all(plain)
}

fn write_synced(path: &Path, content: &Content) -> Result<(), RecordError> {
    let write = |mut file: File| {
        content.each(&mut |bytes| file.write_all(bytes)).and_then(|()| file.sync_all())
    };
    File::create_new(path).and_then(write).map_err(RecordError::io("write", path))
}

/// Takes a checkpoint's name away before its files, so that a half removed one is never taken for
/// one. One that cannot be removed is named in the log.
pub fn remove(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.old"));
    let removed = fs::rename(path, &aside).and_then(|()| fs::remove_dir_all(&aside));
    if let Err(error) = removed {
        log::warn!(
            "the old checkpoint {} cannot be removed: {error}",
            crate::library::shown::path(path)
        );
    }
}

/// Renames a damaged checkpoint, so that it is not taken for one any more; what can be saved of it
/// is still there.
pub fn set_aside(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("damaged-{name}"));
    match fs::rename(path, &aside) {
        Ok(()) => {
            log::warn!("the damaged checkpoint is kept as {}", crate::library::shown::path(&aside))
        }
        Err(error) => log::warn!(
            "the damaged checkpoint {} cannot be renamed: {error}",
            crate::library::shown::path(path)
        ),
    }
}

/// Removes what writings and removals that were broken off have left aside.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && (name.ends_with(".new") || name.ends_with(".old")) {
            // It is in nobody's way.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
