//! Exported models in tract, an implementation of ONNX in Rust.

use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::{DType, Tensor};
use tract_onnx::prelude::{
    Framework, InferenceFact, InferenceModelExt, IntoRunnable, IntoTValue, Tensor as TractTensor,
    TractResult,
};

/// The largest difference between what tract and the host compute, relative to values above 1.
///
/// # Errors
/// What tract cannot read or compute, or outputs of another number or shape.
pub fn difference(model: &[u8], inputs: &[Tensor], expected: &[Tensor]) -> Result<f64, String> {
    let run = AssertUnwindSafe(|| run(model, inputs).map_err(|error| format!("{error:#}")));
    let found = catch_unwind(run).unwrap_or_else(|_| Err("it panics".to_owned()))?;
    if found.len() != expected.len() {
        return Err(format!("{} outputs instead of {}", found.len(), expected.len()));
    }
    let mut largest = 0.0_f64;
    for ((shape, found), expected) in found.iter().zip(expected) {
        if shape != expected.dims() {
            return Err(format!("shape {shape:?} instead of {:?}", expected.dims()));
        }
        for (one, other) in found.iter().zip(elements(expected)) {
            let is_same = *one == other || one.is_nan() && other.is_nan();
            let apart = (one - other).abs() / other.abs().max(1.0);
            largest = if is_same { largest } else { largest.max(apart) };
            if apart.is_nan() && !is_same {
                return Err(format!("{one} instead of {other}"));
            }
        }
    }
    Ok(largest)
}

fn elements(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// An input: floating numbers as they are, whole ones as ONNX has them.
fn value(tensor: &Tensor) -> TractResult<TractTensor> {
    let (dims, values) = (tensor.dims(), elements(tensor));
    match tensor.dtype() {
        DType::F64 => TractTensor::from_shape(dims, &values),
        DType::F32 => {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            TractTensor::from_shape(dims, &values)
        }
        _ => {
            let values: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
            TractTensor::from_shape(dims, &values)
        }
    }
}

/// Shape and elements of each output.
fn run(model: &[u8], inputs: &[Tensor]) -> TractResult<Vec<(Vec<usize>, Vec<f64>)>> {
    let inputs = inputs.iter().map(value).collect::<TractResult<Vec<TractTensor>>>()?;
    let mut model = tract_onnx::onnx().model_for_read(&mut &*model)?;
    for (index, input) in inputs.iter().enumerate() {
        let fact = InferenceFact::dt_shape(input.datum_type(), input.shape());
        model = model.with_input_fact(index, fact)?;
    }
    let model = model.into_optimized()?.into_runnable()?;
    let outputs = model.run(inputs.into_iter().map(IntoTValue::into_tvalue).collect())?;
    let elements = |output: &TractTensor| -> TractResult<(Vec<usize>, Vec<f64>)> {
        let values = output.cast_to::<f64>()?;
        let values = values.to_plain_array_view::<f64>()?.iter().copied().collect();
        Ok((output.shape().to_vec(), values))
    };
    outputs.iter().map(|output| elements(output)).collect()
}
