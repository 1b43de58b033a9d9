//! Time measurements per phase, event and callback, always on.
//!
//! Reading a clock costs more than calling a callback, so only a sample of the steps is timed: one
//! in [`EVERY`], later one in [`LATER`], chosen at random but identically in every run. Work outside
//! of steps is always timed. Counts are exact; times of steps are estimated from the timed ones,
//! each weighted by the inverse of its probability (Horvitz and Thompson, 1952, as a ratio). While
//! a step is not timed, an event costs one load and one branch.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::tensor::timeline::{self, Name};

/// One in this many steps is timed.
pub const EVERY: u32 = 16;
/// One in this many steps is timed after the first [`EARLY`].
pub const LATER: u32 = 256;
/// Steps after which fewer are timed.
pub const EARLY: u64 = 4096;

/// Work that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Waiting for a batch.
    Data,
    /// A whole step.
    Step,
    /// A forward pass.
    Forward,
    /// A loss.
    Loss,
    /// A backward pass.
    Backward,
    /// An update by the optimizers.
    Update,
    /// An event, by its number: all callbacks that handle it.
    Event(u32),
    /// A callback, by its number, at an event.
    Callback(u32, u32),
}

impl Work {
    /// Its name in `profile.json` and in traces.
    pub fn name(self) -> &'static str {
        match self {
            Work::Data => "data",
            Work::Step => "step",
            Work::Forward => "forward",
            Work::Loss => "loss",
            Work::Backward => "backward",
            Work::Update => "update",
            Work::Event(_) | Work::Callback(..) => "event",
        }
    }
}

/// Measured time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Number of measurements, in timed steps and outside of steps.
    pub timed: u64,
    /// Total time, each measurement weighted like its step.
    pub time: Duration,
}

/// Steps of a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Begun.
    pub begun: u64,
    /// Timed.
    pub timed: u64,
    /// Sum of the weights of the timed steps.
    pub weight: u64,
}

/// Phase, whether it belongs to a step, and work.
type Key = (u32, bool, Work);

/// Initial capacity for kinds of work, so that steps do not allocate.
const CAPACITY: usize = 512;

/// The measurements of a run.
#[derive(Debug)]
pub struct Profile {
    timing: Cell<bool>,
    in_step: Cell<bool>,
    /// Whether the decision about timing the next step was made.
    decided: Cell<bool>,
    step_began: Cell<Option<Instant>>,
    random: Cell<u64>,
    /// Steps of the run so far.
    seen: Cell<u64>,
    clock_reads: Cell<u64>,
    phase: Cell<u32>,
    /// Sorted by key.
    spent: RefCell<Vec<(Key, Spent)>>,
    steps: RefCell<BTreeMap<u32, Steps>>,
    /// Steps of the running phase that are not yet in `steps`.
    current: Cell<Steps>,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            timing: Cell::new(true),
            in_step: Cell::new(false),
            decided: Cell::new(false),
            step_began: Cell::new(None),
            random: Cell::new(0x9E37_79B9_7F4A_7C15),
            seen: Cell::new(0),
            clock_reads: Cell::new(0),
            phase: Cell::new(u32::MAX),
            spent: RefCell::new(Vec::with_capacity(CAPACITY)),
            steps: RefCell::default(),
            current: Cell::default(),
        }
    }
}

/// One line of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of the phase; `u32::MAX` outside of phases.
    pub phase: u32,
    /// The work.
    pub work: Work,
    /// Number of measurements.
    pub timed: u64,
    /// Total time, estimated from the timed steps.
    pub seconds: f64,
}

impl Profile {
    /// The current time if this moment is timed.
    #[inline]
    pub fn begin(&self) -> Option<Instant> {
        if self.timing.get() { Some(self.now()) } else { None }
    }

    #[cold]
    #[inline(never)]
    fn now(&self) -> Instant {
        self.clock_reads.set(self.clock_reads.get() + 1);
        Instant::now()
    }

    /// Whether this moment is timed.
    #[inline]
    pub fn is_timing(&self) -> bool {
        self.timing.get()
    }

    /// Adds the time between two readings.
    pub fn span(&self, begin: Instant, end: Instant, work: Work) {
        self.add_time(end - begin, work);
        self.trace(begin, end, work);
    }

    /// Keeps a measurement for a trace of the run, if one is taken.
    fn trace(&self, begin: Instant, end: Instant, work: Work) {
        if !timeline::is_on() {
            return;
        }
        let (category, name) = match work {
            Work::Event(event) => ("event", Name::Numbers(0, event.into())),
            Work::Callback(by, event) => ("callback", Name::Numbers(by.into(), event.into())),
            work => ("phase", Name::Text(work.name())),
        };
        timeline::add(begin, end, category, name);
    }

    /// Runs `f` and adds its time if this moment is timed.
    #[inline]
    pub fn time<T>(&self, work: Work, f: impl FnOnce() -> T) -> T {
        let begin = self.begin();
        let answer = f();
        if let Some(begin) = begin {
            self.add(begin, work);
        }
        answer
    }

    /// Adds the time since `begin`, and returns the current time.
    #[cold]
    #[inline(never)]
    pub fn add(&self, begin: Instant, work: Work) -> Instant {
        let now = self.now();
        self.add_time(now - begin, work);
        self.trace(begin, now, work);
        now
    }

