//! The part of the protocol buffers wire format that event files use: varints, doubles, floats,
//! bytes, messages.
//!
//! See <https://protobuf.dev/programming-guides/encoding/>.

/// A message under construction. Fields are appended by number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    bytes: Vec<u8>,
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    /// An empty message.
    pub fn new() -> Message {
        Message::default()
    }

    /// The encoded message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends an integer or an enum value.
    pub fn integer(mut self, field: u32, value: i64) -> Message {
        self.key(field, VARINT);
        // Negative numbers are written as their 64-bit pattern.
        self.varint(value as u64);
        self
    }

    /// Appends a double.
    pub fn double(mut self, field: u32, value: f64) -> Message {
        self.key(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a float.
    pub fn float(mut self, field: u32, value: f32) -> Message {
        self.key(field, FIXED32);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends bytes or a text.
    pub fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Message {
        self.key(field, BYTES);
        self.varint(value.as_ref().len() as u64);
        self.bytes.extend_from_slice(value.as_ref());
        self
    }

    /// Appends a nested message.
    pub fn message(self, field: u32, value: Message) -> Message {
        self.bytes(field, value.bytes)
    }

    /// Appends packed repeated doubles.
    pub fn doubles(self, field: u32, values: &[f64]) -> Message {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, packed)
    }

    fn key(&mut self, field: u32, wire_type: u64) {
        self.varint(u64::from(field) << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_in_the_encoding_guide() {
        assert_eq!(Message::new().integer(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(
            Message::new().bytes(2, "testing").into_bytes(),
            [0x12, 7, b't', b'e', b's', b't', b'i', b'n', b'g']
        );
        assert_eq!(
            Message::new().message(3, Message::new().integer(1, 150)).into_bytes(),
            [0x1a, 3, 0x08, 0x96, 0x01]
        );
        assert_eq!(
            Message::new().integer(1, -2).into_bytes(),
            [8, 0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1]
        );
        assert_eq!(Message::new().float(2, 1.0).into_bytes(), [0x15, 0, 0, 0x80, 0x3f]);
        assert_eq!(
            Message::new().doubles(6, &[0.0]).into_bytes(),
            [0x32, 8, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }
}
