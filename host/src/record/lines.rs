//! Files that grow by complete lines.
//!
//! Lines are buffered and written together: when the buffer is large, when the last write is a
//! second ago, and on flush. A write that fails within a line is truncated again, and an incomplete
//! last line after a crash is removed when the file is reopened, so readers see complete lines
//! only.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::RecordError;

/// Largest size of the buffer in bytes.
const MOST_BUFFERED: usize = 64 * 1024;
/// Longest time that a line stays in the buffer, as long as others follow.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A file of lines, open for appending.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: File,
    length: u64,
    buffer: Vec<u8>,
    written: Instant,
}

impl Lines {
    /// Creates a file with the first line `head` (none if empty).
    ///
    /// # Errors
    /// If it exists or cannot be created.
    pub fn create(path: &Path, head: &str) -> Result<Lines, RecordError> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(RecordError::io("create", path))?;
        let mut lines = Lines {
            path: path.to_owned(),
            file,
            length: 0,
            buffer: Vec::new(),
            written: Instant::now(),
        };
        if !head.is_empty() {
            lines.push(|buffer| buffer.extend_from_slice(head.as_bytes()))?;
        }
        Ok(lines)
    }

    /// Opens a file for appending, after removing an incomplete last line or everything after
    /// `length` bytes.
    ///
    /// # Errors
    /// If it cannot be opened, or is shorter than `length`.
    pub fn reopen(path: &Path, length: Option<u64>) -> Result<Lines, RecordError> {
        let mut file = OpenOptions::new()
            .append(true)
            .read(true)
            .open(path)
            .map_err(RecordError::io("open", path))?;
        let found = whole_lines(&mut file).map_err(RecordError::io("read", path))?;
        let length = length.unwrap_or(found);
        if length > found {
            let problem = format!(
                "has {found} bytes of complete lines, but {length} were written before the checkpoint: the file was changed"
            );
            return Err(RecordError::Content { path: path.to_owned(), problem });
        }
        file.set_len(length).map_err(RecordError::io("shorten", path))?;
        Ok(Lines {
            path: path.to_owned(),
            file,
            length,
            buffer: Vec::new(),
            written: Instant::now(),
        })
    }

    /// Appends one line; `write` adds its text without the line end.
    ///
    /// # Errors
    /// If the buffer was due and could not be written. The buffer is lost; the file is complete.
    #[inline]
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), RecordError> {
        write(&mut self.buffer);
        self.buffer.push(b'\n');
        if self.buffer.len() >= MOST_BUFFERED || self.written.elapsed() >= LONGEST_WAIT {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes the buffer to the file.
    ///
    /// # Errors
    /// As [`Lines::push`].
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.written = Instant::now();
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer);
        let bytes = self.buffer.len() as u64;
        self.buffer.clear();
        match written {
            Ok(()) => {
                self.length += bytes;
                Ok(())
            }
            Err(error) => {
                // Removes an incomplete line; if this fails too, the next opening removes it.
                let _ = self.file.set_len(self.length);
                Err(RecordError::Io { doing: "write to", path: self.path.clone(), error })
            }
        }
    }

    /// Flushes, and returns the length with a handle for another thread to sync.
    ///
    /// # Errors
    /// As [`Lines::push`].
    pub fn hand_over(&mut self) -> Result<(u64, File), RecordError> {
        self.flush()?;
        let file = self.file.try_clone().map_err(RecordError::io("share", &self.path))?;
        Ok((self.length, file))
    }

    /// Flushes and syncs. Returns the length, for [`Lines::reopen`].
    ///
    /// # Errors
    /// As [`Lines::push`].
    pub fn sync(&mut self) -> Result<u64, RecordError> {
        self.flush()?;
        self.file.sync_data().map_err(RecordError::io("sync", &self.path))?;
        Ok(self.length)
    }
}

/// Length of a file up to the end of its last complete line.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut chunk = [0; 4096];
    while end > 0 {
        let size = end.min(chunk.len() as u64);
        file.seek(SeekFrom::Start(end - size))?;
        let part = &mut chunk[..size as usize];
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|&byte| byte == b'\n') {
            return Ok(end - size + at as u64 + 1);
        }
        end -= size;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn an_incomplete_last_line_is_removed_wherever_it_ends(lines in prop::collection::vec("[a-z]{0,3000}", 1..6), cut: prop::sample::Index) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("metrics.jsonl");
            let mut file = Lines::create(&path, "").unwrap();
            for line in &lines {
                file.push(|buffer| buffer.extend_from_slice(line.as_bytes())).unwrap();
            }
            file.sync().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let cut = cut.index(text.len() + 1);
            fs::write(&path, &text[..cut]).unwrap();
            let mut file = Lines::reopen(&path, None).unwrap();
            file.push(|buffer| buffer.extend_from_slice(b"next")).unwrap();
            file.flush().unwrap();
            let whole = text[..cut].rfind('\n').map_or("", |end| &text[..=end]);
            prop_assert_eq!(fs::read_to_string(&path).unwrap(), format!("{whole}next\n"));
        }
    }

    #[test]
    fn lines_are_buffered_until_they_are_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = Lines::create(&path, "head").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        file.push(|buffer| buffer.resize(buffer.len() + MOST_BUFFERED, b'x')).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), "head\n".len() + MOST_BUFFERED + 1);
    }

    #[test]
    fn lines_after_a_checkpoint_are_removed_and_a_shorter_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = Lines::create(&path, "one").unwrap();
        let length = file.sync().unwrap();
        file.push(|buffer| buffer.extend_from_slice(b"two")).unwrap();
        file.flush().unwrap();
        drop(Lines::reopen(&path, Some(length)).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one\n");
        assert!(
            Lines::reopen(&path, Some(5)).unwrap_err().to_string().contains("the file was changed")
        );
        assert!(Lines::create(&path, "").is_err(), "never overwritten");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let file = OpenOptions::new().append(true).open(full).unwrap();
        let mut lines = Lines {
            path: full.to_owned(),
            file,
            length: 0,
            buffer: Vec::new(),
            written: Instant::now(),
        };
        lines.push(|buffer| buffer.extend_from_slice(b"line")).unwrap();
        let error = lines.flush().unwrap_err().to_string();
        assert!(
            error.contains("cannot write to /dev/full") && error.contains("Free space"),
            "{error}"
        );
    }
}
