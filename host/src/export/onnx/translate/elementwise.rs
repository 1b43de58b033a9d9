//! Operations on each element, and the activations that are fused into others.

use candle_core::DType;
use fluxbay_plugin::abi::operation::{activation, op};

use super::{Call, one};
use crate::export::onnx::ExportError;
use crate::export::onnx::graph::Graph;
use crate::export::onnx::messages::{Attribute, BOOL, INT64};

pub(super) fn binary(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let operator = match call.operation.info.code {
        op::ADD => "Add",
        op::SUB => "Sub",
        op::MUL => "Mul",
        op::DIV => "Div",
        op::MINIMUM => "Min",
        op::MAXIMUM => "Max",
        _ => "Pow",
    };
    one(graph.node(operator, &[call.name(0)?, call.name(1)?], Vec::new()))
}

pub(super) fn unary(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let value = call.input(0)?;
    let (x, dtype) = (value.name.as_str(), value.dtype);
    let operator = match call.operation.info.code {
        op::NEG => Some("Neg"),
        op::ABS => Some("Abs"),
        op::EXP => Some("Exp"),
        op::LOG => Some("Log"),
        op::SQRT => Some("Sqrt"),
        op::RECIP => Some("Reciprocal"),
        op::SIN => Some("Sin"),
        op::COS => Some("Cos"),
        op::TANH => Some("Tanh"),
        op::RELU => Some("Relu"),
        op::SIGMOID => Some("Sigmoid"),
        op::SIGN => Some("Sign"),
        op::FLOOR => Some("Floor"),
        op::CEIL => Some("Ceil"),
        op::ROUND => Some("Round"),
        op::ERF => Some("Erf"),
        op::SOFTPLUS => Some("Softplus"),
        _ => None,
    };
    if let Some(operator) = operator {
        return one(graph.node(operator, &[x], Vec::new()));
    }
    one(match call.operation.info.code {
        op::AFFINE => {
            let (factor, addend) = (call.float(0, 1.0)?, call.float(1, 0.0)?);
            let factor = graph.scalar(factor, dtype);
            let product = graph.node("Mul", &[x, &factor], Vec::new());
            let addend = graph.scalar(addend, dtype);
            graph.node("Add", &[&product, &addend], Vec::new())
        }
        op::SQR => graph.node("Mul", &[x, x], Vec::new()),
        op::GELU => gelu(graph, x, dtype),
        op::GELU_ERF => gelu_erf(graph, x, dtype),
        op::SILU => silu(graph, x),
        op::ELU => {
            let alpha = Attribute::float("alpha", call.float(0, 1.0)?);
            graph.node("Elu", &[x], vec![alpha])
        }
        op::LEAKY_RELU => {
            let alpha = Attribute::float("alpha", call.float(0, 0.01)?);
            graph.node("LeakyRelu", &[x], vec![alpha])
        }
        op::POWF => {
            let exponent = graph.scalar(call.float(0, 1.0)?, dtype);
            graph.node("Pow", &[x, &exponent], Vec::new())
        }
        op::CLAMP => {
            let low = graph.scalar(call.float(0, f64::NEG_INFINITY)?, dtype);
            let high = graph.scalar(call.float(1, f64::INFINITY)?, dtype);
            graph.node("Clip", &[x, &low, &high], Vec::new())
        }
        _ => return Err(call.refused("there is no translation to ONNX for it yet")),
    })
}

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
fn gelu(graph: &mut Graph, x: &str, dtype: DType) -> String {
    let square = graph.node("Mul", &[x, x], Vec::new());
    let cube = graph.node("Mul", &[&square, x], Vec::new());
    let factor = graph.scalar(0.044_715, dtype);
    let scaled = graph.node("Mul", &[&cube, &factor], Vec::new());
    let sum = graph.node("Add", &[x, &scaled], Vec::new());
    let factor = graph.scalar((2.0 / std::f64::consts::PI).sqrt(), dtype);
    let inner = graph.node("Mul", &[&sum, &factor], Vec::new());
    let tanh = graph.node("Tanh", &[&inner], Vec::new());
    half_of_one_plus(graph, x, &tanh, dtype)
}

/// `x/2 (1 + erf(x / sqrt 2))`.
fn gelu_erf(graph: &mut Graph, x: &str, dtype: DType) -> String {
    let factor = graph.scalar(std::f64::consts::FRAC_1_SQRT_2, dtype);
    let inner = graph.node("Mul", &[x, &factor], Vec::new());
    let erf = graph.node("Erf", &[&inner], Vec::new());
    half_of_one_plus(graph, x, &erf, dtype)
}

fn half_of_one_plus(graph: &mut Graph, x: &str, inner: &str, dtype: DType) -> String {
    let one = graph.scalar(1.0, dtype);
    let sum = graph.node("Add", &[inner, &one], Vec::new());
    let half = graph.scalar(0.5, dtype);
    let halved = graph.node("Mul", &[x, &half], Vec::new());
    graph.node("Mul", &[&halved, &sum], Vec::new())
}

fn silu(graph: &mut Graph, x: &str) -> String {
    let sigmoid = graph.node("Sigmoid", &[x], Vec::new());
    graph.node("Mul", &[x, &sigmoid], Vec::new())
}

/// The activation that is fused into a product or convolution.
pub(super) fn activate(
    graph: &mut Graph,
    call: &Call<'_>,
    name: String,
    code: i64,
) -> Result<String, ExportError> {
    let dtype = call.dtype();
    Ok(match code {
        activation::NONE => name,
        activation::RELU => graph.node("Relu", &[&name], Vec::new()),
        activation::GELU => gelu(graph, &name, dtype),
        activation::GELU_ERF => gelu_erf(graph, &name, dtype),
        activation::SILU => silu(graph, &name),
        activation::SIGMOID => graph.node("Sigmoid", &[&name], Vec::new()),
        activation::TANH => graph.node("Tanh", &[&name], Vec::new()),
        other => return Err(call.refused(format!("its activation {other} is not known"))),
    })
}

pub(super) fn comparison(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let (a, b) = (call.name(0)?, call.name(1)?);
    let operator = match call.operation.info.code {
        op::EQ | op::NE => "Equal",
        op::LT => "Less",
        op::LE => "LessOrEqual",
        op::GT => "Greater",
        op::GE => "GreaterOrEqual",
        _ => {
            let condition = graph.cast(a, BOOL);
            return one(graph.node("Where", &[&condition, b, call.name(2)?], Vec::new()));
        }
    };
    let mut result = graph.node(operator, &[a, b], Vec::new());
    if call.operation.info.code == op::NE {
        result = graph.node("Not", &[&result], Vec::new());
    }
    one(graph.cast(&result, INT64))
}
