//! Time from the command to the first event of the digits run, and time of `list` with a warm
//! cache.
//!
//! Aims: 50 ms and 20 ms. `cargo bench -p fluxbay-tests --bench startup`.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, criterion_group, criterion_main};
use fluxbay_tests::{fluxbay, plugin_dir, scratch, succeed};
use serde_json::Value;

/// Seconds from the start of the process to fit-begin in its record, by the same clock.
fn to_the_first_event(bench: &mut Criterion) {
    let (dir, plugins) = (scratch(), plugin_dir());
    let mut number = 0;
    let mut once = || {
        number += 1;
        let folder = format!("run-{number}");
        let begin = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let arguments = [
            "train",
            "--limit-batches",
            "1",
            "--set",
            "run.epochs=1",
            "--set",
            "checkpoints.every-epochs=0",
            "--run-dir",
            &folder,
        ];
        succeed(fluxbay(dir.path(), plugins.path()).args(arguments));
        let events = fs::read_to_string(dir.path().join(&folder).join("events.jsonl"))
            .expect("the run keeps its events");
        let first: Value =
            serde_json::from_str(events.lines().next().expect("a first event")).expect("JSON");
        assert_eq!(first["event"], "fit-begin");
        Duration::from_secs_f64(first["time"].as_f64().expect("a time") - begin)
    };
    // The first start fills the cache and is not counted.
    once();
    bench.bench_function("startup/train-digits-to-first-event", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| once()).sum())
    });
}

fn listing(bench: &mut Criterion) {
    let (dir, plugins) = (scratch(), plugin_dir());
    let once = || {
        let begin = Instant::now();
        succeed(fluxbay(dir.path(), plugins.path()).arg("list"));
        begin.elapsed()
    };
    once();
    bench.bench_function("startup/list-warm", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| once()).sum())
    });
}

criterion_group! {
    name = startup;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    targets = to_the_first_event, listing
}
criterion_main!(startup);
