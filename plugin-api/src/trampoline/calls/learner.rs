//! The learner: position, and the step table of phases.

use super::{ask, ask_text, check, learner, tell};
use crate::{
    Error, Result,
    abi::{
        handle::Handle,
        learner::{BatchRaw, ProgressRaw},
        text::Text,
    },
};

pub(crate) fn progress() -> Result<ProgressRaw> {
    let table = learner()?;
    let mut progress = std::mem::MaybeUninit::<ProgressRaw>::zeroed();
    // SAFETY: `progress` is valid for the write.
    check(unsafe { (table.progress)(progress.as_mut_ptr()) })?;
    // SAFETY: all bytes zero is a value of this struct of integers, and the host has filled it.
    Ok(unsafe { progress.assume_init() })
}

pub(crate) fn phase_name(index: u32) -> Result<String> {
    ask_text!(learner.phase_name(index))
}

pub(crate) fn phase_kind(index: u32) -> Result<u32> {
    ask!(learner.phase_kind(index), 0)
}

pub(crate) fn event_name(kind: u32) -> Result<String> {
    ask_text!(learner.event_name(kind))
}

pub(crate) fn model_index(name: &str) -> Result<u32> {
    ask!(learner.model(Text::new(name)), 0)
}

pub(crate) fn loss_index(name: &str) -> Result<u32> {
    ask!(learner.loss_index(Text::new(name)), 0)
}

pub(crate) fn epoch_begin() -> Result<()> {
    tell!(learner.epoch_begin())
}

pub(crate) fn next_batch() -> Result<Option<BatchRaw>> {
    let empty = BatchRaw {
        fields: [Handle::NONE; crate::abi::learner::FIELDS],
        field_count: 0,
        samples: 0,
        index: 0,
    };
    let batch: BatchRaw = ask!(learner.next_batch(), empty)?;
    Ok((batch.field_count > 0).then_some(batch))
}

pub(crate) fn epoch_end(code: i32) -> Result<()> {
    tell!(learner.epoch_end(code))
}

pub(crate) fn step_begin(batch: &BatchRaw) -> Result<()> {
    tell!(learner.step_begin(batch))
}

pub(crate) fn step_end(code: i32) -> Result<()> {
    tell!(learner.step_end(code))
}

#[inline]
pub(crate) fn dispatch(kind: u32) -> Result<()> {
    tell!(learner.dispatch(kind))
}

pub(crate) fn forward(model: u32, inputs: &[Handle], outputs: &mut [Handle]) -> Result<usize> {
    ask!(
        learner.forward(model, inputs.as_ptr(), inputs.len(), outputs.as_mut_ptr(), outputs.len()),
        0
    )
}

pub(crate) fn loss(loss: u32, yhats: Handle, ys: Handle) -> Result<Handle> {
    ask!(learner.loss(loss, yhats, ys), Handle::NONE)
}

pub(crate) fn backward(model: u32, loss: Handle) -> Result<()> {
    tell!(learner.backward(model, loss))
}

pub(crate) fn update(model: u32) -> Result<()> {
    tell!(learner.update(model))
}

pub(crate) fn set_mode(mode: u32) -> Result<u32> {
    ask!(learner.set_mode(mode), 0)
}

pub(crate) fn rehearse_begin(phase: u32) -> Result<()> {
    tell!(learner.rehearse_begin(phase))
}

pub(crate) fn rehearse_step() -> Result<()> {
    tell!(learner.rehearse_step())
}

pub(crate) fn rehearse_end() -> Result<()> {
    tell!(learner.rehearse_end())
}

pub(crate) fn trim_memory() -> Result<u64> {
    ask!(learner.trim_memory(), 0)
}
