//! Cost of an event through the table of a loaded plugin, compared with the same callback linked
//! statically, and cost of reading and writing the state tree from a plugin.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use fluxbay::breadcrumb::{self, Activity};
use fluxbay::session::Session;

#[path = "../behaviours/data.rs"]
#[allow(dead_code)]
mod data;
#[path = "../behaviours/run.rs"]
#[allow(dead_code)]
mod run;

/// Events, reads or writes in one step of a session.
const TIMES: u64 = 10_000;

/// Time of `iterations` operations; one step of the session does [`TIMES`] of them.
fn time(session: &Session, iterations: u64) -> Duration {
    let rounds = iterations.div_ceil(TIMES);
    let begin = Instant::now();
    for _ in 0..rounds {
        session.run_step(0, data::batch(0)).unwrap();
    }
    begin.elapsed().mul_f64(iterations as f64 / (rounds * TIMES) as f64)
}

/// A session whose phase sends events to `listeners` callbacks.
fn dispatching(listeners: usize) -> Session {
    let mut text =
        format!("{}[[phase]]\ncomponent = \"announcer\"\ntimes = {TIMES}\n", run::SCALAR);
    for listener in 0..listeners {
        text += &format!("[[callback]]\ncomponent = \"idle\"\nid = \"idle-{listener}\"\n");
    }
    run::session(&text)
}

/// A session whose callback `gets` or `sets` a number.
fn touching(what: &str) -> Session {
    let callback = format!("[[callback]]\ncomponent = \"toucher\"\n{what} = {TIMES}\n");
    run::session(&format!("{}[[phase]]\ncomponent = \"bare\"\n{callback}", run::SCALAR))
}

trait Linked {
    fn on(&mut self, event: u32) -> Result<(), String>;
}

struct Idle;

impl Linked for Idle {
    #[inline(never)]
    fn on(&mut self, _: u32) -> Result<(), String> {
        Ok(())
    }
}

fn benches(criterion: &mut Criterion) {
    for listeners in [0, 1, 10] {
        let session = dispatching(listeners);
        criterion.bench_function(
            &format!("dispatch to {listeners} callbacks of a plugin"),
            |bencher| {
                bencher.iter_custom(|iterations| time(&session, iterations));
            },
        );
        criterion.bench_function(&format!("call {listeners} linked callbacks"), |bencher| {
            let mut callbacks: Vec<Box<dyn Linked>> =
                (0..listeners).map(|_| Box::new(Idle) as Box<dyn Linked>).collect();
            bencher
                .iter(|| callbacks.iter_mut().try_for_each(|callback| callback.on(black_box(70))));
        });
    }
    // Part of the dispatch above: the breadcrumb that a crash report reads.
    for listeners in [1, 10] {
        criterion.bench_function(
            &format!("breadcrumbs of an event to {listeners} callbacks"),
            |bencher| {
                bencher.iter(|| {
                    let guard = breadcrumb::begin();
                    (0..listeners).for_each(|listener| {
                        guard.set(black_box(listener), Activity::Event(black_box(70)))
                    });
                    guard.end();
                });
            },
        );
    }
    for what in ["gets", "sets"] {
        let session = touching(what);
        criterion.bench_function(&format!("state {what} from a plugin"), |bencher| {
            bencher.iter_custom(|iterations| time(&session, iterations));
        });
    }
}

criterion_group! { name = all; config = Criterion::default().sample_size(20); targets = benches }
criterion_main!(all);
