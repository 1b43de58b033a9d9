//! Finds the byte offset of a field in a JSON text.
//!
//! Only used to locate an error in text that a JSON parser has already accepted, so anything
//! unexpected just ends the search. Not recursive: nesting needs no stack.

/// One step into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Member of an object.
    Key(String),
    /// Element of an array.
    Index(usize),
}

/// Formats a path as `components[2].name`.
pub(super) fn display(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(&crate::library::escape::text(key));
            }
            Step::Index(index) => out.push_str(&format!("[{index}]")),
        }
    }
    out
}

/// Offset of the value at `path`, or of its innermost parent that exists.
pub(super) fn offset(text: &str, path: &[Step]) -> usize {
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
    cursor.blanks();
    let mut found = cursor.at;
    for step in path {
        let inside = match step {
            Step::Key(key) => cursor.member(key),
            Step::Index(index) => cursor.element(*index),
        };
        if inside.is_none() {
            return found;
        }
        found = cursor.at;
    }
    found
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        self.blanks();
        if self.peek()? != byte {
            return None;
        }
        self.at += 1;
        self.blanks();
        Some(())
    }

    /// Moves past a string and returns its raw bytes with the quotes.
    fn string(&mut self) -> Option<&[u8]> {
        let start = self.at;
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return self.bytes.get(start..self.at);
                }
                _ => self.at += 1,
            }
        }
    }

    /// Moves past any value.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            self.blanks();
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    while self.peek().is_some_and(|b| {
                        !matches!(b, b',' | b'}' | b']' | b':') && !b.is_ascii_whitespace()
                    }) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn member(&mut self, key: &str) -> Option<()> {
        self.eat(b'{')?;
        loop {
            let matches =
                serde_json::from_slice::<String>(self.string()?).is_ok_and(|name| name == key);
            self.eat(b':')?;
            if matches {
                return Some(());
            }
            self.value()?;
            self.eat(b',')?;
        }
    }

    fn element(&mut self, index: usize) -> Option<()> {
        self.eat(b'[')?;
        for _ in 0..index {
            self.value()?;
            self.eat(b',')?;
        }
        if self.peek()? == b']' { None } else { Some(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Step {
        Step::Key(name.to_owned())
    }

    #[test]
    fn finds_values_behind_nested_ones_and_escaped_keys() {
        let text = r#" {"a": [1, {"b\"]": "x,]}"}, [ ] ], "c\u0064": {"e": null} }"#;
        let at = |path: &[Step]| &text[offset(text, path)..];
        assert!(at(&[]).starts_with("{\"a\""));
        assert!(at(&[key("a"), Step::Index(1), key("b\"]")]).starts_with("\"x,]}\""));
        assert!(at(&[key("a"), Step::Index(2)]).starts_with("[ ]"));
        assert!(at(&[key("cd"), key("e")]).starts_with("null"));
    }

    #[test]
    fn a_missing_field_is_placed_at_the_value_that_lacks_it() {
        let text = r#"{"a":{"b":[]}}"#;
        assert_eq!(offset(text, &[key("a"), key("z")]), 5);
        assert_eq!(offset(text, &[key("a"), key("b"), Step::Index(0)]), 10);
    }
}
