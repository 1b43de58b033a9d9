//! The functions of a communicator, called on the training thread.

use std::sync::Arc;
use std::time::Duration;

use fluxbay_plugin::abi::communicator::{CommunicatorTable, JoinedRaw};
use fluxbay_plugin::abi::text::Text;

use super::context;
use super::error::{CallError, CallResult, check};
use super::plugin_instance::{PluginInstance, Table};
use crate::breadcrumb::{self, Activity};

/// A communicator of a plugin.
#[derive(Debug)]
pub struct PluginCommunicator {
    instance: Arc<PluginInstance>,
    table: &'static CommunicatorTable,
}

/// The place of this process among those of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub rank: usize,
    /// Number of processes.
    pub ranks: usize,
    /// Its number among those on this machine.
    pub local: usize,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl PluginCommunicator {
    /// The communicator behind `instance`.
    pub fn new(instance: Arc<PluginInstance>) -> CallResult<PluginCommunicator> {
        let Table::Communicator(table) = instance.table else {
            return Err(instance.wrong_kind("communicator"));
        };
        Ok(PluginCommunicator { instance, table })
    }

    fn call(&self, call: impl FnOnce() -> i32) -> CallResult {
        // It needs no function of the host, and is called in the middle of a backward pass.
        let _entered = context::enter_without_host();
        let guard = breadcrumb::call(self.instance.number(), Activity::Communicating);
        let code = call();
        guard.end();
        check(code)
    }

    /// Joins the other processes.
    pub fn open(&self, deadline: Duration) -> CallResult<Place> {
        let mut joined = JoinedRaw {
            size: size_of::<JoinedRaw>() as u64,
            rank: 0,
            ranks: 0,
            local: 0,
            reserved: 0,
        };
        let raw = self.instance.raw;
        // SAFETY: `raw` belongs to the table's component; the place is lent for the call, which is made
        // on the training thread.
        self.call(|| unsafe { (self.table.open)(raw, milliseconds(deadline), &mut joined) })?;
        let JoinedRaw { rank, ranks, local, .. } = joined;
        if rank >= ranks {
            return Err(CallError::new(format!("it says that this is rank {rank} of {ranks}")));
        }
        Ok(Place { rank: rank as usize, ranks: ranks as usize, local: local as usize })
    }

    /// Sends `sent` to all; returns the bytes of all ranks, of which `counts` come from each.
    pub fn gather(&self, sent: &[u8], counts: &[u64], deadline: Duration) -> CallResult<Vec<u8>> {
        let mut received = vec![0; counts.iter().sum::<u64>() as usize];
        // SAFETY: as above; bytes and counts are lent for the call.
        self.call(|| unsafe {
            (self.table.gather)(
                self.instance.raw,
                Text::bytes(sent),
                received.as_mut_ptr(),
                counts.as_ptr(),
                counts.len(),
                milliseconds(deadline),
            )
        })?;
        Ok(received)
    }

    /// Sends `sent_counts` bytes of `sent` to each; returns the bytes of all ranks, of which `counts`
    /// come from each.
    pub fn exchange(
        &self,
        sent: &[u8],
        sent_counts: &[u64],
        counts: &[u64],
        deadline: Duration,
    ) -> CallResult<Vec<u8>> {
        let mut received = vec![0; counts.iter().sum::<u64>() as usize];
        // SAFETY: as above.
        self.call(|| unsafe {
            (self.table.exchange)(
                self.instance.raw,
                Text::bytes(sent),
                sent_counts.as_ptr(),
                received.as_mut_ptr(),
                counts.as_ptr(),
                counts.len(),
                milliseconds(deadline),
            )
        })?;
        Ok(received)
    }

    /// Leaves the other processes; after a failure without waiting for them.
    pub fn close(&self, failed: bool) -> CallResult {
        // SAFETY: as above.
        self.call(|| unsafe { (self.table.close)(self.instance.raw, u32::from(failed)) })
    }
}