    #[cold]
    #[inline(never)]
    fn add_time(&self, time: Duration, work: Work) {
        let Ok(mut all) = self.spent.try_borrow_mut() else { return };
        let in_step = self.in_step.get() || work == Work::Data;
        let key = (self.phase.get(), in_step, work);
        let place = all.binary_search_by(|(known, _)| known.cmp(&key)).unwrap_or_else(|place| {
            all.insert(place, (key, Spent::default()));
            place
        });
        let spent = &mut all[place].1;
        spent.timed += 1;
        spent.time += if in_step { time * self.every() } else { time };
    }

    /// Sets the running phase; `u32::MAX` for none.
    pub fn enter_phase(&self, phase: u32) {
        self.count();
        self.outside_steps();
        self.phase.set(phase);
    }

    fn count(&self) {
        let current = self.current.take();
        if current.begun > 0 {
            let mut steps = self.steps.borrow_mut();
            let steps = steps.entry(self.phase.get()).or_default();
            steps.begun += current.begun;
            steps.timed += current.timed;
            steps.weight += current.weight;
        }
    }

    /// One in this many steps is currently timed.
    #[inline]
    fn every(&self) -> u32 {
        if self.seen.get() < EARLY { EVERY } else { LATER }
    }

    /// Decides whether the next step, with the wait for its batch, is timed.
    #[inline]
    pub fn next_step(&self) {
        // xorshift64* (Vigna 2016): so that timed steps do not coincide with the interval of a callback.
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        self.timing.set(
            (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32).is_multiple_of(u64::from(self.every()))
                || timeline::is_on(),
        );
        self.decided.set(true);
    }

    /// A step begins.
    #[inline]
    pub fn step_begins(&self) {
        if !self.decided.replace(false) {
            self.next_step();
            self.decided.set(false);
        }
        self.in_step.set(true);
        let Steps { mut begun, mut timed, mut weight } = self.current.get();
        begun += 1;
        if self.timing.get() {
            timed += 1;
            weight += u64::from(self.every());
        }
        self.current.set(Steps { begun, timed, weight });
        self.step_began.set(self.begin());
    }

    /// A step has ended.
    #[inline]
    pub fn step_ends(&self) {
        if let Some(began) = self.step_began.take() {
            self.add(began, Work::Step);
        }
        self.in_step.set(false);
        self.seen.set(self.seen.get() + 1);
    }

    /// Work outside of steps follows: it is always timed.
    pub fn outside_steps(&self) {
        self.timing.set(true);
    }

    /// The measurements so far.
    pub fn rows(&self) -> Vec<Row> {
        self.count();
        let steps = self.steps.borrow();
        let mut rows: BTreeMap<(u32, Work), Row> = BTreeMap::new();
        for &((phase, in_step, work), spent) in self.spent.borrow().iter() {
            let of_phase = steps.get(&phase).copied().unwrap_or_default();
            let scale = if in_step && of_phase.weight > 0 {
                of_phase.begun as f64 / of_phase.weight as f64
            } else {
                1.0
            };
            let row =
                rows.entry((phase, work)).or_insert(Row { phase, work, timed: 0, seconds: 0.0 });
            row.timed += spent.timed;
            row.seconds += spent.time.as_secs_f64() * scale;
        }
        rows.into_values().collect()
    }

    /// Steps of each phase, by its number.
    pub fn steps(&self) -> BTreeMap<u32, Steps> {
        self.count();
        self.steps.borrow().clone()
    }

    /// Number of clock readings, and the time of one.
    pub fn cost(&self) -> (u64, Duration) {
        const TRIES: u32 = 2000;
        let begin = Instant::now();
        for _ in 0..TRIES {
            std::hint::black_box(Instant::now());
        }
        (self.clock_reads.get(), begin.elapsed() / TRIES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_in_sixteen_and_later_fewer_are_timed_and_scaled_up() {
        let profile = Profile::default();
        profile.enter_phase(0);
        let run = |steps| {
            for _ in 0..steps {
                profile.step_begins();
                profile.time(Work::Forward, || {});
                if profile.is_timing() {
                    profile.add_time(Duration::from_millis(2), Work::Loss);
                }
                profile.step_ends();
            }
            profile.steps()[&0]
        };
        let early = run(EARLY);
        assert!((200..312).contains(&early.timed), "{early:?}");
        assert_eq!(early.weight, 16 * early.timed);
        let steps = run(256_000);
        assert_eq!(steps.begun, EARLY + 256_000);
        assert!((900..1100).contains(&(steps.timed - early.timed)), "{steps:?}");
        let rows = profile.rows();
        let works: Vec<(Work, u64)> = rows.iter().map(|row| (row.work, row.timed)).collect();
        assert_eq!(works, [Work::Step, Work::Forward, Work::Loss].map(|work| (work, steps.timed)));
        assert!((rows[2].seconds / (0.002 * steps.begun as f64) - 1.0).abs() < 1e-6, "{rows:?}");
        assert_eq!(profile.cost().0, 4 * steps.timed, "nothing is read in the others");
    }

    #[test]
    fn what_is_outside_of_steps_is_always_timed() {
        let profile = Profile::default();
        let begin = profile.begin();
        profile.add(begin.expect("timed"), Work::Event(3));
        assert_eq!(profile.rows()[0].phase, u32::MAX);
    }
}
