//! Gradients over the blocks of all ranks.
//!
//! Each rank adds up its own blocks. Of these sums, every rank receives the same part from all others,
//! adds it up in a binary tree over the ranks, and sends the result to all: no rank sends much more than
//! twice the gradients, whatever the number of ranks.

use std::ops::{Add, Neg};

use bytemuck::Pod;
use candle_core::{DType, Device, Tensor, WithDType};
use fluxbay_plugin::abi::handle::Handle;

use super::meeting::Doing;
use super::{Ranks, part};
use crate::learner::control::{Flow, Stop};
use crate::learner::refusal::{Answer, stopped};
use crate::learner::runtime::Runtime;

impl Runtime {
    /// Computes the gradients of `loss` over the blocks of all ranks.
    pub(in crate::learner) fn backward_in_blocks(
        &self,
        ranks: &Ranks,
        loss: Handle,
        model: Option<usize>,
    ) -> Answer {
        let own = ranks.own_blocks();
        // Blocks are counted from 1 on the tape.
        let blocks = own.start as u32 + 1..own.end as u32 + 1;
        let gradients = self.engine.borrow_mut().backward_in_blocks(loss, model, blocks)?;
        let sums = if ranks.are_several() {
            let own = self.engine.borrow().block_sums(&gradients)?;
            Some(stopped(ranks.add_up(own))?)
        } else {
            None
        };
        Ok(self.engine.borrow_mut().put_gradients(gradients, sums)?)
    }
}

impl Ranks {
    /// The sums of tensors over the ranks. A tensor that no rank has stays absent.
    pub(super) fn add_up(&self, own: Vec<Option<Tensor>>) -> Flow<Vec<Option<Tensor>>> {
        let here: Vec<u8> = own.iter().map(|tensor| u8::from(tensor.is_some())).collect();
        let met = self.meet(Doing::Gradients, 0, &here)?;
        if met.messages.iter().any(|message| message.len() != here.len()) {
            return Err(Stop::host("the ranks have models with different numbers of parameters"));
        }
        let shape = |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| tensor.dims().to_vec());
        let mut dims: Vec<Option<Vec<usize>>> = own.iter().map(shape).collect();
        if met.messages.iter().any(|message| *message != here) {
            // What a rank does not have is described by the ranks that have it.
            let described = serde_json::to_vec(&dims).unwrap_or_default();
            let met = self.meet(Doing::Gradients, 0, &described)?;
            for message in &met.messages {
                let others: Vec<Option<Vec<usize>>> =
                    serde_json::from_slice(message).unwrap_or_default();
                for (place, other) in dims.iter_mut().zip(others) {
                    *place = place.take().or(other);
                }
            }
        }
        let dtype = own.iter().flatten().map(Tensor::dtype).next().unwrap_or(DType::F32);
        match dtype {
            DType::F64 => self.add_up_as::<f64>(&own, &dims),
            _ => self.add_up_as::<f32>(&own, &dims),
        }
    }

    fn add_up_as<T>(
        &self,
        own: &[Option<Tensor>],
        dims: &[Option<Vec<usize>>],
    ) -> Flow<Vec<Option<Tensor>>>
    where
        T: WithDType + Pod + Add<Output = T> + Neg<Output = T>,
    {
        let mut flat: Vec<T> = Vec::new();
        for (tensor, dims) in own.iter().zip(dims) {
            let Some(dims) = dims else { continue };
            match tensor {
                Some(tensor) => {
                    let elements = tensor.flatten_all().and_then(|flat| flat.to_vec1::<T>());
                    flat.extend(elements.map_err(Stop::engine)?);
                }
                // Negative zero, which changes the bits of no number that it is added to.
                None => {
                    let zero = -T::zeroed();
                    flat.resize(flat.len() + dims.iter().product::<usize>(), zero);
                }
            }
        }
        let size = size_of::<T>() as u64;
        let count = flat.len();
        let length = |rank| part(count, rank, self.ranks).len() as u64 * size;
        let sent_counts: Vec<u64> = (0..self.ranks).map(length).collect();
        let counts = vec![length(self.rank); self.ranks];
        let sent = bytemuck::cast_slice(&flat);
        let received = self.exchange(Doing::Gradients, sent, &sent_counts, &counts)?;
        let mut parts: Vec<Vec<T>> = if received.is_empty() {
            vec![Vec::new()]
        } else {
            let each = received.len() / self.ranks;
            received.chunks_exact(each).map(bytemuck::pod_collect_to_vec).collect()
        };
        add_tree(&mut parts);
        let sum = std::mem::take(&mut parts[0]);
        let all = self.gather(Doing::Gradients, bytemuck::cast_slice(&sum), &sent_counts)?;
        let all: Vec<T> = bytemuck::pod_collect_to_vec(&all);
        let mut rest = all.as_slice();
        let mut sums = Vec::with_capacity(dims.len());
        for dims in dims {
            let Some(dims) = dims else {
                sums.push(None);
                continue;
            };
            let (elements, behind) = rest.split_at(dims.iter().product());
            rest = behind;
            let tensor = Tensor::from_slice(elements, dims.as_slice(), &Device::Cpu);
            sums.push(Some(tensor.map_err(Stop::engine)?));
        }
        Ok(sums)
    }
}

/// Adds up vectors in a binary tree, into the first.
pub(super) fn add_tree<T: Copy + Add<Output = T>>(parts: &mut [Vec<T>]) {
    if parts.len() < 2 {
        return;
    }
    let (first, second) = parts.split_at_mut(parts.len() / 2);
    add_tree(first);
    add_tree(second);
    first[0].iter_mut().zip(&second[0]).for_each(|(a, &b)| *a = *a + b);
}
