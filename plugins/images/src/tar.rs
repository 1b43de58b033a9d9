//! The files in a tar archive, by their headers: POSIX (ustar and pax) and GNU, not compressed.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use fluxbay_plugin::prelude::*;

/// Size of a header, and what the content of a file is filled up to.
const BLOCK: u64 = 512;
/// Most bytes of a name in a header of its own, so that no archive fills the memory.
const MOST_NAME: u64 = 1 << 16;

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Place of its first byte in the archive.
    pub at: u64,
    pub size: u64,
}

/// An archive that is open.
#[derive(Debug)]
pub struct Archive {
    pub path: PathBuf,
    file: File,
    pub length: u64,
}

impl Archive {
    /// Opens an archive. It is not read yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path) -> Result<Archive> {
        let file = File::open(path).context(path.display())?;
        let length = file.metadata().context(path.display())?.len();
        Ok(Archive { path: path.to_owned(), file, length })
    }

    /// Reads bytes at any place, on any thread.
    ///
    /// # Errors
    /// They are not in the archive. The text does not name it.
    pub fn read(&self, at: u64, size: u64) -> Result<Vec<u8>> {
        if at.checked_add(size).is_none_or(|end| end > self.length) {
            bail!("the archive ends before byte {} of it", at.saturating_add(size));
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// The files in the archive, in its order. Reads the headers alone.
    ///
    /// # Errors
    /// With the archive and the place in it, if a header is damaged.
    pub fn members(&self) -> Result<Vec<Member>> {
        let (mut members, mut at) = (Vec::new(), 0);
        let mut name = None;
        while at + BLOCK <= self.length {
            let place = || format!("{}: at byte {at}", self.path.display());
            let header = self.read(at, BLOCK).context(place())?;
            if header.iter().all(|byte| *byte == 0) {
                break;
            }
            let header = Header::of(&header).context(place())?;
            let (start, size) = (at + BLOCK, header.size);
            let end = start.checked_add(size).filter(|end| *end <= self.length);
            let Some(end) = end else {
                bail!("{}: `{}` is longer than the archive: it is cut off", place(), header.name);
            };
            let long = || -> Result<Vec<u8>> {
                if size > MOST_NAME {
                    bail!("{}: a header of {size} bytes", place());
                }
                self.read(start, size)
            };
            match header.kind {
                b'L' => name = Some(text(&long()?)),
                b'x' => name = pax_path(&long()?).or(name),
                b'0' | b'7' | 0 => {
                    let name = name.take().unwrap_or(header.name);
                    members.push(Member { name, at: start, size });
                }
                // Folders, links, and headers for the whole archive.
                _ => name = None,
            }
            at = end.div_ceil(BLOCK) * BLOCK;
        }
        Ok(members)
    }
}

struct Header {
    name: String,
    size: u64,
    kind: u8,
}

impl Header {
    fn of(block: &[u8]) -> Result<Header> {
        let stated = octal(&block[148..156]);
        let mut sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        // The sum counts its own field as spaces.
        sum = sum - block[148..156].iter().map(|byte| u64::from(*byte)).sum::<u64>() + 8 * 32;
        if stated != Some(sum) {
            bail!("there is no header of a file: it is no tar archive, compressed, or damaged");
        }
        let Some(size) = octal(&block[124..136]) else { bail!("the size of a file is no number") };
        let (mut name, prefix) = (text(&block[..100]), text(&block[345..500]));
        if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
            name = format!("{prefix}/{name}");
        }
        Ok(Header { name, size, kind: block[156] })
    }
}

/// Text up to the first zero byte.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A number in octal digits, or for large ones in binary behind a byte 0x80.
fn octal(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        let bytes = field[field.len() - 8..].try_into().ok()?;
        return Some(u64::from_be_bytes(bytes));
    }
    let digits = text(field);
    u64::from_str_radix(digits.trim(), 8).ok()
}

/// The path in the records of a pax header: `LENGTH KEY=VALUE\n` each.
fn pax_path(records: &[u8]) -> Option<String> {
    let mut rest = records;
    let mut found = None;
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let record = rest.get(space + 1..length)?;
        if let Some(value) = record.strip_prefix(b"path=") {
            found = Some(text(value.strip_suffix(b"\n").unwrap_or(value)));
        }
        rest = &rest[length..];
    }
    found
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The header of a file with its content, filled up to whole blocks.
    pub fn member(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
        let mut block = vec![0; 512];
        block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.extend_from_slice(content);
        block.resize(block.len().div_ceil(512) * 512, 0);
        block
    }

    fn archive(parts: &[Vec<u8>]) -> Result<Vec<Member>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.tar");
        std::fs::write(&path, parts.concat()).unwrap();
        Archive::open(&path)?.members()
    }

    #[test]
    fn files_have_their_names_from_any_kind_of_header() {
        let long = "d/".repeat(80) + "long.jpg";
        let record = format!("path={long}\n");
        // The length counts itself.
        let pax = format!("{} {record}", record.len() + 4);
        let mut prefixed = member(b"c.txt", b'0', b"3");
        prefixed[345..348].copy_from_slice(b"a/b");
        prefixed[148..156].fill(b' ');
        let sum: u64 = prefixed[..512].iter().map(|byte| u64::from(*byte)).sum();
        prefixed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let members = archive(&[
            member(b"folder/", b'5', b""),
            member(b"a.jpg", b'0', &[7; 600]),
            member(b"@LongLink", b'L', long.as_bytes()),
            member(b"cut", b'0', b"x"),
            member(b"PaxHeader", b'x', pax.as_bytes()),
            member(b"cut", 0, b"yz"),
            prefixed,
            vec![0; 1024],
        ])
        .unwrap();
        let found: Vec<(&str, u64)> =
            members.iter().map(|one| (one.name.as_str(), one.size)).collect();
        assert_eq!(found, [("a.jpg", 600), (&*long, 1), (&*long, 2), ("a/b/c.txt", 1)]);
        assert_eq!(members[0].at, 1024);
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let whole =
            [member(b"a", b'0', &[1; 700]), member(b"b", b'0', b"2"), vec![0; 1024]].concat();
        let error = |bytes: &[u8]| archive(&[bytes.to_vec()]).unwrap_err().message().to_owned();
        let text = error(&whole[..900]);
        assert!(text.contains("some.tar: at byte 0: `a` is longer than the archive"), "{text}");
        let mut flipped = whole.clone();
        flipped[1536] ^= 1;
        let text = error(&flipped);
        assert!(text.contains("at byte 1536: there is no header"), "{text}");
        assert!(error(&[0x1f; 600]).contains("compressed"));
        assert_eq!(archive(&[whole]).unwrap().len(), 2);
    }
}
