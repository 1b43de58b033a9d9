//! Batch normalisation over the samples of all ranks (`run.sync-batch-norm`).
//!
//! The tensor engine asks for the numbers of all ranks in the middle of a forward or backward pass. So
//! all blocks of the batch are in the same operation at that time: a rank with several of them calls the model once,
//! and the engine applies each operation to every block.

use std::rc::Rc;

use fluxbay_plugin::abi::handle::Handle;

use super::Ranks;
use super::forward::{Pass, Pieces};
use super::meeting::Doing;
use super::running::RunningStatistics;
use crate::learner::control::{Flow, Stop};
use crate::learner::runtime::Runtime;

impl Runtime {
    /// Lets batch normalisation use the statistics of all ranks.
    pub fn normalize_across_ranks(&self) {
        let Some(runtime) = self.me.upgrade() else { return };
        let me = Rc::downgrade(&runtime);
        let across = move |own: &[f64]| {
            let runtime = me.upgrade().ok_or("the run has ended")?;
            let ranks = runtime.ranks().ok_or("the run has no blocks")?;
            ranks.numbers_of_all(own).map_err(|stop| {
                let text = stop.to_string();
                // What a model returns for it would name the model.
                ranks.cause.replace(Some(stop));
                text
            })
        };
        self.engine.borrow_mut().normalize_across(Box::new(across));
        if let Some(ranks) = self.ranks() {
            ranks.synchronises.set(true);
        }
    }

    /// Runs the blocks of this rank in one call of the model. Draws follow from `number` and the block.
    pub(super) fn run_jointly(
        &self,
        pass: &Pass<'_>,
        number: u64,
        outputs: &mut [Handle],
        statistics: &mut Option<RunningStatistics>,
        pieces: &mut Pieces,
    ) -> Flow {
        let own = pass.ranks.own_blocks();
        let rows = pass.ranks.rows_of(own.start, pass.rows);
        pieces.first = rows.start;
        let mut engine = self.engine.borrow_mut();
        let begun = engine.begin_joint_blocks(own.start as u32 + 1, own.len(), number);
        begun.map_err(Stop::engine)?;
        drop(engine);
        let run = self.call_model(pass, rows.clone(), outputs).and_then(|count| {
            pieces.outputs = vec![Vec::new(); own.len()];
            for &output in &outputs[..count] {
                let tensors = self.engine.borrow_mut().tensors_of_blocks(output);
                for (of_block, tensor) in
                    pieces.outputs.iter_mut().zip(tensors.map_err(Stop::engine)?)
                {
                    self.own(tensor, pass.caller);
                    of_block.push(tensor);
                }
                if self.release(pass.caller, output).is_err() {
                    return Err(Stop::host("an output of all blocks could not be released"));
                }
            }
            Ok(())
        });
        self.engine.borrow_mut().end_joint_blocks();
        run?;
        match statistics {
            // The running statistics were updated once, for all blocks.
            Some(statistics) => statistics.end_block(self, own.start, own.len() * rows.len()),
            None => Ok(()),
        }
    }
}

impl Ranks {
    /// The numbers of each rank.
    fn numbers_of_all(&self, own: &[f64]) -> Flow<Vec<Vec<f64>>> {
        let met = self.meet(Doing::Normalization, 0, bytemuck::cast_slice(own))?;
        Ok(met.messages.iter().map(|message| bytemuck::pod_collect_to_vec(message)).collect())
    }

    /// Whether the blocks of a rank run in one call of a model in training.
    pub(super) fn run_jointly(&self) -> bool {
        self.synchronises.get() && self.blocks > self.ranks
    }

    /// Why a batch of some rows cannot be normalised in training. Elsewhere the running statistics are used.
    pub(super) fn refuses_to_normalize(&self, rows: usize, training: bool) -> Option<String> {
        let Ranks { ranks, blocks, .. } = self;
        if !self.synchronises.get() || !training {
            None
        } else if rows < *ranks {
            Some(format!(
                "a batch of {rows} samples cannot be normalised on {ranks} ranks: `run.sync-batch-norm` needs a \
                 sample on each; use larger batches, or `loader.drop-last`",
            ))
        } else if blocks > ranks && !rows.is_multiple_of(*blocks) {
            Some(format!(
                "a batch of {rows} samples cannot be divided into {blocks} blocks of the same size, which \
                 `run.sync-batch-norm` needs: use batches of a multiple of {blocks} samples and `loader.drop-last`, or start \
                 {blocks} processes",
            ))
        } else {
            None
        }
    }

    /// The outcome of a step, of which a failure of the exchange of statistics is the cause.
    pub(super) fn caused(&self, flow: Flow) -> Flow {
        match (flow, self.cause.take()) {
            (Err(_), Some(cause)) => Err::<(), Stop>(cause),
            (flow, _) => flow,
        }
    }
}
