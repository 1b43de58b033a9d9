//! Convolutions, pooling, and images of another size.

use fluxbay_plugin::abi::operation::op;

use super::elementwise::activate;
use super::{Call, one};
use crate::export::onnx::ExportError;
use crate::export::onnx::graph::Graph;
use crate::export::onnx::messages::Attribute;
use crate::tensor::axis_weights;

pub(super) fn window(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let x = call.input(0)?;
    let names: Vec<&str> = call.inputs.iter().map(|value| value.name.as_str()).collect();
    let int = |index: usize, default: i64| call.int(index, default);
    let twice = |pads: &[i64]| [pads, pads].concat();
    let code = call.operation.info.code;
    match code {
        op::CONV1D => {
            let attributes = vec![
                Attribute::ints("strides", vec![int(0, 1)?]),
                Attribute::ints("pads", twice(&[int(1, 0)?])),
                Attribute::ints("dilations", vec![int(2, 1)?]),
                Attribute::int("group", int(3, 1)?),
            ];
            let result = graph.node("Conv", &names, attributes);
            one(activate(graph, call, result, int(4, 0)?)?)
        }
        op::CONV2D => {
            let attributes = vec![
                Attribute::ints("strides", vec![int(0, 1)?, int(1, 1)?]),
                Attribute::ints("pads", twice(&[int(2, 0)?, int(3, 0)?])),
                Attribute::ints("dilations", vec![int(4, 1)?, int(5, 1)?]),
                Attribute::int("group", int(6, 1)?),
            ];
            let result = graph.node("Conv", &names, attributes);
            one(activate(graph, call, result, int(7, 0)?)?)
        }
        op::CONV_TRANSPOSE2D => {
            let attributes = vec![
                Attribute::ints("strides", vec![int(0, 1)?, int(1, 1)?]),
                Attribute::ints("pads", twice(&[int(2, 0)?, int(3, 0)?])),
                Attribute::ints("output_padding", vec![int(4, 0)?, int(5, 0)?]),
                Attribute::ints("dilations", vec![int(6, 1)?, int(7, 1)?]),
                Attribute::int("group", int(8, 1)?),
            ];
            one(graph.node("ConvTranspose", &names, attributes))
        }
        op::MAX_POOL2D | op::AVG_POOL2D => {
            let kernel = vec![int(0, 1)?, int(1, 1)?];
            let strides = vec![int(2, kernel[0])?, int(3, kernel[1])?];
            let pads = twice(&[int(4, 0)?, int(5, 0)?]);
            let mut attributes = vec![
                Attribute::ints("kernel_shape", kernel),
                Attribute::ints("strides", strides),
                Attribute::ints("pads", pads),
            ];
            let operator = if code == op::MAX_POOL2D { "MaxPool" } else { "AveragePool" };
            if code == op::AVG_POOL2D {
                attributes.push(Attribute::int("count_include_pad", 1));
            }
            one(graph.node(operator, &[&x.name], attributes))
        }
        op::RESIZE2D | op::ADAPTIVE_AVG_POOL2D => {
            // As the host does it: a product with a matrix of weights along each axis.
            let ints = call.ints(0)?;
            let matrix = |graph: &mut Graph, axis: usize| -> Result<String, ExportError> {
                let from = call.fixed(x.shape.get(axis), "the size of its input")?;
                let to = ints[axis - 2];
                let weights = axis_weights(code, &ints, from as usize, to as usize)
                    .ok_or_else(|| call.refused("its attributes are not known"))?;
                let weights: Vec<f64> = match axis {
                    2 => weights,
                    // The transposed matrix, since it stands on the right.
                    _ => {
                        let (from, to) = (from as usize, to as usize);
                        (0..from * to).map(|at| weights[at % to * from + at / to]).collect()
                    }
                };
                let dims = if axis == 2 { [to, from] } else { [from, to] };
                Ok(graph.filled(&weights, &dims, x.dtype))
            };
            let (rows, columns) = (matrix(graph, 2)?, matrix(graph, 3)?);
            let wide = graph.node("MatMul", &[&x.name, &columns], Vec::new());
            one(graph.node("MatMul", &[&rows, &wide], Vec::new()))
        }
        _ => {
            // By indices: scales that are no whole numbers would be rounded.
            let mut name = x.name.clone();
            for (place, axis) in [(0, 2), (1, 3)] {
                let old = call.fixed(x.shape.get(axis), "the size of its input")?;
                let new = int(place, old)?;
                if new == old {
                    continue;
                }
                let picked: Vec<i64> = (0..new).map(|at| at * old / new).collect();
                let indices = graph.ints(&picked);
                let attributes = vec![Attribute::int("axis", axis as i64)];
                name = graph.node("Gather", &[&name, &indices], attributes);
            }
            one(name)
        }
    }
}
