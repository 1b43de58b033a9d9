//! The operations by name, as candle names them, one file per theme. Each is an operation of the
//! contract, whose constant in [`op`](crate::abi::operation::op) documents shapes, formula and
//! gradient.

mod attention;
mod create;
mod elementwise;
mod in_place;
mod layout;
mod loss;
mod reduce;

pub use attention::{Attention, Resize};
pub use loss::CrossEntropy;
