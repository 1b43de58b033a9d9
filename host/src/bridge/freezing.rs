//! The table of the host extension `fluxbay.freezing/1`.

use fluxbay_plugin::abi::{freezing::FreezingTable, text::Text};

use super::answer::{Out, answer, text};
use crate::learner::refusal::Refusal;
use crate::run_file::selection::names;

pub static TABLE: FreezingTable = FreezingTable { size: size_of::<FreezingTable>() as u64, freeze };

unsafe extern "C" fn freeze(pattern: Text, frozen: u32, count: *mut u64) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let (pattern, count) = unsafe { (text(pattern)?, Out::new(count)?) };
        if frozen > 1 {
            return Err(Refusal::Text(format!("`frozen` is 0 or 1, not {frozen}")));
        }
        let mut engine = runtime.engine.borrow_mut();
        let found: Vec<usize> = engine
            .parameters()
            .filter(|parameter| {
                let model = engine.model_name(parameter.model).unwrap_or_default();
                names(pattern, model, parameter.path)
            })
            .map(|parameter| parameter.index)
            .collect();
        for &index in &found {
            engine.freeze(index, frozen == 1)?;
        }
        count.put(found.len() as u64);
        Ok(())
    })
}
