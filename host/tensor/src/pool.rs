//! A fork-join pool for kernels. The calling thread takes part, and never waits for a worker that has
//! not started.
//!
//! Workers spin for some microseconds after a job, because the next kernel usually follows at once,
//! and then park. Each thread takes its own tasks first and then those that other threads have not
//! started, so a core that is busy with another process delays nothing. What a task computes is fixed
//! by the caller and does not depend on the thread: results do not depend on timing.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Rounds of `spin_loop` before a worker parks: some 50 microseconds.
const SPINS: u32 = 4_000;
/// Bit of `state` that is set while a job can be joined. The bits below count the workers in it.
const OPEN: u64 = 1 << 32;

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// A task that workers call repeatedly while no job is open, see
/// [`Engine::idle`](crate::Engine::idle).
pub type Idle = dyn Fn() -> Left + Send + Sync;

/// What an [`Idle`] task returns: whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Call it again.
    More,
    /// Nothing for this thread: another one has the last piece.
    Elsewhere,
    /// Nothing: do not call it again.
    Nothing,
}

/// A value with cache lines of its own.
#[repr(align(128))]
struct Line<T>(T);

struct Shared {
    /// `OPEN` | number of workers inside; the upper bits count jobs.
    state: AtomicU64,
    /// Written only while no job is open and no worker is inside.
    task: std::cell::UnsafeCell<Option<*const Task<'static>>>,
    /// For each thread its next task, with the number of the job in the upper bits; another number
    /// means that the thread has not started on the job.
    next: Box<[Line<AtomicU64>]>,
    count: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
    ended: AtomicBool,
    panicked: AtomicBool,
    idle: Mutex<Option<Arc<Idle>>>,
    has_idle: AtomicBool,
}

// SAFETY: `task` is written by the one caller (the pool is `!Sync`) while no worker is inside, and
// read only by workers that entered through `state` while the job is open; the task itself is
// `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is used only while the caller waits in `run`.
unsafe impl Send for Shared {}

/// The pool. One per engine; used from the thread that owns it.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Pool {
    /// A pool that computes on `threads` threads, the caller's among them. 0 counts as 1.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            task: std::cell::UnsafeCell::new(None),
            next: (0..threads.max(1)).map(|_| Line(AtomicU64::new(0))).collect(),
            count: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
            ended: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            idle: Mutex::new(None),
            has_idle: AtomicBool::new(false),
        });
        let workers = (1..threads.max(1))
            .map(|index| {
                let shared = shared.clone();
                std::thread::Builder::new()
                    .name(format!("tensor-{index}"))
                    .spawn(move || work(&shared, index))
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { shared, workers, not_sync: std::marker::PhantomData })
    }

    /// Number of threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task` with each number below `count`, on all threads, and returns when all are done.
    pub fn run(&self, count: usize, task: &Task<'_>) {
        if count <= 1 || self.workers.is_empty() {
            (0..count).for_each(task);
            return;
        }
        let shared = &*self.shared;
        // SAFETY: no job is open and no worker is inside (the end of `run` waits for that), so
        // nothing else uses the cell; the longer lifetime is used only while `run` holds the borrow.
        unsafe {
            *shared.task.get() =
                Some(std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task))
        };
        shared.count.store(count, Ordering::Relaxed);
        let job = (shared.state.load(Ordering::Relaxed) >> 33).wrapping_add(1) << 33;
        shared.state.store(job | OPEN, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(shared.lock.lock());
            shared.wake.notify_all();
        }
        // The guard closes the job even if the caller's own task panics, so that no worker uses the
        // task afterwards.
        let guard = Close(shared);
        take_tasks(shared, task, 0, job >> 33);
        drop(guard);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a tensor kernel panicked on a worker thread");
        }
    }

    /// See [`Engine::idle`](crate::Engine::idle).
    pub fn idle(&self, task: Arc<Idle>) {
        *lock(&self.shared.idle) = Some(task);
        self.shared.has_idle.store(true, Ordering::Release);
    }

    /// Splits `0..length` into even ranges of at least `grain` for [`Pool::run`], about two per
    /// thread.
    pub fn ranges(&self, length: usize, grain: usize, task: impl Fn(Range<usize>) + Sync) {
        let threads = self.threads();
        let parts = (length / grain.max(1)).clamp(1, threads * if threads > 1 { 2 } else { 1 });
        // The same number for each thread.
        let parts = if parts > threads { parts / threads * threads } else { parts };
        if parts == 1 {
            if length > 0 {
                task(0..length);
            }
            return;
        }
        self.run(parts, &|part| task(part * length / parts..(part + 1) * length / parts));
    }
}

struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN;
        let mut spins = 0_u32;
        while state & (OPEN - 1) != 0 {
            spins += 1;
            if spins > SPINS {
                std::thread::yield_now()
            } else {
                std::hint::spin_loop()
            }
            state = self.0.state.load(Ordering::Acquire);
        }
    }
}

/// Runs the tasks of thread `me`, then those that other threads have not started.
fn take_tasks(shared: &Shared, task: &Task<'_>, me: usize, job: u64) {
    let count = shared.count.load(Ordering::Relaxed);
    let threads = shared.next.len();
    for owner in (me..threads).chain(0..me) {
        let (from, to) = (owner * count / threads, (owner + 1) * count / threads);
        while let Some(index) = take(&shared.next[owner].0, job, from, to) {
            task(index);
        }
    }
}

/// The next of the tasks `from..to` of a job.
fn take(next: &AtomicU64, job: u64, from: usize, to: usize) -> Option<usize> {
    let mut now = next.load(Ordering::Relaxed);
    loop {
        let index = if now >> 32 == job { now as u32 as usize } else { from };
        if index >= to {
            return None;
        }
        match next.compare_exchange_weak(
            now,
            job << 32 | (index as u64 + 1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => return Some(index),
            Err(other) => now = other,
        }
    }
}

fn work(shared: &Shared, me: usize) {
    let mut last_job = 0;
    loop {
        let mut spins = 0;
        let state = loop {
            let state = shared.state.load(Ordering::Acquire);
            if state & OPEN != 0 && state >> 33 != last_job {
                break state;
            }
            if shared.ended.load(Ordering::Relaxed) {
                return;
            }
            if shared.has_idle.load(Ordering::Acquire) && do_idle(shared) {
                continue;
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
                continue;
            }
            spins = 0;
            park(shared, last_job);
        };
        if shared
            .state
            .compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            continue;
        }
        last_job = state >> 33;
        // SAFETY: this worker entered while the job was open, and the caller waits until it leaves:
        // the task is alive.
        let task = unsafe { (*shared.task.get()).map(|task| &*task) };
        if let Some(task) = task {
            let begin = crate::timeline::begin();
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                take_tasks(shared, task, me, last_job)
            }));
            crate::timeline::end(begin, "kernel", crate::timeline::Name::Text("kernel"));
            if outcome.is_err() {
                shared.panicked.store(true, Ordering::Relaxed);
            }
        }
        shared.state.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Calls the idle task once; returns whether it did something.
fn do_idle(shared: &Shared) -> bool {
    let Some(task) = lock(&shared.idle).clone() else { return false };
    let left =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task())).unwrap_or(Left::Nothing);
    if left == Left::Nothing {
        let mut idle = lock(&shared.idle);
        // It may have been replaced meanwhile.
        if idle.as_ref().is_some_and(|now| Arc::ptr_eq(now, &task)) {
            *idle = None;
            shared.has_idle.store(false, Ordering::Release);
        }
    }
    left == Left::More
}

fn park(shared: &Shared, last_job: u64) {
    let Ok(mut guard) = shared.lock.lock() else { return };
    shared.sleepers.fetch_add(1, Ordering::SeqCst);
    loop {
        let state = shared.state.load(Ordering::SeqCst);
        if (state & OPEN != 0 && state >> 33 != last_job) || shared.ended.load(Ordering::Relaxed) {
            break;
        }
        match shared.wake.wait(guard) {
            Ok(next) => guard = next,
            Err(_) => break,
        }
    }
    shared.sleepers.fetch_sub(1, Ordering::SeqCst);
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        drop(self.shared.lock.lock());
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks, so there is nothing to report.
            drop(worker.join());
        }
    }
}

/// A pointer that tasks of one job share, each writing its own part.
pub(crate) struct Parts<T>(*mut T, usize);

// SAFETY: tasks only get parts that do not overlap (the contract of `part`).
unsafe impl<T: Send> Sync for Parts<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Parts<T> {}

impl<T> Parts<T> {
    /// Shares `elements`, part by part.
    pub fn new(elements: &mut [T]) -> Self {
        Self(elements.as_mut_ptr(), elements.len())
    }

    /// One part.
    ///
    /// # Safety
    /// No other part that exists at the same time may overlap it.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.1, "part {range:?} of {}", self.1);
        // SAFETY: inside the borrowed slice; no overlap by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }

