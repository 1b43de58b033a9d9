//! Tensors as bytes, and back.

use candle_core::{Device, Tensor};

use crate::learner::control::{Flow, Stop};
use crate::tensor::{dtype_of, with_bytes};

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::host(format!("a tensor cannot be sent to the other ranks: {error}"))
}

/// Tensors as bytes: their number, then type, shape and elements of each.
pub(super) fn pack(tensors: &[(u32, Tensor)]) -> Flow<Vec<u8>> {
    let mut bytes = Vec::new();
    put(&mut bytes, tensors.len());
    for (code, tensor) in tensors {
        put(&mut bytes, *code as usize);
        put(&mut bytes, tensor.rank());
        tensor.dims().iter().for_each(|&size| put(&mut bytes, size));
        let length = tensor.elem_count() * tensor.dtype().size_in_bytes();
        put(&mut bytes, length);
        with_bytes(tensor, |elements| bytes.extend_from_slice(elements)).map_err(failed)?;
    }
    Ok(bytes)
}

fn put(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend_from_slice(&(number as u64).to_le_bytes());
}

/// Element type, shape and elements of a tensor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packed<'a> {
    pub(super) code: u32,
    pub(super) dims: Vec<usize>,
    pub(super) elements: &'a [u8],
}

/// The tensors of bytes that [`pack`] made.
pub(super) fn unpack(mut bytes: &[u8]) -> Flow<Vec<Packed<'_>>> {
    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Flow<&'a [u8]> {
        bytes.split_off(..count).ok_or_else(|| failed("a message is shorter than it says"))
    }
    fn number(bytes: &mut &[u8]) -> Flow<usize> {
        let word = take(bytes, 8)?;
        Ok(word.try_into().map_or(0, u64::from_le_bytes) as usize)
    }
    let count = number(&mut bytes)?;
    let mut tensors = Vec::new();
    for _ in 0..count {
        let code = number(&mut bytes)? as u32;
        let rank = number(&mut bytes)?;
        let mut dims = Vec::new();
        for _ in 0..rank {
            dims.push(number(&mut bytes)?);
        }
        let length = number(&mut bytes)?;
        tensors.push(Packed { code, dims, elements: take(&mut bytes, length)? });
    }
    Ok(tensors)
}

/// The tensors whose rows are those of all ranks, in their order. Ranks without rows may send no
/// tensors. `None` if no rank sent any.
pub(super) fn concatenate(messages: &[Vec<u8>]) -> Flow<Option<Vec<Tensor>>> {
    let mut all: Vec<Vec<Packed<'_>>> = Vec::new();
    for message in messages {
        let tensors = unpack(message)?;
        if !tensors.is_empty() {
            all.push(tensors);
        }
    }
    let Some(first) = all.first() else { return Ok(None) };
    let mut whole = Vec::with_capacity(first.len());
    for (index, tensor) in first.iter().enumerate() {
        let mut elements = Vec::new();
        let mut rows = 0;
        for parts in &all {
            let same = |part: &&Packed<'_>| {
                part.code == tensor.code && part.dims.get(1..) == tensor.dims.get(1..)
            };
            let part = parts.get(index).filter(same).filter(|part| !part.dims.is_empty());
            let Some(part) = part.filter(|_| parts.len() == first.len()) else {
                return Err(Stop::host(format!(
                    "the ranks have tensors of other shapes or types in place {index}, of which one \
                     should be made; all ranks need the same data and the same model"
                )));
            };
            rows += part.dims[0];
            elements.extend_from_slice(part.elements);
        }
        let mut dims = tensor.dims.clone();
        dims[0] = rows;
        let dtype = dtype_of(tensor.code)
            .ok_or_else(|| failed(format!("there is no element type {}", tensor.code)))?;
        whole.push(Tensor::from_raw_buffer(&elements, dtype, &dims, &Device::Cpu).map_err(failed)?);
    }
    Ok(Some(whole))
}
