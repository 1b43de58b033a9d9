//! The operations: what each code means, with its gradient. One file per theme.
//!
//! An operation checks its inputs and attributes, computes with the kernels of the backend, and
//! returns its results with the function that carries gradients from the results to the inputs. It
//! does not know where the elements are, and never touches handles or the tape.

pub(crate) use joint_statistics::BlockStatistics;
pub(crate) use normalization::own_statistics;
pub use resampling::axis_weights;

use candle_core::DType;
use fluxbay_plugin::abi::operation::{OperationInfo, op};
use smallvec::{SmallVec, smallvec};

use super::context::{Behaviour, Context, Mode, Recording};
use super::dtype::is_floating;
use super::error::{Result, TensorError};
use super::tape::{Backward, Gradients, InputGradients};
use super::value::Value;

mod attention;
mod binary;
mod convolution;
mod creation;
mod grouped;
mod indexing;
mod joint_statistics;
mod loss;
mod normalization;
mod optimizer;
mod product;
mod reduction;
mod resampling;
mod rows;
mod saved;
mod shape;
mod softmax;
mod statistics;
mod unary;

/// One application of an operation.
pub(crate) struct Call<'a> {
    pub info: &'static OperationInfo,
    pub inputs: &'a [&'a Value],
    /// Whether a gradient may be wanted for each input.
    pub wants: &'a [bool],
    pub ints: &'a [i64],
    pub floats: &'a [f64],
}

/// How gradients are carried from the results to the inputs.
pub(crate) enum Gradient {
    Function(Backward),
    /// The result is a constant.
    Constant,
    /// There is none: a backward pass through it is an error.
    Missing,
}

/// The results of an operation.
pub(crate) struct Produced {
    pub outputs: SmallVec<[Value; 1]>,
    pub gradient: Gradient,
}

impl Produced {
    /// One result and its backward function, which is dropped unless the call is recorded.
    pub fn one(
        call: &Call,
        output: Value,
        backward: impl FnOnce(&mut Context, Gradients) -> Result<InputGradients> + 'static,
    ) -> Self {
        let gradient = if call.records() {
            Gradient::Function(Box::new(backward))
        } else {
            Gradient::Constant
        };
        Self { outputs: smallvec![output], gradient }
    }

    /// One result without a gradient.
    pub fn without_gradient(output: Value) -> Self {
        Self { outputs: smallvec![output], gradient: Gradient::Missing }
    }

    /// One constant.
    pub fn constant(output: Value) -> Self {
        Self { outputs: smallvec![output], gradient: Gradient::Constant }
    }

    /// Nothing: the call changed its targets.
    pub fn nothing() -> Self {
        Self { outputs: SmallVec::new(), gradient: Gradient::Constant }
    }
}

impl<'a> Call<'a> {
    /// Whether a backward function is needed.
    pub fn records(&self) -> bool {
        self.wants.iter().any(|&wants| wants)
    }

    #[cold]
    #[inline(never)]
    pub fn error(&self, message: impl Into<String>) -> Box<TensorError> {
        TensorError::Operation { operation: self.info.name, message: message.into() }.into()
    }

    /// Checks the counts of inputs and attributes.
    #[inline]
    pub fn expect(
        &self,
        inputs: std::ops::RangeInclusive<usize>,
        ints: std::ops::RangeInclusive<usize>,
        floats: std::ops::RangeInclusive<usize>,
    ) -> Result<()> {
        for (what, count, range) in [
            ("inputs", self.inputs.len(), inputs),
            ("ints", self.ints.len(), ints),
            ("floats", self.floats.len(), floats),
        ] {
            if !range.contains(&count) {
                return Err(self.wrong_count(what, count, *range.start(), *range.end()));
            }
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn wrong_count(&self, what: &str, count: usize, low: usize, high: usize) -> Box<TensorError> {
        let wanted = match () {
            () if low == high => format!("{low}"),
            () if high == usize::MAX => format!("at least {low}"),
            () => format!("{low} to {high}"),
        };
        self.error(format!("takes {wanted} {what}, got {count}"))
    }

    pub fn int(&self, index: usize, default: i64) -> i64 {
        self.ints.get(index).copied().unwrap_or(default)
    }

    pub fn float(&self, index: usize, default: f64) -> f64 {
        self.floats.get(index).copied().unwrap_or(default)
    }

    /// An attribute that counts something.
    pub fn size(&self, index: usize, what: &str, default: i64) -> Result<usize> {
        let value = self.int(index, default);
        usize::try_from(value).ok().filter(|&size| size < 1 << 40).ok_or_else(|| {
            self.error(format!("{what} is {value}: it must not be negative or huge"))
        })
    }

    /// A dimension of a tensor with `rank` dimensions; negative ones count from the end.
    pub fn dim(&self, dim: i64, rank: usize) -> Result<usize> {
        let signed = if dim < 0 { dim + rank as i64 } else { dim };
        usize::try_from(signed).ok().filter(|&dim| dim < rank).ok_or_else(|| {
            self.error(format!("dimension {dim} is out of range for shape {:?}", self.shape(0)))
        })
    }

    /// Dimensions, each once and in order; none means all.
    pub fn dim_list(&self, dims: &[i64], rank: usize) -> Result<SmallVec<[usize; 6]>> {
        if dims.is_empty() {
            return Ok((0..rank).collect());
        }
        let mut list = dims
            .iter()
            .map(|&dim| self.dim(dim, rank))
            .collect::<Result<SmallVec<[usize; 6]>>>()?;
        list.sort_unstable();
        if list.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(self.error(format!(
                "dimensions {dims:?} name one twice for shape {:?}",
                self.shape(0)
            )));
        }
        Ok(list)
    }

    pub fn shape(&self, index: usize) -> &'a [usize] {
        self.inputs.get(index).map_or(&[], |value| value.dims())
    }

