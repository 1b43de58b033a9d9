//! The state tree: typed values under dotted paths, and the grants through which instances access
//! them.
//!
//! The bridge asks with a slot and the number of the calling instance; nothing is looked up by name
//! during training. What the engine holds (parameters, gradients) has nodes here that only say
//! where to find it. Tensors in the tree are references; those that the tree drops are collected
//! in [`State::take_dropped`] for the engine to release.

mod path;
mod range;
mod tree;
mod value;

pub use crate::compose::paths::covers;
pub use path::{PathError, check as check_path};
pub use range::Range;
pub use tree::{NodeId, Rights, State, release_dropped};
pub use value::{StateError, TensorSet, Value};
