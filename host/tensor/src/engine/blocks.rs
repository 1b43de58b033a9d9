//! Blocks of samples: forward passes over some rows of a batch each, and gradients that are kept apart
//! by block, so that they can be added up in an order that does not depend on who computed which
//! block.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Tensor;
use fluxbay_plugin::abi::handle::Handle;
use smallvec::SmallVec;

use super::Engine;
use crate::context::Recording;
use crate::dtype::is_floating;
use crate::error::{Result, TensorError};
use crate::random::RandomState;
use crate::slots::Entry;
use crate::tape::{Node, Source, Way};
use crate::value::Value;

/// Gradients by parameter, in the order of the engine's parameter numbers.
type Gradients = Vec<Option<Value>>;

/// The gradients of some consecutive blocks, added up, and those that belong to no block.
#[derive(Debug)]
pub struct BlockGradients {
    sum: Gradients,
    outside: Gradients,
}

/// Name of the tape's node that puts the results of blocks together.
const ASSEMBLE: &str = "assemble";

impl Engine {
    /// Sets the block that the following operations belong to, counted from 1; 0 for none.
    pub fn set_block(&mut self, block: u32) {
        self.leave_block();
        self.block = block;
    }

    /// Some rows of a tensor as a constant; the elements are shared. While several blocks run jointly, those
    /// are the rows of the first block, and as many that follow those of each further one.
    ///
    /// # Errors
    /// If the tensor has no such rows, or a gradient would have to pass through it.
    pub fn rows(&mut self, tensor: Handle, rows: Range<usize>) -> Result<Handle> {
        let entry = self.whole(tensor)?;
        if self.context.mode.recording == Recording::On && entry.source != Source::None {
            return Err(TensorError::request(
                "a gradient would have to pass through an input of the model, which is divided into \
                 blocks of samples: detach the input, or train in one process without \
                 `gradient-blocks`",
            ));
        }
        let value = entry.value.narrow(0, rows.start, rows.len())?;
        let of_block = |block: usize| {
            let value = entry.value.narrow(0, rows.start + block * rows.len(), rows.len())?;
            Ok((value, Source::None))
        };
        let further = (1..self.joint_count()).map(of_block).collect::<Result<_>>()?;
        Ok(self.slots.insert(Entry { further, ..Entry::new(value, Source::None) }))
    }

