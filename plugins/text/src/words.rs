//! The fast way to the ids of a text: it is cut into the pieces that the tokenizer looks at one by one, and
//! the ids of pieces that occurred before are looked up.
//!
//! Two kinds of tokenizers have such pieces: byte-level BPE with the pattern of GPT-2, and those that
//! split at white space like BERT's. Ids are those of the crate, which encodes each new piece.

use std::{
    borrow::Cow,
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use regex_syntax::hir::{Class, HirKind};
use tokenizers::{Model as _, ModelWrapper, PreTokenizerWrapper};

/// Most pieces that are kept, and most bytes of one.
const MOST: usize = 1 << 17;
const LONGEST: usize = 64;

/// How texts are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// As GPT-2 does; with a space before the text if it has none.
    Gpt2 { space: bool },
    /// At white space.
    Spaces,
}

/// How the texts of a tokenizer are cut, and ids of pieces.
#[derive(Debug)]
pub struct Words {
    cut: Cut,
    characters: Characters,
    /// The character that stands for each byte.
    symbols: Vec<char>,
    /// Tokens that are looked for in whole texts, by their first byte.
    added: Vec<Vec<Vec<u8>>>,
    /// Caches that no thread uses at the moment.
    free: Mutex<Vec<Cache>>,
}

/// Ids of pieces.
#[derive(Debug, Default)]
struct Cache {
    places: HashMap<Box<[u8]>, Range<u32>>,
    ids: Vec<u32>,
}

impl Words {
    /// For a tokenizer whose texts can be cut.
    pub fn of(tokenizer: &tokenizers::Tokenizer) -> Option<Words> {
        let cut = match (tokenizer.get_pre_tokenizer()?, tokenizer.get_model()) {
            (PreTokenizerWrapper::ByteLevel(bytes), ModelWrapper::BPE(model))
                if bytes.use_regex
                    && tokenizer.get_normalizer().is_none()
                    && model.dropout.is_none_or(|dropout| dropout == 0.0) =>
            {
                Cut::Gpt2 { space: bytes.add_prefix_space }
            }
            (PreTokenizerWrapper::BertPreTokenizer(_), ModelWrapper::WordPiece(_))
                if tokenizer.get_normalizer().is_none_or(|normalizer| {
                    matches!(normalizer, tokenizers::NormalizerWrapper::BertNormalizer(_))
                }) =>
            {
                Cut::Spaces
            }
            _ => return None,
        };
        let mut added = vec![Vec::new(); 256];
        for token in tokenizer.get_added_tokens_decoder().into_values() {
            // Such a token is looked for in the normalised text.
            if token.normalized && tokenizer.get_normalizer().is_some() {
                return None;
            }
            let content = token.content.into_bytes();
            added[usize::from(*content.first()?)].push(content);
        }
        let (characters, free) = (Characters::new()?, Mutex::default());
        Some(Words { cut, characters, symbols: symbols(), added, free })
    }

