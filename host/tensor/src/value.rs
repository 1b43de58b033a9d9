//! A tensor as the engine keeps it: elements, their layout, and a token that counts the sharers.
//!
//! Elements are either on the host, in a candle tensor, or in a buffer that only its backend can
//! read. Views and values that the tape keeps clone the token, so "may this buffer be overwritten?"
//! is one comparison. Nothing here computes; moving elements is the backend's part.

use std::any::Any;
use std::rc::Rc;

use candle_core::{CpuStorage, DType, Device, Layout, Shape, Storage, Tensor, WithDType};

use super::context::Context;
use super::error::{Result, TensorError};
use super::memory::Counted;

/// A tensor of an engine.
#[derive(Clone, Debug)]
pub struct Value {
    elements: Elements,
    token: Rc<Counted>,
    recipe: Option<Recipe>,
}

/// How the elements of a value can be computed again, bit for bit, from others that are kept anyway.
#[derive(Clone)]
pub(crate) struct Recipe(Rc<Compute>);

/// Computes a value.
type Compute = dyn Fn(&Context) -> Result<Value>;

impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recipe")
    }
}

impl Recipe {
    /// Computes the value.
    ///
    /// # Errors
    /// Those of the computation.
    pub fn value(&self, context: &Context) -> Result<Value> {
        (self.0)(context)
    }
}

#[derive(Clone, Debug)]
enum Elements {
    Host(Tensor),
    Device(Box<DeviceArray>),
}

/// Elements in a buffer of a backend.
#[derive(Clone, Debug)]
pub struct DeviceArray {
    /// The backend's own buffer; freed when the last value that refers to it is gone.
    pub buffer: Rc<dyn Any>,
    /// Shape, strides and offset within the buffer, counted in elements.
    pub layout: Layout,
    /// Element type.
    pub dtype: DType,
}

impl Value {
    /// Wraps a host tensor whose elements nothing else in the engine refers to.
    pub fn from_host(tensor: Tensor) -> Self {
        let token = Rc::new(Counted::new(tensor.elem_count() * tensor.dtype().size_in_bytes()));
        Self { elements: Elements::Host(tensor), token, recipe: None }
    }

    /// Wraps a device array whose elements nothing else in the engine refers to.
    pub fn from_device(array: DeviceArray) -> Self {
        let bytes = array.layout.shape().elem_count() * array.dtype.size_in_bytes();
        let elements = Elements::Device(Box::new(array));
        Self { elements, token: Rc::new(Counted::new(bytes)), recipe: None }
    }

    /// The same value with a way to compute it again.
    pub(crate) fn with_recipe(self, recipe: impl Fn(&Context) -> Result<Value> + 'static) -> Self {
        Self { recipe: Some(Recipe(Rc::new(recipe))), ..self }
    }

    /// The way to compute it again, if there is one.
    pub(crate) fn recipe(&self) -> Option<&Recipe> {
        self.recipe.as_ref()
    }

    /// Forgets what is known of the elements, because they are overwritten.
    pub(crate) fn will_change(&mut self) {
        self.recipe = None;
    }

    /// The host tensor.
    ///
    /// # Errors
    /// If the elements are on a device.
    #[inline]
    pub fn host(&self) -> Result<&Tensor> {
        match &self.elements {
            Elements::Host(tensor) => Ok(tensor),
            Elements::Device(_) => Err(on_a_device()),
        }
    }

    /// The device array.
    ///
    /// # Errors
    /// If the elements are on the host.
    pub fn device(&self) -> Result<&DeviceArray> {
        match &self.elements {
            Elements::Device(array) => Ok(array),
            Elements::Host(_) => Err(TensorError::request("the elements are not on the device")),
        }
    }

    /// Whether no other value refers to the elements and they are contiguous: then they may be
    /// overwritten.
    pub fn is_unique(&self) -> bool {
        Rc::strong_count(&self.token) == 1 && self.is_contiguous()
    }

    /// Whether both are the same view of the same elements.
    pub fn is_same(&self, other: &Value) -> bool {
        Rc::ptr_eq(&self.token, &other.token)
    }

    /// Shape, strides and offset.
    #[inline]
    pub fn layout(&self) -> &Layout {
        match &self.elements {
            Elements::Host(tensor) => tensor.layout(),
            Elements::Device(array) => &array.layout,
        }
    }

    /// Its shape.
    #[inline]
    pub fn shape(&self) -> &Shape {
        self.layout().shape()
    }

