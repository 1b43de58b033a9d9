//! Buffers of the reference device.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::{DType, Layout, Shape};

use crate::error::{Result, TensorError};
use crate::value::{DeviceArray, Value};

/// A buffer: whatever the element type, the numbers are kept in double precision.
pub(super) type Buffer = RefCell<Vec<f64>>;

/// Place in the buffer of each element, in row-major order.
pub(super) fn offsets(layout: &Layout) -> Vec<usize> {
    let mut offsets = vec![layout.start_offset()];
    for (&size, &stride) in layout.dims().iter().zip(layout.stride()) {
        offsets = offsets
            .iter()
            .flat_map(|&offset| (0..size).map(move |index| offset + index * stride))
            .collect();
    }
    offsets
}

/// The buffer of a value.
pub(super) fn buffer(x: &Value) -> Result<&Buffer> {
    x.device()?
        .buffer
        .downcast_ref::<Buffer>()
        .ok_or_else(|| TensorError::request("the buffer is one of another device"))
}

/// The elements in row-major order.
pub(super) fn numbers(x: &Value) -> Result<Vec<f64>> {
    let all = buffer(x)?.borrow();
    Ok(offsets(x.layout()).into_iter().map(|offset| all[offset]).collect())
}

/// The elements of a tensor broadcast to a shape.
pub(super) fn stretched(x: &Value, shape: &Shape) -> Result<Vec<f64>> {
    numbers(&x.broadcast_as(shape.clone())?)
}

/// A new contiguous tensor, with the numbers rounded to the element type.
pub(super) fn made(dtype: DType, shape: &Shape, numbers: Vec<f64>) -> Value {
    assert_eq!(numbers.len(), shape.elem_count());
    let numbers: Vec<f64> = numbers.into_iter().map(|x| rounded(dtype, x)).collect();
    let buffer: Rc<Buffer> = Rc::new(RefCell::new(numbers));
    Value::from_device(DeviceArray { buffer, layout: Layout::contiguous(shape.clone()), dtype })
}

/// A number as an element type stores it.
pub(super) fn rounded(dtype: DType, x: f64) -> f64 {
    match dtype {
        DType::U8 => f64::from(x as u8),
        DType::U32 => f64::from(x as u32),
        DType::I64 => (x as i64) as f64,
        DType::BF16 => half::bf16::from_f64(x).to_f64(),
        DType::F16 => half::f16::from_f64(x).to_f64(),
        DType::F32 => f64::from(x as f32),
        _ => x,
    }
}