    /// Appends the ids of a text without special tokens. Returns whether it has: not if the text holds
    /// an added token, or texts are truncated.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn encode(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        text: &str,
        ids: &mut Vec<u32>,
    ) -> std::result::Result<bool, tokenizers::Error> {
        if tokenizer.get_truncation().is_some() || self.has_added(text.as_bytes()) {
            return Ok(false);
        }
        let mut cache = self.free().pop().unwrap_or_default();
        let encoded = self.pieces(tokenizer, text, ids, &mut cache);
        self.free().push(cache);
        encoded.map(|()| true)
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Cache>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_added(&self, text: &[u8]) -> bool {
        text.iter().enumerate().any(|(at, first)| {
            let tokens = &self.added[usize::from(*first)];
            !tokens.is_empty() && tokens.iter().any(|token| text[at..].starts_with(token))
        })
    }

    fn pieces(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        text: &str,
        ids: &mut Vec<u32>,
        cache: &mut Cache,
    ) -> std::result::Result<(), tokenizers::Error> {
        let text = match self.cut {
            Cut::Gpt2 { space: true } if !text.starts_with(' ') => Cow::Owned(format!(" {text}")),
            _ => Cow::Borrowed(text),
        };
        let mut at = 0;
        while at < text.len() {
            let end = match self.cut {
                Cut::Gpt2 { .. } => self.characters.piece(&text, at),
                Cut::Spaces => {
                    if text.as_bytes()[at].is_ascii_whitespace() {
                        at += 1;
                        continue;
                    }
                    let length = text[at..].bytes().position(|byte| byte.is_ascii_whitespace());
                    length.map_or(text.len(), |length| at + length)
                }
            };
            let piece = &text[at..end];
            at = end;
            if let Some(place) = cache.places.get(piece.as_bytes()) {
                ids.extend(&cache.ids[place.start as usize..place.end as usize]);
                continue;
            }
            let first = ids.len();
            match self.cut {
                Cut::Gpt2 { .. } => {
                    let symbols: String =
                        piece.bytes().map(|byte| self.symbols[usize::from(byte)]).collect();
                    let tokens = tokenizer.get_model().tokenize(&symbols)?;
                    ids.extend(tokens.iter().map(|token| token.id));
                }
                Cut::Spaces => ids.extend(tokenizer.encode_fast(piece, false)?.get_ids()),
            }
            if piece.len() <= LONGEST && cache.places.len() < MOST {
                let start = cache.ids.len() as u32;
                cache.ids.extend(&ids[first..]);
                let place = start..cache.ids.len() as u32;
                cache.places.insert(piece.as_bytes().into(), place);
            }
        }
        Ok(())
    }
}

/// The characters with which byte-level BPE writes bytes: printable ones stand for themselves.
fn symbols() -> Vec<char> {
    let mut next = 256;
    let symbol = |byte: u8| match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or_default()
        }
    };
    (0..=255).map(symbol).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Letter,
    Number,
    Space,
    Other,
}

/// Letters and numbers as regular expressions know them.
#[derive(Debug)]
struct Characters {
    ascii: [Kind; 128],
    letters: Vec<(char, char)>,
    numbers: Vec<(char, char)>,
}