    /// Its dimensions.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        self.layout().dims()
    }

    /// Whether the elements are in row-major order without gaps.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.layout().is_contiguous()
    }

    /// Number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        self.shape().elem_count()
    }

    /// Bytes of its elements.
    pub fn bytes(&self) -> u64 {
        (self.count() * self.dtype().size_in_bytes()) as u64
    }

    /// Element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        match &self.elements {
            Elements::Host(tensor) => tensor.dtype(),
            Elements::Device(array) => array.dtype,
        }
    }

    /// A view of the same elements, whose layout `host` or `device` computes.
    fn view(
        &self,
        host: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
        device: impl FnOnce(&Layout) -> candle_core::Result<Layout>,
    ) -> Result<Self> {
        let elements = match &self.elements {
            Elements::Host(tensor) => Elements::Host(host(tensor)?),
            Elements::Device(array) => Elements::Device(Box::new(DeviceArray {
                buffer: array.buffer.clone(),
                layout: device(&array.layout)?,
                dtype: array.dtype,
            })),
        };
        Ok(Self { elements, token: self.token.clone(), recipe: None })
    }

    /// A view with dimensions `a` and `b` exchanged.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Self> {
        self.view(|tensor| tensor.transpose(a, b), |layout| layout.transpose(a, b))
    }

    /// A view whose dimension `i` is dimension `order[i]`.
    pub fn permute(&self, order: &[usize]) -> Result<Self> {
        self.view(|tensor| tensor.permute(order), |layout| layout.permute(order))
    }

    /// A view of `length` indices of a dimension, from `start` on.
    pub fn narrow(&self, dim: usize, start: usize, length: usize) -> Result<Self> {
        self.view(
            |tensor| tensor.narrow(dim, start, length),
            |layout| layout.narrow(dim, start, length),
        )
    }

    /// A view with the strides 0 where dimensions of size 1 are repeated.
    pub fn broadcast_as(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        self.view(
            |tensor| tensor.broadcast_as(shape.clone()),
            |layout| layout.broadcast_as(shape.clone()),
        )
    }

    /// A view without dimension `dim`, whose size is 1.
    pub fn squeeze(&self, dim: usize) -> Result<Self> {
        let device = |layout: &Layout| {
            let (mut dims, mut strides) = (layout.dims().to_vec(), layout.stride().to_vec());
            dims.remove(dim);
            strides.remove(dim);
            Ok(Layout::new(Shape::from(dims), strides, layout.start_offset()))
        };
        self.view(|tensor| tensor.squeeze(dim), device)
    }

    /// A view with a dimension of size 1 before dimension `dim`.
    pub fn unsqueeze(&self, dim: usize) -> Result<Self> {
        let device = |layout: &Layout| {
            let (mut dims, mut strides) = (layout.dims().to_vec(), layout.stride().to_vec());
            dims.insert(dim, 1);
            strides.insert(dim, 1);
            Ok(Layout::new(Shape::from(dims), strides, layout.start_offset()))
        };
        self.view(|tensor| tensor.unsqueeze(dim), device)
    }

    /// A view of contiguous elements with another shape of as many elements.
    ///
    /// # Errors
    /// If the elements are not contiguous, see
    /// [`Storage::reshaped`](crate::backend::Storage::reshaped).
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        if !self.is_contiguous() {
            return Err(TensorError::request("only contiguous elements can be reshaped in place"));
        }
        let shape = shape.into();
        self.view(
            |tensor| tensor.reshape(shape.clone()),
            |layout| Ok(Layout::contiguous_with_offset(shape.clone(), layout.start_offset())),
        )
    }
}

/// Calls `take` with the bytes of a tensor on the host, in row-major order.
///
/// # Errors
/// For an element type that files and messages cannot hold, or a tensor that is not on the host.
pub fn with_bytes<T>(tensor: &Tensor, take: impl FnOnce(&[u8]) -> T) -> candle_core::Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
    let Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("a tensor copied to the CPU is not there")
    };
    let elements: &[u8] = match storage {
        CpuStorage::U8(items) => &items[range],
        CpuStorage::U32(items) => bytemuck::cast_slice(&items[range]),
        CpuStorage::I64(items) => bytemuck::cast_slice(&items[range]),
        CpuStorage::BF16(items) => bytemuck::cast_slice(&items[range]),
        CpuStorage::F16(items) => bytemuck::cast_slice(&items[range]),
        CpuStorage::F32(items) => bytemuck::cast_slice(&items[range]),
        CpuStorage::F64(items) => bytemuck::cast_slice(&items[range]),
        _ => candle_core::bail!("element type {} cannot be written", tensor.dtype().as_str()),
    };
    Ok(take(elements))
}

/// A tensor on the host, to be uploaded.
///
/// # Errors
/// If the shape has another number of elements.
pub fn host_tensor<T: WithDType>(elements: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(elements, shape.into(), &Device::Cpu)?)
}

/// The elements of a host tensor, to be used again. Nothing else may refer to them: other views of the tensor
/// would be empty. `None` for a tensor of another device.
pub fn into_elements(tensor: Tensor) -> Option<CpuStorage> {
    crate::cpu::data::into_buffer(Value::from_host(tensor))
}

#[cold]
#[inline(never)]
fn on_a_device() -> Box<TensorError> {
    TensorError::request("elements of a device cannot be read in place")
}
