//! Buffers of a device, transfer between device and host, and copies.

use candle_core::{CpuStorage, DType, Shape, Tensor};

use crate::error::{Result, TensorError};
use crate::value::Value;

/// Bytes from which on a buffer is large: [`Storage::fits`] is asked before it is allocated.
pub const LARGE: usize = 64 << 20;

/// Storage of a device.
pub trait Storage {
    /// Name of the device as users see it, such as `cpu`.
    fn name(&self) -> String;

    /// Copies a host tensor to the device; the host itself takes it over without a copy.
    ///
    /// # Errors
    /// If the device has no memory left.
    fn upload(&self, tensor: Tensor) -> Result<Value>;

    /// Copies a tensor of any layout to the host; the host itself returns its tensor.
    ///
    /// # Errors
    /// If the device reports a fault.
    fn download(&self, x: &Value) -> Result<Tensor>;

    /// A tensor of one number, converted to `dtype`.
    ///
    /// # Errors
    /// If the device has no memory left.
    fn fill(&self, dtype: DType, shape: &Shape, number: f64) -> Result<Value>;

    /// A copy with elements of its own, of a tensor of any layout and element type.
    ///
    /// # Errors
    /// If the device has no memory left.
    fn copy(&self, x: &Value) -> Result<Value>;

    /// The elements of a tensor of any layout, converted to another type.
    ///
    /// # Errors
    /// If the device does not know one of the types.
    fn convert(&self, x: &Value, dtype: DType) -> Result<Value>;

    /// The elements of an f32 tensor of any layout, rounded to numbers that bf16 has: to the nearest
    /// one, in the middle of two to the one whose last bit is 0. They stay f32. May overwrite `x` if
    /// nothing else refers to it.
    ///
    /// # Errors
    /// If the device does not know bf16.
    fn rounded(&self, x: Value) -> Result<Value> {
        self.convert(&self.convert(&x, DType::BF16)?, DType::F32)
    }

    /// An operand of a product, [rounded](Self::rounded) if that is asked for.
    ///
    /// # Errors
    /// See [`rounded`](Self::rounded).
    fn operand(&self, x: Value, rounded: bool) -> Result<Value> {
        if rounded { self.rounded(x) } else { Ok(x) }
    }

    /// Copies the elements of `source` over those of `target`, which has the same shape and type.
    ///
    /// # Errors
    /// If the element type is unknown.
    fn write(&self, target: &Value, source: &Value) -> Result<()>;

    /// Tensors of any layout behind one another along dimension `dim`.
    ///
    /// # Errors
    /// If the device has no memory left.
    fn concatenate(&self, parts: &[&Value], dim: usize) -> Result<Value>;

    /// Whether a buffer of this size can be allocated. Returns how many bytes of further large
    /// buffers can be allocated before the next call. By default every buffer fits.
    ///
    /// # Errors
    /// If it does not fit: the number of bytes that are left, if it is known.
    fn fits(&self, bytes: usize) -> Result<u64, Option<u64>> {
        let _ = bytes;
        Ok(u64::MAX)
    }

    /// The only element as a number.
    ///
    /// # Errors
    /// If there is not exactly one.
    fn number(&self, x: &Value) -> Result<f64> {
        number_of(&self.download(x)?)
    }

    /// The host buffer of a tensor that is released, for reuse; `None` if there is none or it is
    /// still referred to.
    fn reclaim(&self, x: Value) -> Option<CpuStorage> {
        drop(x);
        None
    }

    /// The elements in row-major order: `x` itself if it is contiguous.
    ///
    /// # Errors
    /// See [`copy`](Self::copy).
    #[inline]
    fn contiguous(&self, x: &Value) -> Result<Value> {
        if x.is_contiguous() { Ok(x.clone()) } else { self.copy(x) }
    }

    /// The elements with another shape of as many elements; copies only if they are not contiguous.
    ///
    /// # Errors
    /// If the numbers of elements differ.
    fn reshaped(&self, x: &Value, shape: &Shape) -> Result<Value> {
        self.contiguous(x)?.reshape(shape.clone())
    }
}

/// The only element of a host tensor.
#[cold]
#[inline(never)]
pub(crate) fn number_of(tensor: &Tensor) -> Result<f64> {
    if tensor.elem_count() != 1 {
        return Err(TensorError::request(format!(
            "a tensor of shape {:?} is not one number",
            tensor.dims()
        )));
    }
    Ok(tensor.reshape(())?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}
