//! The table of the host extension `fluxbay.position/1`.

use fluxbay_plugin::abi::position::PositionTable;

use super::answer::{Out, answer};

pub static TABLE: PositionTable = PositionTable { size: size_of::<PositionTable>() as u64, first };

unsafe extern "C" fn first(first: *mut u64) -> i32 {
    answer(|runtime, _| {
        // SAFETY: lent for the call.
        let first = unsafe { Out::new(first)? };
        first.put(runtime.engine.borrow().first_position() as u64);
        Ok(())
    })
}
