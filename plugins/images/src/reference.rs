//! Pixels as Pillow gives them, recorded by `tests/reference/images.py`.

use fluxbay_plugin::serde_json::{self, Value};

/// The cases of an operation.
pub fn cases(operation: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../tests/pillow.json")).unwrap();
    all[operation].as_array().unwrap().clone()
}

/// The picture that the script starts from, channels interleaved.
pub fn pixels([height, width]: [usize; 2], channels: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        all.extend((0..channels).map(|c| (y * 37 + x * 59 + c * 101 + y * x * 7) as u8));
    }
    all
}

/// The same picture, one plane per channel.
pub fn planes(size: [usize; 2], channels: usize) -> Vec<u8> {
    to_planes(&pixels(size, channels), channels)
}

/// Interleaved channels as planes.
pub fn to_planes(pixels: &[u8], channels: usize) -> Vec<u8> {
    (0..channels).flat_map(|c| pixels.iter().skip(c).step_by(channels)).copied().collect()
}

/// Bytes from hexadecimal digits.
pub fn bytes(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Height and width.
pub fn size(pair: &Value) -> [usize; 2] {
    [number(&pair[0]), number(&pair[1])]
}

/// A whole number.
pub fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}
