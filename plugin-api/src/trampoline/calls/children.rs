//! Instances that belong to another instance.

use super::{ask, ask_text, check, child, tell};
use crate::{
    Error, Result,
    abi::{event::EventRaw, metric::MetricInput as MetricInputRaw, text::Text},
};

pub(crate) fn metric_reset(index: u32) -> Result<()> {
    tell!(child.metric_reset(index))
}

pub(crate) fn metric_update(index: u32, input: &MetricInputRaw) -> Result<f64> {
    ask!(child.metric_update(index, input), 0.0)
}

pub(crate) fn metric_compute(index: u32) -> Result<f64> {
    ask!(child.metric_compute(index), 0.0)
}

pub(crate) fn metric_details(index: u32) -> Result<String> {
    ask_text!(child.metric_details(index))
}

pub(crate) fn schedule_value(index: u32, t: f64) -> Result<f64> {
    ask!(child.schedule_value(index, t), 0.0)
}

pub(crate) fn schedule_length(index: u32) -> Result<u64> {
    ask!(child.schedule_length(index), 0)
}

pub(crate) fn callback_on(index: u32, event: &EventRaw) -> Result<()> {
    tell!(child.callback_on(index, event))
}

pub(crate) fn callback_handles(index: u32, kind: u32) -> Result<bool> {
    let handles: u32 = ask!(child.callback_handles(index, kind), 0)?;
    Ok(handles != 0)
}
