//! Several blocks of samples in one forward pass.
//!
//! [`Engine::set_block`] is for blocks that run one after the other. Here a model is called once, and every
//! operation is applied to one block after the other before the next operation, so that batch normalisation
//! has the statistics of all samples. The nodes of the tape are those of separate passes, and so are
//! all numbers: each block has its own inputs, results, random words and gradients of parameters.
//!
//! A handle that the model gets stands for one tensor per block. The blocks have the same number of samples,
//! so these have the same shape. Their elements cannot be read.

use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::{self, op};
use smallvec::SmallVec;

use super::Engine;
use crate::context::Recording;
use crate::error::{Result, TensorError};
use crate::operations::{self, BlockStatistics, Call, own_statistics};
use crate::random::RandomState;
use crate::slots::Entry;
use crate::tape::{Node, Source, Way};
use crate::value::Value;

/// The blocks of a forward pass, see [`Engine::begin_joint_blocks`].
pub(super) struct JointBlocks {
    /// Number of the first block, counted from 1.
    first: u32,
    /// The random streams of each block.
    random: Vec<RandomState>,
}

/// Name of the tape's node behind which batch normalisation takes its input.
const JOIN: &str = "batch-norm-input";

impl Engine {
    /// Applies the following operations to `count` blocks each, the first of them being number `first`, counted
    /// from 1. The random streams of a block are those of [`Engine::begin_random_block`].
    ///
    /// # Errors
    /// If parts of the model are computed again in backward passes.
    pub fn begin_joint_blocks(&mut self, first: u32, count: usize, number: u64) -> Result<()> {
        if self.recomputation.is_some() {
            return Err(TensorError::request(
                "the model cannot be recomputed while `run.sync-batch-norm` runs several blocks at once: leave out \
                 `recompute` and `run.memory`, or start one process for each block",
            ));
        }
        let of_block = |block: u32| {
            self.begin_random_block(number, first - 1 + block);
            self.random_state()
        };
        let random = (0..count as u32).map(of_block).collect();
        self.joint = Some(JointBlocks { first, random });
        Ok(())
    }

    /// Ends it. Random streams are left as they are in one of the blocks.
    pub fn end_joint_blocks(&mut self) {
        self.joint = None;
        self.block = 0;
    }

    /// The number of blocks that run jointly; 0 if blocks run one after the other.
    pub(super) fn joint_count(&self) -> usize {
        self.joint.as_ref().map_or(0, |joint| joint.random.len())
    }

    /// The tensors of a handle, one for each of the joint blocks.
    ///
    /// # Errors
    /// If there is no such tensor.
    pub fn tensors_of_blocks(&mut self, handle: Handle) -> Result<Vec<Handle>> {
        let entry = self.slots.get(handle)?;
        let all: Vec<_> = (0..self.joint_count()).map(|block| entry.of_block(block)).collect();
        let insert = |(value, source)| self.slots.insert(Entry::new(value, source));
        Ok(all.into_iter().map(insert).collect())
    }

    /// A tensor that is no tensor of several blocks.
    ///
    /// # Errors
    /// If it is.
    pub(super) fn whole(&self, handle: Handle) -> Result<&Entry> {
        let entry = self.slots.get(handle)?;
        match entry.further.is_empty() {
            true => Ok(entry),
            false => Err(TensorError::request(
                "elements of the model's tensors cannot be read in its forward pass while `run.sync-batch-norm` runs \
                 several blocks at once: start one process for each block, or leave out `gradient-blocks`",
            )),
        }
    }

    /// Applies an operation to each block.
    #[cold]
    #[inline(never)]
    pub(super) fn apply_jointly(
        &mut self,
        code: u32,
        inputs: &[Handle],
        ints: &[i64],
        floats: &[f64],
        outputs: &mut Vec<Handle>,
    ) -> Result<()> {
        let Some(mut joint) = self.joint.take() else { return Ok(()) };
        let mut made = Vec::new();
        let outcome = self.apply_to_each(&mut joint, (code, inputs, ints, floats), &mut made);
        let outcome = outcome.and_then(|count| self.put_together(count, &made, outputs));
        if outcome.is_err() {
            // Some may have been released already by `put_together`; releasing them again fails, which is ignored.
            made.iter().for_each(|&handle| drop(self.slots.release(handle)));
        }
        self.joint = Some(joint);
        outcome
    }

