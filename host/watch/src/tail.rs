//! Reads a growing file of lines, a part at a time.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::lines::parts;

/// Longest line in bytes; a longer one is left out.
pub const LONGEST_LINE: usize = 1 << 20;
/// Bytes that are read at a time.
const PART: usize = 1 << 18;
/// Bytes before the reading position that are compared, to notice a file that was written anew.
const MARK: usize = 64;

/// What became of the file since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is the same file, and may have grown.
    None,
    /// It was cut back or written anew: what was read no longer holds.
    Restarted,
    /// Another file has its name, as after a rotation or a restart of the run.
    Replaced,
}

/// A file that another process writes. It is only read, and may be missing.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    /// Bytes at the end that are enough; none for the whole file.
    last: Option<u64>,
    /// Whether rotated parts were looked for.
    looked: bool,
    /// Rotated parts that are read first.
    older: VecDeque<Open>,
    /// Bytes of those that were read to their end.
    done: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    identity: (u64, u64),
    /// Bytes read.
    offset: u64,
    length: u64,
    /// The last bytes read, at most [`MARK`].
    mark: Vec<u8>,
    /// Begin of a line whose end was not read yet.
    line: Vec<u8>,
    /// Whether the rest of the present line is left out.
    skips: bool,
}

impl Tail {
    /// All lines of a file, after those of its rotated [`parts`].
    pub fn whole(path: PathBuf) -> Tail {
        Tail { path, last: None, looked: false, older: VecDeque::new(), done: 0, open: None }
    }

    /// The lines of about the last `bytes` of a file, and those that follow.
    pub fn end(path: PathBuf, bytes: u64) -> Tail {
        Tail { last: Some(bytes), looked: true, ..Tail::whole(path) }
    }

    /// Looks at the file again. Called before each [`Tail::read`].
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn look(&mut self) -> io::Result<Change> {
        if !self.looked {
            self.find_rotated();
        }
        let about = match std::fs::metadata(&self.path) {
            Ok(about) => about,
            // It may come back; what was read still holds.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Change::None),
            Err(error) => return Err(error),
        };
        let identity = (about.dev(), about.ino());
        let change = match &mut self.open {
            None => Change::None,
            Some(open) if open.identity != identity => match open.has_rest()? {
                // It comes first: the file has another name now.
                true => return Ok(Change::None),
                false => Change::Replaced,
            },
            Some(open) if about.len() < open.offset || !open.is_marked()? => Change::Restarted,
            Some(open) => {
                open.length = about.len();
                return Ok(Change::None);
            }
        };
        self.open = Some(Open::new(&self.path, self.last)?);
        if change == Change::Restarted && self.last.is_none() {
            // A copy of what was cut off may lie beside the file.
            self.find_rotated();
        }
        Ok(change)
    }

    fn find_rotated(&mut self) {
        let mut rotated = parts(&self.path);
        rotated.pop();
        self.older = rotated.iter().flat_map(|part| Open::new(part, None)).collect();
        (self.looked, self.done) = (true, 0);
    }

    /// Reads up to about `most` bytes, and calls `take` for each complete line, without its end. A
    /// last line without an end is still being written, and is kept for the next call. Returns
    /// whether there is more to read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self, most: usize, take: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let mut part = vec![0; PART];
        let mut left = most;
        while left > 0 {
            let is_older = !self.older.is_empty();
            let Some(open) = self.older.front_mut().or(self.open.as_mut()) else {
                return Ok(false);
            };
            let wanted = part.len().min(left);
            let read = match open.file.read_at(&mut part[..wanted], open.offset) {
                Ok(0) if !is_older => return Ok(false),
                Ok(0) => {
                    self.done += open.offset;
                    self.older.pop_front();
                    continue;
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            open.offset += read as u64;
            open.length = open.length.max(open.offset);
            open.split(&part[..read], take);
            left -= read.min(left);
        }
        let is_read = self.open.as_ref().is_none_or(|open| open.offset >= open.length);
        Ok(!is_read || !self.older.is_empty())
    }

    /// Share of the file and its rotated parts that was read, from 0 to 1; 1 for a missing or empty one.
    pub fn share(&self) -> f64 {
        let files = || self.older.iter().chain(&self.open);
        let read = self.done + files().map(|open| open.offset).sum::<u64>();
        let all = self.done + files().map(|open| open.length).sum::<u64>();
        if all > 0 { read as f64 / all as f64 } else { 1.0 }
    }
}

impl Open {
    fn new(path: &Path, last: Option<u64>) -> io::Result<Open> {
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        let length = about.len();
        let offset = last.map_or(0, |last| length.saturating_sub(last));
        let mut open = Open {
            file: file.try_clone()?,
            identity: (about.dev(), about.ino()),
            offset,
            length,
            mark: Vec::new(),
            line: Vec::new(),
            skips: false,
        };
        if offset > 0 {
            // The line that begins before the offset is incomplete, unless one ends just there.
            let mut before = [0];
            file.seek(SeekFrom::Start(offset - 1))?;
            file.read_exact(&mut before)?;
            open.skips = before != *b"\n";
            open.mark = before.to_vec();
        }
        Ok(open)
    }

