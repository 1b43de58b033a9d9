//! The display table.

use fluxbay_plugin::abi::{display::DisplayTable, text::Text};

use super::answer::{answer, text, with_current};
use crate::calls::bounded;
use crate::learner::Runtime;
use crate::learner::ports::{Display, NoDisplay};

pub static TABLE: DisplayTable =
    DisplayTable { print, progress_begin, progress_set, progress_end, interactive };

fn caller_id(runtime: &Runtime, caller: u32) -> String {
    runtime.state.borrow().owner_id(caller)
}

/// The display; one that shows nothing while a step is rehearsed.
fn display(runtime: &Runtime) -> &dyn Display {
    if runtime.is_muted() { &NoDisplay } else { &*runtime.ports.display }
}

unsafe extern "C" fn print(message: Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let message = unsafe { text(message)? };
        display(runtime).print(&caller_id(runtime, caller), &bounded(message));
        Ok(())
    })
}

unsafe extern "C" fn progress_begin(label: Text, total: u64) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let label = unsafe { text(label)? };
        display(runtime).progress_begin(&caller_id(runtime, caller), &bounded(label), total);
        Ok(())
    })
}

unsafe extern "C" fn progress_set(position: u64, message: Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let message = unsafe { text(message)? };
        display(runtime).progress_set(&caller_id(runtime, caller), position, &bounded(message));
        Ok(())
    })
}

unsafe extern "C" fn progress_end(message: Text) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let message = unsafe { text(message)? };
        display(runtime).progress_end(&caller_id(runtime, caller), &bounded(message));
        Ok(())
    })
}

unsafe extern "C" fn interactive() -> u32 {
    let shown =
        std::panic::catch_unwind(|| with_current(|runtime, _| runtime.ports.display.interactive()));
    u32::from(matches!(shown, Ok(Ok(true))))
}
