//! What an event costs: through the table of a loaded plugin, beside the same callback linked statically; and what a read
//! and a write of the state tree cost from within a plugin.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};

#[path = "../behaviours/data.rs"]
#[allow(dead_code)]
mod data;
#[path = "../behaviours/run.rs"]
#[allow(dead_code)]
mod run;

/// Time of `iterations` events, sent by a phase in one step, to `listeners` callbacks.
fn dispatch(iterations: u64, listeners: usize) -> Duration {
    let mut text = format!("{}[[phase]]\ncomponent = \"announcer\"\ntimes = {iterations}\n", run::SCALAR);
    for listener in 0..listeners {
        text += &format!("[[callback]]\ncomponent = \"idle\"\nid = \"idle-{listener}\"\n");
    }
    time_of_step(&text)
}

fn time_of_step(text: &str) -> Duration {
    let session = run::session(text);
    let batch = data::batch(0);
    let begin = Instant::now();
    session.run_step(0, batch).unwrap();
    begin.elapsed()
}

/// Time of a step whose callback reads or writes a number this often.
fn touch(what: &str, iterations: u64) -> Duration {
    let callback = format!("[[callback]]\ncomponent = \"toucher\"\n{what} = {iterations}\n");
    time_of_step(&format!("{}[[phase]]\ncomponent = \"bare\"\n{callback}", run::SCALAR))
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
        criterion.bench_function(&format!("dispatch to {listeners} callbacks of a plugin"), |bencher| {
            bencher.iter_custom(|iterations| dispatch(iterations, listeners));
        });
        criterion.bench_function(&format!("call {listeners} linked callbacks"), |bencher| {
            let mut callbacks: Vec<Box<dyn Linked>> = (0..listeners).map(|_| Box::new(Idle) as Box<dyn Linked>).collect();
            bencher.iter(|| callbacks.iter_mut().try_for_each(|callback| callback.on(black_box(70))));
        });
    }
    for what in ["gets", "sets"] {
        criterion.bench_function(&format!("state {what} from a plugin"), |bencher| {
            bencher.iter_custom(|iterations| touch(what, iterations));
        });
    }
}

criterion_group! { name = all; config = Criterion::default().sample_size(20); targets = benches }
criterion_main!(all);
