//! Tables of communicators.

use std::time::Duration;

use super::{
    dataset::slice,
    guard::guard,
    instance::{self, Plain, plain},
};
use crate::{
    Communicator,
    abi::{
        communicator::{CommunicatorTable, JoinedRaw},
        entry::{Instance, kind},
        kinds::KindRow,
        text::Text,
    },
    communicator::{Joined, Parts},
};

unsafe extern "C" fn open<C: Communicator>(
    this: Instance,
    deadline: u64,
    joined: *mut JoinedRaw,
) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned.
        let communicator = unsafe { plain::<C>(this) };
        let Joined { rank, ranks, local } = communicator.open(Duration::from_millis(deadline))?;
        // SAFETY: the host gives a place for the result, of at least the size of the first version.
        unsafe { ((*joined).rank, (*joined).ranks, (*joined).local) = (rank, ranks, local) };
        Ok(())
    })
}

/// The place for what is received.
///
/// # Safety
/// The host lends `ranks` counts, and as many bytes as they add up to, for `'a`.
unsafe fn parts<'a>(received: *mut u8, counts: *const u64, ranks: usize) -> Parts<'a> {
    // SAFETY: promised by the caller.
    let counts = unsafe { slice(counts, ranks) };
    let total = counts.iter().sum::<u64>() as usize;
    let bytes = if total == 0 {
        &mut [][..]
    } else {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(received, total) }
    };
    Parts { bytes, counts }
}

unsafe extern "C" fn gather<C: Communicator>(
    this: Instance,
    sent: Text,
    received: *mut u8,
    counts: *const u64,
    ranks: usize,
    deadline: u64,
) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned; bytes, counts and places are lent for
        // the call.
        let (communicator, sent, received) =
            unsafe { (plain::<C>(this), sent.as_bytes(), parts(received, counts, ranks)) };
        communicator.gather(sent, received, Duration::from_millis(deadline))
    })
}

unsafe extern "C" fn exchange<C: Communicator>(
    this: Instance,
    sent: Text,
    sent_counts: *const u64,
    received: *mut u8,
    counts: *const u64,
    ranks: usize,
    deadline: u64,
) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let (communicator, sent, received) =
            unsafe { (plain::<C>(this), sent.as_bytes(), parts(received, counts, ranks)) };
        // SAFETY: the host lends one count per rank for the call.
        let sent_counts = unsafe { slice(sent_counts, ranks) };
        communicator.exchange(sent, sent_counts, received, Duration::from_millis(deadline))
    })
}

unsafe extern "C" fn close<C: Communicator>(this: Instance, failed: u32) -> i32 {
    // SAFETY: the host passes back what `create` returned.
    guard(|| unsafe { plain::<C>(this) }.close(failed != 0))
}

struct Table<C>(std::marker::PhantomData<C>);

impl<C: Communicator> Table<C> {
    const TABLE: &'static CommunicatorTable = &CommunicatorTable {
        size: size_of::<CommunicatorTable>() as u64,
        open: open::<C>,
        gather: gather::<C>,
        exchange: exchange::<C>,
        close: close::<C>,
    };
}

/// The row of communicator `C` in the extension `fluxbay.kinds/1`.
pub const fn kind_row<C: Communicator>(name: &'static str, state_version: u32) -> KindRow {
    instance::kind_row::<Plain<C>>(
        kind::COMMUNICATOR,
        name,
        state_version,
        std::ptr::from_ref(Table::<C>::TABLE).cast(),
    )
}
