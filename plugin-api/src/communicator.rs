//! Communicators.

use std::time::Duration;

use crate::{Component, Result};

/// Moves bytes between the processes of a run that trains on several at once, named in the section
/// `[communicator]` of a run file. `[training thread]`
///
/// The host adds gradients up itself, in an order that depends on the run alone; a communicator never
/// adds. Every process calls `gather` and `exchange` in the same order.
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// # use std::time::Duration;
/// /// One process alone.
/// struct Alone;
///
/// impl Component for Alone {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(Alone)
///     }
/// }
///
/// impl Communicator for Alone {
///     fn open(&mut self, _deadline: Duration) -> Result<Joined> {
///         Ok(Joined { rank: 0, ranks: 1, local: 0 })
///     }
///
///     fn gather(&mut self, sent: &[u8], received: Parts<'_>, _deadline: Duration) -> Result<()> {
///         received.bytes.copy_from_slice(sent);
///         Ok(())
///     }
///
///     fn exchange(
///         &mut self,
///         sent: &[u8],
///         _counts: &[u64],
///         received: Parts<'_>,
///         _deadline: Duration,
///     ) -> Result<()> {
///         received.bytes.copy_from_slice(sent);
///         Ok(())
///     }
///
///     fn close(&mut self, _failed: bool) -> Result<()> {
///         Ok(())
///     }
/// }
/// ```
pub trait Communicator: Component {
    /// Joins the other processes. Called once, before all others.
    ///
    /// # Errors
    /// The run does not start.
    fn open(&mut self, deadline: Duration) -> Result<Joined>;

    /// Sends `sent` to every process and receives what each sent, its own bytes among them.
    ///
    /// # Errors
    /// Another process has ended, or the deadline has passed; only `close` is called afterwards.
    fn gather(&mut self, sent: &[u8], received: Parts<'_>, deadline: Duration) -> Result<()>;

    /// Sends the first `counts[0]` bytes of `sent` to rank 0, those after them to rank 1, and so on, and
    /// receives what each rank sent to this one.
    ///
    /// # Errors
    /// As [`Communicator::gather`].
    fn exchange(
        &mut self,
        sent: &[u8],
        counts: &[u64],
        received: Parts<'_>,
        deadline: Duration,
    ) -> Result<()>;

    /// Leaves the other processes. If this process `failed`, it does not wait for them and ends what it
    /// can of theirs, since they may be waiting for this one.
    ///
    /// # Errors
    /// They are reported, and change nothing.
    fn close(&mut self, failed: bool) -> Result<()>;
}

/// The place of a process among those of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Number of this process, below `ranks`.
    pub rank: u32,
    /// Number of processes, at least 1.
    pub ranks: u32,
    /// Number of this process among those on the same machine.
    pub local: u32,
}

/// Where a [`Communicator`] writes what it receives: the bytes of every rank, in the order of the
/// ranks.
#[derive(Debug)]
pub struct Parts<'a> {
    /// As many bytes as the counts add up to.
    pub bytes: &'a mut [u8],
    /// Number of bytes from each rank.
    pub counts: &'a [u64],
}

impl<'a> Parts<'a> {
    /// The bytes of each rank.
    pub fn split(self) -> Vec<&'a mut [u8]> {
        let mut rest = self.bytes;
        let mut parts = Vec::with_capacity(self.counts.len());
        for &count in self.counts {
            let (part, behind) = rest.split_at_mut((count as usize).min(rest.len()));
            parts.push(part);
            rest = behind;
        }
        parts
    }
}
