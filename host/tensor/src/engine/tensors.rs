//! Tensors behind handles: adding, reading and releasing them.

use candle_core::{CpuStorage, DType, Storage, Tensor};
use fluxbay_plugin::abi::handle::Handle;

use super::{Engine, MOST_RETURNED};
use crate::dtype::{code_of, dtype_of, is_floating};
use crate::error::{Result, TensorError};
use crate::slots::Entry;
use crate::tape::Source;
use crate::value::host_tensor;

/// The elements of a contiguous tensor, for reading without a copy.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// First element. Valid until the tensor is released or changed in place.
    pub pointer: *const u8,
    /// Length in bytes.
    pub bytes: usize,
    /// The contract's code of the element type.
    pub dtype: u32,
}

impl View {
    /// The elements of a contiguous host tensor.
    ///
    /// # Errors
    /// If the element type is not one of the contract.
    pub fn of(tensor: &Tensor) -> Result<View> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            return Err(no_view(tensor.dtype()));
        };
        let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
        macro_rules! view {
        ($($variant:ident),*) => { match storage {
            $(CpuStorage::$variant(elements) => {
                let elements = &elements[range];
                View { pointer: elements.as_ptr().cast(), bytes: size_of_val(elements), dtype: code_of(DType::$variant).unwrap_or_default() }
            })*
            _ => return Err(no_view(tensor.dtype())),
        } };
    }
        Ok(view!(U8, U32, I64, BF16, F16, F32, F64))
    }
}

impl Engine {
    /// Adds a host tensor as a constant; the caller owns one reference. The tensor's elements must
    /// not be written by others.
    ///
    /// # Errors
    /// If the device has no memory left.
    pub fn insert(&mut self, tensor: Tensor) -> Result<Handle> {
        let value = self.context.backend.upload(tensor.detach())?;
        Ok(self.slots.insert(Entry::new(value, Source::None)))
    }

    /// As [`Engine::insert`]; [`Engine::take_returned`] returns the tensor's buffer once nothing
    /// refers to it.
    ///
    /// # Errors
    /// See [`Engine::insert`].
    pub fn insert_lent(&mut self, tensor: Tensor) -> Result<Handle> {
        let value = self.context.backend.upload(tensor.detach())?;
        Ok(self.slots.insert(Entry { lent: true, ..Entry::new(value, Source::None) }))
    }

    /// The buffer of a lent tensor that was released, for reuse; its elements have no meaning.
    pub fn take_returned(&mut self) -> Option<CpuStorage> {
        self.returned.pop()
    }

    /// Adds a reference.
    #[inline]
    pub fn retain(&mut self, handle: Handle) -> Result<()> {
        self.slots.retain(handle)
    }

    /// Releases a reference; the last one frees the tensor (the tape keeps what it needs of it).
    pub fn release(&mut self, handle: Handle) -> Result<()> {
        if let Some(gone) = self.slots.release(handle)?
            && gone.lent
            && self.returned.len() < MOST_RETURNED
            && let Some(buffer) = self.context.backend.reclaim(gone.value)
        {
            self.returned.push(buffer);
        }
        Ok(())
    }

    /// The tensor on the host. It may share its elements: copy it to keep the values of a parameter.
    pub fn value(&self, handle: Handle) -> Result<Tensor> {
        self.context.backend.download(&self.whole(handle)?.value)
    }

    /// Its shape.
    pub fn shape(&self, handle: Handle) -> Result<&[usize]> {
        Ok(self.slots.get(handle)?.value.dims())
    }

    /// The contract's code of its element type.
    pub fn dtype(&self, handle: Handle) -> Result<u32> {
        let dtype = self.slots.get(handle)?.value.dtype();
        code_of(dtype).ok_or_else(|| {
            TensorError::request(format!("element type {dtype:?} has no code in the contract"))
        })
    }

    /// The only element, as a number.
    pub fn scalar(&self, handle: Handle) -> Result<f64> {
        self.context.backend.number(&self.whole(handle)?.value)
    }

    /// All elements in row-major order, converted to f32.
    pub fn read_f32(&self, handle: Handle) -> Result<Vec<f32>> {
        Ok(self.value(handle)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
    }

    /// All elements in row-major order, converted to f64.
    pub fn read_f64(&self, handle: Handle) -> Result<Vec<f64>> {
        Ok(self.value(handle)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
    }

    /// All elements in row-major order, converted to u32; floating tensors are refused.
    pub fn read_u32(&self, handle: Handle) -> Result<Vec<u32>> {
        let tensor = self.value(handle)?;
        if is_floating(tensor.dtype()) {
            return Err(TensorError::request(format!(
                "elements of {:?} are not read as integers: convert them first",
                tensor.dtype()
            )));
        }
        Ok(tensor.flatten_all()?.to_dtype(DType::U32)?.to_vec1()?)
    }

    /// The elements in place; a tensor that is not contiguous is replaced by a contiguous copy first.
    ///
    /// # Errors
    /// If the elements are on a device.
    pub fn view(&mut self, handle: Handle) -> Result<View> {
        self.whole(handle)?;
        let entry = self.slots.get_mut(handle)?;
        if !entry.value.is_contiguous() {
            entry.value = self.context.backend.contiguous(&entry.value)?;
        }
        View::of(entry.value.host()?)
    }

    /// A constant from raw elements in row-major order, native byte order.
    pub fn from_bytes(&mut self, dtype: u32, shape: &[usize], bytes: &[u8]) -> Result<Handle> {
        self.insert(tensor_from_bytes(dtype, shape, bytes)?)
    }

    /// How many tensors have a reference: for tests against leaks and for reports.
    pub fn living(&self) -> usize {
        self.slots.living()
    }
}

/// Elements of a shape, if their bytes can be addressed.
fn element_count(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size))?;
    (count <= isize::MAX as usize / 8).then_some(count)
}

#[cold]
#[inline(never)]
fn no_view(dtype: DType) -> Box<TensorError> {
    TensorError::request(format!("element type {dtype:?} has no view"))
}

fn tensor_from_bytes(dtype: u32, shape: &[usize], bytes: &[u8]) -> Result<Tensor> {
    let dtype = dtype_of(dtype).ok_or_else(|| {
        TensorError::request(format!("there is no element type with code {dtype}"))
    })?;
    let size = dtype.size_in_bytes();
    let wanted = element_count(shape).map(|count| count * size);
    if wanted != Some(bytes.len()) {
        return Err(TensorError::request(format!(
            "shape {shape:?} of {dtype:?} does not take {} bytes",
            bytes.len()
        )));
    }
    macro_rules! read {
        ($($variant:ident $type:ty),*) => { match dtype {
            $(DType::$variant => {
                let elements: Vec<$type> = bytes.chunks_exact(size).map(|chunk| {
                    let mut raw = [0; size_of::<$type>()];
                    raw.copy_from_slice(chunk);
                    <$type>::from_ne_bytes(raw)
                }).collect();
                host_tensor(elements, shape)?
            })*
            other => return Err(TensorError::request(format!("element type {other:?} is not offered"))),
        } };
    }
    Ok(read!(U8 u8, U32 u32, I64 i64, BF16 half::bf16, F16 half::f16, F32 f32, F64 f64))
}
