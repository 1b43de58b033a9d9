//! Escapes file names and texts of plugins before they are printed or logged.
//!
//! They can contain newlines, terminal escape codes, text direction marks, or bytes that are not
//! UTF-8.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Escapes everything in a path that is not printable (`\n`, `\x1b`, `\u{202e}`).
pub fn path(path: &Path) -> String {
    bytes(path.as_os_str().as_bytes())
}

/// Escapes a text of one line in the same way as [`path`].
pub fn text(text: &str) -> String {
    bytes(text.as_bytes())
}

/// As [`text`], for bytes; those that are not UTF-8 are escaped.
pub fn bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for ch in chunk.valid().chars() {
            push(&mut out, ch);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Escapes a text of several lines: newlines, tabs and backslashes stay.
pub fn paragraph(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        if matches!(ch, '\n' | '\t' | '\\') { out.push(ch) } else { push(&mut out, ch) }
    }
    out
}

/// Escapes a text of one line that is already escaped: backslashes stay.
pub fn controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        if ch == '\\' { out.push(ch) } else { push(&mut out, ch) }
    }
    out
}

fn push(out: &mut String, ch: char) {
    match ch {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\\' => out.push_str("\\\\"),
        ch if ch.is_ascii_control() => {
            let _ = write!(out, "\\x{:02x}", u32::from(ch));
        }
        ch if ch.is_control() || is_invisible(ch) => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(ch));
        }
        ch => out.push(ch),
    }
}

/// Invisible characters, and marks that change how the rest of a line is displayed.
fn is_invisible(ch: char) -> bool {
    matches!(u32::from(ch), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        let name = OsStr::from_bytes(b"a\x1b[31m\xff\n\\b.so");
        assert_eq!(path(Path::new(name)), "a\\x1b[31m\\xff\\n\\\\b.so");
        assert_eq!(text("x\u{202e}os.\u{200b}é"), "x\\u{202e}os.\\u{200b}é");
        assert_eq!(paragraph("a\n\tb\r\u{7f}"), "a\n\tb\\r\\x7f");
    }
}
