//! Dispatching an event allocates no memory in the host, for any number of callbacks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[path = "behaviours/data.rs"]
mod data;
#[path = "behaviours/run.rs"]
#[allow(dead_code)]
mod run;

/// The system allocator with a counter per thread, because other threads allocate concurrently.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Number of allocations in a step that dispatches `times` events to `listeners` callbacks.
fn allocations(times: u64, listeners: usize) -> u64 {
    let mut text =
        format!("{}[[phase]]\ncomponent = \"announcer\"\ntimes = {times}\n", run::SCALAR);
    for listener in 0..listeners {
        text += &format!("[[callback]]\ncomponent = \"idle\"\nid = \"idle-{listener}\"\n");
    }
    let session = run::session(&text);
    session.run_step(0, data::batch(0)).unwrap();
    let batch = data::batch(1);
    let before = COUNT.get();
    session.run_step(0, batch).unwrap();
    COUNT.get() - before
}

#[test]
fn dispatch_allocates_nothing() {
    let none = allocations(0, 10);
    assert_eq!(allocations(1000, 10), none, "1000 events to ten callbacks cost what none cost");
}