    /// A tensor of which some rows are the given pieces, from row `first` on one after the other. Its
    /// elements are those of `whole`; the gradient of its rows passes to the pieces.
    ///
    /// # Errors
    /// If the device has no memory left.
    pub fn assemble(&mut self, whole: Tensor, first: usize, pieces: &[Handle]) -> Result<Handle> {
        let value = self.context.backend.upload(whole.detach())?;
        let mut inputs: SmallVec<[Source; 4]> = SmallVec::new();
        let mut rows = Vec::with_capacity(pieces.len());
        for &piece in pieces {
            let entry = self.slots.get(piece)?;
            inputs.push(entry.source);
            rows.push(entry.value.dims().first().copied().unwrap_or(0));
        }
        let records = self.context.mode.recording == Recording::On && is_floating(value.dtype());
        if !records || inputs.iter().all(|&source| source == Source::None) {
            return Ok(self.slots.insert(Entry::new(value, Source::None)));
        }
        let backward = move |_: &mut _, mut gradients: crate::tape::Gradients<'_>| {
            let whole = gradients.only()?;
            let mut start = first;
            let mut parts = SmallVec::new();
            for &count in &rows {
                parts.push(Some(whole.narrow(0, start, count)?));
                start += count;
            }
            Ok(parts)
        };
        self.leave_block();
        let node = Node {
            operation: ASSEMBLE,
            inputs,
            block: 0,
            #[cfg(debug_assertions)]
            shapes: [value.shape().clone()].into_iter().collect(),
            backward: Way::Function(Box::new(backward)),
        };
        let id = self.tape.push(node, None);
        Ok(self.slots.insert(Entry::new(value, Source::Node { id, output: 0 })))
    }

    /// As [`Engine::backward`], with the gradients of the blocks `blocks` added up in a binary tree and
    /// returned: see [`Engine::put_gradients`]. The number of blocks is a power of two, or the gradients
    /// of a range depend on where it is divided.
    ///
    /// # Errors
    /// As [`Engine::backward`].
    pub fn backward_in_blocks(
        &mut self,
        loss: Handle,
        model: Option<usize>,
        blocks: Range<u32>,
    ) -> Result<BlockGradients> {
        let seed = self.seed(loss)?;
        let Self { context, tape, parameters, .. } = self;
        let of_model: Vec<bool> =
            parameters.list.iter().map(|p| model.is_none_or(|model| model == p.model)).collect();
        let count = of_model.len();
        let is_target =
            |source| matches!(source, Source::Parameter(index) if of_model[index as usize]);
        let mut parts: BTreeMap<u32, Gradients> = BTreeMap::new();
        tape.backward(context, seed, is_target, |context, (source, block), gradient| {
            let Source::Parameter(index) = source else { return Ok(()) };
            let gradients = parts.entry(block).or_insert_with(|| vec![None; count]);
            let place = &mut gradients[index as usize];
            *place = Some(match place.take() {
                None => gradient,
                Some(earlier) => context.accumulate(earlier, gradient)?,
            });
            Ok(())
        })?;
        let outside = parts.remove(&0).unwrap_or_else(|| vec![None; count]);
        let sum = self.add_blocks(&mut parts, blocks)?;
        Ok(BlockGradients { sum: sum.unwrap_or_else(|| vec![None; count]), outside })
    }

    /// The sum of a range of blocks: of its halves.
    fn add_blocks(
        &mut self,
        parts: &mut BTreeMap<u32, Gradients>,
        blocks: Range<u32>,
    ) -> Result<Option<Gradients>> {
        if blocks.len() <= 1 {
            return Ok(parts.remove(&blocks.start));
        }
        let middle = blocks.start + (blocks.end - blocks.start) / 2;
        let first = self.add_blocks(parts, blocks.start..middle)?;
        let second = self.add_blocks(parts, middle..blocks.end)?;
        let (mut first, second) = match (first, second) {
            (Some(first), Some(second)) => (first, second),
            (first, second) => return Ok(first.or(second)),
        };
        for (place, other) in first.iter_mut().zip(second) {
            *place = match (place.take(), other) {
                (Some(a), Some(b)) => Some(self.context.accumulate(a, b)?),
                (a, b) => a.or(b),
            };
        }
        Ok(Some(first))
    }

    /// The sums of the blocks on the host, by the number of the parameter.
    ///
    /// # Errors
    /// A tensor that cannot be copied from its device.
    pub fn block_sums(&self, gradients: &BlockGradients) -> Result<Vec<Option<Tensor>>> {
        let download = |value: &Option<Value>| {
            value.as_ref().map(|value| self.context.backend.download(value)).transpose()
        };
        gradients.sum.iter().map(download).collect()
    }

    /// Sets the gradients of the parameters to `sums`, or to those of the blocks themselves without
    /// it, with the gradients that belong to no block added. Parameters with neither keep theirs.
    ///
    /// # Errors
    /// If the device has no memory left.
    pub fn put_gradients(
        &mut self,
        gradients: BlockGradients,
        sums: Option<Vec<Option<Tensor>>>,
    ) -> Result<()> {
        let BlockGradients { mut sum, outside } = gradients;
        if let Some(sums) = sums {
            for (place, tensor) in sum.iter_mut().zip(sums) {
                *place = tensor.map(|tensor| self.context.backend.upload(tensor)).transpose()?;
            }
        }
        for (index, (sum, outside)) in sum.into_iter().zip(outside).enumerate() {
            let gradient = match (sum, outside) {
                (Some(a), Some(b)) => self.context.accumulate(a, b)?,
                (Some(gradient), None) | (None, Some(gradient)) => gradient,
                (None, None) => continue,
            };
            let fresh = self.slots.insert(Entry::new(gradient, Source::None));
            if let Some(old) = self.parameter_mut(index)?.gradient.replace(fresh) {
                self.slots.release(old)?;
            }
        }
        Ok(())
    }

    /// Takes a number from the default random stream.
    pub fn draw_number(&mut self) -> u64 {
        self.context.random.take(Some(0), 2).map_or(0, |words| {
            let [low, high, ..] = words.block(0);
            u64::from(high) << 32 | u64::from(low)
        })
    }

    /// Sets all random streams to their beginning under a seed that follows from `number` and `block`.
    /// [`Engine::set_random_state`] leads back.
    pub fn begin_random_block(&mut self, number: u64, block: u32) {
        let mixed = mix(mix(number).wrapping_add(u64::from(block)));
        let state = RandomState { seed: mixed, counters: BTreeMap::new() };
        self.context.random.restore(&state);
    }
}

/// The finaliser of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
