//! Elements of host tensors as slices, and host tensors made of vectors.

use std::cell::RefCell;
use std::ops::Deref;

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, InplaceOp1, Layout, Shape, Storage, Tensor, WithDType};
use half::{bf16, f16};

use crate::error::{Result, TensorError};
use crate::value::Value;

/// Element types of the contract.
pub(crate) trait Element: WithDType + Default + PartialOrd + 'static {
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

macro_rules! element {
    ($($type:ty, $variant:ident);*) => { $(impl Element for $type {
        fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
            match storage { CpuStorage::$variant(data) => Some(data), _ => None }
        }
    })* };
}
element!(u8, U8; u32, U32; i64, I64; bf16, BF16; f16, F16; f32, F32; f64, F64);

/// Runs the same generic code for f32 and f64.
macro_rules! for_real {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}
pub(crate) use for_real;

/// Runs the same generic code for each element type that is compared or moved; others are an error.
macro_rules! for_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::U8 => {
                type $T = u8;
                $body
            }
            candle_core::DType::U32 => {
                type $T = u32;
                $body
            }
            candle_core::DType::I64 => {
                type $T = i64;
                $body
            }
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => return Err($crate::backend::unsupported(other)),
        }
    };
}
pub(crate) use for_element;

/// Runs the same generic code for every element type of the contract; others are an error.
macro_rules! for_any {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            candle_core::DType::F16 => {
                type $T = half::f16;
                $body
            }
            dtype => $crate::cpu::data::for_element!(dtype, $T => $body),
        }
    };
}
pub(crate) use for_any;

/// Read access to the elements of a contiguous host tensor.
pub(crate) struct Data<'a, T> {
    storage: candle_core::StorageRef<'a>,
    start: usize,
    end: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Deref for Data<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match &*self.storage {
            Storage::Cpu(storage) => {
                T::cpu_storage_as_slice(storage).map_or(&[], |data| &data[self.start..self.end])
            }
            _ => &[],
        }
    }
}

/// The elements of a contiguous host tensor of type `T`.
pub(crate) fn data<T: Element>(value: &Value) -> Result<Data<'_, T>> {
    let (storage, layout) = value.host()?.storage_and_layout();
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| {
        TensorError::request("elements that are not contiguous cannot be read in place")
    })?;
    whole::<T>(&storage)?;
    Ok(Data { storage, start, end, element: std::marker::PhantomData })
}

/// All elements of a host tensor's buffer.
pub(crate) fn whole<T: Element>(storage: &Storage) -> Result<&[T]> {
    match storage {
        Storage::Cpu(storage) => Ok(T::cpu_storage_as_slice(storage)?),
        _ => Err(TensorError::request("elements of a device cannot be read in place")),
    }
}

/// The elements of a tensor of any layout, copied in row-major order.
pub(crate) fn to_vec<T: Element>(value: &Value) -> Result<Vec<T>> {
    Ok(data::<T>(&contiguous(value)?)?.to_vec())
}

/// The same elements in row-major order: `value` itself if it is contiguous.
pub(crate) fn contiguous(value: &Value) -> Result<Value> {
    if value.is_contiguous() {
        Ok(value.clone())
    } else {
        Ok(Value::from_host(value.host()?.contiguous()?))
    }
}

/// A new host tensor with these elements.
pub(crate) fn value<T: Element>(elements: Vec<T>, shape: impl Into<Shape>) -> Value {
    let shape = shape.into();
    debug_assert_eq!(elements.len(), shape.elem_count());
    Value::from_host(Tensor::from_storage(
        Storage::Cpu(T::to_cpu_storage_owned(elements)),
        shape,
        BackpropOp::none(),
        false,
    ))
}

/// A vector of `length` elements that the caller overwrites before it reads any.
pub(crate) fn unwritten<T: Element>(length: usize) -> Vec<T> {
    let mut elements = Vec::with_capacity(length);
    // SAFETY: the capacity is there, every bit pattern is a valid number, and each kernel writes
    // all elements of its output before any is read.
    #[allow(clippy::uninit_vec)]
    unsafe {
        elements.set_len(length)
    };
    elements
}

struct Overwrite<F>(RefCell<Option<F>>);

impl<F: FnOnce(&mut CpuStorage, usize, usize)> InplaceOp1 for Overwrite<F> {
    fn name(&self) -> &'static str {
        "overwrite"
    }
    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("a tensor that is not contiguous cannot be overwritten")
        };
        if let Some(action) = self.0.borrow_mut().take() {
            action(storage, start, end);
        }
        Ok(())
    }
}

/// Calls `action` with the elements of a contiguous host tensor for writing. The caller has made
/// sure that nothing else uses them (see [`Value::is_unique`]) and holds no [`Data`] of them.
pub(crate) fn overwrite<T: Element, R>(
    value: &Value,
    action: impl FnOnce(&mut [T]) -> R,
) -> Result<R> {
    let tensor = value.host()?;
    let mut result = None;
    tensor.inplace_op1(&Overwrite(RefCell::new(Some(
        |storage: &mut CpuStorage, start, end| {
            result = T::slice_mut(storage).map(|data| action(&mut data[start..end]));
        },
    ))))?;
    result.ok_or_else(|| {
        TensorError::request(format!(
            "expected elements of {:?}, found {:?}",
            T::DTYPE,
            tensor.dtype()
        ))
    })
}

/// As [`overwrite`] for two different tensors.
pub(crate) fn overwrite2<T: Element>(
    [a, b]: [&Value; 2],
    action: impl FnOnce([&mut [T]; 2]),
) -> Result<()> {
    overwrite(a, |a: &mut [T]| overwrite(b, |b: &mut [T]| action([a, b])))?
}

/// As [`overwrite`] for three different tensors.
pub(crate) fn overwrite3<T: Element>(
    [a, b, c]: [&Value; 3],
    action: impl FnOnce([&mut [T]; 3]),
) -> Result<()> {
    overwrite(a, |a: &mut [T]| overwrite2([b, c], |[b, c]: [&mut [T]; 2]| action([a, b, c])))?
}

/// As [`overwrite`] for four different tensors.
pub(crate) fn overwrite4<T: Element>(
    [a, b, c, d]: [&Value; 4],
    action: impl FnOnce([&mut [T]; 4]),
) -> Result<()> {
    overwrite(a, |a: &mut [T]| {
        overwrite3([b, c, d], |[b, c, d]: [&mut [T]; 3]| action([a, b, c, d]))
    })?
}

/// The buffer of a host tensor, if nothing else refers to it.
pub(crate) fn into_buffer(value: Value) -> Option<CpuStorage> {
    if !value.is_unique() {
        return None;
    }
    let mut buffer = None;
    let take = |storage: &mut CpuStorage, _, _| {
        buffer = Some(std::mem::replace(storage, CpuStorage::U8(Vec::new())))
    };
    value.host().ok()?.inplace_op1(&Overwrite(RefCell::new(Some(take)))).ok()?;
    buffer
}