impl Characters {
    fn new() -> Option<Characters> {
        let ranges = |pattern: &str| match regex_syntax::parse(pattern).ok()?.into_kind() {
            HirKind::Class(Class::Unicode(class)) => {
                Some(class.iter().map(|range| (range.start(), range.end())).collect())
            }
            _ => None,
        };
        let (letters, numbers) = (ranges(r"\p{L}")?, ranges(r"\p{N}")?);
        let ascii = std::array::from_fn(|byte| match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Kind::Letter,
            b'0'..=b'9' => Kind::Number,
            b'\t'..=b'\r' | b' ' => Kind::Space,
            _ => Kind::Other,
        });
        Some(Characters { ascii, letters, numbers })
    }

    fn wide(&self, character: char) -> Kind {
        let is_in = |ranges: &[(char, char)]| {
            let at = ranges.partition_point(|(_, end)| *end < character);
            ranges.get(at).is_some_and(|(start, _)| *start <= character)
        };
        match character {
            _ if is_in(&self.letters) => Kind::Letter,
            _ if is_in(&self.numbers) => Kind::Number,
            _ if character.is_whitespace() => Kind::Space,
            _ => Kind::Other,
        }
    }

    /// Kind and length of the character at `at`, if there is one.
    #[inline]
    fn at(&self, text: &str, at: usize) -> Option<(Kind, usize)> {
        let byte = *text.as_bytes().get(at)?;
        if let Some(kind) = self.ascii.get(usize::from(byte)) {
            return Some((*kind, 1));
        }
        let character = text[at..].chars().next()?;
        Some((self.wide(character), character.len_utf8()))
    }

    /// The end of the characters of a kind from `at` on, and where the last one of them begins.
    fn run(&self, text: &str, mut at: usize, kind: Kind) -> (usize, usize) {
        let mut last = at;
        while let Some((found, length)) = self.at(text, at)
            && found == kind
        {
            (last, at) = (at, at + length);
        }
        (at, last)
    }

    /// The end of the piece that begins at `at`, a place before the end of the text, by the pattern
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
    fn piece(&self, text: &str, at: usize) -> usize {
        let bytes = &text.as_bytes()[at..];
        if bytes[0] == b'\'' {
            match bytes {
                [_, b's' | b't' | b'm' | b'd', ..] => return at + 2,
                [_, b'r' | b'v', b'e', ..] | [_, b'l', b'l', ..] => return at + 3,
                _ => {}
            }
        }
        // A space belongs to what follows, if that is no white space.
        let start = at + usize::from(bytes[0] == b' ');
        if let Some((kind, _)) = self.at(text, start).filter(|(kind, _)| *kind != Kind::Space) {
            return self.run(text, start, kind).0;
        }
        // White space, without its last character if something follows.
        let (end, last) = self.run(text, at, Kind::Space);
        if end == text.len() || last == at { end } else { last }
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::prelude::*;

    use super::*;
    use crate::tokenizer::Tokenizer;

    /// Texts of words, runs of white space, contractions and characters of all kinds.
    fn texts(count: usize) -> Vec<String> {
        let parts = [
            "a",
            "Hello",
            "it's",
            "we'LL",
            "they're",
            "'d",
            "''",
            "don't",
            "été",
            "naïve",
            "Straße",
            "数字",
            "かな",
            "ⅷ",
            "²",
            "١٢",
            "42",
            "3.14",
            "\u{301}",
            "e\u{301}",
            "👩‍💻",
            "—",
            "...",
            "_x",
            "#!",
            "\n",
            "\n\n",
            "\t",
            "\r\n",
            "\u{a0}",
            "\u{3000}",
            "  ",
            "   ",
            " ",
            " ",
            " ",
            " ",
            " ",
            "[UN",
            "<|end",
            "ǅ",
            "ͺ",
            "ं",
        ];
        let mut draws = Draws::new(3);
        let text = |_| (0..40).map(|_| parts[draws.below(parts.len())]).collect();
        (0..count).map(text).collect()
    }

    #[test]
    fn ids_are_those_of_the_whole_text() {
        let record: serde_json::Value =
            serde_json::from_str(include_str!("../tests/tokenizers.json")).unwrap();
        let mut fast = 0;
        for (name, case) in record["cases"].as_object().unwrap() {
            let json = case["tokenizer"].to_string();
            let prefixed = json.replace("\"add_prefix_space\":false", "\"add_prefix_space\":true");
            for json in [json, prefixed] {
                let plain = tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap();
                let Some(words) = Words::of(&plain) else { continue };
                fast += 1;
                for text in texts(300) {
                    let mut ids = vec![7];
                    assert!(words.encode(&plain, &text, &mut ids).unwrap());
                    let expected = plain.encode_fast(text.as_str(), false).unwrap();
                    assert_eq!(&ids[1..], expected.get_ids(), "{name}: {text:?}");
                }
            }
        }
        assert!(fast >= 3, "byte level with and without a space, word piece: {fast}");
    }

    #[test]
    fn texts_with_added_tokens_and_truncation_are_left_to_the_crate() {
        let texts = ["a b a b"].map(String::from).into_iter();
        let json = Tokenizer::train(texts, 300).unwrap().json;
        let mut inner = tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap();
        let words = Words::of(&inner).unwrap();
        let mut ids = Vec::new();
        assert!(words.encode(&inner, "a <|endoftext b", &mut ids).unwrap());
        assert!(!words.encode(&inner, "a<|endoftext|> b", &mut ids).unwrap());
        inner.with_truncation(Some(tokenizers::TruncationParams::default())).unwrap();
        assert!(!words.encode(&inner, "a b", &mut ids).unwrap());
    }
}
