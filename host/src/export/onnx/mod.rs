//! ONNX: the forward pass of a model as a graph of standard operators (opset 18).
//!
//! The host sees every operation that a model applies, whatever language its plugin is written in.
//! [`model`] runs the model on a few inputs of different sizes and translates the operations:
//!
//! | file | content |
//! |---|---|
//! | `traces` | runs of the model on inputs of different sizes, compared with each other |
//! | `symbolic` | sizes as formulas of the batch size and the length |
//! | `preprocessing` | what the data set and transforms do with raw values, in front of the model |
//! | `graph` | nodes, constants and names of the ONNX graph |
//! | `translate` | an operator, or several, for each operation code |
//! | `messages` | the messages of the format |
//!
//! What cannot be exported is refused with the operation and the layer that uses it.

mod graph;
mod messages;
mod preprocessing;
mod symbolic;
mod traces;
mod translate;

use candle_core::{DType, Tensor};
use prost::Message as _;

use crate::learner::ModelTrace;
use crate::predict::{Applied, PredictError};
pub use preprocessing::Preprocessing;

use graph::Graph;
use traces::Compared;
pub use traces::{InputForm, input};

/// Version of the operator set.
pub const OPSET: i64 = 18;

/// Why a model cannot be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// An operation that has no translation.
    #[error("the operation `{operation}` {place} cannot be exported: {reason}")]
    Operation {
        /// Name of the operation.
        operation: &'static str,
        /// Where it is used.
        place: String,
        /// Why not.
        reason: String,
    },
    /// The model as a whole.
    #[error("{0}")]
    Model(String),
}

impl From<ExportError> for PredictError {
    fn from(error: ExportError) -> PredictError {
        PredictError::Text(error.to_string())
    }
}

/// What an exported model says about itself.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Name of the graph: the run.
    pub name: String,
    /// Version of the producer; empty for none.
    pub version: String,
    /// Names of the classes, for the metadata.
    pub classes: Vec<String>,
    /// A fixed number of samples; otherwise it is symbolic.
    pub batch: Option<usize>,
    /// What is done with raw values; without it the graph takes the inputs of the model.
    pub preprocessing: Option<Preprocessing>,
}

/// The bytes of an ONNX file with the model of `applied`.
///
/// # Errors
/// An operation without a translation, or a model whose operations depend on values.
pub fn model(applied: &Applied, description: &Description) -> Result<Vec<u8>, PredictError> {
    let Some((_, field)) = applied.input() else {
        return Err(PredictError::Text("the data of the model had no fields".to_owned()));
    };
    let dtype = crate::loader::element_type(field.dtype).ok_or_else(|| {
        PredictError::Text(format!("field `{}` has an unknown element type", field.name))
    })?;
    let form = InputForm {
        name: field.name.clone(),
        dtype,
        shape: field.shape.clone(),
        classes: field.classes,
    };
    let run = |inputs: &[Tensor]| {
        let runtime = applied.session().runtime();
        runtime.trace_model(applied.model(), inputs).map_err(|stop| stop.to_string())
    };
    Ok(traced(&form, description, run)?)
}

/// The bytes of an ONNX file with what `run` does. It is called with inputs of several sizes.
///
/// # Errors
/// As [`model`]; or `run` refuses its inputs.
pub fn traced(
    form: &InputForm,
    description: &Description,
    run: impl Fn(&[Tensor]) -> Result<ModelTrace, String>,
) -> Result<Vec<u8>, ExportError> {
    encode(form, &traces::compare(form, description.batch, run)?, description)
}

/// The file for compared traces.
fn encode(
    form: &InputForm,
    compared: &Compared,
    description: &Description,
) -> Result<Vec<u8>, ExportError> {
    let mut graph = Graph::new(form, compared);
    if let Some(preprocessing) = &description.preprocessing {
        graph.preprocess(preprocessing, form)?;
    }
    translate::all(&mut graph, compared)?;
    let message = graph.finish(form, compared, description)?;
    let length = message.encoded_len();
    if length > i32::MAX as usize {
        return Err(ExportError::Model(format!(
            "the model takes {length} bytes, an ONNX file has at most 2 GiB: export a bundle instead"
        )));
    }
    Ok(message.encode_to_vec())
}

/// Number of the ONNX type that holds elements of a type: whole numbers are all kept as i64.
fn onnx_type(dtype: DType) -> i32 {
    match dtype {
        DType::F64 => messages::DOUBLE,
        DType::F32 | DType::F16 | DType::BF16 => messages::FLOAT,
        _ => messages::INT64,
    }
}
