//! The IDX format of MNIST: a magic number, big-endian sizes, elements in row-major order.
//!
//! Source: the file format section of LeCun, Cortes and Burges, The MNIST database of handwritten
//! digits.

use std::io::Read;

use flate2::read::GzDecoder;
use fluxbay_plugin::prelude::*;

/// Largest file that is read, uncompressed: 4 GiB.
const LIMIT: u64 = 4 << 30;

/// Unsigned bytes with sizes.
#[derive(Debug, PartialEq, Eq)]
pub struct IdxFile {
    /// Sizes; the first counts samples.
    pub shape: Vec<usize>,
    /// Elements.
    pub bytes: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes, gzipped or not. Errors say what was found.
pub fn read(raw: impl Read) -> Result<IdxFile> {
    let mut content = Vec::new();
    raw.take(LIMIT + 1).read_to_end(&mut content)?;
    if content.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        GzDecoder::new(content.as_slice()).take(LIMIT + 1).read_to_end(&mut unpacked).map_err(
            |error| {
                Error::new(format!(
                    "the gzip stream is damaged or cut short after {} bytes: {error}",
                    unpacked.len()
                ))
            },
        )?;
        content = unpacked;
    }
    if content.len() as u64 > LIMIT {
        bail!("larger than {LIMIT} bytes");
    }
    parse(&content)
}

fn parse(content: &[u8]) -> Result<IdxFile> {
    let &[0, 0, kind, rank, ref rest @ ..] = content else {
        bail!(
            "not an IDX file: it begins with {:02x?}, and not with two zero bytes, a type and a number of dimensions",
            &content[..content.len().min(4)]
        );
    };
    if kind != 0x08 {
        bail!("IDX elements of type 0x{kind:02x} are not supported, only unsigned bytes (0x08)");
    }
    let sizes = rest
        .get(..4 * usize::from(rank))
        .ok_or_else(|| Error::new(format!("cut short within the {rank} sizes of the header")))?;
    let shape: Vec<usize> = sizes
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    let count = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    let count = count.ok_or_else(|| Error::new(format!("sizes {shape:?} are too large")))?;
    let bytes = &rest[sizes.len()..];
    if rank == 0 || bytes.len() != count {
        let what = if bytes.len() < count { "cut short" } else { "longer than its header says" };
        bail!(
            "{what}: sizes {shape:?} need {count} bytes of elements, the file has {}",
            bytes.len()
        );
    }
    Ok(IdxFile { shape, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const FILE: &[u8] = &[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

    fn message(content: &[u8]) -> String {
        read(content).unwrap_err().message().to_owned()
    }

    #[test]
    fn plain_and_gzipped_files_give_the_same() {
        let plain = read(FILE).unwrap();
        assert_eq!(plain, IdxFile { shape: vec![2, 3], bytes: vec![1, 2, 3, 4, 5, 6] });
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(FILE).unwrap();
        assert_eq!(read(packer.finish().unwrap().as_slice()).unwrap(), plain);
    }

    #[test]
    fn damaged_files_say_what_is_wrong() {
        assert!(
            message(&FILE[..16])
                .contains("cut short: sizes [2, 3] need 6 bytes of elements, the file has 4")
        );
        assert!(message(&FILE[..7]).contains("cut short within the 2 sizes"));
        assert!(message(b"PK\x03\x04").contains("not an IDX file"));
        assert!(message(b"").contains("not an IDX file"));
        assert!(message(&[0, 0, 13, 1, 0, 0, 0, 0]).contains("0x0d"));
        assert!(
            message(&[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255])
                .contains("too large")
        );
        assert!(message(&[0x1f, 0x8b, 8, 0]).contains("gzip"));
        let mut longer = FILE.to_vec();
        longer.push(0);
        assert!(message(&longer).contains("longer"));
    }
}
