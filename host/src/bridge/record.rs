//! The record table.

use fluxbay_plugin::abi::{
    logger::{CheckpointRequest, RecordRaw, RecordTable},
    text::Text,
};

use super::answer::{Out, answer, borrowed, text};

pub static TABLE: RecordTable = RecordTable { metric, log, loggers, checkpoint };

unsafe extern "C" fn metric(scope: u32, name: Text, value: f64) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let name = unsafe { text(name)? };
        runtime.record_metric(scope, name, value)
    })
}

unsafe extern "C" fn log(record: *const RecordRaw) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let record = unsafe { borrowed(record)? };
        // SAFETY: as above; loggers get texts that are UTF-8.
        let (_, text) = unsafe { (text(record.tag)?, text(record.text)?) };
        runtime.record_log(record, text)
    })
}

unsafe extern "C" fn loggers(count: *mut usize) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let count = unsafe { Out::new(count)? };
        count.put(runtime.logger_count());
        Ok(())
    })
}

unsafe extern "C" fn checkpoint(request: *const CheckpointRequest, kept: *mut u32) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (request, kept) = unsafe { (borrowed(request)?, Out::new(kept)?) };
        // SAFETY: as above.
        let metric = unsafe { text(request.metric)? };
        kept.put(u32::from(runtime.request_checkpoint(
            caller,
            metric,
            request.keep,
            request.higher_is_better != 0,
        )?));
        Ok(())
    })
}
