//! Spans of time of all threads, for viewers of timelines. Off until [`start`]; then a bounded
//! number of spans is kept. While it is off, a span costs one load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a span is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// By a text.
    Text(&'static str),
    /// By two numbers, whose meaning depends on the category.
    Numbers(u64, u64),
}

/// A span of time on one thread.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Number of its thread in [`Trace::threads`].
    pub thread: usize,
    /// Kind of work, such as `operation`.
    pub category: &'static str,
    /// What was done.
    pub name: Name,
    /// Begin.
    pub begin: Instant,
    /// End.
    pub end: Instant,
}

/// The spans that were kept.
#[derive(Debug)]
pub struct Trace {
    /// When it was started.
    pub begin: Instant,
    /// Names of the threads.
    pub threads: Vec<String>,
    /// In the order in which they ended.
    pub spans: Vec<Span>,
    /// Whether spans were left out because there were more than can be kept.
    pub is_full: bool,
}

struct Store {
    trace: Trace,
    /// Most spans that are kept.
    most: usize,
    /// Number of the trace, so that threads know that they have no number in it yet.
    number: u64,
}

static ON: AtomicBool = AtomicBool::new(false);
static STORE: Mutex<Option<Store>> = Mutex::new(None);

std::thread_local! {
    /// Number of the trace, and number of this thread in it.
    static THREAD: std::cell::Cell<(u64, usize)> = const { std::cell::Cell::new((0, 0)) };
}

fn store() -> MutexGuard<'static, Option<Store>> {
    STORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to keep spans, at most `most`. A trace that is under way is dropped.
pub fn start(most: usize) {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
    let begin = Instant::now();
    let trace = Trace { begin, threads: Vec::new(), spans: Vec::new(), is_full: false };
    *store() = Some(Store { trace, most, number });
    ON.store(true, Ordering::Release);
}

/// Ends the trace and returns it; `None` if none was started.
pub fn finish() -> Option<Trace> {
    ON.store(false, Ordering::Release);
    store().take().map(|store| store.trace)
}

/// Whether spans are kept.
#[inline]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// The present time if spans are kept, for [`end`].
#[inline]
pub fn begin() -> Option<Instant> {
    if is_on() { Some(Instant::now()) } else { None }
}

/// Ends a span of this thread that began at `begin`.
#[inline]
pub fn end(begin: Option<Instant>, category: &'static str, name: Name) {
    if let Some(begin) = begin {
        add(begin, Instant::now(), category, name);
    }
}

/// Keeps a span of this thread, if spans are kept.
#[cold]
#[inline(never)]
pub fn add(begin: Instant, end: Instant, category: &'static str, name: Name) {
    let mut store = store();
    let Some(store) = store.as_mut() else { return };
    if store.trace.spans.len() >= store.most {
        store.trace.is_full = true;
        ON.store(false, Ordering::Release);
        return;
    }
    let (number, mut thread) = THREAD.get();
    if number != store.number {
        thread = store.trace.threads.len();
        let name = std::thread::current().name().unwrap_or("thread").to_owned();
        store.trace.threads.push(name);
        THREAD.set((store.number, thread));
    }
    store.trace.spans.push(Span { thread, category, name, begin, end });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, since the trace belongs to the process.
    #[test]
    fn spans_of_all_threads_are_kept_up_to_the_limit() {
        assert!(!is_on() && begin().is_none() && finish().is_none());
        start(1 << 20);
        let outer = begin();
        end(begin(), "inner", Name::Text("a"));
        std::thread::Builder::new()
            .name("other".to_owned())
            .spawn(|| end(begin(), "inner", Name::Numbers(1, 2)))
            .unwrap()
            .join()
            .unwrap();
        end(outer, "outer", Name::Text("b"));
        let names = |trace: &Trace| {
            trace.spans.iter().map(|one| (one.thread, one.category, one.name)).collect::<Vec<_>>()
        };
        let wanted = |trace: &Trace| trace.threads.iter().position(|name| name == "other");
        // Other tests of this process may add spans, too.
        let trace = finish().unwrap();
        let other = wanted(&trace).unwrap();
        assert!(names(&trace).contains(&(other, "inner", Name::Numbers(1, 2))));
        assert!(names(&trace).iter().filter(|one| one.1 == "outer").count() == 1);
        assert!(trace.spans.iter().all(|one| trace.begin <= one.begin && one.begin <= one.end));
        start(2);
        (0..5).for_each(|_| end(begin(), "inner", Name::Text("c")));
        assert!(!is_on());
        let trace = finish().unwrap();
        assert!(trace.is_full && trace.spans.len() == 2 && finish().is_none());
    }
}