    /// Appends the results in each block to `made`, block by block, and returns their number in one.
    fn apply_to_each(
        &mut self,
        joint: &mut JointBlocks,
        (code, inputs, ints, floats): (u32, &[Handle], &[i64], &[f64]),
        made: &mut Vec<Handle>,
    ) -> Result<usize> {
        let targets = operations::targets(code, inputs.len(), ints, self.context.mode);
        let joins = code == op::BATCH_NORM
            && targets != 0
            && self.context.across.is_some()
            && !self.overwrites_frozen(inputs, targets);
        if targets != 0 && code != op::BATCH_NORM {
            let name = operation::find(code).map_or("an operation", |info| info.name);
            return Err(TensorError::request(format!(
                "{name} would overwrite a tensor for each block, while `run.sync-batch-norm` runs several \
                 blocks at once: start one process for each block",
            )));
        }
        let count = joint.random.len();
        let joined = match joins {
            true => Some(self.join(joint, (code, inputs, ints, floats))?),
            false => None,
        };
        let mut results = 0;
        for block in 0..count {
            self.block = joint.first + block as u32;
            self.context.random.restore(&joint.random[block]);
            let mut own: SmallVec<[Handle; 6]> = SmallVec::new();
            let mut lent: SmallVec<[Handle; 6]> = SmallVec::new();
            for (index, &input) in inputs.iter().enumerate() {
                let entry = self.slots.get(input)?;
                let (value, source) = match &joined {
                    Some((_, inputs)) if index == 0 => inputs[block].clone(),
                    _ if entry.further.is_empty() => {
                        own.push(input);
                        continue;
                    }
                    _ => entry.of_block(block),
                };
                let handle = self.slots.insert(Entry::new(value, source));
                own.push(handle);
                lent.push(handle);
            }
            self.context.joint = joined.as_ref().map(|(statistics, _)| statistics.of_block(block));
            let before = made.len();
            let outcome = self.apply(code, &own, ints, floats, made);
            self.context.joint = None;
            lent.iter().try_for_each(|&handle| self.slots.release(handle).map(drop))?;
            outcome?;
            joint.random[block] = self.context.random.state();
            results = made.len() - before;
        }
        Ok(results)
    }

    /// Makes handles for `count` results from those of the blocks.
    fn put_together(
        &mut self,
        count: usize,
        made: &[Handle],
        outputs: &mut Vec<Handle>,
    ) -> Result<()> {
        for result in 0..count {
            let mut all = Vec::new();
            for &handle in made.iter().skip(result).step_by(count) {
                let entry = self.slots.release(handle)?;
                all.extend(entry.map(|entry| (entry.value, entry.source)));
            }
            let mut all = all.into_iter();
            let Some((value, source)) = all.next() else { continue };
            let entry = Entry { further: all.collect(), ..Entry::new(value, source) };
            outputs.push(self.slots.insert(entry));
        }
        Ok(())
    }

    /// The statistics of the input of a batch normalisation over the blocks of all processes, and the input of
    /// each block behind a node that adds the gradient which passes through them.
    fn join(
        &mut self,
        joint: &JointBlocks,
        (code, inputs, ints, floats): (u32, &[Handle], &[i64], &[f64]),
    ) -> Result<(BlockStatistics, Vec<(Value, Source)>)> {
        let info = operation::find(code).ok_or_else(|| {
            Box::new(TensorError::UnknownOperation { code, known: operation::OPERATIONS.len() })
        })?;
        let entries: SmallVec<[&Entry; 5]> =
            inputs.iter().map(|&input| self.slots.get(input)).collect::<Result<_>>()?;
        if entries[0].further.is_empty() {
            return Err(TensorError::request(
                "batch normalisation of a tensor that does not depend on the samples cannot be synchronised",
            ));
        }
        let records = self.context.mode.recording == Recording::On;
        let mut own = Vec::new();
        let mut sources: SmallVec<[Source; 4]> = SmallVec::new();
        for block in 0..joint.random.len() {
            let (x, source) = entries[0].of_block(block);
            sources.push(if records { source } else { Source::None });
            let values: SmallVec<[&Value; 5]> =
                std::iter::once(&x).chain(entries[1..].iter().map(|entry| &entry.value)).collect();
            let call = Call { info, inputs: &values, wants: &[], ints, floats };
            own.push(own_statistics(&self.context, &call)?);
        }
        let weights = entries[1].value.clone();
        let statistics = BlockStatistics::join(&self.context, own, weights)?;
        let values = statistics.inputs();
        if sources.iter().all(|source| *source == Source::None) {
            return Ok((statistics, values.into_iter().map(|x| (x, Source::None)).collect()));
        }
        let of_node = statistics.clone();
        let node = Node {
            operation: JOIN,
            inputs: sources,
            block: 0,
            #[cfg(debug_assertions)]
            shapes: values.iter().map(|x| x.shape().clone()).collect(),
            backward: Way::Function(Box::new(move |context, gradients| {
                of_node.input_gradients(context, gradients)
            })),
        };
        let id = self.tape.push(node, None);
        let behind = |(output, x)| (x, Source::Node { id, output: output as u32 });
        Ok((statistics, values.into_iter().enumerate().map(behind).collect()))
    }
}
