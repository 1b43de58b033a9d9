//! The state tree, through typed slots: what an instance declared it reads and writes.
//!
//! A slot is made once, in `new` (see [`Setup`](crate::Setup)), and used at every event through the
//! [`Learner`](crate::Learner). Paths are dotted: `step.loss`, `cbstate.history.training`.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Error, Result, Tensor,
    abi::{handle::Handle, setup, state::value},
    trampoline::calls,
};

pub use crate::abi::state::Point;

/// A type that a state path can hold: `f64`, `u64`, `bool`, `String`, [`Tensor`], or any serde type
/// as [`Json`]. Read with [`Learner::get`](crate::Learner::get), written with
/// [`Learner::set`](crate::Learner::set).
pub trait Value: Sized {
    /// Reads it.
    #[doc(hidden)]
    fn read(slot: setup::Slot) -> Result<Self>;
    /// Writes it.
    #[doc(hidden)]
    fn write(slot: setup::Slot, value: &Self) -> Result<()>;
}

impl Value for f64 {
    #[inline]
    fn read(slot: setup::Slot) -> Result<f64> {
        calls::get_number(slot)
    }

    #[inline]
    fn write(slot: setup::Slot, value: &f64) -> Result<()> {
        calls::set_number(slot, *value)
    }
}

impl Value for u64 {
    /// Numbers are `f64`: whole numbers up to 2^53 are exact.
    fn read(slot: setup::Slot) -> Result<u64> {
        let number = calls::get_number(slot)?;
        if number < 0.0 || number.fract() != 0.0 || number > 9_007_199_254_740_992.0 {
            return Err(Error::new(format!("{number} is not a whole number from 0 to 2^53")));
        }
        Ok(number as u64)
    }

    fn write(slot: setup::Slot, value: &u64) -> Result<()> {
        calls::set_number(slot, *value as f64)
    }
}

impl Value for bool {
    fn read(slot: setup::Slot) -> Result<bool> {
        Ok(calls::get_number(slot)? != 0.0)
    }

    fn write(slot: setup::Slot, value: &bool) -> Result<()> {
        calls::set_flag(slot, *value)
    }
}

impl Value for String {
    fn read(slot: setup::Slot) -> Result<String> {
        calls::get_text(slot)
    }

    fn write(slot: setup::Slot, value: &String) -> Result<()> {
        calls::set_text(slot, value)
    }
}

impl Value for Tensor {
    #[inline]
    fn read(slot: setup::Slot) -> Result<Tensor> {
        Ok(Tensor::from_handle(calls::get_tensor(slot)?))
    }

    #[inline]
    fn write(slot: setup::Slot, value: &Tensor) -> Result<()> {
        calls::set_tensor(slot, value.handle())
    }
}

/// Any serde type as a value of the state tree, stored as JSON: `Read<Json<Vec<f64>>>`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned> Value for Json<T> {
    fn read(slot: setup::Slot) -> Result<Json<T>> {
        Ok(Json(serde_json::from_slice(&calls::get_bytes(slot)?)?))
    }

    fn write(slot: setup::Slot, value: &Json<T>) -> Result<()> {
        calls::set_bytes(slot, &serde_json::to_vec(&value.0)?)
    }
}

/// Marks a slot of points (x, y), which are appended one by one: `Write<Series>` has `push`, both
/// kinds of slots have `points` and `last`. It has no values of its own.
#[derive(Clone, Copy, Debug)]
pub enum Series {}

/// Marks a slot of named tensors, such as `params` and `step.grads`: `Read<Tensors>` has `names` and
/// `get`, `Write<Tensors>` also `set` and `remove`. It has no values of its own.
#[derive(Clone, Copy, Debug)]
pub enum Tensors {}

/// Marks a slot of a node with named children: `Read<Node>` has `names` and `child`. It has no values
/// of its own.
#[derive(Clone, Copy, Debug)]
pub enum Node {}

/// The right to read a state path that holds a `T`. Requested once with
/// [`Setup::read`](crate::Setup::read), used with [`Learner::get`](crate::Learner::get).
#[derive(Debug)]
pub struct Read<T> {
    slot: setup::Slot,
    marker: PhantomData<fn() -> T>,
}

/// The right to write and read a state path that holds a `T`. Requested once with
/// [`Setup::write`](crate::Setup::write), used with [`Learner::set`](crate::Learner::set).
#[derive(Debug)]
pub struct Write<T> {
    slot: setup::Slot,
    marker: PhantomData<fn() -> T>,
}

/// A slot that can be read: [`Read`] and [`Write`]. Functions that only read take `&impl Readable`.
pub trait Readable<T> {
    #[doc(hidden)]
    fn slot(&self) -> setup::Slot;
}

