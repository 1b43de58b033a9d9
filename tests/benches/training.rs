//! Criterion benchmarks of whole training steps: the engine's against plain candle's, with the allocator of the `fluxbay` binary.

use criterion::{Criterion, criterion_group, criterion_main};

mod workloads;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn training(criterion: &mut Criterion) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for (from, workloads) in [("engine", workloads::engine::all(threads)), ("candle", workloads::candle::all())] {
        for (name, make) in workloads {
            let mut step = make();
            criterion.bench_function(&format!("{name}/{from}"), |bencher| bencher.iter(&mut step));
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(5));
    targets = training
}
criterion_main!(benches);
