//! JSON written by constant functions: first counted, then written into an array of that length.

/// Where JSON goes: nowhere but a count, or into bytes.
pub(crate) struct Sink<'a> {
    bytes: Option<&'a mut [u8]>,
    len: usize,
}

impl<'a> Sink<'a> {
    pub(crate) const fn counting() -> Sink<'a> {
        Sink { bytes: None, len: 0 }
    }

    pub(crate) const fn writing(bytes: &'a mut [u8]) -> Sink<'a> {
        Sink { bytes: Some(bytes), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    const fn byte(&mut self, byte: u8) {
        if let Some(bytes) = &mut self.bytes {
            bytes[self.len] = byte;
        }
        self.len += 1;
    }

    /// Text as it is.
    pub(crate) const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            self.byte(bytes[index]);
            index += 1;
        }
    }

    /// A Rust number as JSON: without spaces and underscores.
    pub(crate) const fn number(&mut self, bytes: &[u8]) {
        let mut index = 0;
        while index < bytes.len() {
            if bytes[index] != b' ' && bytes[index] != b'_' {
                self.byte(bytes[index]);
            }
            index += 1;
        }
    }

    /// A comma before all but the first element.
    pub(crate) const fn comma(&mut self, index: usize) {
        if index > 0 {
            self.raw(",");
        }
    }

    /// A Rust literal (number, text, flag, `null`, list of them) as JSON: spaces and underscores
    /// outside texts are left out.
    pub(crate) const fn literal(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let (mut index, mut quoted) = (0, false);
        while index < bytes.len() {
            let byte = bytes[index];
            if byte == b'"' && (index == 0 || bytes[index - 1] != b'\\') {
                quoted = !quoted;
            }
            if quoted || (byte != b'_' && byte != b' ' && byte != b'\n') {
                self.byte(byte);
            }
            // Rust writes `1.`, JSON wants a digit behind the point.
            if !quoted
                && byte == b'.'
                && (index + 1 == bytes.len() || !bytes[index + 1].is_ascii_digit())
            {
                self.byte(b'0');
            }
            index += 1;
        }
    }

    /// A text in quotes, escaped, without a leading space.
    pub(crate) const fn text(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let bytes = text.as_bytes();
        self.byte(b'"');
        let mut index = if !bytes.is_empty() && bytes[0] == b' ' { 1 } else { 0 };
        while index < bytes.len() {
            match bytes[index] {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                byte if byte < 0x20 => {
                    self.raw("\\u00");
                    self.byte(HEX[(byte >> 4) as usize]);
                    self.byte(HEX[(byte & 15) as usize]);
                }
                byte => self.byte(byte),
            }
            index += 1;
        }
        self.byte(b'"');
    }

    /// A Rust name in quotes and kebab-case: `with_bias` and `WithBias` are `"with-bias"`.
    pub(crate) const fn kebab(&mut self, name: &str) {
        let bytes = name.as_bytes();
        self.byte(b'"');
        let mut index = 0;
        while index < bytes.len() {
            let byte = bytes[index];
            if byte == b'_' {
                self.byte(b'-');
            } else if byte.is_ascii_uppercase() {
                if index > 0 {
                    self.byte(b'-');
                }
                self.byte(byte.to_ascii_lowercase());
            } else {
                self.byte(byte);
            }
            index += 1;
        }
        self.byte(b'"');
    }

    /// A list of texts in brackets.
    pub(crate) const fn texts(&mut self, texts: &[&str]) {
        self.raw("[");
        self.members(texts);
        self.raw("]");
    }

    /// Texts with commas between them.
    pub(crate) const fn members(&mut self, texts: &[&str]) {
        let mut index = 0;
        while index < texts.len() {
            self.comma(index);
            self.text(texts[index]);
            index += 1;
        }
    }

    /// A whole number.
    pub(crate) const fn integer(&mut self, value: u32) {
        if value >= 10 {
            self.integer(value / 10);
        }
        self.byte(b'0' + (value % 10) as u8);
    }
}