    /// All inputs' shapes, for messages.
    pub fn shapes(&self) -> String {
        self.inputs
            .iter()
            .map(|value| format!("{:?}", value.dims()))
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// The one element type of all inputs named, which must be f32 or f64.
    pub fn real(&self, inputs: impl IntoIterator<Item = usize>) -> Result<DType> {
        let mut found = None;
        for index in inputs {
            let Some(value) = self.inputs.get(index) else { continue };
            let dtype = value.dtype();
            if !matches!(dtype, DType::F32 | DType::F64) {
                return Err(self.error(format!(
                    "input {index} of shape {:?} must be floating, it is {dtype:?}",
                    value.dims()
                )));
            }
            if *found.get_or_insert(dtype) != dtype {
                return Err(
                    self.error(format!("inputs have different element types: {}", self.dtypes()))
                );
            }
        }
        found.ok_or_else(|| self.error("an input is missing"))
    }

    pub fn dtypes(&self) -> String {
        self.inputs
            .iter()
            .map(|value| format!("{:?}", value.dtype()))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Bits of the inputs that an operation overwrites.
pub(crate) fn targets(code: u32, inputs: usize, ints: &[i64], mode: Mode) -> u32 {
    let mask = match code {
        op::SGD_UPDATE => 0b101,
        op::ADAM_UPDATE | op::ADAMW_UPDATE => 0b1101,
        op::RMSPROP_UPDATE => 0b11101,
        op::LION_UPDATE => 0b101,
        op::ASSIGN | op::LERP_ | op::SCALE_ | op::ADD_SCALED_ => 1,
        op::BATCH_NORM => match ints.first().copied().unwrap_or(0) {
            0 if mode.behaviour == Behaviour::Training => 0b11000,
            1 => 0b11000,
            _ => 0,
        },
        _ => 0,
    };
    mask & ((1_u64 << inputs.min(32)) - 1) as u32
}

/// Whether an operation moves elements of any type without reading them, so that half precision needs
/// no conversion.
fn moves_only(code: u32) -> bool {
    matches!(
        code,
        op::RESHAPE
            ..=op::STACK | op::CONTIGUOUS | op::FLIP | op::TO_DTYPE | op::DETACH | op::ASSIGN
    )
}

/// Applies an operation.
pub(crate) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    let outcome = if let Err(error) = admit_copies(context, call) {
        Err(error)
    } else if moves_only(call.info.code) {
        native(context, call)
    } else if let Some(half) = call
        .inputs
        .iter()
        .map(|value| value.dtype())
        .find(|dtype| matches!(dtype, DType::BF16 | DType::F16))
    {
        converted(context, call, half)
    } else {
        native(context, call)
    };
    outcome.map_err(|error| named(call, *error))
}

/// Checks that a copy of each input can be allocated: most operations return a tensor of the shape
/// of an input, and copy inputs that are not contiguous.
#[inline]
fn admit_copies(context: &Context, call: &Call) -> Result<()> {
    if targets(call.info.code, call.inputs.len(), call.ints, context.mode) != 0 {
        return Ok(());
    }
    let is_view = moves_only(call.info.code);
    let may_copy = matches!(call.info.code, op::RESHAPE | op::CONTIGUOUS);
    for input in call.inputs {
        if !is_view || (may_copy && !input.is_contiguous()) {
            context.admit(input.dtype(), input.dims())?;
        }
    }
    Ok(())
}

/// An error that names the operation.
#[cold]
#[inline(never)]
fn named(call: &Call, error: TensorError) -> Box<TensorError> {
    match error {
        TensorError::Candle { operation: "candle", source } => TensorError::Operation {
            operation: call.info.name,
            message: format!("{source} (inputs {})", call.shapes()),
        }
        .into(),
        TensorError::Request(message) => call.error(message),
        other => other.into(),
    }
}

/// Half precision is computed through f32: results and gradients are rounded once.
#[inline(never)]
fn converted(context: &mut Context, call: &Call, half: DType) -> Result<Produced> {
    let widen = move |context: &Context, value: &Value| -> Result<Value> {
        match value.dtype() == half {
            true => context.backend.convert(value, DType::F32),
            false => Ok(value.clone()),
        }
    };
    let narrow = move |context: &Context, value: Value| -> Result<Value> {
        match value.dtype() == DType::F32 {
            true => context.backend.convert(&value, half),
            false => Ok(value),
        }
    };
    let inputs = call
        .inputs
        .iter()
        .map(|value| widen(context, value))
        .collect::<Result<SmallVec<[Value; 6]>>>()?;
    if let Some(stray) =
        call.inputs.iter().find(|value| is_floating(value.dtype()) && value.dtype() != half)
    {
        return Err(call.error(format!(
            "inputs have different element types: {:?} and {half:?}",
            stray.dtype()
        )));
    }
    let borrowed: SmallVec<[&Value; 6]> = inputs.iter().collect();
    let Produced { outputs, gradient } = apply(context, &Call { inputs: &borrowed, ..*call })?;
    // In place: the converted target was changed, and is copied back.
    let mode = Mode { recording: Recording::Off, behaviour: Behaviour::Training };
    let changed = targets(call.info.code, call.inputs.len(), call.ints, mode);
    for (index, (real, computed)) in call.inputs.iter().zip(&inputs).enumerate() {
        if changed >> index & 1 == 1 && !real.is_same(computed) {
            let narrowed = narrow(context, computed.clone())?;
            context.backend.write(real, &narrowed)?;
        }
    }
    let outputs = outputs.into_iter().map(|value| narrow(context, value)).collect::<Result<_>>()?;
    let gradient = match gradient {
        Gradient::Function(function) => {
            Gradient::Function(Box::new(move |context: &mut Context, gradients: Gradients| {
                let Gradients { outputs, wants } = gradients;
                let outputs = outputs
                    .into_iter()
                    .map(|g| g.map(|g| widen(context, &g)).transpose())
                    .collect::<Result<_>>()?;
                let results = function(context, Gradients { outputs, wants })?;
                results.into_iter().map(|g| g.map(|g| narrow(context, g)).transpose()).collect()
            }))
        }
        other => other,
    };
    Ok(Produced { outputs, gradient })
}

fn native(context: &mut Context, call: &Call) -> Result<Produced> {
    match call.info.code {
        op::ADD..op::AFFINE => binary::arithmetic(context, call),
        op::AFFINE..op::EQ => unary::apply(context, call),
        op::EQ..=op::GE => binary::comparison(context, call),
        op::WHERE_COND => binary::where_cond(context, call),
        op::SUM..=op::LOG_SUM_EXP => reduction::apply(context, call),
        op::CUMSUM..op::MATMUL => rows::apply(context, call),
        op::MATMUL => product::matmul(context, call),
        op::LINEAR | op::FLAT_LINEAR => product::linear(context, call),
        op::GROUPED_LINEAR => grouped::grouped_linear(context, call),
        op::RESHAPE..op::INDEX_SELECT => shape::apply(context, call),
        op::INDEX_SELECT..op::CONV1D => indexing::apply(context, call),
        op::RESIZE2D | op::ADAPTIVE_AVG_POOL2D => resampling::apply(context, call),
        op::CONV1D..op::SOFTMAX => convolution::apply(context, call),
        op::SOFTMAX | op::LOG_SOFTMAX => softmax::apply(context, call),
        op::CROSS_ENTROPY => loss::cross_entropy(context, call),
        op::NLL..=op::BCE_WITH_LOGITS => loss::apply(context, call),
        op::WEIGHTED_CROSS_ENTROPY => loss::weighted_cross_entropy(context, call),
        op::WEIGHTED_BCE_WITH_LOGITS => loss::weighted_logit_entropy(context, call),
        op::LAYER_NORM..=op::DROPOUT => normalization::apply(context, call),
        op::ATTENTION => attention::apply(context, call),
        op::SCALED_ATTENTION => attention::scaled(context, call),
        op::ROTARY => attention::rotary(context, call),
        op::TO_DTYPE..op::GLOBAL_NORM => creation::apply(context, call),
        op::GLOBAL_NORM..op::SGD_UPDATE => statistics::apply(context, call),
        op::SGD_UPDATE.. => optimizer::apply(context, call),
        _ => Err(call.error("this host has no kernel for it")),
    }
}
