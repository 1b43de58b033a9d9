//! A tensor as the engine keeps it, and access to its elements on the CPU.
//!
//! candle's `Tensor` is the storage. Beside it goes a token that counts, within this engine, who
//! shares the elements: views and what the tape keeps clone the token, so "may this buffer be
//! overwritten?" is one comparison. Nothing here computes.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Shape, Storage, Tensor, WithDType};
use fluxbay_plugin::abi::handle::dtype as code;
use half::{bf16, f16};

use super::error::{Result, TensorError};

/// A tensor and the token that its sharers hold.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub tensor: Tensor,
    token: Rc<()>,
}

impl Value {
    /// Wraps a tensor whose elements nobody else in this engine refers to.
    pub fn new(tensor: Tensor) -> Self {
        Self { tensor, token: Rc::new(()) }
    }

    /// Wraps a tensor that shares elements with `self`.
    pub fn view(&self, tensor: Tensor) -> Self {
        Self { tensor, token: self.token.clone() }
    }

    /// Whether nobody else in this engine sees the elements, and they lie in order: then they may
    /// be overwritten.
    pub fn is_unique(&self) -> bool {
        Rc::strong_count(&self.token) == 1 && self.tensor.is_contiguous()
    }

    /// The elements, where nobody else in this engine sees them and they lie in the processor's
    /// memory.
    pub fn into_room(self) -> Option<CpuStorage> {
        if !self.is_unique() {
            return None;
        }
        let mut room = None;
        let take = |storage: &mut CpuStorage, _, _| {
            room = Some(std::mem::replace(storage, CpuStorage::U8(Vec::new())))
        };
        self.tensor.inplace_op1(&Overwrite(RefCell::new(Some(take)))).ok()?;
        room
    }

    /// A fresh copy of the elements.
    pub fn copied(&self) -> Result<Self> {
        Ok(Self::new(self.tensor.force_contiguous()?))
    }

    /// The same elements in row-major order: itself where they are.
    pub fn contiguous(&self) -> Result<Self> {
        if self.tensor.is_contiguous() {
            Ok(self.clone())
        } else {
            Ok(Self::new(self.tensor.contiguous()?))
        }
    }

    /// The same elements with another shape (of as many elements); copies only if they are not in
    /// order.
    pub fn reshaped(&self, shape: impl Into<Shape>) -> Result<Self> {
        let tensor = self.tensor.reshape(shape.into())?;
        Ok(if self.tensor.is_contiguous() { self.view(tensor) } else { Self::new(tensor) })
    }

    pub fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    pub fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    pub fn count(&self) -> usize {
        self.tensor.elem_count()
    }
}

/// Element types that tensors of the contract have.
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

/// Read access to the elements of a contiguous CPU tensor.
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

/// The elements of a contiguous CPU tensor of type `T`.
pub(crate) fn data<T: Element>(tensor: &Tensor) -> Result<Data<'_, T>> {
    let (storage, layout) = tensor.storage_and_layout();
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| {
        TensorError::request("elements that are not contiguous cannot be read in place")
    })?;
    match &*storage {
        Storage::Cpu(cpu) => {
            T::cpu_storage_as_slice(cpu)?;
        }
        _ => return Err(elsewhere()),
    }
    Ok(Data { storage, start, end, element: std::marker::PhantomData })
}

/// The error for elements that are not in the processor's memory.
#[cold]
#[inline(never)]
pub(crate) fn elsewhere() -> Box<TensorError> {
    TensorError::request("elements of another device cannot be read in place")
}

/// A new CPU tensor that takes over `elements`.
pub(crate) fn tensor<T: Element>(elements: Vec<T>, shape: impl Into<Shape>) -> Tensor {
    let shape = shape.into();
    debug_assert_eq!(elements.len(), shape.elem_count());
    Tensor::from_storage(
        Storage::Cpu(T::to_cpu_storage_owned(elements)),
        shape,
        BackpropOp::none(),
        false,
    )
}

/// As [`tensor`], as a value of its own.
pub(crate) fn value<T: Element>(elements: Vec<T>, shape: impl Into<Shape>) -> Value {
    Value::new(tensor(elements, shape))
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

/// Gives `action` the elements of a contiguous CPU tensor for writing. The caller has made sure
/// that nobody else uses them (see [`Value::is_unique`]) and holds no [`Data`] of them.
pub(crate) fn overwrite<T: Element, R>(
    tensor: &Tensor,
    action: impl FnOnce(&mut [T]) -> R,
) -> Result<R> {
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

/// candle's element type of a contract's code.
pub fn dtype_of(dtype: u32) -> Option<DType> {
    Some(match dtype {
        code::U8 => DType::U8,
        code::U32 => DType::U32,
        code::I64 => DType::I64,
        code::BF16 => DType::BF16,
        code::F16 => DType::F16,
        code::F32 => DType::F32,
        code::F64 => DType::F64,
        _ => return None,
    })
}

/// The contract's code of candle's element type.
pub(crate) fn code_of(dtype: DType) -> Option<u32> {
    Some(match dtype {
        DType::U8 => code::U8,
        DType::U32 => code::U32,
        DType::I64 => code::I64,
        DType::BF16 => code::BF16,
        DType::F16 => code::F16,
        DType::F32 => code::F32,
        DType::F64 => code::F64,
        _ => return None,
    })
}

/// Whether gradients can flow to tensors of this type.
pub(crate) fn is_floating(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64 | DType::BF16 | DType::F16)
}
