//! A limit for texts of plugins, so that one message cannot fill terminal, log and record.

use std::borrow::Cow;

/// Most bytes of a text that are kept.
pub const TEXT_LIMIT: usize = 64 << 10;

/// The text; cut off, with a note, if it is longer than [`TEXT_LIMIT`].
pub fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_LIMIT { Cow::Borrowed(text) } else { Cow::Owned(cut(text)) }
}

#[cold]
fn cut(text: &str) -> String {
    let kept = &text[..text.floor_char_boundary(TEXT_LIMIT)];
    format!("{kept} [cut off: the text has {} bytes, {} are kept]", text.len(), kept.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character_with_a_note() {
        let whole = "x".repeat(TEXT_LIMIT);
        assert_eq!(bounded(&whole), whole);
        let long = format!("x{}", "\u{e9}".repeat(TEXT_LIMIT));
        let cut = bounded(&long);
        assert!(cut.len() < TEXT_LIMIT + 100, "{}", cut.len());
        assert!(
            cut.ends_with("[cut off: the text has 131073 bytes, 65535 are kept]"),
            "{}",
            cut.len()
        );
    }
}