    /// The pointer to the first element.
    pub fn pointer(&self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        let pool = Pool::new(3).unwrap();
        for round in 0..2_000 {
            let counts: Vec<AtomicUsize> = (0..round % 17).map(|_| AtomicUsize::new(0)).collect();
            pool.run(counts.len(), &|index| {
                counts[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_thread_does_its_own_tasks_first() {
        let pool = Pool::new(2).unwrap();
        for _ in 0..200 {
            let begun: [AtomicBool; 4] = std::array::from_fn(|_| AtomicBool::new(false));
            let by = Mutex::new([None; 4]);
            let wait_for = |other: usize| {
                while !begun[other].load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
            };
            pool.run(4, &|index| {
                begun[index].store(true, Ordering::Release);
                lock(&by)[index] = Some(std::thread::current().id());
                match index {
                    // Until both threads are there, and the last until nothing is left to take.
                    0 => wait_for(2),
                    2 => wait_for(0),
                    3 => wait_for(1),
                    _ => wait_for(3),
                }
            });
            let [a, b, c, d] = by.into_inner().unwrap();
            assert!(a == b && c == d && a != c, "whoever came to the first half did all of it");
        }
    }

    #[test]
    fn ranges_cover_everything_once() {
        let pool = Pool::new(2).unwrap();
        for length in [0, 1, 5, 1000, 1001] {
            let mut seen = vec![0_u8; length];
            let parts = Parts::new(&mut seen);
            pool.ranges(length, 10, |range| {
                // SAFETY: the ranges of one call do not overlap.
                unsafe { parts.part(range) }.iter_mut().for_each(|seen| *seen += 1);
            });
            assert!(seen.iter().all(|&seen| seen == 1), "{length}");
        }
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(2).unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(64, &|index| {
                std::thread::sleep(std::time::Duration::from_micros(50));
                assert!(index != 40);
            });
        }));
        assert!(outcome.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(10, &|index| {
            sum.fetch_add(index, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }

    /// Runs jobs until the condition holds: parked workers do nothing until a job wakes them.
    fn until(pool: &Pool, so: impl Fn() -> bool) {
        let begin = std::time::Instant::now();
        while !so() {
            assert!(begin.elapsed() < std::time::Duration::from_secs(60), "it is not called");
            pool.run(4, &|_| {});
        }
    }

    #[test]
    fn workers_do_idle_work_between_jobs_until_nothing_is_left_or_there_is_other() {
        let pool = Pool::new(3).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let up_to = |last: usize| {
            let calls = calls.clone();
            Arc::new(move || match calls.fetch_add(1, Ordering::SeqCst) + 1 {
                call if call < last => Left::More,
                _ => Left::Nothing,
            })
        };
        pool.idle(up_to(100));
        until(&pool, || calls.load(Ordering::SeqCst) >= 100 && lock(&pool.shared.idle).is_none());
        // Both workers may have been in a call when the last piece was done.
        assert!(calls.load(Ordering::SeqCst) <= 101);
        let before = calls.load(Ordering::SeqCst);
        (0..1000).for_each(|_| pool.run(4, &|_| {}));
        assert_eq!(calls.load(Ordering::SeqCst), before);

        pool.idle(up_to(usize::MAX));
        until(&pool, || calls.load(Ordering::SeqCst) > before + 10);
        let sum = AtomicUsize::new(0);
        pool.run(100, &|index| {
            sum.fetch_add(index, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 4950, "jobs go on beside it");
        let other = Arc::new(AtomicUsize::new(0));
        let counted = other.clone();
        pool.idle(Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Left::Nothing
        }));
        until(&pool, || other.load(Ordering::SeqCst) > 0);
    }

    #[test]
    fn idle_work_that_is_taken_for_now_is_asked_for_again() {
        let pool = Pool::new(2).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let called = calls.clone();
        pool.idle(Arc::new(move || {
            if called.fetch_add(1, Ordering::SeqCst) < 5 { Left::Elsewhere } else { Left::Nothing }
        }));
        until(&pool, || calls.load(Ordering::SeqCst) == 6 && lock(&pool.shared.idle).is_none());
    }

    #[test]
    fn a_panic_in_idle_work_ends_that_work_and_nothing_else() {
        let pool = Pool::new(2).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let called = calls.clone();
        pool.idle(Arc::new(move || {
            called.fetch_add(1, Ordering::SeqCst);
            panic!("idle")
        }));
        until(&pool, || calls.load(Ordering::SeqCst) > 0 && lock(&pool.shared.idle).is_none());
        (0..100).for_each(|_| pool.run(4, &|_| {}));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn parked_workers_wake_up() {
        let pool = Pool::new(2).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let sum = AtomicUsize::new(0);
            pool.run(100, &|index| {
                sum.fetch_add(index, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 4950);
        }
    }
}
