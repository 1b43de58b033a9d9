//! A run on several processes, and steps in blocks of samples.
//!
//! Every process, called a *rank*, has the whole state of the run: parameters, optimizer, random
//! streams, callbacks, position. What is divided are the samples that a data set reads, and the forward
//! and backward passes of models. Whatever these produce is put together before anything else sees it:
//! a batch, predictions and gradients are those of all samples on every rank, and so is all that
//! follows from them.
//!
//! Models run block by block. A run has a number of blocks, at least one per rank; the batch is divided
//! into as many parts. Gradients are added up in a binary tree over the blocks, so that the bits of a
//! run with `gradient-blocks` do not depend on the number of ranks.
//!
//! | file | content |
//! |---|---|
//! | `meeting` | messages between ranks, and what happens if they are in different places |
//! | `joining` | the outcome of a step, a pause, the fit: the worst one counts for all |
//! | `batch` | batches from the parts that the ranks read |
//! | `forward` | forward passes in blocks |
//! | `normalization` | batch normalisation over the samples of all ranks |
//! | `running` | running statistics of models, over the blocks |
//! | `reduction` | gradients over the blocks |
//! | `sharding` | optimizer state that is divided among the ranks |
//! | `packing` | tensors as bytes |

mod batch;
mod forward;
mod joining;
mod meeting;
mod normalization;
mod packing;
mod reduction;
mod running;
mod sharding;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::time::Duration;

use super::control::Stop;
use super::ports::Communication;

pub use meeting::Fingerprint;

/// The place of this process among those of a run, and the connection to the others.
pub struct Ranks {
    /// `None` for a process alone.
    link: Option<Box<dyn Communication>>,
    rank: usize,
    ranks: usize,
    /// Number of blocks that a batch is divided into.
    blocks: usize,
    /// Whether batch normalisation uses the statistics of all ranks.
    synchronises: Cell<bool>,
    /// Why the exchange of statistics failed within the running step.
    cause: RefCell<Option<Stop>>,
    /// Whether each rank keeps a part of the optimizer state.
    shares_optimizer: bool,
    /// The signal that all ranks know of.
    agreed: Cell<u32>,
    /// Why the others cannot be reached any more.
    broken: RefCell<Option<String>>,
    /// Time spent in calls of the communicator.
    communicated: Cell<Duration>,
    /// The part of it that was spent until all had sent their headers.
    waited: Cell<Duration>,
    closed: Cell<bool>,
}

impl std::fmt::Debug for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ranks")
            .field("rank", &self.rank)
            .field("ranks", &self.ranks)
            .field("blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}

impl Ranks {
    /// One process whose steps are divided into blocks.
    pub fn alone(blocks: usize) -> Ranks {
        Ranks::with(None, 0, 1, blocks.max(1))
    }

    /// Rank `rank` of `ranks`. `blocks` 0 means one block per rank.
    ///
    /// # Errors
    /// If the blocks cannot be divided among the ranks.
    pub fn connected(
        link: Box<dyn Communication>,
        rank: usize,
        ranks: usize,
        blocks: usize,
    ) -> Result<Ranks, String> {
        if blocks != 0 && !blocks.is_multiple_of(ranks) {
            return Err(format!(
                "{blocks} blocks cannot be divided among {ranks} processes: set `gradient-blocks` \
                 to a multiple of {ranks}, or start a number of processes that divides {blocks}"
            ));
        }
        let blocks = if blocks == 0 { ranks } else { blocks };
        Ok(Ranks::with(Some(link), rank, ranks, blocks))
    }

    fn with(
        link: Option<Box<dyn Communication>>,
        rank: usize,
        ranks: usize,
        blocks: usize,
    ) -> Ranks {
        Ranks {
            link,
            rank,
            ranks,
            blocks,
            synchronises: Cell::new(false),
            cause: RefCell::default(),
            shares_optimizer: false,
            agreed: Cell::new(0),
            broken: RefCell::default(),
            communicated: Cell::default(),
            waited: Cell::default(),
            closed: Cell::new(false),
        }
    }

    /// Sets whether each rank keeps a part of the optimizer state.
    #[must_use]
    pub fn sharing_optimizer(mut self, shares: bool) -> Ranks {
        self.shares_optimizer = shares;
        self
    }

    /// Number of this process.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of processes.
    pub fn ranks(&self) -> usize {
        self.ranks
    }

    /// Whether there are others.
    pub fn are_several(&self) -> bool {
        self.ranks > 1
    }

    /// Whether models run on blocks of samples.
    pub fn run_in_blocks(&self) -> bool {
        self.blocks > 1
    }

    /// Time that this process spent in calls of the communicator.
    pub fn communicated(&self) -> Duration {
        self.communicated.get()
    }

    /// The part of it that it waited until the others sent something, too.
    pub fn waited(&self) -> Duration {
        self.waited.get()
    }

    /// The blocks of this rank.
    fn own_blocks(&self) -> Range<usize> {
        let each = self.blocks / self.ranks;
        self.rank * each..(self.rank + 1) * each
    }

    /// The rows of a block; empty if there are fewer rows than blocks.
    fn rows_of(&self, block: usize, rows: usize) -> Range<usize> {
        part(rows, block, self.blocks)
    }

    /// Leaves the other ranks.
    ///
    /// # Errors
    /// What the communicator reports.
    pub fn close(&self) -> Result<(), String> {
        let failed = self.broken.borrow().is_some();
        if self.closed.replace(true) {
            return Ok(());
        }
        self.link.as_ref().map_or(Ok(()), |link| link.close(failed))
    }
}

impl Drop for Ranks {
    /// A run that ends before its fit has begun: the others wait for it.
    fn drop(&mut self) {
        if !self.closed.replace(true)
            && let Some(link) = &self.link
            && let Err(text) = link.close(true)
        {
            log::warn!("the communicator was not closed: {text}");
        }
    }
}

/// Part `index` of `count` parts of `all` things, whose sizes differ by at most one.
pub fn part(all: usize, index: usize, count: usize) -> Range<usize> {
    all * index / count..all * (index + 1) / count
}
