//! Types of elements, and what they are as numbers.

use fluxbay_plugin::prelude::*;

/// Type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

/// Type of an element and the order of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    pub kind: Type,
    /// Whether the most significant byte comes first.
    pub swapped: bool,
}

impl Element {
    /// The type of a name of NumPy, such as `<f4`.
    pub fn numpy(name: &str) -> Option<Element> {
        let (order, name) = match name.as_bytes().first()? {
            b'<' | b'|' | b'=' => (false, &name[1..]),
            b'>' => (true, &name[1..]),
            _ => (false, name),
        };
        let kind = match name {
            "b1" => Type::Bool,
            "u1" => Type::U8,
            "i1" => Type::I8,
            "u2" => Type::U16,
            "i2" => Type::I16,
            "u4" => Type::U32,
            "i4" => Type::I32,
            "u8" => Type::U64,
            "i8" => Type::I64,
            "f2" => Type::F16,
            "f4" => Type::F32,
            "f8" => Type::F64,
            _ => return None,
        };
        Some(Element { kind, swapped: order })
    }

    /// The type of a tensor in a safetensors file.
    pub fn safetensors(dtype: safetensors::Dtype) -> Option<Element> {
        use safetensors::Dtype;
        let kind = match dtype {
            Dtype::BOOL => Type::Bool,
            Dtype::U8 => Type::U8,
            Dtype::I8 => Type::I8,
            Dtype::U16 => Type::U16,
            Dtype::I16 => Type::I16,
            Dtype::U32 => Type::U32,
            Dtype::I32 => Type::I32,
            Dtype::U64 => Type::U64,
            Dtype::I64 => Type::I64,
            Dtype::F16 => Type::F16,
            Dtype::BF16 => Type::Bf16,
            Dtype::F32 => Type::F32,
            Dtype::F64 => Type::F64,
            _ => return None,
        };
        Some(Element { kind, swapped: false })
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self.kind {
            Type::Bool | Type::U8 | Type::I8 => 1,
            Type::U16 | Type::I16 | Type::F16 | Type::Bf16 => 2,
            Type::U32 | Type::I32 | Type::F32 => 4,
            Type::U64 | Type::I64 | Type::F64 => 8,
        }
    }

    /// Whether elements may have a fraction.
    pub fn is_float(self) -> bool {
        matches!(self.kind, Type::F16 | Type::Bf16 | Type::F32 | Type::F64)
    }

    /// Passes the elements in `bytes` to `each` as numbers, which are exact but for whole numbers
    /// above 2^53.
    pub fn each(self, bytes: &[u8], mut each: impl FnMut(f64)) {
        macro_rules! numbers {
            ($type:ty, $size:literal, $convert:expr) => {
                for bytes in bytes.chunks_exact($size) {
                    let mut own = [0; $size];
                    own.copy_from_slice(bytes);
                    if self.swapped {
                        own.reverse();
                    }
                    let convert: fn($type) -> f64 = $convert;
                    each(convert(<$type>::from_le_bytes(own)));
                }
            };
        }
        match self.kind {
            Type::Bool => bytes.iter().for_each(|byte| each(f64::from(u8::from(*byte != 0)))),
            Type::U8 => bytes.iter().for_each(|byte| each(f64::from(*byte))),
            Type::I8 => numbers!(i8, 1, f64::from),
            Type::U16 => numbers!(u16, 2, f64::from),
            Type::I16 => numbers!(i16, 2, f64::from),
            Type::U32 => numbers!(u32, 4, f64::from),
            Type::I32 => numbers!(i32, 4, f64::from),
            Type::U64 => numbers!(u64, 8, |value| value as f64),
            Type::I64 => numbers!(i64, 8, |value| value as f64),
            Type::F16 => numbers!(half::f16, 2, f64::from),
            Type::Bf16 => numbers!(half::bf16, 2, f64::from),
            Type::F32 => numbers!(f32, 4, f64::from),
            Type::F64 => numbers!(f64, 8, |value| value),
        }
    }

    /// Writes the elements in `bytes` as ids.
    ///
    /// # Errors
    /// An element is negative, has a fraction, or is too large.
    pub fn ids(self, bytes: &[u8], place: &mut [u32]) -> Result<()> {
        let (mut at, mut wrong) = (0, None);
        self.each(bytes, |value| {
            if value.fract() != 0.0 || !(0.0..4_294_967_296.0).contains(&value) {
                wrong.get_or_insert(value);
            }
            place[at] = value as u32;
            at += 1;
        });
        match wrong {
            Some(value) => bail!("{value} is no class or id: these are whole numbers from 0"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_type_are_numbers() {
        let all = |name: &str, bytes: &[u8]| {
            let mut numbers = Vec::new();
            Element::numpy(name).unwrap().each(bytes, |number| numbers.push(number));
            numbers
        };
        assert_eq!(all("|b1", &[0, 2]), [0.0, 1.0]);
        assert_eq!(all("|i1", &[255, 1]), [-1.0, 1.0]);
        assert_eq!(all("<i2", &[1, 2, 254, 255]), [513.0, -2.0]);
        assert_eq!(all(">i2", &[1, 2, 254, 255]), [258.0, -257.0]);
        assert_eq!(all(">f4", &1.5_f32.to_be_bytes()), [1.5]);
        assert_eq!(all("<f2", &half::f16::from_f32(-0.25).to_le_bytes()), [-0.25]);
        assert_eq!(all("<u8", &7_u64.to_le_bytes()), [7.0]);
        assert_eq!(all("<f8", &0.1_f64.to_le_bytes()), [0.1]);
        assert_eq!(Element::numpy("<U3"), None);
    }

    #[test]
    fn ids_are_whole_numbers_from_0() {
        let mut place = [0; 1];
        let element = |name: &str| Element::numpy(name).unwrap();
        element("<i8").ids(&5_i64.to_le_bytes(), &mut place).unwrap();
        assert_eq!(place, [5]);
        for (name, bytes) in [
            ("<i8", (-1_i64).to_le_bytes().to_vec()),
            ("<i8", (1_i64 << 32).to_le_bytes().to_vec()),
            ("<f4", 0.5_f32.to_le_bytes().to_vec()),
            ("<f4", f32::NAN.to_le_bytes().to_vec()),
        ] {
            let error = element(name).ids(&bytes, &mut place).unwrap_err();
            assert!(error.message().contains("is no class or id"), "{name}");
        }
    }
}
