//! Records and the display.

use super::{ask, check, display, record, tell};
use crate::{
    Error, Result,
    abi::{
        logger::{CheckpointRequest, RecordRaw},
        text::Text,
    },
};

pub(crate) fn record_metric(scope: u32, name: &str, value: f64) -> Result<()> {
    tell!(record.metric(scope, Text::new(name), value))
}

pub(crate) fn record_log(raw: &RecordRaw) -> Result<()> {
    tell!(record.log(raw))
}

pub(crate) fn loggers() -> Result<usize> {
    ask!(record.loggers(), 0)
}

pub(crate) fn checkpoint(request: &CheckpointRequest) -> Result<bool> {
    let kept: u32 = ask!(record.checkpoint(request), 0)?;
    Ok(kept != 0)
}

pub(crate) fn print(text: &str) -> Result<()> {
    tell!(display.print(Text::new(text)))
}

pub(crate) fn progress_begin(label: &str, total: u64) -> Result<()> {
    tell!(display.progress_begin(Text::new(label), total))
}

pub(crate) fn progress_set(position: u64, message: &str) -> Result<()> {
    tell!(display.progress_set(position, Text::new(message)))
}

pub(crate) fn progress_end(message: &str) -> Result<()> {
    tell!(display.progress_end(Text::new(message)))
}

pub(crate) fn interactive() -> bool {
    // SAFETY: takes nothing, gives a number.
    display().is_ok_and(|table| unsafe { (table.interactive)() } != 0)
}
