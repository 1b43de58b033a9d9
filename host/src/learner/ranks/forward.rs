//! Forward passes in blocks.

use std::ops::Range;

use candle_core::Tensor;
use fluxbay_plugin::abi::handle::Handle;

use super::Ranks;
use super::meeting::Doing;
use super::packing::{concatenate, pack};
use super::running::RunningStatistics;
use crate::breadcrumb::Activity;
use crate::learner::control::{Flow, Stop, StopKind};
use crate::learner::roles::ModelSlot;
use crate::learner::runtime::Runtime;
use crate::tensor::{Behaviour, code_of};

/// One forward pass of a model.
pub(super) struct Pass<'a> {
    pub(super) ranks: &'a Ranks,
    slot: &'a ModelSlot,
    pub(super) caller: u32,
    inputs: &'a [Handle],
    /// Samples of the batch.
    pub(super) rows: usize,
}

/// What the blocks of this rank returned.
#[derive(Default)]
pub(super) struct Pieces {
    /// First sample of the first block.
    pub(super) first: usize,
    /// The outputs of each block.
    pub(super) outputs: Vec<Vec<Handle>>,
}

impl Runtime {
    /// How models run in steps, if in blocks.
    pub(in crate::learner) fn in_blocks(&self) -> Option<&Ranks> {
        self.ranks.get().filter(|ranks| ranks.run_in_blocks())
    }

    /// Runs model number `index` for the running phase: the blocks of this rank, whose outputs are put
    /// together with those of the others.
    pub(in crate::learner) fn forward_in_blocks(
        &self,
        ranks: &Ranks,
        index: usize,
        slot: &ModelSlot,
        caller: u32,
        inputs: &[Handle],
        outputs: &mut [Handle],
    ) -> Flow<usize> {
        let rows = self.rows_of_inputs(slot, inputs)?;
        let training = self.engine.borrow().mode().behaviour == Behaviour::Training;
        if let Some(text) = ranks.refuses_to_normalize(rows, training) {
            return Err(slot.instance.stop(self, StopKind::Error, Activity::Forward, text));
        }
        let mut statistics = match training {
            true => Some(RunningStatistics::begin(self, index)?),
            false => None,
        };
        // The draws of a block follow from this number and the block alone.
        let random = training.then(|| {
            let mut engine = self.engine.borrow_mut();
            let number = engine.draw_number();
            (number, engine.random_state())
        });
        let number = random.as_ref().map(|(number, _)| *number);
        let mut pieces = Pieces::default();
        let pass = Pass { ranks, slot, caller, inputs, rows };
        let run = match number {
            Some(number) if ranks.run_jointly() => {
                self.run_jointly(&pass, number, outputs, &mut statistics, &mut pieces)
            }
            _ => self.run_blocks(&pass, number, outputs, &mut statistics, &mut pieces),
        };
        let mut engine = self.engine.borrow_mut();
        engine.set_block(0);
        if let Some((_, state)) = &random {
            engine.set_random_state(state);
        }
        drop(engine);
        let count = run.and_then(|()| {
            if let Some(statistics) = statistics.take() {
                statistics.finish(self, ranks)?;
            }
            self.assemble_outputs(ranks, slot, caller, rows, &pieces, outputs)
        });
        for &output in pieces.outputs.iter().flatten() {
            if self.release(caller, output).is_err() {
                log::warn!("an output of `{}` could not be released", slot.instance.id);
            }
        }
        count
    }

    /// The number of rows of the inputs.
    fn rows_of_inputs(&self, slot: &ModelSlot, inputs: &[Handle]) -> Flow<usize> {
        let engine = self.engine.borrow();
        let mut rows = None;
        for (index, &input) in inputs.iter().enumerate() {
            let shape = engine.shape(input).map_err(Stop::engine)?;
            let own = shape.first().copied().unwrap_or(0);
            if own == 0 || rows.is_some_and(|rows| rows != own) {
                return Err(self.undivided(
                    slot,
                    format!(
                        "its input {index} has shape {shape:?}, and has to have one row per sample"
                    ),
                ));
            }
            rows = Some(own);
        }
        rows.ok_or_else(|| self.undivided(slot, "it has no inputs".to_owned()))
    }

    /// That a model cannot run in blocks.
    fn undivided(&self, slot: &ModelSlot, why: String) -> Stop {
        let text = format!(
            "it cannot run in blocks of samples: {why}; train it in one process, without \
             `gradient-blocks`"
        );
        slot.instance.stop(self, StopKind::Error, Activity::Forward, text)
    }

