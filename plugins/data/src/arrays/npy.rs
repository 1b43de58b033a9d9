//! The header of a `.npy` file (NEP 1).

use fluxbay_plugin::prelude::*;

use super::element::Element;

/// What precedes the elements.
#[derive(Debug, PartialEq)]
pub struct Header {
    pub element: Element,
    pub shape: Vec<usize>,
    /// Bytes of the header.
    pub size: usize,
}

/// Bytes that say how long a header is.
pub const START: usize = 12;

/// Bytes of the header that begins with `start`, which has [`START`] bytes.
///
/// # Errors
/// It is no header.
pub fn size(start: &[u8]) -> Result<usize> {
    let Some(b"\x93NUMPY") = start.get(..6) else { bail!("this is no .npy file") };
    match start[6] {
        1 => Ok(10 + usize::from(u16::from_le_bytes([start[8], start[9]]))),
        2 | 3 => {
            let length = u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize;
            if length > 1 << 20 {
                bail!("the header claims to have {length} bytes: the file is damaged");
            }
            Ok(12 + length)
        }
        version => bail!("this is version {version} of the .npy format, known are 1 to 3"),
    }
}

impl Header {
    /// Reads a whole header: a Python literal such as
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    ///
    /// # Errors
    /// It is damaged, or the elements are of a type or in an order that cannot be read.
    pub fn parse(header: &[u8]) -> Result<Header> {
        let text = std::str::from_utf8(&header[if header[6] == 1 { 10 } else { 12 }..])
            .map_err(|_| Error::new("the header is no text: the file is damaged"))?;
        let value = |key: &str| -> Result<&str> {
            let quoted = [format!("'{key}':"), format!("\"{key}\":")];
            let found = quoted.iter().find_map(|key| text.split_once(key.as_str()));
            found.map(|(_, rest)| rest.trim_start()).ok_or_else(|| {
                Error::new(format!("the header has no `{key}`: the file is damaged"))
            })
        };
        let descr = value("descr")?;
        let Some(name) =
            descr.strip_prefix(['\'', '"']).and_then(|rest| rest.split(['\'', '"']).next())
        else {
            bail!("the elements are records: save each of their fields as an array of its own");
        };
        let Some(element) = Element::numpy(name) else {
            bail!(
                "the elements have the type {name:?}, which is none of numbers: convert the array"
            );
        };
        let inside = value("shape")?
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .ok_or_else(|| Error::new("the header has no shape: the file is damaged"))?
            .0;
        let sizes = inside.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes
            .map(|size| size.trim_end_matches('L').parse().ok())
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(|| Error::new(format!("the shape ({inside}) cannot be read")))?;
        if value("fortran_order")?.starts_with("True") && shape.len() > 1 {
            bail!("the elements are in Fortran's order: save numpy.ascontiguousarray(array)");
        }
        Ok(Header { element, shape, size: header.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::element::Type, *};

    fn header(text: &str) -> Vec<u8> {
        let mut header = b"\x93NUMPY\x01\0".to_vec();
        header.extend((text.len() as u16).to_le_bytes());
        header.extend(text.as_bytes());
        header
    }

    fn parse(text: &str) -> Result<Header> {
        let header = header(text);
        assert_eq!(size(&header).unwrap(), header.len());
        Header::parse(&header)
    }

    #[test]
    fn headers_are_read() {
        let found =
            parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }  \n").unwrap();
        assert_eq!((found.element.kind, &found.shape[..]), (Type::F32, &[3, 4][..]));
        let found = parse("{'shape': (5,), 'fortran_order': True, 'descr': '>i2'}").unwrap();
        assert!(found.element.swapped && found.shape == [5]);
        let scalar = parse("{'descr': '|u1', 'fortran_order': False, 'shape': ()}").unwrap();
        assert!(scalar.shape.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, words) in [
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4)}", "ascontiguousarray"),
            ("{'descr': '<U5', 'fortran_order': False, 'shape': (3,)}", "\"<U5\""),
            ("{'descr': '<c8', 'fortran_order': False, 'shape': (3,)}", "\"<c8\""),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}", "records"),
            ("{'descr': '<f4', 'fortran_order': False}", "no `shape`"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4)}", "(3, -4)"),
        ] {
            let message = parse(text).unwrap_err().message().to_owned();
            assert!(message.contains(words), "{text}: {message}");
        }
        assert!(size(b"\x93NUMPY\x09\0aaaa").is_err() && size(b"PK\x03\x04aaaaaaaa").is_err());
        assert!(size(b"\x93NUMPY\x02\0\xff\xff\xff\xff").is_err());
    }
}
