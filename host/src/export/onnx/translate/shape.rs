//! Shapes, indices, types, and new tensors.

use candle_core::DType;
use fluxbay_plugin::abi::operation::op;

use super::{Call, one};
use crate::export::onnx::graph::{Graph, Value};
use crate::export::onnx::messages::Attribute;
use crate::export::onnx::symbolic::Number;
use crate::export::onnx::traces::Float;
use crate::export::onnx::{ExportError, onnx_type};

pub(super) fn shape(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let value = call.input(0)?;
    let x = value.name.as_str();
    let rank = value.rank() as i64;
    one(match call.operation.info.code {
        op::RESHAPE => graph.reshape(x, &call.shape()),
        op::TRANSPOSE => {
            let (a, b) = (call.axis(call.int(0, 0)?)?, call.axis(call.int(1, 0)?)?);
            let mut order: Vec<i64> = (0..rank).collect();
            order.swap(a as usize, b as usize);
            graph.node("Transpose", &[x], vec![Attribute::ints("perm", order)])
        }
        op::PERMUTE => {
            let order = call.axes(0)?;
            graph.node("Transpose", &[x], vec![Attribute::ints("perm", order)])
        }
        op::NARROW => {
            let axis = call.axis(call.int(0, 0)?)?;
            let (start, length) = (call.number(1, 0), call.number(2, 0));
            let end = Number {
                constant: start.constant + length.constant,
                batch: start.batch + length.batch,
                length: start.length + length.length,
                both: start.both + length.both,
            };
            let (start, end) = (graph.number(start), graph.number(end));
            let axes = graph.ints(&[axis]);
            graph.node("Slice", &[x, &start, &end, &axes], Vec::new())
        }
        op::SQUEEZE => {
            let axes = graph.ints(&[call.axis(call.int(0, 0)?)?]);
            graph.node("Squeeze", &[x, &axes], Vec::new())
        }
        op::UNSQUEEZE => {
            let dim = call.int(0, 0)?;
            let axes = graph.ints(&[if dim < 0 { dim + rank + 1 } else { dim }]);
            graph.node("Unsqueeze", &[x, &axes], Vec::new())
        }
        op::BROADCAST_AS => {
            let target = graph.shape(&call.shape());
            graph.node("Expand", &[x, &target], Vec::new())
        }
        op::CAT => {
            let names: Vec<&str> = call.inputs.iter().map(|value| value.name.as_str()).collect();
            let axis = call.axis(call.int(0, 0)?)?;
            graph.node("Concat", &names, vec![Attribute::int("axis", axis)])
        }
        op::STACK => {
            let dim = call.int(0, 0)?;
            let axis = if dim < 0 { dim + rank + 1 } else { dim };
            let axes = graph.ints(&[axis]);
            let parts: Vec<String> = call
                .inputs
                .iter()
                .map(|value| graph.node("Unsqueeze", &[&value.name, &axes], Vec::new()))
                .collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            graph.node("Concat", &parts, vec![Attribute::int("axis", axis)])
        }
        op::CONTIGUOUS => graph.node("Identity", &[x], Vec::new()),
        op::PAD => {
            let triples = call.ints(0)?;
            let (mut before, mut after) = (vec![0; rank as usize], vec![0; rank as usize]);
            for triple in triples.chunks_exact(3) {
                let axis = call.axis(triple[0])? as usize;
                before[axis] += triple[1];
                after[axis] += triple[2];
            }
            let pads = graph.ints(&[before, after].concat());
            let fill = graph.scalar(call.float(0, 0.0)?, value.dtype);
            graph.node("Pad", &[x, &pads, &fill], Vec::new())
        }
        _ => {
            let axes = call.axes(0)?;
            let all = |number: i64| vec![number; axes.len()];
            let (starts, ends) = (graph.ints(&all(-1)), graph.ints(&all(i64::MIN)));
            let (axes, steps) = (graph.ints(&axes), graph.ints(&all(-1)));
            graph.node("Slice", &[x, &starts, &ends, &axes, &steps], Vec::new())
        }
    })
}

