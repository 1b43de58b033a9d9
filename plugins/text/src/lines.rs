//! Where the lines of a file are.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use fluxbay_plugin::prelude::*;

/// An open file and the places of some of its lines.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: File,
    starts: Vec<u64>,
    /// Bytes of each line.
    sizes: Vec<u32>,
}

impl Lines {
    /// Opens a file and passes each line that is not blank, with its number from 1, to `keep`, which
    /// says whether it is kept. Byte order marks and line ends are not part of a line.
    ///
    /// # Errors
    /// The file cannot be read, is packed or in UTF-16; or an error of `keep`.
    pub fn open(path: &Path, mut keep: impl FnMut(&[u8], u64) -> Result<bool>) -> Result<Lines> {
        let file = File::open(path).context(path.display())?;
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let head = reader.fill_buf().context(path.display())?;
        let mut at = 0;
        if head.starts_with(b"\xef\xbb\xbf") {
            at = 3;
        } else if head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            bail!(
                "{}: the file is compressed, and its texts are read from any place: unpack it first",
                path.display()
            );
        } else if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
            bail!("{}: the text is encoded in UTF-16: convert it to UTF-8", path.display());
        }
        reader.consume(at as usize);
        let (mut starts, mut sizes) = (Vec::new(), Vec::new());
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).context(path.display())?;
            if read == 0 {
                break;
            }
            number += 1;
            let content = line.trim_ascii_end();
            if !content.is_empty() {
                let Ok(size) = u32::try_from(content.len()) else {
                    bail!("{}:{number}: the line is longer than 4 GiB", path.display());
                };
                if keep(content, number)? {
                    starts.push(at);
                    sizes.push(size);
                }
            }
            at += read as u64;
        }
        drop(reader);
        Ok(Lines { path: path.to_owned(), file, starts, sizes })
    }

    /// Number of lines that are kept.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Reads a line into `buffer`. May be called on several threads at a time.
    ///
    /// # Errors
    /// The file cannot be read, such as one that has become shorter.
    pub fn read(&self, index: usize, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.resize(self.sizes[index] as usize, 0);
        self.file.read_exact_at(buffer, self.starts[index]).context(format!(
            "{}: reading {} bytes at {}",
            self.path.display(),
            buffer.len(),
            self.starts[index]
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(content: &[u8]) -> Result<(Lines, Vec<u64>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::fs::write(&path, content).unwrap();
        let mut numbers = Vec::new();
        let lines = Lines::open(&path, |line, number| {
            numbers.push(number);
            Ok(!line.starts_with(b"-"))
        })?;
        Ok((lines, numbers))
    }

    #[test]
    fn lines_are_read_again_from_their_places() {
        for start in [&b""[..], b"\xef\xbb\xbf"] {
            let content = [start, b"one\r\n\n  \n-two\nthree \xc3\xa9\nlast"].concat();
            let (lines, numbers) = lines(&content).unwrap();
            assert_eq!((lines.len(), numbers), (3, vec![1, 4, 5, 6]));
            let mut buffer = Vec::new();
            let all: Vec<String> = [2, 0, 1]
                .into_iter()
                .map(|index| {
                    lines.read(index, &mut buffer).unwrap();
                    String::from_utf8(buffer.clone()).unwrap()
                })
                .collect();
            assert_eq!(all, ["last", "one", "three é"]);
        }
    }

    #[test]
    fn files_that_are_packed_or_in_utf_16_are_refused() {
        for (content, words) in [(&[0x1f, 0x8b, 8][..], "compressed"), (b"\xff\xfe{\0", "UTF-16")] {
            assert!(lines(content).unwrap_err().message().contains(words), "{words}");
        }
    }
}
