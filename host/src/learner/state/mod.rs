//! The state tree: typed values under dotted paths, and the grants through which instances reach
//! them.
//!
//! The bridge asks with a slot and the number of the calling instance; nothing is found by name
//! while a run goes on. What the engine holds (parameters, gradients) has nodes here that only say
//! where to look. Tensors in the tree are references; those that the tree gives up are collected in
//! [`State::take_dropped`] for the engine to release.

mod access;
mod path;
mod tree;
mod value;

pub use access::{Access, Grant, Rights};
pub use path::{PathError, check as check_path, covers};
pub use tree::{NodeId, State};
pub use value::{StateError, TensorSet, Value};
