//! Tensors as rows along chosen dimensions, and operations along them: cumulative sum, sorting.

use candle_core::DType;
use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::{Call, Gradient, Produced};
use crate::backend::Backend;
use crate::context::Context;
use crate::error::Result;
use crate::value::Value;

/// A contiguous tensor whose last dimensions are the chosen ones.
pub(super) struct Rows {
    /// Shape: the other dimensions, then the chosen ones.
    pub value: Value,
    /// Elements of a row.
    pub length: usize,
    /// Dimension of `value` for each original dimension; `None` where the order is the original one.
    inverse: Option<SmallVec<[usize; 6]>>,
}

impl Rows {
    pub fn of(backend: &dyn Backend, x: &Value, dims: &[usize]) -> Result<Self> {
        let rank = x.dims().len();
        let length = dims.iter().map(|&dim| x.dims()[dim]).product();
        let order: SmallVec<[usize; 6]> =
            (0..rank).filter(|dim| !dims.contains(dim)).chain(dims.iter().copied()).collect();
        if order.iter().copied().eq(0..rank) {
            return Ok(Self { value: backend.contiguous(x)?, length, inverse: None });
        }
        let mut inverse: SmallVec<[usize; 6]> = smallvec![0; rank];
        for (place, &dim) in order.iter().enumerate() {
            inverse[dim] = place;
        }
        let value = backend.contiguous(&x.permute(&order[..])?)?;
        Ok(Self { value, length, inverse: Some(inverse) })
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.value.count() / self.length.max(1)
    }

    /// Rows as a contiguous tensor with the original order of dimensions.
    pub fn restore(&self, backend: &dyn Backend, rows: &Value) -> Result<Value> {
        self.restore_length(backend, rows, None)
    }

    /// As [`Rows::restore`] where the last of the dimensions has another size.
    pub fn restore_length(
        &self,
        backend: &dyn Backend,
        rows: &Value,
        length: Option<usize>,
    ) -> Result<Value> {
        let mut shape = self.value.dims().to_vec();
        if let (Some(length), Some(last)) = (length, shape.last_mut()) {
            *last = length;
        }
        let rows = if rows.dims() == shape { rows.clone() } else { rows.reshape(shape)? };
        match &self.inverse {
            None => Ok(rows),
            Some(inverse) => backend.contiguous(&rows.permute(inverse)?),
        }
    }
}

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    let rank = call.shape(0).len();
    match call.info.code {
        op::CUMSUM => {
            call.expect(1..=1, 1..=1, 0..=0)?;
            let dim = call.dim(call.ints[0], rank)?;
            call.real([0])?;
            cumulative(context, call, dim)
        }
        op::SORT => {
            call.expect(1..=1, 1..=2, 0..=0)?;
            let dim = call.dim(call.ints[0], rank)?;
            sorted(context, call, dim, call.int(1, 0) != 0, None)
        }
        _ => {
            call.expect(1..=1, 1..=1, 0..=0)?;
            let dim = call.dim(-1, rank)?;
            let k = call.size(0, "k", 1)?;
            if k > call.shape(0)[dim] {
                return Err(call.error(format!(
                    "k is {k}, but the last dimension of {:?} is smaller",
                    call.shape(0)
                )));
            }
            sorted(context, call, dim, true, Some(k))
        }
    }
}

fn cumulative(context: &mut Context, call: &Call, dim: usize) -> Result<Produced> {
    let sums = move |context: &Context, x: &Value, reverse: bool| {
        let backend = &*context.backend;
        let rows = Rows::of(backend, x, &[dim])?;
        rows.restore(backend, &backend.cumulative_sum(&rows.value, rows.length, reverse)?)
    };
    let out = sums(context, call.inputs[0], false)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        Ok(smallvec![Some(sums(context, &gradients.only()?, true)?)])
    }))
}

fn sorted(
    context: &mut Context,
    call: &Call,
    dim: usize,
    descending: bool,
    keep: Option<usize>,
) -> Result<Produced> {
    let x = call.inputs[0];
    let dtype = x.dtype();
    let backend = &*context.backend;
    let rows = Rows::of(backend, x, &[dim])?;
    let kept = keep.unwrap_or(rows.length);
    let places = backend.sort(&rows.value, rows.length, descending, kept)?;
    let values = backend.pick(&rows.value, rows.length, &places)?;
    let outputs = smallvec![
        rows.restore_length(backend, &values, Some(kept))?,
        rows.restore_length(backend, &places, Some(kept))?
    ];
    if !call.records() || !matches!(dtype, DType::F32 | DType::F64) {
        return Ok(Produced { outputs, gradient: Gradient::Constant });
    }
    let backward = move |context: &mut Context, mut gradients: super::Gradients| {
        let backend = &*context.backend;
        let gradient = Rows::of(backend, &gradients.only()?, &[dim])?;
        let full = backend.spread(&gradient.value, rows.length, rows.count(), &places)?;
        Ok(smallvec![Some(rows.restore(backend, &full)?)])
    };
    Ok(Produced { outputs, gradient: Gradient::Function(Box::new(backward)) })
}
