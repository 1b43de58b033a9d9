//! Threads that make the next batches while the current one trains.
//!
//! A bounded number of batches is under way at a time. They are handed out in the epoch's order
//! whichever thread finishes first, so threads change when a batch is made, never which batch it is
//! or what it holds. Dropping the pool ends the threads and waits for them: afterwards no thread
//! holds the data set any more.

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
    Batch, LoaderError, Place,
    batch::{Care, Plan, panic_message},
};
use crate::learner::ports::Alone;

/// The threads.
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
    waiting: VecDeque<(Arc<Run>, usize)>,
    closed: bool,
}

/// The batches of one epoch that are under way.
pub(super) struct Run {
    plan: Arc<Plan>,
    /// Batch `n` arrives in place `n % length`.
    places: Mutex<Vec<Option<Result<Batch, LoaderError>>>>,
    arrived: Condvar,
    cancelled: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code of a data set runs under a lock, so what a panicking thread left behind is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Starts at most `threads` threads, at least one; fewer where the system refuses more.
    ///
    /// # Errors
    /// Where not even one can be started.
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

    fn submit(&self, run: &Arc<Run>, batch: usize) {
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
            // A thread only ends in a panic by a fault of its own, and then there is nothing left
            // to wait for.
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
        let made = catch_unwind(AssertUnwindSafe(|| run.plan.make(batch, Care::Tails, &Alone)))
            .unwrap_or_else(|payload| {
                let place = Place {
                    split: run.plan.samples.splits()[run.plan.source].name.clone(),
                    sample: 0,
                    count: 1,
                };
                Err(LoaderError::Panic { place, message: panic_message(payload) })
            });
        let mut places = lock(&run.places);
        let place = batch % places.len();
        places[place] = Some(made);
        drop(places);
        run.arrived.notify_one();
    }
}

/// An epoch's view of the pool: batches in order, a bounded number ahead.
pub(super) struct Ahead {
    pool: Arc<Pool>,
    run: Arc<Run>,
    depth: usize,
    submitted: usize,
    end: usize,
}

impl Ahead {
    /// Begins with batch `first` of `end`; `depth` (at least 1) batches are under way at a time.
    pub(super) fn new(
        pool: Arc<Pool>,
        plan: Arc<Plan>,
        first: usize,
        end: usize,
        depth: usize,
    ) -> Ahead {
        let depth = depth.max(1);
        let places = Mutex::new((0..depth).map(|_| None).collect());
        let run = Arc::new(Run {
            plan,
            places,
            arrived: Condvar::new(),
            cancelled: AtomicBool::new(false),
        });
        let mut ahead = Ahead { pool, run, depth, submitted: first, end };
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
    pub(super) fn take(&mut self, index: usize) -> Result<Batch, LoaderError> {
        let mut places = lock(&self.run.places);
        let made = loop {
            if let Some(made) = places[index % self.depth].take() {
                break made;
            }
            places = self.run.arrived.wait(places).unwrap_or_else(PoisonError::into_inner);
        };
        drop(places);
        self.submit_up_to(index + 1 + self.depth);
        made
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.run.cancelled.store(true, Ordering::Release);
    }
}
