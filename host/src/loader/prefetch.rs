//! Threads that make the next batches while the current one trains.
//!
//! A bounded number of batches is in flight. They are returned in the epoch's order whichever
//! thread finishes first, so the number of threads never changes what a batch holds. Dropping the
//! pool ends the threads and waits for them: afterwards no thread holds the data set.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use super::{
    LoaderError, SampleRange,
    batch::{Plan, Verification},
    error::panic_message,
};
use crate::learner::ports::{Alone, DataBatch};
use crate::tensor::timeline;

/// The threads that make batches.
pub(super) struct Pool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<(Arc<InFlight>, usize)>,
    closed: bool,
}

/// The batches of one epoch that are in flight.
pub(super) struct InFlight {
    plan: Arc<Plan>,
    /// Batch `n` arrives in slot `n % length`.
    slots: Mutex<Vec<Option<Result<DataBatch, LoaderError>>>>,
    arrived: Condvar,
    cancelled: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No data set is called under this lock, so a poisoned value is consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Starts at most `threads` threads, at least one; fewer where the system refuses more.
    ///
    /// # Errors
    /// If not even one can be started.
    pub(super) fn new(threads: usize) -> std::io::Result<Pool> {
        let mut pool = Pool { queue: Arc::default(), threads: Vec::new() };
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&pool.queue);
            let thread = std::thread::Builder::new()
                .name(format!("loader-{number}"))
                .spawn(move || work(&queue));
            match thread {
                Ok(thread) => pool.threads.push(thread),
                Err(_) if number > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(pool)
    }

    fn submit(&self, run: &Arc<InFlight>, batch: usize) {
        lock(&self.queue.jobs).waiting.push_back((Arc::clone(run), batch));
        self.queue.changed.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut jobs = lock(&self.queue.jobs);
            jobs.closed = true;
            jobs.waiting.clear();
        }
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked needs no waiting for.
            let _ = thread.join();
        }
    }
}

fn work(queue: &Queue) {
    loop {
        let mut jobs = lock(&queue.jobs);
        let (run, batch) = loop {
            if let Some(job) = jobs.waiting.pop_front() {
                break job;
            }
            if jobs.closed {
                return;
            }
            jobs = queue.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        };
        drop(jobs);
        if run.cancelled.load(Ordering::Acquire) {
            continue;
        }
        let begin = timeline::begin();
        let made =
            catch_unwind(AssertUnwindSafe(|| run.plan.make(batch, Verification::Tails, &Alone)))
                .unwrap_or_else(|payload| {
                    let at = SampleRange {
                        split: run.plan.samples.splits()[run.plan.source].name.clone(),
                        sample: 0,
                        count: 1,
                    };
                    Err(LoaderError::Panic { at, message: panic_message(payload) })
                });
        timeline::end(begin, "loader", timeline::Name::Text("make batch"));
        let mut slots = lock(&run.slots);
        let slot = batch % slots.len();
        slots[slot] = Some(made);
        drop(slots);
        run.arrived.notify_one();
    }
}

/// An epoch's view of the pool: batches in order, at most `depth` in flight.
pub(super) struct Prefetch {
    pool: Arc<Pool>,
    run: Arc<InFlight>,
    depth: usize,
    submitted: usize,
    end: usize,
}

impl Prefetch {
    /// Starts with batch `first` of `end`, with `depth` (at least 1) batches in flight.
    pub(super) fn new(
        pool: Arc<Pool>,
        plan: Arc<Plan>,
        first: usize,
        end: usize,
        depth: usize,
    ) -> Prefetch {
        let depth = depth.max(1);
        let slots = Mutex::new((0..depth).map(|_| None).collect());
        let run = Arc::new(InFlight {
            plan,
            slots,
            arrived: Condvar::new(),
            cancelled: AtomicBool::new(false),
        });
        let mut ahead = Prefetch { pool, run, depth, submitted: first, end };
        ahead.submit_up_to(first + depth);
        ahead
    }

    fn submit_up_to(&mut self, bound: usize) {
        while self.submitted < bound.min(self.end) {
            self.pool.submit(&self.run, self.submitted);
            self.submitted += 1;
        }
    }

    /// Waits for batch `index`, the one after the last taken.
    pub(super) fn take(&mut self, index: usize) -> Result<DataBatch, LoaderError> {
        let mut slots = lock(&self.run.slots);
        let made = loop {
            if let Some(made) = slots[index % self.depth].take() {
                break made;
            }
            slots = self.run.arrived.wait(slots).unwrap_or_else(PoisonError::into_inner);
        };
        drop(slots);
        self.submit_up_to(index + 1 + self.depth);
        made
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.run.cancelled.store(true, Ordering::Release);
    }
}
