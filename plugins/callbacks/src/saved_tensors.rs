//! Tensors within a component's saved state.

use fluxbay_plugin::{prelude::*, serde};

/// A tensor's shape, type and elements. Every element of the floating-point types fits 64 bits
/// exactly.
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

    /// The tensor again.
    pub fn restore(&self) -> Result<Tensor> {
        let dtype = DType::from_number(self.dtype)
            .ok_or_else(|| Error::new(format!("element type {} is unknown", self.dtype)))?;
        Tensor::from_slice(&self.elements, self.shape.as_slice())?.to_dtype(dtype)
    }
}

/// A tensor of its own with the same elements, whatever happens to the first one.
pub fn copy(tensor: &Tensor) -> Result<Tensor> {
    // x * 1 + (-0) is x, bit for bit, also for -0.
    tensor.detach()?.affine(1.0, -0.0)
}