    /// Runs the blocks of this rank one after the other.
    fn run_blocks(
        &self,
        pass: &Pass<'_>,
        number: Option<u64>,
        outputs: &mut [Handle],
        statistics: &mut Option<RunningStatistics>,
        pieces: &mut Pieces,
    ) -> Flow {
        for block in pass.ranks.own_blocks() {
            let range = pass.ranks.rows_of(block, pass.rows);
            if range.is_empty() {
                continue;
            }
            if pieces.outputs.is_empty() {
                pieces.first = range.start;
            }
            let mut engine = self.engine.borrow_mut();
            engine.set_block(block as u32 + 1);
            if let Some(number) = number {
                engine.begin_random_block(number, block as u32);
            }
            drop(engine);
            let count = self.call_model(pass, range.clone(), outputs)?;
            pieces.outputs.push(outputs[..count].to_vec());
            if let Some(statistics) = statistics {
                statistics.end_block(self, block, range.len())?;
            }
        }
        Ok(())
    }

    /// Calls the model on some rows of the batch. It may return fewer outputs than there is room for.
    pub(super) fn call_model(
        &self,
        pass: &Pass<'_>,
        rows: Range<usize>,
        outputs: &mut [Handle],
    ) -> Flow<usize> {
        let instance = &pass.slot.instance;
        let mut parts = Vec::with_capacity(pass.inputs.len());
        let taken = pass.inputs.iter().try_for_each(|&input| {
            parts.push(self.engine.borrow_mut().rows(input, rows.clone())?);
            Ok(())
        });
        self.step.rows.set(Some((rows.start, rows.len())));
        let run = taken
            .map_err(|error: Box<crate::tensor::TensorError>| {
                instance.stop(self, StopKind::Error, Activity::Forward, error.to_string())
            })
            .and_then(|()| {
                instance.call(self, Activity::Forward, |call| {
                    let count = call.model_forward(&parts, outputs)?;
                    self.accept_outputs(instance, pass.caller, &outputs[..count])?;
                    Ok(count)
                })
            });
        self.step.rows.set(None);
        let mut engine = self.engine.borrow_mut();
        parts.iter().try_for_each(|&part| engine.release(part)).map_err(Stop::engine)?;
        run
    }

    /// Puts the outputs of all blocks together, as tensors of the phase.
    fn assemble_outputs(
        &self,
        ranks: &Ranks,
        slot: &ModelSlot,
        caller: u32,
        rows: usize,
        pieces: &Pieces,
        outputs: &mut [Handle],
    ) -> Flow<usize> {
        let mut own = Vec::new();
        for index in 0..pieces.outputs.first().map_or(0, Vec::len) {
            let mut tensors = Vec::with_capacity(pieces.outputs.len());
            for outputs in &pieces.outputs {
                let Some(&output) = outputs.get(index) else {
                    let why = "it returns other numbers of outputs for other samples".to_owned();
                    return Err(self.undivided(slot, why));
                };
                let tensor = self.engine.borrow().value(output).map_err(Stop::engine)?;
                if tensor.rank() == 0 {
                    let why = format!("its output {index} is one number for all samples");
                    return Err(self.undivided(slot, why));
                }
                tensors.push(tensor);
            }
            let part = match &tensors[..] {
                [only] => only.clone(),
                several => Tensor::cat(several, 0).map_err(Stop::engine)?,
            };
            let code = code_of(part.dtype())
                .ok_or_else(|| Stop::host("an output has an element type without a number"))?;
            own.push((code, part));
        }
        let wholes = if ranks.are_several() {
            let met = ranks.meet(Doing::Outputs, 0, &pack(&own)?)?;
            concatenate(&met.messages)?.unwrap_or_default()
        } else {
            own.into_iter().map(|(_, tensor)| tensor).collect()
        };
        let count = wholes.len();
        for (index, whole) in wholes.into_iter().enumerate() {
            // Some models return several rows per sample, such as one per token.
            let each = whole.dims()[0] / rows;
            if each * rows != whole.dims()[0] {
                let why = format!(
                    "its output {index} has shape {:?} for {rows} samples, and has to have as many \
                     rows for each",
                    whole.dims()
                );
                return Err(self.undivided(slot, why));
            }
            let parts: Vec<Handle> = pieces.outputs.iter().map(|block| block[index]).collect();
            let mut engine = self.engine.borrow_mut();
            let assembled = engine.assemble(whole, pieces.first * each, &parts);
            let assembled = assembled.map_err(Stop::engine)?;
            drop(engine);
            self.own(assembled, caller);
            *outputs.get_mut(index).ok_or_else(|| {
                self.undivided(slot, format!("it returns {count} outputs, which are too many"))
            })? = assembled;
        }
        Ok(count)
    }
}
