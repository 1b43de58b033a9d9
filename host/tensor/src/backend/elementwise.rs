//! Loops over elements.

use candle_core::Shape;

use super::{Activation, Function, Kept, Needs, Pair, Storage};
use crate::error::Result;
use crate::value::Value;

/// Functions of single elements.
pub trait Elementwise: Storage {
    /// `function(x)` for each element.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn map(&self, function: Function, x: &Value) -> Result<Value>;

    /// `gradient f'`, where `saved` is what the derivative needs ([`Function::needs`]); it is not
    /// read if that is nothing. May overwrite the gradient if nothing else refers to it. The
    /// gradient may have any layout.
    ///
    /// # Errors
    /// If the element type is not floating.
    fn slope(&self, function: Function, saved: &Value, gradient: Value) -> Result<Value>;

    /// `function(a, b)` of tensors of any layout, both broadcast to `shape`. Arithmetic takes
    /// integers too, comparisons each type but half precision, [`Pair::Add`] half precision too.
    ///
    /// # Errors
    /// If the element type does not fit the function, or an integer is divided by zero.
    fn zip(&self, function: Pair, a: &Value, b: &Value, shape: &Shape) -> Result<Value>;

    /// `a` where `condition` (u8) is not 0, else `b`; all of any layout and broadcast to `shape`.
    ///
    /// # Errors
    /// If the element type is half precision.
    fn select(&self, condition: &Value, a: &Value, b: &Value, shape: &Shape) -> Result<Value>;

    /// `target + other`, in place if nothing else refers to `target`.
    ///
    /// # Errors
    /// See [`zip`](Self::zip).
    fn add_into(&self, target: Value, other: &Value) -> Result<Value> {
        self.zip(Pair::Add, &target, other, target.shape())
    }

    /// `full` times the gradient of its row: one for each `width` elements, or one for all.
    ///
    /// # Errors
    /// See [`zip`](Self::zip).
    fn scale_rows(&self, full: Value, gradient: &Value, width: usize) -> Result<Value> {
        if gradient.count() == 1 {
            let factor = gradient.reshape(())?;
            return self.zip(Pair::Mul, &full, &factor, full.shape());
        }
        let rows = full.reshape((gradient.count(), width))?;
        let factors = gradient.reshape((gradient.count(), 1))?;
        self.zip(Pair::Mul, &rows, &factors, rows.shape())?.reshape(full.shape().clone())
    }

    /// The gradient before an activation, from the one after it; may overwrite it.
    ///
    /// # Errors
    /// See [`slope`](Self::slope).
    fn deactivate(
        &self,
        function: Option<Function>,
        kept: &Kept,
        gradient: Value,
    ) -> Result<Value> {
        match (kept, function) {
            (Kept::Slopes(slopes), _) => self.zip(Pair::Mul, &gradient, slopes, slopes.shape()),
            (Kept::Values(values), Some(function)) => self.slope(function, values, gradient),
            _ => self.contiguous(&gradient),
        }
    }

    /// Applies an activation to `z`; returns the values, and what the backward pass needs.
    ///
    /// # Errors
    /// See [`map`](Self::map).
    fn activate(&self, activation: Activation, z: Value, records: bool) -> Result<(Value, Kept)> {
        let Some(function) = activation.function() else { return Ok((z, Kept::Nothing)) };
        let y = self.map(function, &z)?;
        let kept = match function.needs() {
            _ if !records => Kept::Nothing,
            Needs::Output | Needs::Nothing => Kept::Values(y.clone()),
            Needs::Input => {
                let ones = self.fill(z.dtype(), z.shape(), 1.0)?;
                Kept::Slopes(self.slope(function, &z, ones)?)
            }
        };
        Ok((y, kept))
    }
}
