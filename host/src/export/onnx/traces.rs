//! Runs of the model on inputs of different sizes, compared with each other: what is the same in all of
//! them is the graph, what changes with the sizes is symbolic, and anything else is refused.

use std::collections::HashMap;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use fluxbay_plugin::abi::{handle::Handle, operation::OperationInfo};

use super::ExportError;
use super::symbolic::{Number, Sizes};
use crate::learner::ModelTrace;

/// The input of the model.
#[derive(Clone, Debug)]
pub struct InputForm {
    /// Name of the field.
    pub name: String,
    /// Type of its elements.
    pub dtype: DType,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Number of classes, if it holds labels or token ids.
    pub classes: u64,
}

/// Where an operand comes from.
#[derive(Clone, Debug)]
pub enum Operand {
    /// Output `output` of operation `operation`.
    Result { operation: usize, output: usize },
    /// The input of the model.
    Input,
    /// A parameter or buffer.
    Parameter { path: String, value: Tensor },
    /// A tensor that the model made without an operation; numbered in the order of use. With `rows`, that many of its first
    /// rows are used.
    Constant { number: usize, value: Tensor, rows: Option<Number> },
}

/// An attribute that is not a whole number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Float {
    Fixed(f64),
    /// A whole number that depends on the sizes.
    Sized(Number),
}

/// A result with its shape.
#[derive(Clone, Debug)]
pub struct SizedResult {
    pub dtype: DType,
    pub shape: Vec<Number>,
}

/// An operation of the model.
#[derive(Clone, Debug)]
pub struct Operation {
    pub info: &'static OperationInfo,
    pub inputs: Vec<Operand>,
    pub ints: Vec<Number>,
    pub floats: Vec<Float>,
    pub results: Vec<SizedResult>,
    /// The layer that uses it: the parameter that it reads, or that was read last before it.
    pub layer: String,
}

/// A model as operations.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The fixed number of samples; none if it is symbolic.
    pub batch: Option<usize>,
    pub symbolic_length: bool,
    pub operations: Vec<Operation>,
    pub outputs: Vec<(Operand, SizedResult)>,
}

impl Operation {
    /// Where it is used, for messages.
    pub fn place(&self) -> String {
        if self.layer.is_empty() {
            "before the first layer".to_owned()
        } else {
            format!("in layer `{}`", self.layer)
        }
    }

    /// Why it cannot be exported.
    pub fn refused(&self, reason: impl Into<String>) -> ExportError {
        ExportError::Operation {
            operation: self.info.name,
            place: self.place(),
            reason: reason.into(),
        }
    }
}

/// Batch sizes of the runs.
const BATCHES: [usize; 3] = [2, 3, 5];
/// Shortest sequence whose length is tried as symbolic.
const SHORTEST: usize = 4;

/// Runs the model and compares the runs.
///
/// # Errors
/// The model refuses its inputs, or what it does depends on their values.
pub fn compare(
    form: &InputForm,
    batch: Option<usize>,
    run: impl Fn(&[Tensor]) -> Result<ModelTrace, String>,
) -> Result<Compared, ExportError> {
    let batches = batch.map_or(BATCHES, |batch| [batch.max(1); 3]);
    let length = form.shape.first().copied().unwrap_or(0);
    let mut runs = Vec::new();
    let traced =
        |batch: usize, length: usize, seed: usize| -> Result<(Sizes, ModelTrace), String> {
            let mut shape = form.shape.clone();
            if let Some(first) = shape.first_mut() {
                *first = length;
            }
            let input = input(form, batch, &shape, seed).map_err(|error| error.to_string())?;
            Ok((Sizes { batch: batch as i64, length: length as i64 }, run(&[input])?))
        };
    // What a model computes once and keeps, such as a table of positions, is a constant afterwards.
    traced(batches[0], length, 0).map_err(ExportError::Model)?;
    for (seed, batch) in batches.into_iter().enumerate() {
        runs.push(traced(batch, length, seed).map_err(ExportError::Model)?);
    }
    let is_sequence = form.shape.len() == 1 && form.classes > 0 && length >= SHORTEST;
    // A table of positions that is used whole takes no operation, so the lengths are also tried without the longest.
    let longest = if is_sequence { &[length, length - 1][..] } else { &[] };
    for &longest in longest {
        let [one, other, third] = batches.map(|batch| (batch, longest));
        let shorter = [(one.0, longest - 1), (other.0, longest - 1), (one.0, longest - 2)];
        let all = [one, other, third].into_iter().chain(shorter);
        let runs: Result<Vec<_>, String> = all
            .zip(0..)
            .map(|((batch, length), seed)| {
                // The first run of a length computes what is kept for it.
                traced(batch, length, seed)?;
                traced(batch, length, seed)
            })
            .collect();
        // A model that takes one length only refuses the others.
        if let Ok(runs) = runs
            && let Ok(compared) = merged(batch, true, &runs)
        {
            return Ok(compared);
        }
    }
    merged(batch, false, &runs)
}

