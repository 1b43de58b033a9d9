//! The contract between the host and its plugins: `repr(C)` tables, one file each.
//!
//! Nothing here imports anything else of this crate. Every function says which thread calls it and who owns what.

pub mod handle;
