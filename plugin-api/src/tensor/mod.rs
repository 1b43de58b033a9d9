//! Tensors: handles of the host's tensors, with candle's names.
//!
//! A [`Tensor`] is a number that the host checks at each use. Cloning adds a reference, dropping
//! releases one. The host decides the device: the same plugin file trains on any.

mod dtype;
mod ops;
mod shape;

pub use dtype::{DType, Element};
pub use ops::{Attention, CrossEntropy, Resize};
pub use shape::{Dims, Shape};

use std::marker::PhantomData;

use crate::{
    Error, Result,
    abi::{handle::Handle, tensor::TensorInfo},
    trampoline::{calls, memory},
};

/// A tensor of the host: a handle, not the elements. `[training thread]`
///
/// Methods are candle's (`x.matmul(&w)?.relu()?`); `&a + &b` works too. Each runs on the run's
/// device and, in a training phase, is recorded for the backward pass. A tensor that is kept beyond
/// its step keeps the recorded operations of that step: [`detach`](Tensor::detach) it first. Outside
/// a call of the host every method returns an error.
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// /// Shares of the classes `[batch, classes]`, of logits divided by a temperature.
/// fn shares(logits: &Tensor, temperature: f64) -> Result<Tensor> {
///     logits.affine(1.0 / temperature, 0.0)?.softmax(-1)
/// }
/// ```
// Transparent, so that handles which the host lends for a call can be used as tensors that are not
// released.
#[repr(transparent)]
#[derive(Debug)]
pub struct Tensor {
    handle: Handle,
    marker: PhantomData<*const ()>,
}

impl Tensor {
    /// Takes over one reference.
    pub(crate) fn from_handle(handle: Handle) -> Tensor {
        Tensor { handle, marker: PhantomData }
    }

    /// Adds a reference to a borrowed handle.
    pub(crate) fn from_borrowed(handle: Handle) -> Result<Tensor> {
        calls::retain(handle)?;
        Ok(Tensor::from_handle(handle))
    }

    /// Gives the reference away.
    pub(crate) fn into_handle(self) -> Handle {
        let handle = self.handle;
        std::mem::forget(self);
        handle
    }

    /// The handle. The reference stays with this tensor.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Applies an operation of the contract by its number; the named methods are built on this.
    ///
    /// # Errors
    /// If the operation does not exist or its inputs do not fit, or if it has not exactly one output.
    pub fn apply(
        operation: u32,
        inputs: &[&Tensor],
        ints: &[i64],
        floats: &[f64],
    ) -> Result<Tensor> {
        let mut output = [Handle::NONE];
        match apply_to(operation, inputs, ints, floats, &mut output)? {
            1 => Ok(Tensor::from_handle(output[0])),
            count => Err(Error::new(format!(
                "operation {operation} gave {count} outputs, one was expected"
            ))),
        }
    }

    /// Applies an operation with several outputs, or none.
    ///
    /// # Errors
    /// If the operation does not exist or its inputs do not fit.
    pub fn apply_many(
        operation: u32,
        inputs: &[&Tensor],
        ints: &[i64],
        floats: &[f64],
    ) -> Result<Vec<Tensor>> {
        let mut outputs = [Handle::NONE; 8];
        let count = apply_to(operation, inputs, ints, floats, &mut outputs)?;
        Ok(outputs[..count].iter().map(|handle| Tensor::from_handle(*handle)).collect())
    }

    /// A tensor of `shape` from its elements in row-major order.
    ///
    /// # Errors
    /// If the number of elements is not that of the shape.
    pub fn from_slice<T: Element>(elements: &[T], shape: impl Shape) -> Result<Tensor> {
        let shape: Vec<u64> = shape.sizes().iter().map(|size| *size as u64).collect();
        let count: u64 = shape.iter().product();
        if count != elements.len() as u64 {
            return Err(Error::new(format!(
                "{} elements do not fill shape {shape:?}, which has {count}",
                elements.len()
            )));
        }
        Ok(Tensor::from_handle(calls::create(T::DTYPE.number(), &shape, T::bytes(elements))?))
    }