/// An input of `batch` samples of `shape`: numbers in `[0, 1)`, or whole ones below the number of classes, and below 256
/// without classes. Other seeds have other values.
///
/// # Errors
/// For an element type that candle cannot convert to.
pub fn input(
    form: &InputForm,
    batch: usize,
    shape: &[usize],
    seed: usize,
) -> candle_core::Result<Tensor> {
    let shape: Vec<usize> = std::iter::once(batch).chain(shape.iter().copied()).collect();
    let count: usize = shape.iter().product();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (seed as u64 + 1);
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let floating = matches!(form.dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16);
    let most = if form.classes > 0 { form.classes } else { 256 };
    let values: Vec<f64> =
        (0..count)
            .map(|_| {
                if floating { next() as f64 / (1_u64 << 31) as f64 } else { (next() % most) as f64 }
            })
            .collect();
    Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(form.dtype)
}

/// The operand of each handle of a run, as far as the run has got.
struct Known<'a> {
    trace: &'a ModelTrace,
    operands: HashMap<Handle, Operand>,
    constants: usize,
}

impl Known<'_> {
    fn operand(&mut self, handle: Handle, given: &[(Handle, Tensor)]) -> Option<Operand> {
        if let Some(known) = self.operands.get(&handle) {
            return Some(known.clone());
        }
        let value = given.iter().find(|(one, _)| *one == handle).map(|(_, value)| value.clone())?;
        let parameter = self.trace.parameters.iter().find(|(one, _)| *one == handle);
        let operand = match parameter {
            Some((_, path)) => Operand::Parameter { path: path.clone(), value },
            None => {
                self.constants += 1;
                Operand::Constant { number: self.constants - 1, value, rows: None }
            }
        };
        self.operands.insert(handle, operand.clone());
        Some(operand)
    }
}

/// Whether two operands are the same in two runs.
fn same(one: &Operand, other: &Operand) -> bool {
    match (one, other) {
        (Operand::Input, Operand::Input) => true,
        (
            Operand::Result { operation, output },
            Operand::Result { operation: other, output: other_output },
        ) => operation == other && output == other_output,
        (Operand::Parameter { path, .. }, Operand::Parameter { path: other, .. }) => path == other,
        (
            Operand::Constant { number, value, .. },
            Operand::Constant { number: other, value: other_value, .. },
        ) => number == other && equal(value, other_value),
        _ => false,
    }
}

