//! The state tree: typed values under dotted paths. Each instance reads and writes the paths that it
//! was granted.
//!
//! All functions are `[training]` and need a slot of the calling instance. Reading without a grant,
//! and writing with a read grant, is an error that names the instance, the path and the line to add.
//! A read grant on `model` or `params` is deep: nothing that is reached through it can be changed.

use abi_stable::StableAbi;

use super::{handle::Handle, setup::Slot, text::Text};

/// Types of values.
pub mod value {
    /// Nothing has been written yet.
    pub const ABSENT: u32 = 0;
    /// A number (`f64`). A tensor with one element reads as one too.
    pub const NUMBER: u32 = 1;
    /// True (1) or false (0).
    pub const FLAG: u32 = 2;
    /// UTF-8 text.
    pub const TEXT: u32 = 3;
    /// Bytes; structured values are stored as JSON.
    pub const BYTES: u32 = 4;
    /// A tensor.
    pub const TENSOR: u32 = 5;
    /// Points (x, y), appended one by one.
    pub const SERIES: u32 = 6;
    /// A node with named children.
    pub const NODE: u32 = 7;
    /// Named tensors of a model, such as `params` and `step.grads`.
    pub const TENSORS: u32 = 8;
}

/// One point of a series.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Position, such as a step or an epoch.
    pub x: f64,
    /// Value.
    pub y: f64,
}

/// The state functions.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct StateTable {
    /// Type of the value, a number of [`value`].
    pub kind: unsafe extern "C" fn(slot: Slot, kind: *mut u32) -> i32,
    /// Reads a number or a flag, or a tensor with one element.
    pub get_number: unsafe extern "C" fn(slot: Slot, number: *mut f64) -> i32,
    /// Writes a number.
    pub set_number: unsafe extern "C" fn(slot: Slot, number: f64) -> i32,
    /// Writes a flag.
    pub set_flag: unsafe extern "C" fn(slot: Slot, flag: u32) -> i32,
    /// Reads a text or bytes, valid until the next call of the host.
    pub get_bytes: unsafe extern "C" fn(slot: Slot, bytes: *mut Text) -> i32,
    /// Writes a text.
    pub set_text: unsafe extern "C" fn(slot: Slot, text: Text) -> i32,
    /// Writes bytes.
    pub set_bytes: unsafe extern "C" fn(slot: Slot, bytes: Text) -> i32,
    /// Reads a tensor: one reference for the caller.
    pub get_tensor: unsafe extern "C" fn(slot: Slot, tensor: *mut Handle) -> i32,
    /// Writes a tensor; the host keeps a reference of its own.
    pub set_tensor: unsafe extern "C" fn(slot: Slot, tensor: Handle) -> i32,
    /// Appends a point to a series, which begins empty.
    pub push: unsafe extern "C" fn(slot: Slot, point: Point) -> i32,
    /// The points of a series, valid until the next call of the host.
    pub series:
        unsafe extern "C" fn(slot: Slot, points: *mut *const Point, count: *mut usize) -> i32,
    /// Removes the value and everything below it.
    pub clear: unsafe extern "C" fn(slot: Slot) -> i32,
    /// A slot for the child called `name`, with the same rights; asking again gives the same slot.
    pub child: unsafe extern "C" fn(slot: Slot, name: Text, child: *mut Slot) -> i32,
    /// Number of children of a node that have a value, or of tensors in a map.
    pub count: unsafe extern "C" fn(slot: Slot, count: *mut usize) -> i32,
    /// Name of child or tensor `index`, sorted by name, valid until the next call of the host.
    pub name: unsafe extern "C" fn(slot: Slot, index: usize, name: *mut Text) -> i32,
    /// Tensor `index` of a map: one reference for the caller; `Handle::NONE` if it has no value (no
    /// gradient).
    pub tensor_at: unsafe extern "C" fn(slot: Slot, index: usize, tensor: *mut Handle) -> i32,
    /// Replaces tensor `index` of a map. Shape and type must fit. `Handle::NONE` removes a gradient:
    /// the next update skips its parameter.
    pub set_tensor_at: unsafe extern "C" fn(slot: Slot, index: usize, tensor: Handle) -> i32,
}
