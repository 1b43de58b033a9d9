//! The table of the host extension `fluxbay.packing/1`.

use fluxbay_plugin::abi::{handle::Handle, packing::PackingTable};

use super::answer::{Out, answer};

pub static TABLE: PackingTable = PackingTable { size: size_of::<PackingTable>() as u64, of };

unsafe extern "C" fn of(xs: Handle, segments: *mut Handle, positions: *mut Handle) -> i32 {
    answer(|runtime, caller| {
        // SAFETY: lent for the call.
        let (segments, positions) = unsafe { (Out::new(segments)?, Out::new(positions)?) };
        let [own_segments, own_positions] =
            runtime.packing_of(caller, xs)?.unwrap_or([Handle::NONE; 2]);
        segments.put(own_segments);
        positions.put(own_positions);
        Ok(())
    })
}