/// Whether two tensors have the same shape, type and bits.
fn equal(one: &Tensor, other: &Tensor) -> bool {
    one.dims() == other.dims()
        && one.dtype() == other.dtype()
        && match (bytes(one), bytes(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
}

/// A constant of which a run uses as many rows as its sequences are long, such as a table of positions. None if the tensors of the
/// runs are not the beginning of the longest one.
fn table(sizes: &[Sizes], of_runs: &[Operand]) -> Option<Operand> {
    let constant = |operand: &Operand| match operand {
        Operand::Constant { number, value, .. } if value.rank() > 0 => {
            Some((*number, value.clone()))
        }
        _ => None,
    };
    let constants = of_runs.iter().map(constant).collect::<Option<Vec<_>>>()?;
    let (number, longest) = constants.iter().max_by_key(|(_, value)| value.dims()[0])?.clone();
    let begins = |(other, value): &(usize, Tensor)| {
        let rows = longest.narrow(0, 0, value.dims()[0]);
        *other == number && rows.is_ok_and(|rows| equal(&rows, value))
    };
    let lengths: Vec<i64> = constants.iter().map(|(_, value)| value.dims()[0] as i64).collect();
    let by_length = |rows: &Number| rows.batch == 0 && rows.both == 0;
    let rows = Number::solve(sizes, &lengths).filter(by_length)?;
    constants.iter().all(begins).then_some(Operand::Constant {
        number,
        value: longest,
        rows: Some(rows),
    })
}

fn merged(
    batch: Option<usize>,
    symbolic_length: bool,
    runs: &[(Sizes, ModelTrace)],
) -> Result<Compared, ExportError> {
    let sizes: Vec<Sizes> = runs
        .iter()
        .map(|(sizes, _)| Sizes {
            length: if symbolic_length { sizes.length } else { 0 },
            ..*sizes
        })
        .collect();
    let different = |what: &str| {
        ExportError::Model(format!(
            "the model cannot be exported: {what} in runs on inputs of different values or sizes; \
             `--batch N` exports it for one number of samples"
        ))
    };
    let traces: Vec<&ModelTrace> = runs.iter().map(|(_, trace)| trace).collect();
    let count = traces[0].operations.len();
    if traces.iter().any(|trace| trace.operations.len() != count) {
        return Err(different("it applies other numbers of operations"));
    }
    let mut known: Vec<Known<'_>> = traces
        .iter()
        .map(|trace| Known {
            trace,
            operands: trace.inputs.iter().map(|input| (*input, Operand::Input)).collect(),
            constants: 0,
        })
        .collect();
    let mut operations = Vec::with_capacity(count);
    let mut layer = String::new();
    for index in 0..count {
        let all: Vec<_> = traces.iter().map(|trace| &trace.operations[index]).collect();
        let first = all[0];
        let alike = |one: &&crate::tensor::Traced| {
            one.operation.code == first.operation.code
                && one.inputs.len() == first.inputs.len()
                && one.ints.len() == first.ints.len()
                && one.floats.len() == first.floats.len()
                && one.results.len() == first.results.len()
        };
        if !all.iter().all(alike) {
            return Err(different("it applies other operations"));
        }
        let mut operation = Operation {
            info: first.operation,
            inputs: Vec::new(),
            ints: Vec::new(),
            floats: Vec::new(),
            results: Vec::new(),
            layer: String::new(),
        };
        let mut operands: Vec<Vec<Operand>> = Vec::new();
        for place in 0..first.inputs.len() {
            let of_runs: Option<Vec<Operand>> = known
                .iter_mut()
                .zip(&all)
                .map(|(known, one)| known.operand(one.inputs[place], &one.given))
                .collect();
            let of_runs = of_runs.ok_or_else(|| different("it uses tensors of earlier runs"))?;
            if let Operand::Parameter { path, .. } = &of_runs[0] {
                layer = path.rsplit_once('.').map_or(path.as_str(), |(layer, _)| layer).to_owned();
            }
            operands.push(of_runs);
        }
        operation.layer.clone_from(&layer);
        for of_runs in operands {
            let is_same = of_runs.iter().all(|other| same(&of_runs[0], other));
            let operand = match is_same {
                true => of_runs.into_iter().next(),
                false => table(&sizes, &of_runs),
            };
            let operand = operand.ok_or_else(|| {
                operation.refused(
                    "it uses a tensor that the model computes without operations of the host and that \
                     differs between inputs; `--batch N` exports the model for one number of samples",
                )
            })?;
            operation.inputs.push(operand);
        }
        let solved = |values: Vec<i64>| Number::solve(&sizes, &values);
        for place in 0..first.ints.len() {
            let values = all.iter().map(|one| one.ints[place]).collect();
            let number = solved(values).ok_or_else(|| {
                operation.refused("an attribute depends on the values of the input")
            })?;
            operation.ints.push(number);
        }
        for place in 0..first.floats.len() {
            let values: Vec<f64> = all.iter().map(|one| one.floats[place]).collect();
            let fixed = values.iter().all(|value| value.to_bits() == values[0].to_bits());
            let float = if fixed {
                Some(Float::Fixed(values[0]))
            } else if values.iter().all(|value| value.fract() == 0.0 && value.abs() < 1e15) {
                solved(values.iter().map(|value| *value as i64).collect()).map(Float::Sized)
            } else {
                None
            };
            operation.floats.push(float.ok_or_else(|| {
                operation.refused("an attribute depends on the values of the input")
            })?);
        }
        for output in 0..first.results.len() {
            for (known, one) in known.iter_mut().zip(&all) {
                known.operands.insert(
                    one.results[output].handle,
                    Operand::Result { operation: index, output },
                );
            }
            let shapes: Vec<&[usize]> =
                all.iter().map(|one| one.results[output].value.dims()).collect();
            let shape = shape(&sizes, &shapes)
                .ok_or_else(|| operation.refused("the shape of its result depends on values"))?;
            operation
                .results
                .push(SizedResult { dtype: first.results[output].value.dtype(), shape });
        }
        operations.push(operation);
    }
    let mut outputs = Vec::new();
    for index in 0..traces[0].outputs.len() {
        if traces.iter().any(|trace| trace.outputs.len() <= index) {
            return Err(different("it has other numbers of outputs"));
        }
        let of_runs: Option<Vec<Operand>> = known
            .iter_mut()
            .map(|known| {
                known.operand(known.trace.outputs[index].0, &[known.trace.outputs[index].clone()])
            })
            .collect();
        let of_runs = of_runs.unwrap_or_default();
        let Some(first) =
            of_runs.first().filter(|first| of_runs.iter().all(|one| same(first, one)))
        else {
            return Err(ExportError::Model(format!(
                "output {index} of the model is not computed by operations of the host, so it cannot be exported"
            )));
        };
        let values: Vec<&Tensor> = traces.iter().map(|trace| &trace.outputs[index].1).collect();
        let shapes: Vec<&[usize]> = values.iter().map(|value| value.dims()).collect();
        let shape = shape(&sizes, &shapes)
            .ok_or_else(|| different("the shape of an output depends on values"))?;
        outputs.push((first.clone(), SizedResult { dtype: values[0].dtype(), shape }));
    }
    Ok(Compared { batch, symbolic_length, operations, outputs })
}

/// The shape of a tensor that has `shapes` at `sizes`.
fn shape(sizes: &[Sizes], shapes: &[&[usize]]) -> Option<Vec<Number>> {
    let rank = shapes[0].len();
    if shapes.iter().any(|shape| shape.len() != rank) {
        return None;
    }
    (0..rank)
        .map(|axis| {
            let values: Vec<i64> = shapes.iter().map(|shape| shape[axis] as i64).collect();
            Number::solve(sizes, &values)
        })
        .collect()
}

/// The elements of a tensor in little-endian order, whole numbers as i64 and 16-bit floating numbers as f32.
pub fn bytes(tensor: &Tensor) -> candle_core::Result<Vec<u8>> {
    let to = match tensor.dtype() {
        DType::F64 => DType::F64,
        DType::F32 | DType::F16 | DType::BF16 => DType::F32,
        _ => DType::I64,
    };
    let tensor = tensor.to_dtype(to)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(candle_core::Error::msg("the tensor is not on the processor"));
    };
    let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
    Ok(match storage {
        CpuStorage::F64(values) => values[range].iter().flat_map(|v| v.to_le_bytes()).collect(),
        CpuStorage::F32(values) => values[range].iter().flat_map(|v| v.to_le_bytes()).collect(),
        CpuStorage::I64(values) => values[range].iter().flat_map(|v| v.to_le_bytes()).collect(),
        _ => return Err(candle_core::Error::msg("the tensor has an unknown element type")),
    })
}