    /// Whether the file holds more than was read, whatever its name is now.
    fn has_rest(&mut self) -> io::Result<bool> {
        self.length = self.file.metadata()?.len();
        Ok(self.length > self.offset)
    }

    /// Whether the bytes before the reading position are those that were read.
    fn is_marked(&self) -> io::Result<bool> {
        let mut found = vec![0; self.mark.len()];
        let from = self.offset - found.len() as u64;
        match self.file.read_exact_at(&mut found, from) {
            Ok(()) => Ok(found == self.mark),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn split(&mut self, part: &[u8], take: &mut dyn FnMut(&[u8])) {
        self.mark.extend_from_slice(&part[part.len().saturating_sub(MARK)..]);
        let surplus = self.mark.len().saturating_sub(MARK);
        self.mark.drain(..surplus);
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            if self.skips {
                self.skips = !ends;
            } else if !ends {
                self.line.extend_from_slice(text);
                if self.line.len() > LONGEST_LINE {
                    self.line = Vec::new();
                    self.skips = true;
                }
            } else if self.line.is_empty() {
                take(text);
            } else {
                self.line.extend_from_slice(text);
                take(&self.line);
                self.line.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;

    use super::*;

    fn lines(tail: &mut Tail) -> Vec<String> {
        let mut found = Vec::new();
        while tail
            .read(7, &mut |line| found.push(String::from_utf8_lossy(line).into_owned()))
            .unwrap()
        {}
        found
    }

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn lines_appear_when_they_are_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut tail = Tail::whole(path.clone());
        assert_eq!(tail.look().unwrap(), Change::None);
        assert!(lines(&mut tail).is_empty(), "a missing file has no lines");
        append(&path, "one\ntwo and a half");
        tail.look().unwrap();
        assert_eq!(lines(&mut tail), ["one"]);
        append(&path, ", now three\n\nfour\n");
        tail.look().unwrap();
        assert_eq!(lines(&mut tail), ["two and a half, now three", "", "four"]);
        assert_eq!(tail.share(), 1.0);
        fs::remove_file(&path).unwrap();
        assert_eq!(tail.look().unwrap(), Change::None, "what was read still holds");
    }

    #[test]
    fn a_file_that_is_cut_back_written_anew_or_replaced_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        append(&path, "one\ntwo\n");
        let mut tail = Tail::whole(path.clone());
        tail.look().unwrap();
        assert_eq!(lines(&mut tail), ["one", "two"]);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(4).unwrap();
        assert_eq!(tail.look().unwrap(), Change::Restarted);
        assert_eq!(lines(&mut tail), ["one"]);
        // Cut back and grown beyond the old length between two looks.
        OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        append(&path, "uno\ndue\ntre\n");
        assert_eq!(tail.look().unwrap(), Change::Restarted);
        assert_eq!(lines(&mut tail), ["uno", "due", "tre"]);
        // The rest of a file that was rotated away is read before the new one.
        append(&path, "quattro\n");
        fs::rename(&path, folder.path().join("metrics.jsonl.1")).unwrap();
        append(&path, "four\n");
        assert_eq!(tail.look().unwrap(), Change::None);
        assert_eq!(lines(&mut tail), ["quattro"]);
        assert_eq!(tail.look().unwrap(), Change::Replaced);
        assert_eq!(lines(&mut tail), ["four"]);
    }

    #[test]
    fn rotated_parts_are_read_first_also_after_a_copy_and_a_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        append(&folder.path().join("metrics.jsonl.2"), "one\n");
        append(&folder.path().join("metrics.jsonl.1"), "two\nthree\n");
        append(&path, "four\n");
        let mut tail = Tail::whole(path.clone());
        tail.look().unwrap();
        assert!(tail.read(6, &mut |_| ()).unwrap() && tail.share() < 0.5, "{}", tail.share());
        assert_eq!(lines(&mut tail), ["two", "three", "four"]);
        assert_eq!(tail.share(), 1.0);
        fs::copy(&path, folder.path().join("metrics.jsonl.1")).unwrap();
        fs::write(&path, "5\n").unwrap();
        assert_eq!(tail.look().unwrap(), Change::Restarted);
        assert_eq!(lines(&mut tail), ["one", "four", "5"]);
        // The end of a file has no parts.
        let mut tail = Tail::end(path, 99);
        tail.look().unwrap();
        assert_eq!(lines(&mut tail), ["5"]);
    }

    #[test]
    fn the_end_of_a_file_begins_with_a_complete_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.txt");
        append(&path, "first\nsecond\nthird\n");
        for (bytes, expected) in
            [(8, vec!["third"]), (6, vec!["third"]), (99, vec!["first", "second", "third"])]
        {
            let mut tail = Tail::end(path.clone(), bytes);
            tail.look().unwrap();
            assert_eq!(lines(&mut tail), expected, "{bytes}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        append(&path, &format!("{}\nnext\n", "x".repeat(3 * LONGEST_LINE)));
        let mut tail = Tail::whole(path);
        tail.look().unwrap();
        let mut found = Vec::new();
        while tail.read(PART, &mut |line| found.push(line.len())).unwrap() {}
        assert_eq!(found, [4]);
    }
}