impl<T> Readable<T> for Read<T> {
    #[inline]
    fn slot(&self) -> setup::Slot {
        self.slot
    }
}

impl<T> Readable<T> for Write<T> {
    #[inline]
    fn slot(&self) -> setup::Slot {
        self.slot
    }
}

macro_rules! slots {
    ($($name:ident),+) => { $(
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $name<T> {}

        impl<T> $name<T> {
            pub(crate) fn new(slot: setup::Slot) -> Self {
                $name { slot, marker: PhantomData }
            }

            /// The same path with another type.
            pub fn typed<U>(self) -> $name<U> {
                $name::new(self.slot)
            }
        }

        impl $name<Node> {
            /// The child called `name`, with the same rights. Asking again gives the same slot.
            ///
            /// # Errors
            /// If the name is not one.
            pub fn child<U>(&self, name: &str) -> Result<$name<U>> {
                Ok($name::new(calls::state_child(self.slot, name)?))
            }

            /// Names of the children that have a value, sorted.
            ///
            /// # Errors
            /// Outside a call of the host.
            pub fn names(&self) -> Result<Vec<String>> {
                names(self.slot)
            }
        }

        impl $name<Series> {
            /// All points, in the order in which they were appended.
            ///
            /// # Errors
            /// If the value is no series.
            pub fn points(&self) -> Result<Vec<Point>> {
                if calls::state_kind(self.slot)? == value::ABSENT {
                    return Ok(Vec::new());
                }
                calls::series(self.slot)
            }

            /// The point that was appended last, without copying the others.
            ///
            /// # Errors
            /// If the value is no series.
            pub fn last(&self) -> Result<Option<Point>> {
                if calls::state_kind(self.slot)? == value::ABSENT {
                    return Ok(None);
                }
                calls::series_last(self.slot)
            }
        }

        impl $name<Tensors> {
            /// Number of tensors.
            ///
            /// # Errors
            /// If the value holds no tensors.
            pub fn len(&self) -> Result<usize> {
                calls::state_count(self.slot)
            }

            /// Whether there are none.
            ///
            /// # Errors
            /// If the value holds no tensors.
            pub fn is_empty(&self) -> Result<bool> {
                Ok(self.len()? == 0)
            }

            /// Names of the tensors, sorted; the position in this list is the index that `get`
            /// takes.
            ///
            /// # Errors
            /// Outside a call of the host.
            pub fn names(&self) -> Result<Vec<String>> {
                names(self.slot)
            }

            /// Tensor `index`; none if it has no value, such as a parameter without a gradient.
            ///
            /// # Errors
            /// If there is no tensor `index`.
            pub fn get(&self, index: usize) -> Result<Option<Tensor>> {
                let handle = calls::tensor_at(self.slot, index)?;
                Ok((handle != Handle::NONE).then(|| Tensor::from_handle(handle)))
            }
        }
    )+ };
}

slots!(Read, Write);

impl<T> Write<T> {
    /// The same path, for reading.
    pub fn reader(&self) -> Read<T> {
        Read::new(self.slot)
    }

    /// Removes the value and everything below it.
    ///
    /// # Errors
    /// If the host owns the path.
    pub fn clear(&self) -> Result<()> {
        calls::clear(self.slot)
    }
}

impl Write<Series> {
    /// Appends a point.
    ///
    /// # Errors
    /// If the value is no series.
    pub fn push(&self, x: f64, y: f64) -> Result<()> {
        calls::push(self.slot, x, y)
    }
}

impl Write<Tensors> {
    /// Replaces tensor `index`. Shape and type must be those of the parameter.
    ///
    /// # Errors
    /// If there is no tensor `index`, or shape or element type differ.
    pub fn set(&self, index: usize, tensor: &Tensor) -> Result<()> {
        calls::set_tensor_at(self.slot, index, tensor.handle())
    }

    /// Removes gradient `index`: the next update skips its parameter. Parameters cannot be removed.
    ///
    /// # Errors
    /// If there is no gradient `index`, or these are no gradients.
    pub fn remove(&self, index: usize) -> Result<()> {
        calls::set_tensor_at(self.slot, index, Handle::NONE)
    }
}

fn names(slot: setup::Slot) -> Result<Vec<String>> {
    (0..calls::state_count(slot)?).map(|index| calls::state_name(slot, index)).collect()
}

/// After reading a slot failed: none if nothing has been written under its path, else the error.
#[cold]
#[inline(never)]
pub(crate) fn none_if_absent<T>(slot: setup::Slot, error: Error) -> Result<Option<T>> {
    if calls::state_kind(slot)? == value::ABSENT { Ok(None) } else { Err(error) }
}
