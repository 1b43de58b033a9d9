//! Tensors in the saved state of a component.

use fluxbay_plugin::{prelude::*, serde};

/// Shape, element type and elements of a tensor. `f64` holds the elements of all floating-point
/// types exactly.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
pub struct SavedTensor {
    dtype: u32,
    shape: Vec<usize>,
    elements: Vec<f64>,
}

impl SavedTensor {
    /// Copies a tensor's elements.
    pub fn of(tensor: &Tensor) -> Result<SavedTensor> {
        Ok(SavedTensor {
            dtype: tensor.dtype()?.number(),
            shape: tensor.dims()?,
            elements: tensor.to_vec::<f64>()?,
        })
    }

    /// Creates the tensor.
    pub fn restore(&self) -> Result<Tensor> {
        let dtype = DType::from_number(self.dtype)
            .ok_or_else(|| Error::new(format!("element type {} is unknown", self.dtype)))?;
        Tensor::from_slice(&self.elements, self.shape.as_slice())?.to_dtype(dtype)
    }
}

/// A copy that does not share storage with `tensor`.
pub fn copy(tensor: &Tensor) -> Result<Tensor> {
    // x * 1 + (-0) equals x bit for bit, including -0.
    tensor.detach()?.affine(1.0, -0.0)
}
