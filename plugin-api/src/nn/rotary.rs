//! Rotary positions.

use std::cell::RefCell;

use super::first_position;
use crate::{Error, Result, Tensor};

/// How rotary angles are stretched for longer sequences than a model was trained with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RotaryScaling {
    /// Not at all.
    None,
    /// Positions are divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Slow frequencies are divided by a factor, fast ones are kept, with a transition between them
    /// (Llama 3.1).
    Llama3 {
        /// The factor.
        factor: f64,
        /// Wavelengths above `original / low` are slow.
        low: f64,
        /// Wavelengths below `original / high` are fast.
        high: f64,
        /// Positions that the model was trained with.
        original: f64,
    },
}

/// Rotary positions (Su et al. 2021, arXiv:2104.09864): a rotation of each pair of channels of
/// queries and keys, by an angle that grows with the place.
#[derive(Debug)]
pub struct RotaryEmbedding {
    frequencies: Vec<f64>,
    interleaved: bool,
    /// Cosines and sines of the last first place and number of places.
    table: RefCell<Option<([usize; 2], Tensor, Tensor)>>,
}

/// Rotary positions for heads of `width` channels. A pair of channels is `i` and `i + width / 2`, or
/// two neighbours if `interleaved`. Has no parameters.
///
/// # Errors
/// If the width is odd, or the base is not positive.
pub fn rotary(
    width: usize,
    base: f64,
    scaling: RotaryScaling,
    interleaved: bool,
) -> Result<RotaryEmbedding> {
    if !width.is_multiple_of(2) || base <= 0.0 {
        return Err(Error::new(format!(
            "rotary positions need an even width and a positive base, they are {width} and {base}"
        )));
    }
    let plain = (0..width / 2).map(|pair| base.powf(-2.0 * pair as f64 / width as f64));
    let frequencies = plain.map(|frequency| match scaling {
        RotaryScaling::None => frequency,
        RotaryScaling::Linear { factor } => frequency / factor,
        RotaryScaling::Llama3 { factor, low, high, original } => {
            let wavelength = 2.0 * std::f64::consts::PI / frequency;
            let smooth = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        }
    });
    Ok(RotaryEmbedding {
        frequencies: frequencies.collect(),
        interleaved,
        table: RefCell::new(None),
    })
}

impl RotaryEmbedding {
    /// Rotates `[.., time, width]`: row `i` is at place `i` from
    /// [`first_position`](super::first_position) on.
    ///
    /// # Errors
    /// If the shape does not fit.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (first, time) = (first_position()?, xs.dim(-2)?);
        let places = [first, time];
        let known = self.table.borrow().as_ref().is_some_and(|(known, ..)| *known == places);
        if !known {
            let table = |f: fn(f64) -> f64| -> Result<Tensor> {
                let angles = (first..first + time)
                    .flat_map(|at| self.frequencies.iter().map(move |step| f(at as f64 * step)));
                let numbers: Vec<f64> = angles.collect();
                Tensor::from_slice(&numbers, (time, self.frequencies.len()))?.to_dtype(xs.dtype()?)
            };
            *self.table.borrow_mut() = Some((places, table(f64::cos)?, table(f64::sin)?));
        }
        match &*self.table.borrow() {
            Some((_, cosines, sines)) => xs.rotary(cosines, sines, self.interleaved),
            None => Err(Error::new("rotary positions without a table")),
        }
    }
}
