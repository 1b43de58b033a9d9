//! Opens data files: unpacks gzip and strips byte order marks, for all readers of this plugin.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::GzDecoder;
use fluxbay_plugin::prelude::*;

/// An open data file.
pub type Source = Box<dyn BufRead + Send>;

/// Opens a file and unpacks it if it is gzipped, whatever its name.
///
/// # Errors
/// The file cannot be read. The error names it.
pub fn open(path: &Path) -> Result<Source> {
    let file = File::open(path).map_err(Error::from).context(path.display())?;
    unpacked(BufReader::with_capacity(1 << 16, file)).context(path.display())
}

/// As [`open`] for a text file: strips a UTF-8 byte order mark.
///
/// # Errors
/// As [`open`], and for text in UTF-16.
pub fn open_text(path: &Path) -> Result<Source> {
    text(open(path)?).context(path.display())
}

/// Unpacks `raw` if it begins like a gzip stream.
///
/// # Errors
/// The first bytes cannot be read.
pub fn unpacked(mut raw: impl BufRead + Send + 'static) -> Result<Source> {
    if raw.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, Members::new(raw))));
    }
    Ok(Box::new(raw))
}

/// Strips the byte order mark of UTF-8.
///
/// # Errors
/// The text is UTF-16, or cannot be read.
pub fn text(mut source: Source) -> Result<Source> {
    let start = source.fill_buf()?;
    if start.starts_with(b"\xef\xbb\xbf") {
        source.consume(3);
    } else if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        bail!("the text is encoded in UTF-16: convert it to UTF-8");
    }
    Ok(source)
}

/// The content of all members of a gzip stream (RFC 1952, section 2.2). Zero bytes after a member
/// are padding.
struct Members<R> {
    member: Option<GzDecoder<R>>,
    unpacked: u64,
}

impl<R: BufRead> Members<R> {
    fn new(raw: R) -> Members<R> {
        Members { member: Some(GzDecoder::new(raw)), unpacked: 0 }
    }

    fn damaged(&self, reason: impl std::fmt::Display) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the gzip stream is damaged or cut short after {} bytes: {reason}",
                self.unpacked
            ),
        )
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = match member.read(buffer) {
                Ok(count) => count,
                Err(error) => return Err(self.damaged(error)),
            };
            if count > 0 || buffer.is_empty() {
                self.unpacked += count as u64;
                return Ok(count);
            }
            let Some(mut rest) = self.member.take().map(GzDecoder::into_inner) else { break };
            loop {
                let next = rest.fill_buf()?;
                match next.first() {
                    Some(0) => {
                        let zeros = next.iter().take_while(|byte| **byte == 0).count();
                        rest.consume(zeros);
                    }
                    Some(0x1f) => {
                        self.member = Some(GzDecoder::new(rest));
                        break;
                    }
                    Some(_) => return Err(self.damaged("other data follows a gzip member")),
                    None => break,
                }
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    use super::*;

    /// `content` as one gzip member.
    pub fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(content).unwrap();
        packer.finish().unwrap()
    }

    fn read(raw: &[u8]) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        unpacked(io::Cursor::new(raw.to_vec()))?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn all_members_of_a_gzip_file_are_read() {
        for parts in [vec!["one"], vec!["one", "two"], vec!["", "one", "", "two", "three"]] {
            let packed: Vec<u8> = parts.iter().flat_map(|part| gzip(part.as_bytes())).collect();
            assert_eq!(read(&packed).unwrap(), parts.concat().as_bytes(), "{parts:?}");
            let padded = [packed.as_slice(), &[0; 700]].concat();
            assert_eq!(read(&padded).unwrap(), parts.concat().as_bytes(), "{parts:?}, padded");
        }
    }

    #[test]
    fn a_damaged_member_is_an_error() {
        let (first, second) = (gzip(b"first"), gzip(b"second"));
        let message = |raw: &[u8]| read(raw).unwrap_err().message().to_owned();
        let cut = [first.as_slice(), &second[..second.len() - 3]].concat();
        assert!(message(&cut).contains("damaged or cut short after 11 bytes"), "{}", message(&cut));
        let followed = [first.as_slice(), b"garbage"].concat();
        assert!(message(&followed).contains("other data follows"), "{}", message(&followed));
        let mut wrong = [first, second].concat();
        let sum = wrong.len() - 6;
        wrong[sum] ^= 1;
        assert!(message(&wrong).contains("damaged"), "{}", message(&wrong));
    }

    #[test]
    fn a_byte_order_mark_is_stripped_also_within_gzip() {
        let content = |raw: Vec<u8>| {
            let mut all = String::new();
            text(unpacked(io::Cursor::new(raw)).unwrap()).map(|mut source| {
                source.read_to_string(&mut all).unwrap();
                all
            })
        };
        assert_eq!(content(b"\xef\xbb\xbfabc".to_vec()).unwrap(), "abc");
        assert_eq!(content(gzip(b"\xef\xbb\xbfabc")).unwrap(), "abc");
        assert_eq!(content(b"abc".to_vec()).unwrap(), "abc");
        assert_eq!(content(Vec::new()).unwrap(), "");
        for marked in [b"\xff\xfea\0".to_vec(), b"\xfe\xff\0a".to_vec()] {
            assert!(content(marked).unwrap_err().message().contains("UTF-16"));
        }
    }
}
