//! What the learner leaves before it calls a plugin: a few stores into shared memory, read only
//! when something is wrong.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::page::{PAGE, thread, word};
use crate::learner::instances::Doing;

#[inline]
fn at(place: usize) -> &'static AtomicU64 {
    &PAGE.words[place]
}

#[inline]
fn pack(instance: u32, doing: Doing) -> u64 {
    u64::from(instance) << 32 | u64::from(doing.code())
}

/// Instance and activity of a breadcrumb; `None` for the host itself.
pub(super) fn unpack(crumb: u64) -> Option<(u32, Doing)> {
    Some(((crumb >> 32) as u32, Doing::from_code(crumb as u32)?))
}

/// A call, or a round of calls, on the training thread. It is ended by hand and not when it is
/// dropped: an exception of another language that unwinds through here must leave the breadcrumb
/// where it is.
#[must_use = "the caller's breadcrumb has to be put back with `end`"]
#[derive(Debug)]
pub struct Trail(u64);

/// Begins a round of calls, of which [`Trail::at`] tells each.
#[inline]
pub fn begin() -> Trail {
    let calls = at(word::CALLS);
    // One thread writes it; nothing is lost between load and store.
    calls.store(calls.load(Relaxed).wrapping_add(1), Relaxed);
    Trail(at(word::NOW).load(Relaxed))
}

/// Begins one call.
#[inline]
pub fn call(instance: u32, doing: Doing) -> Trail {
    let trail = begin();
    trail.at(instance, doing);
    trail
}

impl Trail {
    /// The next call goes to `instance`.
    #[inline]
    pub fn at(&self, instance: u32, doing: Doing) {
        at(word::NOW).store(pack(instance, doing), Relaxed);
    }

    /// All calls have returned: the caller's breadcrumb lies there again.
    #[inline]
    pub fn end(self) {
        at(word::NOW).store(self.0, Relaxed);
    }
}

/// The run has come to this phase (`u32::MAX` for none), epoch and step.
#[inline]
pub fn position(phase: u32, epoch: u64, step: u64) {
    at(word::PHASE).store(u64::from(phase), Relaxed);
    at(word::EPOCH).store(epoch, Relaxed);
    at(word::STEP).store(step, Relaxed);
}

/// The lane of a thread that is not the one that trains; given back when the thread ends.
struct Lane(Cell<Option<usize>>);

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(lane) = self.0.get() {
            at(lane + 1).store(0, Relaxed);
            at(lane).store(0, Relaxed);
        }
    }
}

thread_local! {
    static LANE: Lane = const { Lane(Cell::new(None)) };
}

/// A call on a thread of the loader, ended by hand as [`Trail`].
#[must_use = "the breadcrumb before has to be put back with `end`"]
#[derive(Debug)]
pub struct SideTrail {
    lane: Option<usize>,
    before: u64,
}

/// Begins a call on any thread.
pub fn side_call(instance: u32, doing: Doing) -> SideTrail {
    let lane = LANE.try_with(|own| {
        if own.0.get().is_none() {
            own.0.set(claim());
        }
        own.0.get()
    });
    let lane = lane.ok().flatten();
    let Some(lane) = lane else { return SideTrail { lane: None, before: 0 } };
    at(lane + 2).store(at(lane + 2).load(Relaxed).wrapping_add(1), Relaxed);
    SideTrail { lane: Some(lane), before: at(lane + 1).swap(pack(instance, doing), Relaxed) }
}

impl SideTrail {
    /// The call has returned.
    pub fn end(self) {
        if let Some(lane) = self.lane {
            at(lane + 1).store(self.before, Relaxed);
        }
    }
}

fn claim() -> Option<usize> {
    let lanes = (0..word::LANE_COUNT).map(|number| word::LANES + word::LANE * number);
    let own = thread();
    lanes.into_iter().find(|&lane| at(lane).compare_exchange(0, own, Relaxed, Relaxed).is_ok())
}
