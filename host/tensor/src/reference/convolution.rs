//! Convolutions.

use candle_core::Shape;

use super::Reference;
use super::arrays::{made, numbers};
use crate::backend::{Convolution, Geometry};
use crate::error::Result;
use crate::value::Value;

impl Convolution for Reference {
    fn convolve(&self, geometry: &Geometry, x: &Value, w: &Value) -> Result<Value> {
        let (dtype, x, w) = (x.dtype(), numbers(x)?, numbers(w)?);
        let mut out = vec![0.0; sizes(geometry).1.elem_count()];
        each_term(geometry, |at, from, weight| out[at] += x[from] * w[weight]);
        Ok(made(dtype, &sizes(geometry).1, out))
    }

    fn convolve_input(&self, geometry: &Geometry, gradient: &Value, w: &Value) -> Result<Value> {
        let (g, w) = (numbers(gradient)?, numbers(w)?);
        let mut out = vec![0.0; sizes(geometry).0.elem_count()];
        each_term(geometry, |at, from, weight| out[from] += g[at] * w[weight]);
        Ok(made(gradient.dtype(), &sizes(geometry).0, out))
    }

    fn convolve_weights(&self, geometry: &Geometry, x: &Value, gradient: &Value) -> Result<Value> {
        let (numbers_x, g) = (numbers(x)?, numbers(gradient)?);
        let mut out = vec![0.0; sizes(geometry).2.elem_count()];
        each_term(geometry, |at, from, weight| out[weight] += g[at] * numbers_x[from]);
        Ok(made(x.dtype(), &sizes(geometry).2, out))
    }
}

/// Shapes of input, result and weights.
fn sizes(g: &Geometry) -> (Shape, Shape, Shape) {
    (
        Shape::from((g.images, g.inputs, g.input[0], g.input[1])),
        Shape::from((g.images, g.outputs, g.output[0], g.output[1])),
        Shape::from((g.outputs, g.inputs / g.groups, g.kernel[0], g.kernel[1])),
    )
}

/// Calls `term` with the places of result, input and weight of each product of the sum.
fn each_term(g: &Geometry, mut term: impl FnMut(usize, usize, usize)) {
    let (group_inputs, group_outputs) = (g.inputs / g.groups, g.outputs / g.groups);
    for image in 0..g.images {
        for output in 0..g.outputs {
            for oy in 0..g.output[0] {
                for ox in 0..g.output[1] {
                    let at = ((image * g.outputs + output) * g.output[0] + oy) * g.output[1] + ox;
                    for channel in 0..group_inputs {
                        let input = output / group_outputs * group_inputs + channel;
                        for ky in 0..g.kernel[0] {
                            for kx in 0..g.kernel[1] {
                                let y = (oy * g.stride[0] + ky * g.dilation[0])
                                    .wrapping_sub(g.padding[0]);
                                let x = (ox * g.stride[1] + kx * g.dilation[1])
                                    .wrapping_sub(g.padding[1]);
                                if y >= g.input[0] || x >= g.input[1] {
                                    continue;
                                }
                                let plane = image * g.inputs + input;
                                let from = (plane * g.input[0] + y) * g.input[1] + x;
                                let kernel = output * group_inputs + channel;
                                let weight = (kernel * g.kernel[0] + ky) * g.kernel[1] + kx;
                                term(at, from, weight);
                            }
                        }
                    }
                }
            }
        }
    }
}
