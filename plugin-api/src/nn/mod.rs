//! Layers over parameters that the host keeps, with candle-nn's names.

mod params;

pub use params::{Init, Params};
