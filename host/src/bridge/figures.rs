//! The table of the host extension `fluxbay.figures/1`.

use fluxbay_plugin::abi::{figures::FiguresTable, text::Text};

use super::answer::{Out, answer, text};
use crate::calls::context::lend;

pub static TABLE: FiguresTable =
    FiguresTable { size: size_of::<FiguresTable>() as u64, declare, declare_child, watch, watched };

unsafe extern "C" fn declare(phase: Text, name: Text, direction: u32) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (phase, name) = unsafe { (text(phase)?, text(name)?) };
        runtime.setup_report_figure(caller, phase, name, direction)
    })
}

unsafe extern "C" fn declare_child(phase: Text, name: Text, child: u32) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (phase, name) = unsafe { (text(phase)?, text(name)?) };
        runtime.setup_report_child_figure(caller, phase, name, child)
    })
}

unsafe extern "C" fn watch(metric: Text, phase: Text, better: u32, watched: *mut u32) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (metric, phase, watched) = unsafe { (text(metric)?, text(phase)?, Out::new(watched)?) };
        watched.put(runtime.setup_watch_figure(caller, metric, phase, better)?);
        Ok(())
    })
}

unsafe extern "C" fn watched(watched: u32, phase: *mut Text, direction: *mut u32) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (phase, direction) = unsafe { (Out::new(phase)?, Out::new(direction)?) };
        let resolved = runtime.watched_figure(caller, watched)?;
        phase.put(lend(resolved.phase));
        direction.put(resolved.direction);
        Ok(())
    })
}
