//! An operator of ONNX, or several, for each operation of the host.

mod attention;
mod elementwise;
mod layers;
mod reduction;
mod shape;
mod window;

use candle_core::DType;
use fluxbay_plugin::abi::operation::op;

use super::ExportError;
use super::graph::{Graph, Value, output_name};
use super::messages::{Attribute, BFLOAT16, FLOAT, FLOAT16};
use super::symbolic::Number;
use super::traces::{Compared, Float, Operation};

/// Translates all operations of a model.
///
/// # Errors
/// An operation without a translation.
pub fn all(graph: &mut Graph, compared: &Compared) -> Result<(), ExportError> {
    let mut results: Vec<Vec<Value>> = Vec::with_capacity(compared.operations.len());
    for operation in &compared.operations {
        graph.layer.clone_from(&operation.layer);
        let inputs = operation.inputs.iter().map(|input| graph.operand(input, &results));
        let inputs = inputs.collect::<Result<Vec<Value>, ExportError>>()?;
        let call = Call { operation, inputs: &inputs };
        let names = translate(graph, &call)?;
        if names.len() != operation.results.len() {
            return Err(operation.refused("it overwrites a tensor"));
        }
        let values = names.into_iter().zip(&operation.results).map(|(name, result)| {
            let value = Value { name, dtype: result.dtype, shape: result.shape.clone() };
            rounded(graph, value)
        });
        results.push(values.collect());
    }
    graph.layer.clear();
    for (index, (operand, _)) in compared.outputs.iter().enumerate() {
        let value = graph.operand(operand, &results)?;
        graph.output(&output_name(index), &value);
    }
    Ok(())
}

/// 16-bit floating numbers are computed as f32 and rounded after each operation.
fn rounded(graph: &mut Graph, value: Value) -> Value {
    let to = match value.dtype {
        DType::F16 => FLOAT16,
        DType::BF16 => BFLOAT16,
        _ => return value,
    };
    let short = graph.cast(&value.name, to);
    Value { name: graph.cast(&short, FLOAT), ..value }
}

/// An operation with the values of its inputs.
struct Call<'a> {
    operation: &'a Operation,
    inputs: &'a [Value],
}

impl Call<'_> {
    fn input(&self, index: usize) -> Result<&Value, ExportError> {
        self.inputs.get(index).ok_or_else(|| self.refused("an input is missing"))
    }

    fn name(&self, index: usize) -> Result<&str, ExportError> {
        self.input(index).map(|value| value.name.as_str())
    }

    fn refused(&self, reason: impl Into<String>) -> ExportError {
        self.operation.refused(reason)
    }

    /// A whole attribute; `default` if it was left out.
    fn number(&self, index: usize, default: i64) -> Number {
        self.operation.ints.get(index).copied().unwrap_or(Number::constant(default))
    }

    /// A whole attribute that does not depend on the sizes.
    fn int(&self, index: usize, default: i64) -> Result<i64, ExportError> {
        self.number(index, default)
            .fixed()
            .ok_or_else(|| self.refused("an attribute depends on the number of samples"))
    }

    /// The whole attributes from `from` on.
    fn ints(&self, from: usize) -> Result<Vec<i64>, ExportError> {
        (from..self.operation.ints.len()).map(|index| self.int(index, 0)).collect()
    }

    fn float(&self, index: usize, default: f64) -> Result<f64, ExportError> {
        match self.operation.floats.get(index) {
            None => Ok(default),
            Some(Float::Fixed(value)) => Ok(*value),
            Some(Float::Sized(_)) => {
                Err(self.refused("an attribute depends on the number of samples"))
            }
        }
    }

    /// A dimension of input 0, counted from the front.
    fn axis(&self, dim: i64) -> Result<i64, ExportError> {
        let rank = self.input(0)?.rank() as i64;
        Ok(if dim < 0 { dim + rank } else { dim })
    }

    /// Dimensions of input 0 in the attributes from `from` on, all if there are none.
    fn axes(&self, from: usize) -> Result<Vec<i64>, ExportError> {
        let rank = self.input(0)?.rank() as i64;
        let given = self.ints(from)?;
        if given.is_empty() {
            return Ok((0..rank).collect());
        }
        given.into_iter().map(|dim| self.axis(dim)).collect()
    }

    /// Shape of the first result.
    fn shape(&self) -> Vec<Number> {
        self.operation.results.first().map(|result| result.shape.clone()).unwrap_or_default()
    }

    fn dtype(&self) -> DType {
        self.operation.results.first().map_or(DType::F32, |result| result.dtype)
    }

    fn fixed(&self, number: Option<&Number>, what: &str) -> Result<i64, ExportError> {
        number
            .and_then(|number| number.fixed())
            .ok_or_else(|| self.refused(format!("{what} depends on the number of samples")))
    }
}

fn one(name: String) -> Result<Vec<String>, ExportError> {
    Ok(vec![name])
}

/// Adds the nodes of an operation; returns the names of its results.
fn translate(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    match call.operation.info.code {
        op::ADD..=op::POW => elementwise::binary(graph, call),
        op::AFFINE..=op::ERF => elementwise::unary(graph, call),
        op::EQ..=op::WHERE_COND => elementwise::comparison(graph, call),
        op::SUM..=op::TOP_K => reduction::reduction(graph, call),
        op::MATMUL..=op::GROUPED_LINEAR => layers::product(graph, call),
        op::RESHAPE..=op::FLIP => shape::shape(graph, call),
        op::INDEX_SELECT..=op::SEGMENT_REDUCE => shape::indexing(graph, call),
        op::CONV1D..=op::ADAPTIVE_AVG_POOL2D => window::window(graph, call),
        op::SOFTMAX | op::LOG_SOFTMAX => {
            let axis = call.axis(call.int(0, -1)?)?;
            let operator = if call.operation.info.code == op::SOFTMAX { "Softmax" } else { "LogSoftmax" };
            one(graph.node(operator, &[call.name(0)?], vec![Attribute::int("axis", axis)]))
        }
        op::CROSS_ENTROPY..=op::WEIGHTED_BCE_WITH_LOGITS => {
            Err(call.refused("a loss is no part of a model that is applied"))
        }
        op::LAYER_NORM..=op::DROPOUT => layers::normalisation(graph, call),
        op::ATTENTION..=op::ROTARY => attention::attention(graph, call),
        op::TO_DTYPE | op::DETACH => one(shape::convert(graph, call.input(0)?, call.dtype())),
        op::ZEROS..=op::ARANGE => shape::creation(graph, call),
        op::UNIFORM..=op::PERMUTATION => Err(call.refused(
            "it draws random numbers, which an exported model cannot draw in the same way",
        )),
        _ => Err(call.refused(
            "there is no translation to ONNX for it yet; export a bundle (`fluxbay export RUN DIR`)",
        )),
    }
}
