//! Picking and adding by index. Every index is checked before anything is touched.

use candle_core::{DType, Shape};
use fluxbay_plugin::abi::operation::op;
use smallvec::smallvec;

use super::binary::for_element;
use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::simd::Real;
use crate::value::{Element, Value, data, dtype_of, value};

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    match call.info.code {
        op::INDEX_SELECT => {
            call.expect(2..=2, 1..=1, 0..=0)?;
            let dim = call.dim(call.ints[0], call.shape(0).len())?;
            if call.shape(1).len() != 1 {
                return Err(
                    call.error(format!("indices must have one dimension, got {:?}", call.shape(1)))
                );
            }
            let mut out = call.shape(0).to_vec();
            out[dim] = call.shape(1)[0];
            select(call, dim, out)
        }
        op::EMBEDDING => {
            call.expect(2..=2, 0..=0, 0..=0)?;
            let &[_, width] = call.shape(0) else {
                return Err(
                    call.error(format!("weights must be [ids, width], got {:?}", call.shape(0)))
                );
            };
            let out = call.shape(1).iter().copied().chain([width]).collect();
            select(call, 0, out)
        }
        op::ONE_HOT => one_hot(call),
        op::GATHER => gather(call),
        _ => scatter_add(context, call),
    }
}

/// The indices of an input, all below `bound`.
pub(super) fn indices(call: &Call, input: usize, bound: usize) -> Result<Vec<u32>> {
    let tensor = &call.inputs[input].contiguous()?.tensor;
    let refuse = |index: String| {
        call.error(format!(
            "index {index} of input {input} is out of range: it must be below {bound}"
        ))
    };
    match tensor.dtype() {
        DType::U32 => {
            let indices = data::<u32>(tensor)?;
            match indices.iter().find(|&&index| index as usize >= bound) {
                Some(index) => Err(refuse(index.to_string())),
                None => Ok(indices.to_vec()),
            }
        }
        DType::I64 => data::<i64>(tensor)?
            .iter()
            .map(|&index| {
                u32::try_from(index)
                    .ok()
                    .filter(|&small| (small as usize) < bound)
                    .ok_or_else(|| refuse(index.to_string()))
            })
            .collect(),
        other => Err(call.error(format!("indices must be u32 or i64, input {input} is {other:?}"))),
    }
}

/// Slices of dimension `dim` at the indices of input 1.
fn select(call: &Call, dim: usize, out: Vec<usize>) -> Result<Produced> {
    let x = call.inputs[0].contiguous()?;
    let dims = x.dims();
    let (outer, size, inner) = (
        dims[..dim].iter().product::<usize>(),
        dims[dim],
        dims[dim + 1..].iter().product::<usize>(),
    );
    let picks = indices(call, 1, size)?;
    let dtype = x.dtype();
    let result = for_element!(dtype, T => {
        let elements = data::<T>(&x.tensor)?;
        let mut result: Vec<T> = Vec::with_capacity(outer * picks.len() * inner);
        for block in 0..outer {
            for &pick in &picks {
                let start = (block * size + pick as usize) * inner;
                result.extend_from_slice(&elements[start..start + inner]);
            }
        }
        value(result, Shape::from(out))
    }, other => return Err(call.error(format!("element type {other:?} is not supported"))));
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Ok(Produced::constant(result));
    }
    let shape = x.tensor.shape().clone();
    Ok(Produced::one(call, result, move |_, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        for_real!(dtype, T => {
            let gradient = data::<T>(&gradient.tensor)?;
            let mut full: Vec<T> = vec![0.0; outer * size * inner];
            for (row, slice) in gradient.chunks_exact(inner.max(1)).enumerate() {
                let (block, pick) = (row / picks.len(), picks[row % picks.len()] as usize);
                let start = (block * size + pick) * inner;
                for (sum, &g) in full[start..start + inner].iter_mut().zip(slice) {
                    *sum += g;
                }
            }
            Ok(smallvec![Some(value(full, shape))])
        })
    }))
}

fn one_hot(call: &Call) -> Result<Produced> {
    call.expect(1..=1, 1..=2, 0..=0)?;
    let classes = call.size(0, "classes", 0)?;
    let code = call.int(1, i64::from(fluxbay_plugin::abi::handle::dtype::F32));
    let dtype = u32::try_from(code)
        .ok()
        .and_then(dtype_of)
        .ok_or_else(|| call.error(format!("there is no element type with code {code}")))?;
    let ids = indices(call, 0, classes)?;
    let mut hot = vec![0_u8; ids.len() * classes];
    for (row, &id) in ids.iter().enumerate() {
        hot[row * classes + id as usize] = 1;
    }
    let shape: Vec<usize> = call.shape(0).iter().copied().chain([classes]).collect();
    Ok(Produced::constant(Value::new(value(hot, Shape::from(shape)).tensor.to_dtype(dtype)?)))
}

