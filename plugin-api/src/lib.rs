//! All that a fluxbay plugin depends on.

pub mod abi;
