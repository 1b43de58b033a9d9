//! The lines of a whole file of a record, with the parts that were rotated away.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use crate::tail::LONGEST_LINE;

/// Bytes that are read at a time.
const PART: usize = 1 << 18;

/// The file and its rotated parts, oldest first: `NAME.2`, `NAME.1`, `NAME`. A host that continues a run
/// writes one file; a program that rotates files renames it to `NAME.1`, and the former one to `NAME.2`.
/// Only the last path may be missing.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let mut rotated = Vec::new();
    for number in 1_u32.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let part = PathBuf::from(name);
        if !part.is_file() {
            break;
        }
        rotated.push(part);
    }
    rotated.reverse();
    rotated.push(path.to_owned());
    rotated
}

/// Calls `take` for each complete line of a file and its rotated [`parts`], without its end. Memory does
/// not grow with the file. The last line of the file may be without an end: it is still being written, and
/// is left out. A line of more than [`LONGEST_LINE`] bytes is taken as an empty one.
///
/// # Errors
/// A file is there and cannot be read. A missing one has no lines.
pub fn each_line(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    for part in parts(path) {
        let file = match File::open(&part) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        lines_of(BufReader::with_capacity(PART, file), LONGEST_LINE, &mut take)?;
    }
    Ok(())
}

fn lines_of(
    mut reader: BufReader<File>,
    longest: usize,
    take: &mut impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        line.clear();
        let read = (&mut reader).take(longest as u64).read_until(b'\n', &mut line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
            take(if too_long { b"" } else { &line });
            too_long = false;
        } else if read == longest {
            too_long = true;
        } else {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rotated_parts_come_first_and_a_line_without_an_end_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut found = Vec::new();
        each_line(&path, |line| found.push(line.to_owned())).unwrap();
        assert!(found.is_empty(), "a missing file has no lines");
        for (name, text) in [
            ("metrics.jsonl", "four\n\nfive, half writ"),
            ("metrics.jsonl.1", "two\nthree\n"),
            ("metrics.jsonl.2", "one\n"),
            ("metrics.jsonl.4", "not the next of them\n"),
            ("metrics.jsonl.bak", "a copy\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        each_line(&path, |line| found.push(line.to_owned())).unwrap();
        assert_eq!(found, [&b"one"[..], b"two", b"three", b"four", b""]);
        // A file that has just been rotated away, and not begun again.
        fs::remove_file(&path).unwrap();
        found.clear();
        each_line(&path, |line| found.push(line.to_owned())).unwrap();
        assert_eq!(found, [&b"one"[..], b"two", b"three"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for (length, expected) in [(8, "xxxxxxxx"), (9, "xxxxxxxxx"), (10, ""), (30, "")] {
            fs::write(&path, format!("one\n{}\nthree\n", "x".repeat(length))).unwrap();
            let mut found = Vec::new();
            let reader = BufReader::new(File::open(&path).unwrap());
            lines_of(reader, 10, &mut |line| found.push(line.to_owned())).unwrap();
            assert_eq!(found, [&b"one"[..], expected.as_bytes(), b"three"], "{length}");
        }
    }
}
