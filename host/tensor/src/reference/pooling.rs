//! Pooling and enlargement.

use candle_core::{DType, Shape};

use super::Reference;
use super::arrays::{made, numbers};
use crate::backend::{Pooling, Windows};
use crate::error::Result;
use crate::value::Value;

impl Pooling for Reference {
    fn max_pool(&self, windows: &Windows, x: &Value, out: &Shape) -> Result<(Value, Value)> {
        let (dtype, x) = (x.dtype(), numbers(x)?);
        let area = windows.input[0] * windows.input[1];
        let mut best = vec![f64::NEG_INFINITY; out.elem_count()];
        let mut places = vec![None; out.elem_count()];
        each_pair(windows, |at, from| {
            if places[at].is_none() || x[from] > best[at] || x[from].is_nan() {
                best[at] = x[from];
                places[at] = Some(from % area);
            }
        });
        let places = places.into_iter().map(|place| place.unwrap_or(0) as f64).collect();
        Ok((made(dtype, out, best), made(DType::U32, out, places)))
    }

    fn average_pool(&self, windows: &Windows, x: &Value, out: &Shape) -> Result<Value> {
        let (dtype, x) = (x.dtype(), numbers(x)?);
        let count = (windows.kernel[0] * windows.kernel[1]) as f64;
        let mut means = vec![0.0; out.elem_count()];
        each_pair(windows, |at, from| means[at] += x[from] / count);
        Ok(made(dtype, out, means))
    }

    fn average_pool_gradient(
        &self,
        windows: &Windows,
        gradient: &Value,
        out: &Shape,
    ) -> Result<Value> {
        let g = numbers(gradient)?;
        let count = (windows.kernel[0] * windows.kernel[1]) as f64;
        let mut full = vec![0.0; out.elem_count()];
        each_pair(windows, |at, from| full[from] += g[at] / count);
        Ok(made(gradient.dtype(), out, full))
    }

    fn enlarge(&self, windows: &Windows, x: &Value, out: &Shape) -> Result<Value> {
        let (dtype, x) = (x.dtype(), numbers(x)?);
        let copies = (0..out.elem_count()).map(|at| x[source(windows, at)]).collect();
        Ok(made(dtype, out, copies))
    }

    fn enlarge_gradient(&self, windows: &Windows, gradient: &Value, out: &Shape) -> Result<Value> {
        let mut full = vec![0.0; out.elem_count()];
        for (at, g) in numbers(gradient)?.into_iter().enumerate() {
            full[source(windows, at)] += g;
        }
        Ok(made(gradient.dtype(), out, full))
    }
}

/// Calls `pair` with the places of each window in the result and of its elements in the input.
fn each_pair(w: &Windows, mut pair: impl FnMut(usize, usize)) {
    for plane in 0..w.planes {
        for oy in 0..w.output[0] {
            for ox in 0..w.output[1] {
                let at = (plane * w.output[0] + oy) * w.output[1] + ox;
                for ky in 0..w.kernel[0] {
                    for kx in 0..w.kernel[1] {
                        let y = (oy * w.stride[0] + ky).wrapping_sub(w.padding[0]);
                        let x = (ox * w.stride[1] + kx).wrapping_sub(w.padding[1]);
                        if y < w.input[0] && x < w.input[1] {
                            pair(at, (plane * w.input[0] + y) * w.input[1] + x);
                        }
                    }
                }
            }
        }
    }
}

/// The element that an element of the enlarged images is a copy of.
fn source(w: &Windows, at: usize) -> usize {
    let (x, rest) = (at % w.output[1], at / w.output[1]);
    let (y, plane) = (rest % w.output[0], rest / w.output[0]);
    let (y, x) = (y * w.input[0] / w.output[0], x * w.input[1] / w.output[1]);
    (plane * w.input[0] + y) * w.input[1] + x
}