pub(super) fn indexing(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let x = call.name(0)?;
    let axis = |call: &Call<'_>| -> Result<Vec<Attribute>, ExportError> {
        Ok(vec![Attribute::int("axis", call.axis(call.int(0, 0)?)?)])
    };
    one(match call.operation.info.code {
        op::INDEX_SELECT => graph.node("Gather", &[x, call.name(1)?], axis(call)?),
        op::GATHER => graph.node("GatherElements", &[x, call.name(1)?], axis(call)?),
        op::SCATTER_ADD => {
            let mut attributes = axis(call)?;
            attributes.push(Attribute::string("reduction", "add"));
            graph.node("ScatterElements", &[x, call.name(1)?, call.name(2)?], attributes)
        }
        op::EMBEDDING => graph.node("Gather", &[x, call.name(1)?], vec![Attribute::int("axis", 0)]),
        op::SEGMENT_REDUCE => segments(graph, call)?,
        _ => {
            let depth = graph.number(call.number(0, 1));
            let values = graph.filled(&[0.0, 1.0], &[2], call.dtype());
            graph.node("OneHot", &[x, &depth, &values], vec![Attribute::int("axis", -1)])
        }
    })
}

/// Sums of the rows of each segment; means are divided by the number of rows, at least 1.
fn segments(graph: &mut Graph, call: &Call<'_>) -> Result<String, ExportError> {
    let (rows, of_rows, shape) = (call.input(0)?, call.input(1)?, call.shape());
    let dtype = rows.dtype;
    let last = graph.ints(&[1]);
    let places = graph.node("Unsqueeze", &[&of_rows.name, &last], Vec::new());
    let added = |graph: &mut Graph, shape: &[Number], rows: &str| {
        let zeros = graph.all_zero(shape, dtype);
        let add = vec![Attribute::string("reduction", "add")];
        graph.node("ScatterND", &[&zeros, &places, rows], add)
    };
    let sums = added(graph, &shape, &rows.name);
    if call.int(1, 0)? == 0 {
        return Ok(sums);
    }
    let one = graph.scalar(1.0, dtype);
    let count = graph.shape(&of_rows.shape);
    let ones = graph.node("Expand", &[&one, &count], Vec::new());
    let sizes = added(graph, &shape[..1], &ones);
    let sizes = graph.node("Max", &[&sizes, &one], Vec::new());
    let wide: Vec<Number> = (0..shape.len())
        .map(|axis| if axis == 0 { shape[0] } else { Number::constant(1) })
        .collect();
    let sizes = graph.reshape(&sizes, &wide);
    Ok(graph.node("Div", &[&sums, &sizes], Vec::new()))
}

/// `value` as another type.
pub(super) fn convert(graph: &mut Graph, value: &Value, to: DType) -> String {
    let wanted = onnx_type(to);
    if wanted == onnx_type(value.dtype) {
        return graph.node("Identity", &[&value.name], Vec::new());
    }
    graph.cast(&value.name, wanted)
}

pub(super) fn creation(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let dtype = call.dtype();
    let filled = match call.operation.info.code {
        op::ZEROS => 0.0,
        op::ONES => 1.0,
        op::FULL => call.float(0, 0.0)?,
        _ => {
            let bound = |graph: &mut Graph, index: usize, default: f64| match call
                .operation
                .floats
                .get(index)
            {
                Some(Float::Sized(number)) => {
                    let number = graph.number(*number);
                    let empty = graph.ints(&[]);
                    let number = graph.node("Reshape", &[&number, &empty], Vec::new());
                    graph.cast(&number, onnx_type(dtype))
                }
                Some(Float::Fixed(value)) => graph.scalar(*value, dtype),
                None => graph.scalar(default, dtype),
            };
            let (start, end) = (bound(graph, 0, 0.0), bound(graph, 1, 0.0));
            let step = bound(graph, 2, 1.0);
            return one(graph.node("Range", &[&start, &end, &step], Vec::new()));
        }
    };
    let value = graph.scalar(filled, dtype);
    let target = graph.shape(&call.shape());
    one(graph.node("Expand", &[&value, &target], Vec::new()))
}
