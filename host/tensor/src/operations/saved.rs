//! Values that a backward function needs, kept in the form that takes the least memory.

use candle_core::Shape;

use crate::context::Context;
use crate::error::Result;
use crate::value::{Recipe, Value};

/// A value that a backward function needs.
pub(super) enum Saved {
    /// The value.
    Value(Value),
    /// How to compute it, and its shape.
    Recipe(Recipe, Shape),
    /// Its shape only, because its elements are not needed.
    Shape(Value),
}

impl Saved {
    /// Keeps a contiguous value, or how to compute it.
    pub fn of(value: &Value) -> Saved {
        match value.recipe() {
            Some(recipe) => Saved::Recipe(recipe.clone(), value.shape().clone()),
            None => Saved::Value(value.clone()),
        }
    }

    /// As [`Saved::of`]; only the shape if the elements are not `needed`.
    pub fn if_needed(context: &Context, value: &Value, needed: bool) -> Result<Saved> {
        // A small value is not worth a tensor that has its shape only.
        if needed || value.bytes() < context.again_from / 64 {
            return Ok(Saved::of(value));
        }
        Ok(Saved::Shape(Saved::shape_of(context, value)?))
    }

    /// A value of the same shape without elements of its own.
    pub fn shape_of(context: &Context, value: &Value) -> Result<Value> {
        let one = context.backend.fill(value.dtype(), &Shape::from(()), 0.0)?;
        one.broadcast_as(value.shape().clone())
    }

    /// Whether the value is computed when it is asked for.
    pub fn is_recipe(&self) -> bool {
        matches!(self, Saved::Recipe(..))
    }

    /// The value. One whose elements are not needed has no elements of its own.
    pub fn value(&self, context: &Context) -> Result<Value> {
        match self {
            Saved::Value(value) | Saved::Shape(value) => Ok(value.clone()),
            Saved::Recipe(recipe, shape) => recipe.value(context)?.reshape(shape.clone()),
        }
    }
}
