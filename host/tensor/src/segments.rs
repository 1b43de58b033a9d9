//! Parts of the tape that belong to one block of a model and may be computed again in the backward
//! pass: what was recorded of each, and whether its intermediate values are there.

use super::memory::counted;
use super::replay::Replay;

/// Whether the intermediate values of a part are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Yes, and they may be dropped if memory is short.
    Kept,
    /// No.
    Dropped,
    /// They were computed again.
    Again,
}

/// A contiguous part of the tape.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Number of its first node.
    pub first: u64,
    /// One for each node.
    pub replays: Vec<Replay>,
    pub held: Held,
    /// Bytes of tensors when it began; later the bytes that it added.
    bytes: u64,
}

/// The parts of a tape, in its order.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    list: Vec<Segment>,
    /// Whether operations are still added to the last one.
    open: bool,
    /// Bytes of the largest one so far, of all steps.
    pub largest: u64,
    /// How many were dropped since this was last set to 0.
    pub dropped: u64,
}

impl Segments {
    /// Begins a part with the node `first`.
    pub fn open(&mut self, first: u64) {
        let bytes = counted().now;
        self.list.push(Segment { first, replays: Vec::new(), held: Held::Kept, bytes });
        self.open = true;
    }

    /// Ends the last part, and returns its place; `None` if none is open, or if nothing was recorded
    /// in it.
    pub fn close(&mut self) -> Option<usize> {
        if !std::mem::take(&mut self.open) {
            return None;
        }
        if self.list.last()?.replays.is_empty() {
            self.list.pop();
            return None;
        }
        let last = self.list.last_mut()?;
        last.bytes = counted().now.saturating_sub(last.bytes);
        self.largest = self.largest.max(last.bytes);
        Some(self.list.len() - 1)
    }

    #[inline]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The part that operations are added to.
    pub fn opened(&mut self) -> Option<&mut Segment> {
        if self.open { self.list.last_mut() } else { None }
    }

    /// The oldest ended part whose values are kept.
    pub fn oldest_kept(&self) -> Option<usize> {
        let ended = self.list.len() - usize::from(self.open);
        self.list[..ended].iter().position(|segment| segment.held == Held::Kept)
    }

    /// The part that contains a node.
    pub fn of(&mut self, node: u64) -> Option<&mut Segment> {
        let after = self.list.partition_point(|segment| segment.first <= node);
        self.list.get_mut(after.checked_sub(1)?)
    }

    pub fn at(&mut self, place: usize) -> &mut Segment {
        &mut self.list[place]
    }

    pub fn clear(&mut self) {
        self.list.clear();
        self.open = false;
    }
}
