//! Files that are either the old or the new ones, whenever the power goes.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::RecordError;

/// Puts `bytes` in place of the file at `path`: written aside, synced, renamed, the folder synced.
///
/// # Errors
/// Where the system refuses; the old file is untouched then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    replace_with(path, |file| file.write_all(bytes))
}

/// As [`replace`], for content that is written piece by piece.
///
/// # Errors
/// As [`replace`], and those of `write`.
pub fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), RecordError> {
    let aside = aside(path);
    let written = File::create(&aside)
        .and_then(|mut file| {
            write(&mut file)?;
            file.sync_all()
        })
        .map_err(RecordError::io("write", path))
        .and_then(|()| fs::rename(&aside, path).map_err(RecordError::io("replace", path)));
    if written.is_err() {
        // The error that matters is the one above; a file left aside is overwritten by the next
        // attempt.
        let _ = fs::remove_file(&aside);
    }
    written?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Makes what was created, renamed or removed in a folder last.
///
/// # Errors
/// Where the system refuses.
pub fn sync_folder(folder: &Path) -> Result<(), RecordError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(RecordError::io("sync", folder))
}

fn aside(path: &Path) -> PathBuf {
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
        assert!(failed.unwrap_err().to_string().contains("Make room on the disk"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
