//! Blocks of a model whose intermediate values are not kept for the backward pass, which computes
//! them again.
//!
//! The operations between the first use of a block's parameters and the first use of others are one
//! part of the tape. What goes into the part and what others use of its results is kept. The backward
//! pass applies the part's operations again, with the same random words and without changing
//! anything in place, and then carries the gradients through it: all numbers are the same bits.

use fluxbay_plugin::abi::handle::Handle;

use super::Engine;
use crate::error::Result;
use crate::memory::counted;
use crate::parameters::Kind;
use crate::slots::Block;

/// A block that may be computed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recomputed {
    /// Numbers of its parameters and buffers.
    pub parameters: Vec<usize>,
    /// Whether that happens in every step; otherwise only if memory is short.
    pub always: bool,
}

/// See [`Engine::recompute`].
pub(super) struct Recomputation {
    /// Whether each block is computed again in every step.
    always: Vec<bool>,
    /// The block whose part of the tape is open.
    current: Block,
    /// Most bytes of tensors, and what of it is left for gradients of parameters.
    budget: Option<(u64, u64)>,
}

impl Engine {
    /// Sets the blocks that are computed again in backward passes. Those with `always` are in every
    /// step. With a budget, the others are, first used first, while the tensors would take more bytes
    /// than that: what is there, the gradients of all parameters, and room to compute the largest
    /// block again. No blocks end it.
    ///
    /// # Errors
    /// If there is no parameter of a number.
    pub fn recompute(&mut self, blocks: &[Recomputed], budget: Option<u64>) -> Result<()> {
        let mut gradients = 0;
        for index in 0..self.parameters.list.len() {
            let parameter = &self.parameters.list[index];
            let entry = self.slots.get_mut(parameter.handle)?;
            entry.block = if blocks.is_empty() { Block::None } else { Block::Outside };
            if parameter.kind == Kind::Trainable && !parameter.frozen {
                gradients += entry.value.bytes();
            }
        }
        for (number, block) in blocks.iter().enumerate() {
            for &index in &block.parameters {
                let handle = self.parameter_mut(index)?.handle;
                self.slots.get_mut(handle)?.block = Block::Number(number as u32);
            }
        }
        self.recomputation = (!blocks.is_empty()).then(|| Recomputation {
            always: blocks.iter().map(|block| block.always).collect(),
            current: Block::None,
            budget: budget.map(|budget| (budget, gradients)),
        });
        Ok(())
    }

    /// How many times a block was given up to be computed again since
    /// [`Engine::mark_memory`].
    pub fn recomputed(&self) -> u64 {
        self.tape.segments.dropped
    }

    /// Ends the open part of the tape if an operation on `inputs` belongs to another block, and
    /// begins one for its block.
    pub(super) fn enter_block(&mut self, inputs: &[Handle]) -> Result<()> {
        let mut block = Block::None;
        for &input in inputs {
            block = match (block, self.slots.get(input)?.block) {
                (known, Block::None) => known,
                (Block::None, of_input) => of_input,
                (known, of_input) if known == of_input => known,
                _ => Block::Outside,
            };
        }
        let next = self.tape.next();
        let is_open = self.tape.segments.is_open();
        let Some(recomputation) = &self.recomputation else { return Ok(()) };
        if block == Block::None || (is_open && block == recomputation.current) {
            return Ok(());
        }
        self.leave_block();
        let Some(recomputation) = &mut self.recomputation else { return Ok(()) };
        recomputation.current = block;
        if matches!(block, Block::Number(_)) {
            self.tape.segments.open(next);
        }
        Ok(())
    }

    /// Ends the open part of the tape, if there is one.
    pub(super) fn leave_block(&mut self) {
        let Some(recomputation) = &mut self.recomputation else { return };
        let ended = self.tape.segments.close();
        let current = std::mem::replace(&mut recomputation.current, Block::None);
        let Some(ended) = ended else { return };
        if matches!(current, Block::Number(number) if recomputation.always[number as usize]) {
            self.tape.drop_segment(ended);
        }
    }

    /// Gives up blocks while the tensors would take more than the budget.
    pub(super) fn make_room(&mut self) {
        let Some((budget, gradients)) = self.recomputation.as_ref().and_then(|it| it.budget) else {
            return;
        };
        loop {
            let again = self.tape.segments.largest + self.tape.segments.largest / 4;
            if counted().now + gradients + again <= budget {
                return;
            }
            let Some(oldest) = self.tape.segments.oldest_kept() else { return };
            self.tape.drop_segment(oldest);
        }
    }
}
