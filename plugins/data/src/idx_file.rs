//! The IDX format of MNIST: a magic number, big-endian sizes, elements in row-major order.
//!
//! Source: the file format section of LeCun, Cortes and Burges, The MNIST database of handwritten
//! digits.

use std::io::{BufRead, Read};

use fluxbay_plugin::prelude::*;

use crate::source;

/// Largest file that is read, uncompressed: 4 GiB.
const LIMIT: u64 = 4 << 30;

/// An IDX file.
#[derive(Debug, PartialEq)]
pub struct IdxFile {
    /// Sizes; the first counts samples.
    pub shape: Vec<usize>,
    /// Elements.
    pub elements: Elements,
}

macro_rules! elements {
    ($($code:literal => $variant:ident($type:ty) $name:literal),+ $(,)?) => {
        /// Elements of one of the types of the format.
        #[derive(Debug, PartialEq)]
        pub enum Elements {
            $(#[doc = $name] $variant(Vec<$type>),)+
        }

        impl Elements {
            /// Number of elements.
            pub fn len(&self) -> usize {
                match self { $(Elements::$variant(values) => values.len(),)+ }
            }

            /// Name of the element type.
            pub fn type_name(&self) -> &'static str {
                match self { $(Elements::$variant(_) => $name,)+ }
            }

            /// Elements from `start` to `end`, converted exactly.
            pub fn as_f64(&self, start: usize, end: usize) -> Box<dyn Iterator<Item = f64> + '_> {
                match self {
                    $(Elements::$variant(values) => {
                        Box::new(values[start..end].iter().map(|value| f64::from(*value)))
                    })+
                }
            }

            /// Size in bytes of an element of type `code`.
            fn size(code: u8) -> Option<usize> {
                match code { $($code => Some(size_of::<$type>()),)+ _ => None }
            }

            /// Elements of type `code` from big-endian `bytes`.
            fn of(code: u8, bytes: Vec<u8>) -> Elements {
                // Moved, not copied: most files hold bytes.
                if code == 0x08 {
                    return Elements::U8(bytes);
                }
                match code {
                    $($code => {
                        let elements = bytes.chunks_exact(size_of::<$type>());
                        Elements::$variant(elements.map(|bytes| {
                            <$type>::from_be_bytes(bytes.try_into().unwrap_or_default())
                        }).collect())
                    })+
                    _ => Elements::U8(Vec::new()),
                }
            }
        }
    };
}

elements! {
    0x08 => U8(u8) "unsigned bytes",
    0x09 => I8(i8) "signed bytes",
    0x0b => I16(i16) "16-bit integers",
    0x0c => I32(i32) "32-bit integers",
    0x0d => F32(f32) "32-bit floating-point numbers",
    0x0e => F64(f64) "64-bit floating-point numbers",
}

/// Reads an IDX file, gzipped or not.
///
/// # Errors
/// The file cannot be read, is damaged, or is not an IDX file. Errors say what was found.
pub fn read(raw: impl BufRead + Send + 'static) -> Result<IdxFile> {
    let mut content = Vec::new();
    source::unpacked(raw)?.take(LIMIT + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LIMIT {
        bail!("larger than {LIMIT} bytes");
    }
    parse(content)
}

fn parse(mut content: Vec<u8>) -> Result<IdxFile> {
    let &[0, 0, kind, rank, ref rest @ ..] = content.as_slice() else {
        bail!(
            "not an IDX file: it begins with {:02x?}, and not with two zero bytes, a type and a number of dimensions",
            &content[..content.len().min(4)]
        );
    };
    let Some(size) = Elements::size(kind) else {
        bail!(
            "IDX elements of type 0x{kind:02x} are unknown: the format has 0x08, 0x09 and 0x0b to 0x0e"
        );
    };
    let sizes = rest
        .get(..4 * usize::from(rank))
        .ok_or_else(|| Error::new(format!("cut short within the {rank} sizes of the header")))?;
    let shape: Vec<usize> = sizes
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    let count = shape.iter().try_fold(size, |product, size| product.checked_mul(*size));
    let count = count.ok_or_else(|| Error::new(format!("sizes {shape:?} are too large")))?;
    let found = rest.len() - sizes.len();
    if rank == 0 || found != count {
        let what = if found < count { "cut short" } else { "longer than its header says" };
        bail!("{what}: sizes {shape:?} need {count} bytes of elements, the file has {found}");
    }
    content.drain(..4 + 4 * shape.len());
    Ok(IdxFile { shape, elements: Elements::of(kind, content) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::gzip;

    const FILE: &[u8] = &[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

    fn message(content: &[u8]) -> String {
        read(std::io::Cursor::new(content.to_vec())).unwrap_err().message().to_owned()
    }

    #[test]
    fn plain_and_gzipped_files_give_the_same() {
        let plain = read(FILE).unwrap();
        let elements = Elements::U8(vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(plain, IdxFile { shape: vec![2, 3], elements });
        for packed in [gzip(FILE), [gzip(&FILE[..9]), gzip(&FILE[9..])].concat()] {
            assert_eq!(read(std::io::Cursor::new(packed)).unwrap(), plain);
        }
    }

    #[test]
    fn all_element_types_are_read() {
        for (code, bytes, expected) in [
            (0x09, vec![0xff, 2], Elements::I8(vec![-1, 2])),
            (0x0b, vec![0xff, 0xfe, 1, 0], Elements::I16(vec![-2, 256])),
            (0x0c, vec![0xff, 0xff, 0xff, 0xfd, 0, 1, 0, 0], Elements::I32(vec![-3, 65536])),
            (
                0x0d,
                [1.5_f32.to_be_bytes(), (-2.0_f32).to_be_bytes()].concat(),
                Elements::F32(vec![1.5, -2.0]),
            ),
            (
                0x0e,
                [0.1_f64.to_be_bytes(), 3.0_f64.to_be_bytes()].concat(),
                Elements::F64(vec![0.1, 3.0]),
            ),
        ] {
            let file = [vec![0, 0, code, 1, 0, 0, 0, 2], bytes].concat();
            let read = read(std::io::Cursor::new(file.clone())).unwrap();
            assert_eq!((read.shape, &read.elements), (vec![2], &expected));
            assert!(message(&file[..file.len() - 1]).contains("cut short"));
        }
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
        assert!(message(&[0, 0, 10, 1, 0, 0, 0, 0]).contains("0x0a"));
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