/// For every element of an index tensor, the place in a tensor of shape `dims` that it names along
/// `dim`.
fn places(picks: &[u32], index_dims: &[usize], dims: &[usize], dim: usize) -> Vec<usize> {
    let rank = dims.len();
    let mut strides = vec![1; rank];
    for at in (0..rank.saturating_sub(1)).rev() {
        strides[at] = strides[at + 1] * dims[at + 1];
    }
    let mut at = vec![0; rank];
    let mut base = 0;
    picks
        .iter()
        .map(|&pick| {
            let place = base + pick as usize * strides[dim];
            for d in (0..rank).rev() {
                at[d] += 1;
                base += if d == dim { 0 } else { strides[d] };
                if at[d] < index_dims[d] {
                    break;
                }
                base -= if d == dim { 0 } else { strides[d] * at[d] };
                at[d] = 0;
            }
            place
        })
        .collect()
}

fn checked_places(call: &Call) -> Result<Vec<usize>> {
    let (dims, index_dims) = (call.shape(0), call.shape(1));
    let dim = call.dim(call.ints[0], dims.len())?;
    let fits = dims.len() == index_dims.len()
        && dims.iter().zip(index_dims).enumerate().all(|(d, (x, i))| d == dim || i <= x);
    if !fits {
        return Err(call.error(format!(
            "indices of shape {index_dims:?} do not fit {dims:?} along dimension {dim}"
        )));
    }
    Ok(places(&indices(call, 1, dims[dim])?, index_dims, dims, dim))
}

fn gather(call: &Call) -> Result<Produced> {
    call.expect(2..=2, 1..=1, 0..=0)?;
    let x = call.inputs[0].contiguous()?;
    let places = checked_places(call)?;
    let dtype = x.dtype();
    let out = Shape::from(call.shape(1));
    let result = for_element!(dtype, T => {
        let elements = data::<T>(&x.tensor)?;
        value(places.iter().map(|&place| elements[place]).collect::<Vec<T>>(), out)
    }, other => return Err(call.error(format!("element type {other:?} is not supported"))));
    if !matches!(dtype, DType::F32 | DType::F64) {
        return Ok(Produced::constant(result));
    }
    let shape = x.tensor.shape().clone();
    Ok(Produced::one(call, result, move |_, mut gradients| {
        let gradient = gradients.only()?;
        for_real!(dtype, T => {
            let zeros: Vec<T> = vec![0.0; shape.elem_count()];
            Ok(smallvec![Some(value(added(zeros, &places, &gradient)?, shape))])
        })
    }))
}

/// `target[places[i]] += source[i]`.
fn added<T: Real>(mut target: Vec<T>, places: &[usize], source: &Value) -> Result<Vec<T>> {
    let source = source.contiguous()?;
    for (&place, &x) in places.iter().zip(data::<T>(&source.tensor)?.iter()) {
        target[place] += x;
    }
    Ok(target)
}

fn scatter_add(_: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(3..=3, 1..=1, 0..=0)?;
    let dtype = call.real([0, 2])?;
    if call.shape(1) != call.shape(2) {
        return Err(call.error(format!(
            "indices of shape {:?} and source of shape {:?} differ",
            call.shape(1),
            call.shape(2)
        )));
    }
    let places = checked_places(call)?;
    let x = call.inputs[0].contiguous()?;
    let source_shape = call.inputs[2].tensor.shape().clone();
    for_real!(dtype, T => {
        let target = data::<T>(&x.tensor)?.to_vec();
        let out = value(added(target, &places, call.inputs[2])?, x.tensor.shape().clone());
        Ok(Produced::one(call, out, move |_, mut gradients| {
            let gradient = gradients.only()?.contiguous()?;
            let source = match gradients.wants(2) {
                true => {
                    let g = data::<T>(&gradient.tensor)?;
                    Some(value(places.iter().map(|&place| g[place]).collect::<Vec<T>>(), source_shape))
                }
                false => None,
            };
            Ok(smallvec![Some(gradient), None, source])
        }))
    })
}

impl Value {
    /// The elements, copied out in order.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        Ok(data::<T>(&self.contiguous()?.tensor)?.to_vec())
    }
}
