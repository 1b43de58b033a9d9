//! Sums and other reductions, sorting.

use fluxbay_plugin::abi::operation::op;

use super::{Call, one};
use crate::export::onnx::graph::{Graph, Value};
use crate::export::onnx::messages::Attribute;
use crate::export::onnx::symbolic::Number;
use crate::export::onnx::{ExportError, onnx_type};

/// A reduction over `axes`.
pub(super) fn reduce(
    graph: &mut Graph,
    operator: &str,
    x: &str,
    axes: &[i64],
    keep: i64,
) -> String {
    let axes = graph.ints(axes);
    graph.node(operator, &[x, &axes], vec![Attribute::int("keepdims", keep)])
}

pub(super) fn reduction(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let value = call.input(0)?;
    let (x, dtype) = (value.name.as_str(), value.dtype);
    let code = call.operation.info.code;
    one(match code {
        op::SUM | op::MEAN | op::MAX | op::MIN => {
            let operator = match code {
                op::SUM => "ReduceSum",
                op::MEAN => "ReduceMean",
                op::MAX => "ReduceMax",
                _ => "ReduceMin",
            };
            let axes = call.axes(1)?;
            if axes.is_empty() {
                return one(graph.node("Identity", &[x], Vec::new()));
            }
            reduce(graph, operator, x, &axes, call.int(0, 0)?)
        }
        op::VAR => {
            let (keep, correction, axes) = (call.int(0, 0)?, call.int(1, 0)?, call.axes(2)?);
            let mean = reduce(graph, "ReduceMean", x, &axes, 1);
            let centred = graph.node("Sub", &[x, &mean], Vec::new());
            let squares = graph.node("Mul", &[&centred, &centred], Vec::new());
            if correction == 0 {
                reduce(graph, "ReduceMean", &squares, &axes, keep)
            } else {
                let sum = reduce(graph, "ReduceSum", &squares, &axes, keep);
                let count = count(graph, value, &axes);
                let correction = graph.ints(&[correction]);
                let count = graph.node("Sub", &[&count, &correction], Vec::new());
                let empty = graph.ints(&[]);
                let count = graph.node("Reshape", &[&count, &empty], Vec::new());
                let count = graph.cast(&count, onnx_type(dtype));
                graph.node("Div", &[&sum, &count], Vec::new())
            }
        }
        op::NORM => {
            let axes: Vec<i64> = (0..value.rank() as i64).collect();
            reduce(graph, "ReduceL2", x, &axes, 0)
        }
        op::ARGMAX | op::ARGMIN => {
            let (keep, axis) = (call.int(0, 0)?, call.axis(call.int(1, -1)?)?);
            let operator = if code == op::ARGMAX { "ArgMax" } else { "ArgMin" };
            let attributes = vec![
                Attribute::int("axis", axis),
                Attribute::int("keepdims", keep),
                Attribute::int("select_last_index", 0),
            ];
            graph.node(operator, &[x], attributes)
        }
        op::LOG_SUM_EXP => {
            let (keep, axes) = (call.int(0, 0)?, call.axes(1)?);
            let largest = reduce(graph, "ReduceMax", x, &axes, 1);
            let shifted = graph.node("Sub", &[x, &largest], Vec::new());
            let exponentials = graph.node("Exp", &[&shifted], Vec::new());
            let sum = reduce(graph, "ReduceSum", &exponentials, &axes, 1);
            let logarithm = graph.node("Log", &[&sum], Vec::new());
            let result = graph.node("Add", &[&logarithm, &largest], Vec::new());
            if keep == 1 {
                result
            } else {
                let axes = graph.ints(&axes);
                graph.node("Squeeze", &[&result, &axes], Vec::new())
            }
        }
        op::CUMSUM => {
            let axis = graph.int(call.axis(call.int(0, -1)?)?);
            graph.node("CumSum", &[x, &axis], Vec::new())
        }
        _ => {
            let (axis, descending, count) = if code == op::SORT {
                let axis = call.axis(call.int(0, -1)?)?;
                let size = value.shape.get(axis as usize).copied();
                (axis, call.int(1, 0)?, size.unwrap_or(Number::constant(0)))
            } else {
                (value.rank() as i64 - 1, 1, call.number(0, 1))
            };
            let count = graph.number(count);
            let attributes = vec![
                Attribute::int("axis", axis),
                Attribute::int("largest", descending),
                Attribute::int("sorted", 1),
            ];
            return Ok(graph.node_with("TopK", &[x, &count], attributes, 2));
        }
    })
}

/// Number of elements that a reduction over `axes` combines, as a list of one element.
fn count(graph: &mut Graph, value: &Value, axes: &[i64]) -> String {
    let mut product: Option<String> = None;
    for axis in axes {
        let size = value.shape.get(*axis as usize).copied().unwrap_or(Number::constant(1));
        let size = graph.number(size);
        product = Some(match product {
            None => size,
            Some(before) => graph.node("Mul", &[&before, &size], Vec::new()),
        });
    }
    product.unwrap_or_else(|| graph.ints(&[1]))
}
