//! Writes a checkpoint to a temporary folder, syncs and renames it, then removes old ones.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    CheckpointData, Content, Retentions,
    manifest::{FileEntry, MANIFEST, Manifest, hexadecimal},
    retention::superfluous,
    scan,
};
use crate::breadcrumb::{self, HostThread};
use crate::record::{RecordError, atomic::sync_folder};

/// Writes a checkpoint into `folder`, which is created if needed, and removes the old ones that
/// `keep` does not retain. Returns the path of the new one.
///
/// # Errors
/// If it cannot be written; then nothing was added or removed. A failure to remove an old one is
/// only logged.
pub fn write(
    folder: &Path,
    data: &CheckpointData,
    keep: &Retentions,
) -> Result<PathBuf, RecordError> {
    fs::create_dir_all(folder).map_err(RecordError::io("create the folder", folder))?;
    let name = free_name(folder, data);
    let temporary = folder.join(format!(".{name}.new"));
    let path = folder.join(name);
    let written = write_files_into(&temporary, data)
        .and_then(|()| fs::rename(&temporary, &path).map_err(RecordError::io("rename to", &path)))
        .and_then(|()| sync_folder(folder));
    if let Err(error) = written {
        // Ignored in favour of the error above; the folder is removed later by `sweep`.
        let _ = fs::remove_dir_all(&temporary);
        return Err(error);
    }
    for old in superfluous(keep, &scan(folder)) {
        remove(&old);
    }
    Ok(path)
}

/// `0000000135-epoch-3`, with a number appended if that exists.
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

fn write_files_into(temporary: &Path, data: &CheckpointData) -> Result<(), RecordError> {
    if temporary.exists() {
        fs::remove_dir_all(temporary).map_err(RecordError::io("remove", temporary))?;
    }
    fs::create_dir(temporary).map_err(RecordError::io("create the folder", temporary))?;
    if let Some(name) = data.files.keys().find(|name| !is_plain(name)) {
        return Err(RecordError::Content {
            path: temporary.join(name),
            problem: "is not a valid name for a file of a checkpoint".to_owned(),
        });
    }
    let files = write_files(temporary, data)?;
    let manifest = Content::Bytes(Manifest::new(data.about.clone(), files).text());
    write_synced(&temporary.join(MANIFEST), &manifest)?;
    sync_folder(temporary)
}

/// Writes and syncs every file on its own thread, and computes the hashes at the same time.
fn write_files(
    temporary: &Path,
    data: &CheckpointData,
) -> Result<BTreeMap<String, FileEntry>, RecordError> {
    std::thread::scope(|scope| {
        let written: Vec<_> = data
            .files
            .iter()
            .map(|(name, content)| {
                let path = temporary.join(name);
                scope.spawn(move || {
                    breadcrumb::host_thread(HostThread::Checkpoints);
                    write_synced(&path, content)
                })
            })
            .collect();
        let mut files = BTreeMap::new();
        for (name, content) in &data.files {
            let sha256 = hash(content)
                .map_err(RecordError::io("read back what goes to", &temporary.join(name)))?;
            files.insert(name.clone(), FileEntry { bytes: content.len(), sha256 });
        }
        for thread in written {
            thread.join().unwrap_or_else(|_| {
                Err(RecordError::Content {
                    path: temporary.to_owned(),
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

/// Removes a checkpoint: renames it first, so that a partly removed one is not taken for one. A
/// failure is logged.
pub fn remove(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.old"));
    let removed = fs::rename(path, &aside).and_then(|()| fs::remove_dir_all(&aside));
    if let Err(error) = removed {
        log::warn!(
            "the old checkpoint {} cannot be removed: {error}",
            crate::library::escape::path(path)
        );
    }
}

/// Renames a damaged checkpoint, so that it is not read again, but can still be recovered.
pub fn set_aside(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("damaged-{name}"));
    match fs::rename(path, &aside) {
        Ok(()) => {
            log::warn!("the damaged checkpoint is kept as {}", crate::library::escape::path(&aside))
        }
        Err(error) => log::warn!(
            "the damaged checkpoint {} cannot be renamed: {error}",
            crate::library::escape::path(path)
        ),
    }
}

/// Removes the temporary folders of interrupted writes and removals.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && (name.ends_with(".new") || name.ends_with(".old")) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
