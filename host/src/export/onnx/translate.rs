//! An operator of ONNX, or several, for each operation of the host.

use candle_core::DType;
use fluxbay_plugin::abi::operation::{activation, op};

use super::graph::{Graph, Value, output_name};
use super::messages::{Attribute, BFLOAT16, BOOL, FLOAT, FLOAT16, INT64};
use super::symbolic::Number;
use super::traces::{Compared, Float, Operation};
use super::{ExportError, onnx_type};

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
        op::ADD..=op::POW => binary(graph, call),
        op::AFFINE..=op::ERF => unary(graph, call),
        op::EQ..=op::WHERE_COND => comparison(graph, call),
        op::SUM..=op::TOP_K => reduction(graph, call),
        op::MATMUL..=op::FLAT_LINEAR => product(graph, call),
        op::RESHAPE..=op::FLIP => shape(graph, call),
        op::INDEX_SELECT..=op::ONE_HOT => indexing(graph, call),
        op::CONV1D..=op::UPSAMPLE_NEAREST2D => window(graph, call),
        op::SOFTMAX | op::LOG_SOFTMAX => {
            let axis = call.axis(call.int(0, -1)?)?;
            let operator = if call.operation.info.code == op::SOFTMAX { "Softmax" } else { "LogSoftmax" };
            one(graph.node(operator, &[call.name(0)?], vec![Attribute::int("axis", axis)]))
        }
        op::CROSS_ENTROPY..=op::WEIGHTED_BCE_WITH_LOGITS => {
            Err(call.refused("a loss is no part of a model that is applied"))
        }
        op::LAYER_NORM..=op::ATTENTION => normalisation(graph, call),
        op::TO_DTYPE | op::DETACH => one(convert(graph, call.input(0)?, call.dtype())),
        op::ZEROS..=op::ARANGE => creation(graph, call),
        op::UNIFORM..=op::PERMUTATION => Err(call.refused(
            "it draws random numbers, which an exported model cannot draw in the same way",
        )),
        _ => Err(call.refused(
            "there is no translation to ONNX for it yet; export a bundle (`fluxbay export RUN DIR`)",
        )),
    }
}

fn binary(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
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

fn unary(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
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
fn activate(
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

fn comparison(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
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

/// A reduction over `axes`.
fn reduce(graph: &mut Graph, operator: &str, x: &str, axes: &[i64], keep: i64) -> String {
    let axes = graph.ints(axes);
    graph.node(operator, &[x, &axes], vec![Attribute::int("keepdims", keep)])
}

fn reduction(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
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

fn product(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let (x, w) = (call.input(0)?, call.input(1)?);
    if call.operation.info.code == op::MATMUL {
        return one(graph.node("MatMul", &[&x.name, &w.name], Vec::new()));
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

fn shape(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
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

fn indexing(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
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
        _ => {
            let depth = graph.number(call.number(0, 1));
            let values = graph.filled(&[0.0, 1.0], &[2], call.dtype());
            graph.node("OneHot", &[x, &depth, &values], vec![Attribute::int("axis", -1)])
        }
    })
}

fn window(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
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

fn normalisation(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
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
        // In evaluation it changes nothing.
        op::DROPOUT => one(graph.node("Identity", &[x], Vec::new())),
        _ => attention(graph, call),
    }
}

/// `softmax(q k^T / sqrt(c / heads)) v` per head, of packed `[b, t, 3 c]`.
fn attention(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
    let value = call.input(0)?;
    let (heads, causal) = (call.int(0, 1)?, call.int(1, 0)?);
    let (batch, time) = (value.shape[0], value.shape[1]);
    let width = call.fixed(value.shape.get(2), "its width")? / 3;
    let size = width / heads;
    let fixed = Number::constant;
    let split = graph.reshape(&value.name, &[batch, time, fixed(3), fixed(heads), fixed(size)]);
    let ordered =
        graph.node("Transpose", &[&split], vec![Attribute::ints("perm", vec![2, 0, 3, 1, 4])]);
    let part = |graph: &mut Graph, index: i64| {
        let index = graph.int(index);
        graph.node("Gather", &[&ordered, &index], vec![Attribute::int("axis", 0)])
    };
    let (queries, keys, values) = (part(graph, 0), part(graph, 1), part(graph, 2));
    let turned = graph.node("Transpose", &[&keys], vec![Attribute::ints("perm", vec![0, 1, 3, 2])]);
    let products = graph.node("MatMul", &[&queries, &turned], Vec::new());
    let scale = graph.scalar(1.0 / (size as f64).sqrt(), value.dtype);
    let mut scores = graph.node("Mul", &[&products, &scale], Vec::new());
    if causal != 0 {
        // Positions of keys in a row, of queries in a column.
        let length = graph.number(time);
        let empty = graph.ints(&[]);
        let length = graph.node("Reshape", &[&length, &empty], Vec::new());
        let (zero, one) = (graph.int(0), graph.int(1));
        let row = graph.node("Range", &[&zero, &length, &one], Vec::new());
        let axes = graph.ints(&[1]);
        let column = graph.node("Unsqueeze", &[&row, &axes], Vec::new());
        let seen = graph.node("LessOrEqual", &[&row, &column], Vec::new());
        let never = graph.scalar(f64::NEG_INFINITY, value.dtype);
        scores = graph.node("Where", &[&seen, &scores, &never], Vec::new());
    }
    let weights = graph.node("Softmax", &[&scores], vec![Attribute::int("axis", -1)]);
    let mixed = graph.node("MatMul", &[&weights, &values], Vec::new());
    let ordered =
        graph.node("Transpose", &[&mixed], vec![Attribute::ints("perm", vec![0, 2, 1, 3])]);
    one(graph.reshape(&ordered, &[batch, time, fixed(width)]))
}

/// `value` as another type.
fn convert(graph: &mut Graph, value: &Value, to: DType) -> String {
    let wanted = onnx_type(to);
    if wanted == onnx_type(value.dtype) {
        return graph.node("Identity", &[&value.name], Vec::new());
    }
    graph.cast(&value.name, wanted)
}

fn creation(graph: &mut Graph, call: &Call<'_>) -> Result<Vec<String>, ExportError> {
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
