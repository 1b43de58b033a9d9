//! The child table: calls of an instance to those that belong to it.

use std::rc::Rc;

use fluxbay_plugin::abi::{child::ChildTable, event::EventRaw, metric::MetricInput, text::Text};

use super::ambient::lend;
use super::answer::{Out, answer, borrowed};
use crate::learner::runtime::{Answer, Refusal, stopped};
use crate::learner::{Instance, Runtime, instances::Doing};

pub static TABLE: ChildTable = ChildTable {
    metric_reset,
    metric_update,
    metric_compute,
    metric_details,
    schedule_value,
    schedule_length,
    callback_on,
    callback_handles,
};

/// The child, if it belongs to the caller.
fn own(runtime: &Runtime, caller: u32, child: u32) -> Answer<Rc<Instance>> {
    match runtime.instance(child) {
        Some(instance) if instance.owner == Some(caller) => Ok(instance),
        _ => Err(Refusal::Text(format!(
            "`{}` has no child number {child}",
            runtime.state.borrow().owner_id(caller)
        ))),
    }
}

unsafe extern "C" fn metric_reset(child: u32) -> i32 {
    answer(|runtime, caller| {
        let metric = own(runtime, caller, child)?;
        stopped(
            metric.call(runtime, Doing::Resetting, |plugin| plugin.metric_reset(runtime, child)),
        )
    })
}

unsafe extern "C" fn metric_update(child: u32, input: *const MetricInput, value: *mut f64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (input, value) = unsafe { (borrowed(input)?, Out::new(value)?) };
        let metric = own(runtime, caller, child)?;
        value.put(stopped(metric.call(runtime, Doing::TakingIn, |plugin| {
            plugin.metric_update(runtime, child, input)
        }))?);
        Ok(())
    })
}

unsafe extern "C" fn metric_compute(child: u32, value: *mut f64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let value = unsafe { Out::new(value)? };
        let metric = own(runtime, caller, child)?;
        value.put(stopped(
            metric.call(runtime, Doing::Computing, |plugin| plugin.metric_compute(runtime, child)),
        )?);
        Ok(())
    })
}

unsafe extern "C" fn metric_details(child: u32, json: *mut Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let json = unsafe { Out::new(json)? };
        let metric = own(runtime, caller, child)?;
        json.put(lend(stopped(
            metric.call(runtime, Doing::Details, |plugin| plugin.metric_details(runtime, child)),
        )?));
        Ok(())
    })
}

unsafe extern "C" fn schedule_value(child: u32, t: f64, value: *mut f64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let value = unsafe { Out::new(value)? };
        let schedule = own(runtime, caller, child)?;
        value.put(stopped(
            schedule.call(runtime, Doing::Value, |plugin| plugin.schedule_value(runtime, child, t)),
        )?);
        Ok(())
    })
}

unsafe extern "C" fn schedule_length(child: u32, length: *mut u64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let length = unsafe { Out::new(length)? };
        let schedule = own(runtime, caller, child)?;
        length.put(stopped(
            schedule.call(runtime, Doing::Length, |plugin| plugin.schedule_length(runtime, child)),
        )?);
        Ok(())
    })
}

unsafe extern "C" fn callback_on(child: u32, event: *const EventRaw) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let event = unsafe { borrowed(event)? };
        let callback = own(runtime, caller, child)?;
        stopped(runtime.child_event(&callback, event))
    })
}

unsafe extern "C" fn callback_handles(child: u32, kind: u32, handles: *mut u32) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let handles = unsafe { Out::new(handles)? };
        handles.put(u32::from(own(runtime, caller, child)?.handles(kind)));
        Ok(())
    })
}
