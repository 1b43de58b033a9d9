//! The learner table.

use fluxbay_plugin::abi::{
    event::phase_kind as phase_kinds,
    handle::Handle,
    learner::{BatchRaw, LearnerTable, ProgressRaw, mode},
    text::Text,
};

use super::answer::{Out, answer, borrowed, buffer, slice, text};
use crate::calls::context::{self, lend};
use crate::learner::refusal::{Answer, Refusal, stopped};
use crate::tensor::{Behaviour, Mode, Recording};

pub static TABLE: LearnerTable = LearnerTable {
    progress,
    phase_name,
    phase_kind,
    event_name,
    model,
    loss_index,
    epoch_begin,
    next_batch,
    epoch_end,
    step,
    step_begin,
    step_end,
    dispatch,
    forward,
    loss,
    backward,
    update,
    set_mode,
    rehearse_begin,
    rehearse_step,
    rehearse_end,
    trim_memory,
};

unsafe extern "C" fn progress(progress: *mut ProgressRaw) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let progress = unsafe { Out::new(progress)? };
        let roles = runtime.roles.get();
        progress.put(ProgressRaw {
            at: runtime.at(),
            epochs: runtime.position.epochs.get(),
            samples_per_epoch: runtime.position.samples_per_epoch.get(),
            samples: runtime.position.samples.get(),
            phases: roles.map_or(0, |roles| roles.phases.len() as u32),
            models: roles.map_or(0, |roles| roles.models.len() as u32),
        });
        Ok(())
    })
}

unsafe extern "C" fn phase_name(index: u32, name: *mut Text) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let name = unsafe { Out::new(name)? };
        let phases = &stopped(runtime.roles())?.phases;
        let phase = phases.get(index as usize).ok_or_else(|| {
            format!("there is no phase number {index}; this run has {}", phases.len())
        })?;
        name.put(Text::new(&phase.instance.id));
        Ok(())
    })
}

unsafe extern "C" fn phase_kind(index: u32, kind: *mut u32) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let kind = unsafe { Out::new(kind)? };
        let phases = &stopped(runtime.roles())?.phases;
        let phase = phases.get(index as usize).ok_or_else(|| {
            format!("there is no phase number {index}; this run has {}", phases.len())
        })?;
        kind.put(phase.kind.number());
        Ok(())
    })
}

unsafe extern "C" fn event_name(kind: u32, name: *mut Text) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let name = unsafe { Out::new(name)? };
        name.put(lend(
            runtime.event_name(kind).ok_or_else(|| format!("{kind} is no event of this run"))?,
        ));
        Ok(())
    })
}

unsafe extern "C" fn model(name: Text, index: *mut u32) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let (name, index) = unsafe { (text(name)?, Out::new(index)?) };
        index.put(runtime.model_index(name)?);
        Ok(())
    })
}

unsafe extern "C" fn loss_index(name: Text, index: *mut u32) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let (name, index) = unsafe { (text(name)?, Out::new(index)?) };
        index.put(runtime.loss_number(name)?);
        Ok(())
    })
}

unsafe extern "C" fn epoch_begin() -> i32 {
    answer(|runtime, caller| {
        runtime.require_phase(caller, "begin an epoch")?;
        stopped(runtime.epoch_begin())
    })
}

unsafe extern "C" fn next_batch(batch: *mut BatchRaw) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let batch = unsafe { Out::new(batch)? };
        runtime.require_phase(caller, "take batches")?;
        batch.put(stopped(runtime.next_batch())?);
        Ok(())
    })
}

unsafe extern "C" fn epoch_end(status: i32) -> i32 {
    let text = context::take_error();
    answer(|runtime, caller| {
        runtime.require_phase(caller, "end an epoch")?;
        stopped(runtime.epoch_end(status, &text))
    })
}

unsafe extern "C" fn step(batch: *const BatchRaw) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let batch = unsafe { borrowed(batch)? };
        runtime.require_phase(caller, "run a step")?;
        stopped(runtime.phase_step(batch))
    })
}

