//! Files that grow by whole lines.
//!
//! Lines are gathered and written together: when much has come together, when the last write is a
//! while ago, and when the owner flushes. A write that fails in the middle of a line is taken back,
//! and a torn last line that a crash left is cut off when the file is opened again, so a reader
//! only ever sees whole lines.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::RecordError;

/// Bytes that are gathered at most.
const MOST_GATHERED: usize = 64 * 1024;
/// Longest time that a line waits, as long as others follow it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A file of lines, open for appending.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: File,
    length: u64,
    gathered: Vec<u8>,
    written: Instant,
}

impl Lines {
    /// Makes a new file; the first line, such as a header, is `head` (empty for none).
    ///
    /// # Errors
    /// Where it is there already, or the system refuses.
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
            gathered: Vec::new(),
            written: Instant::now(),
        };
        if !head.is_empty() {
            lines.push(|buffer| buffer.extend_from_slice(head.as_bytes()))?;
        }
        Ok(lines)
    }

    /// Opens a file to go on with: cuts off a torn last line, or everything after `length` bytes
    /// where that is given.
    ///
    /// # Errors
    /// Where the system refuses, or the file is shorter than `length`.
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
                "has {found} bytes of whole lines, but {length} were written before the checkpoint: the file was changed"
            );
            return Err(RecordError::Content { path: path.to_owned(), problem });
        }
        file.set_len(length).map_err(RecordError::io("shorten", path))?;
        Ok(Lines {
            path: path.to_owned(),
            file,
            length,
            gathered: Vec::new(),
            written: Instant::now(),
        })
    }

    /// Appends one line; `write` adds its text, without the line's end.
    ///
    /// # Errors
    /// Where it was time to write and the system refused: what was gathered is lost, what was
    /// written before is whole.
    #[inline]
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), RecordError> {
        write(&mut self.gathered);
        self.gathered.push(b'\n');
        if self.gathered.len() >= MOST_GATHERED || self.written.elapsed() >= LONGEST_WAIT {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Hands everything gathered to the system.
    ///
    /// # Errors
    /// As [`Lines::push`].
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.written = Instant::now();
        if self.gathered.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.gathered);
        let bytes = self.gathered.len() as u64;
        self.gathered.clear();
        match written {
            Ok(()) => {
                self.length += bytes;
                Ok(())
            }
            Err(error) => {
                // Half a line must not stay; where even this fails, the next opening cuts it off.
                let _ = self.file.set_len(self.length);
                Err(RecordError::Io { doing: "write to", path: self.path.clone(), error })
            }
        }
    }

    /// Flushes, and answers the file's length with a handle by which another thread can sync it.
    ///
    /// # Errors
    /// As [`Lines::push`].
    pub fn hand_over(&mut self) -> Result<(u64, File), RecordError> {
        self.flush()?;
        let file = self.file.try_clone().map_err(RecordError::io("share", &self.path))?;
        Ok((self.length, file))
    }

    /// Flushes and waits until it is on the disk. Answers the file's length, for [`Lines::reopen`].
    ///
    /// # Errors
    /// As [`Lines::push`].
    pub fn sync(&mut self) -> Result<u64, RecordError> {
        self.flush()?;
        self.file.sync_data().map_err(RecordError::io("sync", &self.path))?;
        Ok(self.length)
    }
}

/// Length of a file up to the end of its last whole line.
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
        fn a_torn_last_line_is_cut_off_wherever_it_was_torn(lines in prop::collection::vec("[a-z]{0,3000}", 1..6), cut: prop::sample::Index) {
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
    fn lines_are_gathered_until_they_are_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = Lines::create(&path, "head").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        file.push(|buffer| buffer.resize(buffer.len() + MOST_GATHERED, b'x')).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), "head\n".len() + MOST_GATHERED + 1);
    }

    #[test]
    fn what_came_after_a_checkpoint_is_cut_off_and_a_shorter_file_is_refused() {
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
            gathered: Vec::new(),
            written: Instant::now(),
        };
        lines.push(|buffer| buffer.extend_from_slice(b"line")).unwrap();
        let error = lines.flush().unwrap_err().to_string();
        assert!(
            error.contains("cannot write to /dev/full") && error.contains("Make room"),
            "{error}"
        );
    }
}
