//! Communicators: bytes between the processes of a run on several.

use abi_stable::StableAbi;

use super::{handle::Instance, text::Text};

/// The place of a process among those of a run. The host sets `size`, `open` the rest.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct JoinedRaw {
    /// Size of this struct in bytes, as the host was built; the plugin writes no byte behind it.
    pub size: u64,
    /// Number of this process, below `ranks`.
    pub rank: u32,
    /// Number of processes, at least 1.
    pub ranks: u32,
    /// Number of this process among those on the same machine.
    pub local: u32,
    /// Not used.
    pub reserved: u32,
}

/// Functions of a communicator. All `[training]`.
///
/// `gather` and `exchange` are called by every process in the same order, with the same counts. They
/// wait for the others, at most until the deadline, counted in milliseconds from the call; an error
/// after that says so. After an error the host calls only `close`. Numbers are never added up here: the
/// host adds, in an order of its own, so that results do not depend on the communicator.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct CommunicatorTable {
    /// Size of this struct in bytes, as the plugin was built.
    pub size: u64,
    /// Joins the other processes. Called once, before all others.
    pub open: unsafe extern "C" fn(this: Instance, deadline: u64, joined: *mut JoinedRaw) -> i32,
    /// Sends the same bytes to every process and receives those of each, its own among them, one after
    /// the other in the order of the ranks: `counts[rank]` bytes of each rank.
    pub gather: unsafe extern "C" fn(
        this: Instance,
        sent: Text,
        received: *mut u8,
        counts: *const u64,
        ranks: usize,
        deadline: u64,
    ) -> i32,
    /// Sends other bytes to every process: the first `sent_counts[0]` bytes of `sent` to rank 0, those
    /// after them to rank 1, and so on. Receives as `gather` does.
    pub exchange: unsafe extern "C" fn(
        this: Instance,
        sent: Text,
        sent_counts: *const u64,
        received: *mut u8,
        counts: *const u64,
        ranks: usize,
        deadline: u64,
    ) -> i32,
    /// Leaves the other processes; nothing is sent afterwards. With `failed` 1 it does not wait for
    /// them and ends what it can of theirs, since they may be waiting for this one.
    pub close: unsafe extern "C" fn(this: Instance, failed: u32) -> i32,
}
