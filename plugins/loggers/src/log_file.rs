//! The file of a logger. Records are appended; on resume the file is truncated to its length at the
//! checkpoint.

use std::{
    cell::RefCell,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use fluxbay_plugin::{prelude::*, serde};

/// An append-only file.
#[derive(Debug, Default)]
pub struct LogFile {
    /// In a cell, because `save` takes a shared reference and flushes the file.
    open: Option<RefCell<Open>>,
    /// Length to truncate to when the file is opened.
    resume: Option<u64>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    writer: BufWriter<File>,
    len: u64,
}

/// The saved state.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Saved {
    len: u64,
}

impl LogFile {
    /// Opens `dir/name`, and writes `head` if the file is new.
    pub fn open(&mut self, dir: &Path, name: &str, head: &[u8]) -> Result<()> {
        if dir.as_os_str().is_empty() {
            bail!("this run writes no files, so {name} cannot be written: give the run a folder");
        }
        let path = dir.join(name);
        self.begin(&path, head).context(path.display())
    }

    fn begin(&mut self, path: &Path, head: &[u8]) -> Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
        let mut open = Open {
            path: path.to_owned(),
            len: file.metadata()?.len(),
            writer: BufWriter::new(file),
        };
        open.cut(self.resume.take().unwrap_or(u64::MAX))?;
        if open.len == 0 {
            open.append(head)?;
        }
        self.open = Some(RefCell::new(open));
        Ok(())
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let open =
            self.open.as_mut().ok_or_else(|| Error::new("the logger is not open"))?.get_mut();
        open.append(bytes).context(open.path.display())
    }

    /// Writes buffered bytes to the file.
    pub fn flush(&mut self) -> Result<()> {
        match &mut self.open {
            Some(open) => open.get_mut().flush(),
            None => Ok(()),
        }
    }

    /// The state for a checkpoint.
    pub fn save(&self) -> Result<Vec<u8>> {
        let len = match &self.open {
            Some(open) => {
                let mut open = open.borrow_mut();
                open.flush()?;
                Some(open.len)
            }
            None => self.resume,
        };
        to_bytes(&Saved { len: len.unwrap_or(0) })
    }

    /// Truncates the file to its length at the checkpoint.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let saved: Saved = from_bytes(bytes)?;
        match &mut self.open {
            Some(open) => {
                let open = open.get_mut();
                open.cut(saved.len).context(open.path.display())
            }
            None => {
                self.resume = Some(saved.len);
                Ok(())
            }
        }
    }
}

impl Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.flush().context(self.path.display())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.writer.flush()?;
        if len < self.len {
            self.writer.get_ref().set_len(len)?;
            self.len = len;
        }
        self.writer.seek(SeekFrom::Start(self.len))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_file_continues_at_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let read = || fs::read_to_string(dir.path().join("deep/log")).unwrap();
        let deep = dir.path().join("deep");
        let mut first = LogFile::default();
        first.open(&deep, "log", b"head\n").unwrap();
        first.append(b"one\n").unwrap();
        let saved = first.save().unwrap();
        assert_eq!(read(), "head\none\n", "save flushes the file");
        first.append(b"two\n").unwrap();
        first.flush().unwrap();
        assert_eq!(read(), "head\none\ntwo\n");
        drop(first);
        // `load` works before and after `open`.
        for load_first in [true, false] {
            let mut next = LogFile::default();
            if load_first {
                next.load(&saved).unwrap();
            }
            next.open(&deep, "log", b"head\n").unwrap();
            if !load_first {
                next.load(&saved).unwrap();
            }
            next.append(b"three\n").unwrap();
            next.flush().unwrap();
            assert_eq!(read(), "head\none\nthree\n");
        }
    }

    #[test]
    fn a_run_without_files_is_refused() {
        assert!(
            LogFile::default()
                .open(Path::new(""), "log", b"")
                .unwrap_err()
                .message()
                .contains("writes no files")
        );
    }
}
