//! Resizing of images and adaptive pooling: linear maps along each of two axes.
//!
//! Both are products with a matrix of weights per axis, made on the host from the sizes, so that any
//! device has them and their gradient is the product with the transposed matrices.

use candle_core::DType;
use fluxbay_plugin::abi::operation::op;
use smallvec::smallvec;

use super::{Call, Produced};
use crate::context::Context;
use crate::error::Result;
use crate::value::{Value, host_tensor};

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    let most = if call.info.code == op::RESIZE2D { 5 } else { 2 };
    call.expect(1..=1, 2..=most, 0..=0)?;
    let dtype = call.real([0])?;
    let &[images, channels, height, width] = call.shape(0) else {
        return Err(call.error(format!("takes [n, c, h, w], got shape {:?}", call.shape(0))));
    };
    let new = [call.size(0, "the height", 1)?, call.size(1, "the width", 1)?];
    if height * width * new[0] * new[1] == 0 {
        return Err(call.error(format!("images of {height} x {width} cannot become {new:?}")));
    }
    context.admit(dtype, &[images, channels, new[0], new[1]])?;
    context.admit(dtype, &[images, channels, height, new[1]])?;
    let filter = filter(call.info.code, call.ints).map_err(|reason| call.error(reason))?;
    let matrix = |from: usize, to: usize| -> Result<Value> {
        context.admit(DType::F64, &[to, from])?;
        let weights = host_tensor(weights(filter, from, to), (to, from))?;
        let weights = context.backend.upload(weights)?;
        if dtype == DType::F64 { Ok(weights) } else { context.backend.convert(&weights, dtype) }
    };
    let (rows, columns) = (matrix(height, new[0])?, matrix(width, new[1])?);
    let batch = [images, channels];
    let wide = context.backend.matmul(call.inputs[0], &columns.transpose(0, 1)?, &batch)?;
    let out = context.backend.matmul(&rows, &wide, &batch)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?;
        let tall = context.backend.matmul(&rows.transpose(0, 1)?, &gradient, &batch)?;
        Ok(smallvec![Some(context.backend.matmul(&tall, &columns, &batch)?)])
    }))
}

/// How a number of the result is made from those along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Filter {
    /// The mean of a part of the axis.
    Part,
    /// Interpolation.
    Interpolation { cubic: bool, antialias: bool, corners: bool },
}

/// The weights `[to, from]` along an axis, row by row, of a resize or an adaptive pooling with these
/// attributes; none for another operation or attributes that it refuses.
pub fn axis_weights(code: u32, ints: &[i64], from: usize, to: usize) -> Option<Vec<f64>> {
    let known = matches!(code, op::RESIZE2D | op::ADAPTIVE_AVG_POOL2D);
    (known && from > 0 && to > 0)
        .then(|| filter(code, ints).ok())
        .flatten()
        .map(|filter| weights(filter, from, to))
}

fn filter(code: u32, ints: &[i64]) -> std::result::Result<Filter, String> {
    if code == op::ADAPTIVE_AVG_POOL2D {
        return Ok(Filter::Part);
    }
    let flag = |at: usize, name: &str| match ints.get(at).copied().unwrap_or(0) {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("{name} must be 0 or 1, it is {other}")),
    };
    let (cubic, antialias) = (flag(2, "the method")?, flag(3, "antialias")?);
    let corners = flag(4, "align corners")?;
    if antialias && corners {
        return Err("antialias and aligned corners exclude each other".to_owned());
    }
    Ok(Filter::Interpolation { cubic, antialias, corners })
}

/// The weights of an axis, `[to, from]`.
fn weights(filter: Filter, from: usize, to: usize) -> Vec<f64> {
    let mut all = vec![0.0; to * from];
    let ratio = from as f64 / to as f64;
    for (index, row) in all.chunks_exact_mut(from).enumerate() {
        match filter {
            Filter::Part => {
                let (first, after) = (index * from / to, ((index + 1) * from).div_ceil(to));
                row[first..after].fill(1.0 / (after - first) as f64);
            }
            Filter::Interpolation { cubic, antialias: true, .. } => {
                let stretch = ratio.max(1.0);
                let centre = (index as f64 + 0.5) * ratio;
                let reach = stretch * if cubic { 2.0 } else { 1.0 };
                let first = ((centre - reach + 0.5).floor().max(0.0)) as usize;
                let after = ((centre + reach + 0.5).floor() as usize).min(from);
                for (at, weight) in row.iter_mut().enumerate().take(after).skip(first) {
                    // Pillow's cubic has a = -0.5.
                    let distance = (at as f64 - centre + 0.5) / stretch;
                    *weight = if cubic { keys(distance, -0.5) } else { triangle(distance) };
                }
                let sum: f64 = row.iter().sum();
                row.iter_mut().for_each(|weight| *weight /= sum);
            }
            Filter::Interpolation { cubic, corners, .. } => {
                let place = match corners {
                    true => index as f64 * (from - 1) as f64 / (to.max(2) - 1) as f64,
                    false => (index as f64 + 0.5) * ratio - 0.5,
                };
                // Places beyond the border read the last element.
                let place = if cubic { place } else { place.max(0.0) };
                let (low, high) = if cubic { (-1, 2) } else { (0, 1) };
                for offset in low..=high {
                    let at = place.floor() as i64 + offset;
                    let distance = at as f64 - place;
                    let weight = if cubic { keys(distance, -0.75) } else { triangle(distance) };
                    row[at.clamp(0, from as i64 - 1) as usize] += weight;
                }
            }
        }
    }
    all
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// The cubic convolution kernel (Keys 1981) with parameter `a`.
fn keys(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}