unsafe extern "C" fn step_begin(batch: *const BatchRaw) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let batch = unsafe { borrowed(batch)? };
        runtime.require_phase(caller, "begin a step")?;
        stopped(runtime.step_begin(batch))
    })
}

unsafe extern "C" fn step_end(status: i32) -> i32 {
    let text = if status == fluxbay_plugin::abi::status::OK {
        String::new()
    } else {
        context::take_error()
    };
    answer(|runtime, caller| {
        runtime.require_phase(caller, "end a step")?;
        stopped(runtime.step_end(status, &text))
    })
}

unsafe extern "C" fn dispatch(kind: u32) -> i32 {
    answer(|runtime, caller| {
        runtime.require_phase(caller, "dispatch an event")?;
        stopped(runtime.dispatch(kind))
    })
}

unsafe extern "C" fn forward(
    model: u32,
    inputs: *const Handle,
    input_count: usize,
    outputs: *mut Handle,
    capacity: usize,
    output_count: *mut usize,
) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (inputs, outputs, count) = unsafe {
            (slice(inputs, input_count)?, buffer(outputs, capacity)?, Out::new(output_count)?)
        };
        count.put(runtime.forward(caller, model, inputs, outputs)?);
        Ok(())
    })
}

unsafe extern "C" fn loss(loss: u32, yhats: Handle, ys: Handle, value: *mut Handle) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let value = unsafe { Out::new(value)? };
        value.put(runtime.loss(caller, loss, yhats, ys)?);
        Ok(())
    })
}

unsafe extern "C" fn backward(model: u32, loss: Handle) -> i32 {
    answer(|runtime, caller| runtime.backward(caller, model, loss))
}

unsafe extern "C" fn update(model: u32) -> i32 {
    answer(|runtime, caller| runtime.update(caller, model))
}

/// The contract's number of a mode.
pub fn mode_code(mode: Mode) -> u32 {
    let recording = if mode.recording == Recording::On { mode::RECORDING } else { 0 };
    let training = if mode.behaviour == Behaviour::Training { mode::TRAINING } else { 0 };
    recording | training
}

unsafe extern "C" fn set_mode(new: u32, old: *mut u32) -> i32 {
    answer(|runtime, caller| -> Answer {
        // SAFETY: lent for the call.
        let old = unsafe { Out::new(old)? };
        runtime.require_phase(caller, "set the mode of forward passes")?;
        if new & !(mode::RECORDING | mode::TRAINING) != 0 {
            return Err(Refusal::Text(format!(
                "{new} is no mode: it is a sum of 1 (recording) and 2 (training)"
            )));
        }
        if runtime.at().phase_kind == phase_kinds::NONE {
            return Err(Refusal::Text("the mode can be set only within a phase".into()));
        }
        let mut engine = runtime.engine.borrow_mut();
        old.put(mode_code(engine.mode()));
        engine.set_mode(Mode {
            recording: if new & mode::RECORDING != 0 { Recording::On } else { Recording::Off },
            behaviour: if new & mode::TRAINING != 0 {
                Behaviour::Training
            } else {
                Behaviour::Evaluation
            },
        });
        Ok(())
    })
}

unsafe extern "C" fn rehearse_begin(index: u32) -> i32 {
    answer(|runtime, caller| runtime.rehearse_begin(caller, index as usize))
}

unsafe extern "C" fn rehearse_step() -> i32 {
    answer(|runtime, caller| runtime.rehearse_step(caller))
}

unsafe extern "C" fn rehearse_end() -> i32 {
    answer(|runtime, caller| runtime.rehearse_end(caller))
}

unsafe extern "C" fn trim_memory(resident: *mut u64) -> i32 {
    answer(|_, _| {
        // SAFETY: lent for the call.
        let resident = unsafe { Out::new(resident)? };
        super::memory::give_back();
        resident.put(super::memory::resident().unwrap_or(0));
        Ok(())
    })
}