    /// Copies all elements in row-major order, converted to `T`.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let mut elements = vec![T::default(); self.elem_count()?];
        calls::read(self.handle, T::DTYPE.number(), T::bytes_mut(&mut elements))?;
        Ok(elements)
    }

    /// The only element, converted to `T`.
    ///
    /// # Errors
    /// If it has not exactly one element.
    pub fn to_scalar<T: Element>(&self) -> Result<T> {
        let count = self.elem_count()?;
        if count != 1 {
            return Err(Error::new(format!(
                "a tensor of shape {:?} has {count} elements, not one",
                self.dims()?
            )));
        }
        let mut element = [T::default()];
        calls::read(self.handle, T::DTYPE.number(), T::bytes_mut(&mut element))?;
        Ok(element[0])
    }

    /// Passes the elements to `body` without a copy, in row-major order.
    ///
    /// # Errors
    /// If the elements have another type, are not on the processor, or are not contiguous.
    pub fn with_slice<T: Element, R>(&self, body: impl FnOnce(&[T]) -> R) -> Result<R> {
        let view = calls::view(self.handle)?;
        if view.dtype != T::DTYPE.number() {
            return Err(Error::new(format!(
                "the tensor holds {}, not {}",
                self.dtype()?,
                T::DTYPE
            )));
        }
        Ok(body(memory::view_elements(self, &view)))
    }

    /// Dimensions, such as `[batch, features]`.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn dims(&self) -> Result<Vec<usize>> {
        Ok(self.info()?.dims().iter().map(|size| *size as usize).collect())
    }

    /// Size of one dimension; negative dimensions count from the end.
    ///
    /// # Errors
    /// If there is no such dimension.
    pub fn dim(&self, dim: i64) -> Result<usize> {
        let info = self.info()?;
        let index = if dim < 0 { dim + i64::from(info.rank) } else { dim };
        let size = usize::try_from(index).ok().and_then(|index| info.dims().get(index));
        size.map(|size| *size as usize).ok_or_else(|| {
            Error::new(format!("dimension {dim} is out of range for shape {:?}", info.dims()))
        })
    }

    /// Number of dimensions.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn rank(&self) -> Result<usize> {
        Ok(self.info()?.rank as usize)
    }

    /// Number of elements.
    ///
    /// # Errors
    /// Outside a call of the host.
    pub fn elem_count(&self) -> Result<usize> {
        Ok(self.info()?.dims().iter().product::<u64>() as usize)
    }

    /// Element type.
    ///
    /// # Errors
    /// If the element type is newer than this crate.
    pub fn dtype(&self) -> Result<DType> {
        let number = self.info()?.dtype;
        DType::from_number(number)
            .ok_or_else(|| Error::new(format!("element type {number} is newer than this plugin")))
    }

    fn info(&self) -> Result<TensorInfo> {
        calls::info(self.handle)
    }
}

impl Clone for Tensor {
    fn clone(&self) -> Tensor {
        // A handle that the host refuses stays refused: its next use says why.
        let _ = calls::retain(self.handle);
        Tensor::from_handle(self.handle)
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        let _ = calls::release(self.handle);
    }
}

/// Inputs of an operation that need no list on the heap.
const INPUTS: usize = 8;

/// Applies an operation to tensors.
fn apply_to(
    operation: u32,
    inputs: &[&Tensor],
    ints: &[i64],
    floats: &[f64],
    outputs: &mut [Handle],
) -> Result<usize> {
    let mut handles = [Handle::NONE; INPUTS];
    if inputs.len() > INPUTS {
        let many: Vec<Handle> = inputs.iter().map(|tensor| tensor.handle()).collect();
        return calls::apply(operation, &many, ints, floats, outputs);
    }
    for (place, tensor) in handles.iter_mut().zip(inputs) {
        *place = tensor.handle();
    }
    calls::apply(operation, &handles[..inputs.len()], ints, floats, outputs)
}
