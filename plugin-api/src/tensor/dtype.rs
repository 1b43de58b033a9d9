//! Element types.

use std::fmt;

use crate::{abi::handle::dtype, trampoline::memory};

/// Element type of a tensor. Gradients flow to floating-point tensors only; class labels and indices
/// are `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 32-bit integer.
    U32,
    /// Signed 64-bit integer.
    I64,
    /// Brain floating point, 16 bits.
    BF16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

impl DType {
    const ALL: [(DType, u32, &'static str); 7] = [
        (DType::U8, dtype::U8, "u8"),
        (DType::U32, dtype::U32, "u32"),
        (DType::I64, dtype::I64, "i64"),
        (DType::BF16, dtype::BF16, "bf16"),
        (DType::F16, dtype::F16, "f16"),
        (DType::F32, dtype::F32, "f32"),
        (DType::F64, dtype::F64, "f64"),
    ];

    /// The number in the contract.
    pub fn number(self) -> u32 {
        DType::ALL[self as usize].1
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::U8 => 1,
            DType::BF16 | DType::F16 => 2,
            DType::U32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// The type with that number.
    pub fn from_number(number: u32) -> Option<DType> {
        DType::ALL.iter().find(|row| row.1 == number).map(|row| row.0)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DType::ALL[*self as usize].2)
    }
}

/// A Rust type that tensors can be created from and read as: `u8`, `u32`, `i64`, `f32`, `f64`.
pub trait Element: memory::Number {
    /// Its element type.
    const DTYPE: DType;
    #[doc(hidden)]
    fn bytes(elements: &[Self]) -> &[u8] {
        memory::bytes_of(elements)
    }
    #[doc(hidden)]
    fn bytes_mut(elements: &mut [Self]) -> &mut [u8] {
        memory::bytes_of_mut(elements)
    }
}

macro_rules! elements {
    ($($type:ty: $dtype:ident),+) => { $(
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        }
    )+ };
}

elements!(u8: U8, u32: U32, i64: I64, f32: F32, f64: F64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_their_types() {
        for (position, (dtype, number, name)) in DType::ALL.into_iter().enumerate() {
            assert_eq!(dtype as usize, position);
            assert_eq!(DType::from_number(number), Some(dtype));
            assert_eq!(dtype.to_string(), name);
        }
        assert_eq!(DType::from_number(99), None);
    }
}
