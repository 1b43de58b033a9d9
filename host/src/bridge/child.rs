//! The child table: calls of an instance to those that belong to it.

use std::rc::Rc;

use fluxbay_plugin::abi::{child::ChildTable, event::EventRaw, metric::MetricInput, text::Text};

use super::answer::{Out, answer, borrowed};
use crate::breadcrumb::Activity;
use crate::calls::context::lend;
use crate::learner::refusal::{Answer, Refusal, stopped};
use crate::learner::{Instance, Runtime};

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
        stopped(metric.call(runtime, Activity::Resetting, |call| call.metric_reset()))
    })
}

unsafe extern "C" fn metric_update(child: u32, input: *const MetricInput, value: *mut f64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (input, value) = unsafe { (borrowed(input)?, Out::new(value)?) };
        let metric = own(runtime, caller, child)?;
        value.put(stopped(
            metric.call(runtime, Activity::Measuring, |call| call.metric_update(input)),
        )?);
        Ok(())
    })
}

unsafe extern "C" fn metric_compute(child: u32, value: *mut f64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let value = unsafe { Out::new(value)? };
        let metric = own(runtime, caller, child)?;
        value
            .put(stopped(metric.call(runtime, Activity::Computing, |call| call.metric_compute()))?);
        Ok(())
    })
}

unsafe extern "C" fn metric_details(child: u32, json: *mut Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let json = unsafe { Out::new(json)? };
        let metric = own(runtime, caller, child)?;
        json.put(lend(stopped(
            metric.call(runtime, Activity::Details, |call| call.metric_details()),
        )?));
        Ok(())
    })
}

unsafe extern "C" fn schedule_value(child: u32, t: f64, value: *mut f64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let value = unsafe { Out::new(value)? };
        let schedule = own(runtime, caller, child)?;
        value.put(stopped(runtime.schedule_value(&schedule, t))?);
        Ok(())
    })
}

unsafe extern "C" fn schedule_length(child: u32, length: *mut u64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let length = unsafe { Out::new(length)? };
        let schedule = own(runtime, caller, child)?;
        length
            .put(stopped(schedule.call(runtime, Activity::Length, |call| call.schedule_length()))?);
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
