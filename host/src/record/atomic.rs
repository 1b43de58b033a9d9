//! Replaces files atomically: after a crash, a file has either the old or the new content.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::RecordError;

/// Replaces the file at `path`: writes a temporary file, syncs and renames it, syncs the folder.
///
/// # Errors
/// If a file cannot be written; then the old file is untouched.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    replace_with(path, |file| file.write_all(bytes))
}

/// As [`replace`], for content that is written in pieces.
///
/// # Errors
/// As [`replace`], and the errors of `write`.
pub fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), RecordError> {
    let temporary = temporary(path);
    let written = File::create(&temporary)
        .and_then(|mut file| {
            write(&mut file)?;
            file.sync_all()
        })
        .map_err(RecordError::io("write", path))
        .and_then(|()| fs::rename(&temporary, path).map_err(RecordError::io("replace", path)));
    if written.is_err() {
        // Ignored in favour of the error above; the next attempt overwrites the temporary file.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Syncs a folder, so that creations, renames and removals in it survive a crash.
///
/// # Errors
/// If the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<(), RecordError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(RecordError::io("sync", folder))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace(&path, b"old").unwrap();
        let failed = replace_with(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(std::io::ErrorKind::StorageFull.into())
        });
        assert!(failed.unwrap_err().to_string().contains("Free space on the disk"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
