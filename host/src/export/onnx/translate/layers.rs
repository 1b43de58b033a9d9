//! Products and normalisation.

use fluxbay_plugin::abi::operation::op;

use super::elementwise::activate;
use super::reduction::reduce;
use super::{Call, one};
use crate::export::onnx::ExportError;
use crate::export::onnx::graph::Graph;
use crate::export::onnx::messages::Attribute;

pub(super) fn product(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let (x, w) = (call.input(0)?, call.input(1)?);
    match call.operation.info.code {
        op::MATMUL => return one(graph.node("MatMul", &[&x.name, &w.name], Vec::new())),
        op::GROUPED_LINEAR => return grouped(graph, call),
        _ => {}
    }
    let mut name = x.name.clone();
    let mut rank = x.rank();
    if call.operation.info.code == op::FLAT_LINEAR && rank != 2 {
        name = graph.node("Flatten", &[&name], vec![Attribute::int("axis", 1)]);
        rank = 2;
    }
    let bias = call.inputs.get(2);
    let result = if rank == 2 {
        let mut inputs = vec![name.as_str(), w.name.as_str()];
        inputs.extend(bias.map(|bias| bias.name.as_str()));
        graph.node("Gemm", &inputs, vec![Attribute::int("transB", 1)])
    } else {
        let transposed =
            graph.node("Transpose", &[&w.name], vec![Attribute::ints("perm", vec![1, 0])]);
        let product = graph.node("MatMul", &[&name, &transposed], Vec::new());
        match bias {
            Some(bias) => graph.node("Add", &[&product, &bias.name], Vec::new()),
            None => product,
        }
    };
    one(activate(graph, call, result, call.int(0, 0)?)?)
}

/// Picks the rows of each group, multiplies them with its matrix, and puts all of them back in their places.
fn grouped(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let (x, groups) = (call.name(0)?, call.name(1)?);
    let (mut places, mut products) = (Vec::new(), Vec::new());
    for (number, weight) in call.inputs.iter().skip(2).enumerate() {
        let number = graph.int(number as i64);
        let chosen = graph.node("Equal", &[groups, &number], Vec::new());
        let found = graph.node("NonZero", &[&chosen], Vec::new());
        let rows = graph.node("Transpose", &[&found], vec![Attribute::ints("perm", vec![1, 0])]);
        let picked = graph.node("GatherND", &[x, &rows], Vec::new());
        let transposed = vec![Attribute::int("transB", 1)];
        products.push(graph.node("Gemm", &[&picked, &weight.name], transposed));
        places.push(rows);
    }
    let [places, products] = [places, products].map(|parts| {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        graph.node("Concat", &parts, vec![Attribute::int("axis", 0)])
    });
    let zeros = graph.all_zero(&call.shape(), call.dtype());
    one(graph.node("ScatterND", &[&zeros, &places, &products], Vec::new()))
}

pub(super) fn normalisation(
    graph: &mut Graph,
    call: &Call<'_>,
) -> Result<Vec<String>, ExportError> {
    let value = call.input(0)?;
    let (x, dtype) = (value.name.as_str(), value.dtype);
    let epsilon = call.float(0, 1e-5)?;
    match call.operation.info.code {
        op::LAYER_NORM => {
            let width = call.fixed(value.shape.last(), "its width")?;
            let ones = match call.inputs.get(1) {
                Some(weight) => weight.name.clone(),
                None => graph.filled(&vec![1.0; width as usize], &[width], dtype),
            };
            let mut inputs = vec![x, &ones];
            inputs.extend(call.inputs.get(2).map(|bias| bias.name.as_str()));
            let attributes = vec![Attribute::int("axis", -1), Attribute::float("epsilon", epsilon)];
            one(graph.node("LayerNormalization", &inputs, attributes))
        }
        op::RMS_NORM => {
            let squares = graph.node("Mul", &[x, x], Vec::new());
            let mean = reduce(graph, "ReduceMean", &squares, &[value.rank() as i64 - 1], 1);
            let epsilon = graph.scalar(epsilon, dtype);
            let sum = graph.node("Add", &[&mean, &epsilon], Vec::new());
            let root = graph.node("Sqrt", &[&sum], Vec::new());
            let mut name = graph.node("Div", &[x, &root], Vec::new());
            if let Some(weight) = call.inputs.get(1) {
                name = graph.node("Mul", &[&name, &weight.name], Vec::new());
            }
            one(name)
        }
        op::BATCH_NORM => {
            if call.int(0, 0)? == 1 {
                return Err(call.refused("it uses the statistics of the batch also in evaluation"));
            }
            let names: Vec<&str> = call.inputs.iter().map(|value| value.name.as_str()).collect();
            let attributes = vec![Attribute::float("epsilon", epsilon)];
            one(graph.node("BatchNormalization", &names, attributes))
        }
        op::GROUP_NORM => {
            let groups = call.int(0, 1)?;
            let channels = call.fixed(value.shape.get(1), "its number of channels")?;
            let flat = graph.ints(&[0, groups, -1]);
            let grouped = graph.node("Reshape", &[x, &flat], Vec::new());
            let ones = graph.filled(&vec![1.0; groups as usize], &[groups], dtype);
            let zeros = graph.filled(&vec![0.0; groups as usize], &[groups], dtype);
            let attributes = vec![Attribute::float("epsilon", epsilon)];
            let normal =
                graph.node("InstanceNormalization", &[&grouped, &ones, &zeros], attributes);
            let mut name = graph.reshape(&normal, &value.shape);
            let mut wide = vec![1; value.rank()];
            wide[1] = channels;
            for (index, operator) in [(1, "Mul"), (2, "Add")] {
                if let Some(parameter) = call.inputs.get(index) {
                    let target = graph.ints(&wide);
                    let spread = graph.node("Reshape", &[&parameter.name, &target], Vec::new());
                    name = graph.node(operator, &[&name, &spread], Vec::new());
                }
            }
            one(name)
        }
        // Dropout: in evaluation it changes nothing.
        _ => one(graph.node("Identity", &[x], Vec::new())),
    }
}
