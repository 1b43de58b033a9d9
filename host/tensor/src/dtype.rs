//! Element types: the contract's codes and candle's names for them.

use candle_core::DType;
use fluxbay_plugin::abi::handle::dtype as code;

macro_rules! codes {
    ($($name:ident),*) => {
        /// candle's element type of a contract's code.
        pub fn dtype_of(dtype: u32) -> Option<DType> {
            Some(match dtype {
                $(code::$name => DType::$name,)*
                _ => return None,
            })
        }

        /// The contract's code of candle's element type.
        pub fn code_of(dtype: DType) -> Option<u32> {
            Some(match dtype {
                $(DType::$name => code::$name,)*
                _ => return None,
            })
        }
    };
}
codes!(U8, U32, I64, BF16, F16, F32, F64);

/// Whether gradients can flow to tensors of this type.
pub(crate) fn is_floating(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64 | DType::BF16 | DType::F16)
}
