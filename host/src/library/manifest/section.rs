//! The layout of the manifest section: magic number, format, length, JSON, zero padding.

use super::ManifestError;

pub use fluxbay_plugin::abi::entry::{
    MANIFEST_FORMAT as FORMAT, MANIFEST_HEADER as HEADER, MANIFEST_MAGIC as MAGIC,
    MANIFEST_SECTION as SECTION,
};
/// Size limit of a section, in bytes; ordinary plugins need a few kilobytes.
pub const MAX_BYTES: usize = 1 << 20;

fn error(offset: usize, problem: impl Into<String>) -> ManifestError {
    ManifestError { field: String::new(), offset, problem: problem.into() }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Returns the JSON text of a section.
pub(in crate::library) fn text(bytes: &[u8]) -> Result<&str, ManifestError> {
    if bytes.len() > MAX_BYTES {
        return Err(error(
            0,
            format!("the manifest section has {} bytes, at most {MAX_BYTES} are read", bytes.len()),
        ));
    }
    if bytes.len() < HEADER {
        return Err(error(
            bytes.len(),
            format!(
                "the manifest section has {} bytes, its header alone needs {HEADER}",
                bytes.len()
            ),
        ));
    }
    if !bytes.starts_with(&MAGIC) {
        return Err(error(0, "the manifest section does not start with FLUXBAYM"));
    }
    match word(bytes, 8) {
        Some(FORMAT) => {}
        other => {
            return Err(error(
                8,
                format!(
                    "format {} of the manifest section is not known; this host reads {FORMAT}",
                    other.unwrap_or(0)
                ),
            ));
        }
    }
    let length = word(bytes, 12).and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let available = bytes.len() - HEADER;
    if length > available {
        return Err(error(
            12,
            format!(
                "the manifest says that it is {length} bytes long, the section has {available}"
            ),
        ));
    }
    let (json, padding) = bytes[HEADER..].split_at(length);
    if let Some(at) = padding.iter().position(|&byte| byte != 0) {
        let at = HEADER + length + at;
        return Err(error(
            at,
            format!("the manifest says that it is {length} bytes long, but other bytes follow it"),
        ));
    }
    std::str::from_utf8(json)
        .map_err(|e| error(HEADER + e.valid_up_to(), "the manifest is not UTF-8"))
}

/// Cuts off what follows the JSON text of a section; `None` if the text is not complete.
pub(super) fn cut(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::try_from(word(bytes, 12)?).ok()?;
    bytes.get(..HEADER.checked_add(length)?)
}

/// Returns the bytes of a section with the text `json`, as the export macro writes them.
pub fn encode(json: &str) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + json.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(json.as_bytes());
    bytes
}
