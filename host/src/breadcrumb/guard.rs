//! Writing breadcrumbs: one for the training thread, one for each other thread that calls plugins.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::activity::Activity;
use super::memory::{PAGE, is_alive, thread, word};

#[inline]
fn at(place: usize) -> &'static AtomicU64 {
    &PAGE.words[place]
}

#[inline]
fn pack(instance: u32, activity: Activity) -> u64 {
    u64::from(instance) << 32 | u64::from(activity.code())
}

/// Instance and activity of a breadcrumb; `None` while no plugin is called.
pub fn unpack(breadcrumb: u64) -> Option<(u32, Activity)> {
    Some(((breadcrumb >> 32) as u32, Activity::from_code(breadcrumb as u32)?))
}

/// One call, or a row of calls, on the training thread. Ended by [`CallGuard::end`] and not by
/// `Drop`: when a foreign exception unwinds through here, the breadcrumb has to stay.
#[must_use = "the caller's breadcrumb has to be restored with `end`"]
#[derive(Debug)]
pub struct CallGuard(u64);

/// Begins a row of calls; [`CallGuard::set`] names each.
#[inline]
pub fn begin() -> CallGuard {
    let calls = at(word::CALLS);
    // Only this thread writes it, so load and store need not be one operation.
    calls.store(calls.load(Relaxed).wrapping_add(1), Relaxed);
    CallGuard(at(word::NOW).load(Relaxed))
}

/// Begins one call.
#[inline]
pub fn call(instance: u32, activity: Activity) -> CallGuard {
    let guard = begin();
    guard.set(instance, activity);
    guard
}

impl CallGuard {
    /// The next call goes to `instance`.
    #[inline]
    pub fn set(&self, instance: u32, activity: Activity) {
        at(word::NOW).store(pack(instance, activity), Relaxed);
    }

    /// All calls have returned: restores the caller's breadcrumb.
    #[inline]
    pub fn end(self) {
        at(word::NOW).store(self.0, Relaxed);
    }
}

/// Records the phase (`u32::MAX` for none), epoch and step of the run.
#[inline]
pub fn position(phase: u32, epoch: u64, step: u64) {
    at(word::PHASE).store(u64::from(phase), Relaxed);
    at(word::EPOCH).store(epoch, Relaxed);
    at(word::STEP).store(step, Relaxed);
}

thread_local! {
    /// The lane of this thread. Without a destructor: a lane has to be readable until its thread has
    /// ended, and is reused afterwards.
    static LANE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The lane of this thread, if one is free.
fn own_lane() -> Option<usize> {
    LANE.with(|own| {
        if own.get().is_none() {
            own.set(claim_lane());
        }
        own.get()
    })
}

/// A call on a thread of the loader. Ended by hand, see [`CallGuard`].
#[must_use = "the previous breadcrumb has to be restored with `end`"]
#[derive(Debug)]
pub struct SideCallGuard {
    lane: Option<usize>,
    before: u64,
}

/// Begins a call on any thread. Without a free lane the call has no breadcrumb.
pub fn side_call(instance: u32, activity: Activity) -> SideCallGuard {
    let Some(lane) = own_lane() else { return SideCallGuard { lane: None, before: 0 } };
    let calls = at(lane + word::LANE_CALLS);
    calls.store(calls.load(Relaxed).wrapping_add(1), Relaxed);
    at(lane + word::LANE_LAST).store(pack(instance, activity), Relaxed);
    let before = at(lane + word::LANE_NOW).swap(pack(instance, activity), Relaxed);
    SideCallGuard { lane: Some(lane), before }
}

impl SideCallGuard {
    /// The call has returned: restores the previous breadcrumb.
    pub fn end(self) {
        if let Some(lane) = self.lane {
            at(lane + word::LANE_NOW).store(self.before, Relaxed);
        }
    }
}

/// A lane that is free, or whose thread has ended.
fn claim_lane() -> Option<usize> {
    let own = thread();
    let lanes = || (0..word::LANE_COUNT).map(|number| word::LANES + word::LANE * number);
    let claim = |lane: usize, before: u64| {
        let claimed = at(lane).compare_exchange(before, own, Relaxed, Relaxed).is_ok();
        if claimed {
            (1..word::LANE).for_each(|place| at(lane + place).store(0, Relaxed));
        }
        claimed
    };
    // Another thread had this id before.
    let reused = lanes().find(|&lane| claim(lane, own));
    reused.or_else(|| lanes().find(|&lane| claim(lane, 0))).or_else(|| {
        lanes().find(|&lane| {
            let thread = at(lane).load(Relaxed);
            !is_alive(thread) && claim(lane, thread)
        })
    })
}

/// A thread of the host that calls no plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostThread {
    /// Writes checkpoints.
    Checkpoints = 1,
    /// Receives signals.
    Signals = 2,
    /// Waits for the time limit of a run.
    Deadline = 3,
    /// Warns about calls that hang.
    Watchdog = 4,
}

impl HostThread {
    const ALL: [HostThread; 4] =
        [HostThread::Checkpoints, HostThread::Signals, HostThread::Deadline, HostThread::Watchdog];

    /// Its number in a lane: that of no instance.
    fn code(self) -> u64 {
        u64::from(u32::MAX) << 32 | self as u64
    }

    /// What it does, for a message.
    pub fn task(self) -> &'static str {
        match self {
            HostThread::Checkpoints => "writes checkpoints",
            HostThread::Signals => "receives signals",
            HostThread::Deadline => "waits for the time limit",
            HostThread::Watchdog => "warns about calls that hang",
        }
    }
}

/// Marks this thread as one of the host, so that a fault on it is not attributed to a plugin.
pub fn host_thread(thread: HostThread) {
    if let Some(lane) = own_lane() {
        at(lane + word::LANE_LAST).store(thread.code(), Relaxed);
    }
}

/// The last call of a thread, or what thread of the host it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastCall {
    /// It called this instance last.
    Instance(u32, Activity),
    /// It calls no plugin.
    Host(HostThread),
}

/// What a lane says of its thread; `None` if nothing.
pub fn unpack_last(word: u64) -> Option<LastCall> {
    match HostThread::ALL.into_iter().find(|thread| thread.code() == word) {
        Some(thread) => Some(LastCall::Host(thread)),
        None => unpack(word).map(|(instance, activity)| LastCall::Instance(instance, activity)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_outlives_its_call_and_is_reused_after_its_thread() {
        let on_a_thread = || {
            std::thread::spawn(|| {
                side_call(3, Activity::Filling).end();
                own_lane().expect("a lane")
            })
            .join()
            .expect("no panic")
        };
        let lane = on_a_thread();
        let last = unpack_last(at(lane + word::LANE_LAST).load(Relaxed));
        assert_eq!(last, Some(LastCall::Instance(3, Activity::Filling)));
        assert_eq!(at(lane + word::LANE_NOW).load(Relaxed), 0);
        for _ in 0..2 * word::LANE_COUNT {
            on_a_thread();
        }
    }

    #[test]
    fn threads_of_the_host_are_distinguished_from_calls() {
        for thread in HostThread::ALL {
            assert_eq!(unpack_last(thread.code()), Some(LastCall::Host(thread)));
        }
        let call = pack(0, Activity::Creating);
        assert_eq!(unpack_last(call), Some(LastCall::Instance(0, Activity::Creating)));
        assert_eq!(unpack_last(0), None);
    }
}
