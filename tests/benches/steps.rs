//! What it costs that everything is a plugin: a training step of the whole product, with its default callbacks, beside the
//! same operations of the same engine in a plain function, and beside a hand-written candle loop.
//!
//! All three get the same batch again and again. The difference of the first two is the loop's, its events', its callbacks'
//! and its plugins'; the third is what one would write without fluxbay.

use criterion::{Criterion, criterion_group, criterion_main};
use fluxbay::learner::ports::DataBatch;
use fluxbay::session::{Device, Session, Tensor};
use fluxbay_tests::scratch;

#[path = "../behaviours/run.rs"]
#[allow(dead_code)]
mod run;
#[allow(dead_code)]
mod workloads;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THREADS: usize = 2;

/// Images and labels in the MNIST files' format: `count` images of 28x28.
fn idx_files(dir: &std::path::Path, count: u32) {
    let image = |index: u32| (0..784).map(move |pixel| (index.wrapping_mul(37) + pixel * 11) as u8);
    let mut images: Vec<u8> = [0x803, count, 28, 28].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    images.extend((0..count).flat_map(image));
    let mut labels: Vec<u8> = [0x801, count].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    labels.extend((0..count).map(|index| (index % 10) as u8));
    std::fs::write(dir.join("images"), images).expect("a scratch folder can be written");
    std::fs::write(dir.join("labels"), labels).expect("a scratch folder can be written");
}

/// A session of a model, with the callbacks that every run has, and metrics.
fn session(model: &str, batch_size: usize, optimizer: &str) -> Session {
    let dir = scratch();
    idx_files(dir.path(), 1024);
    let text = format!(
        r#"
[run]
seed = 1
threads = {THREADS}
[data]
component = "idx"
images = "{folder}/images"
labels = "{folder}/labels"
[loader]
batch-size = {batch_size}
[model]
{model}
[loss]
component = "cross-entropy"
[optimizer]
{optimizer}
[[phase]]
component = "training"
[[callback]]
component = "metrics"
metrics = ["accuracy"]
"#,
        folder = dir.path().display()
    );
    let composed = run::compose_whole(&text).unwrap_or_else(|problems| panic!("{}", run::messages(&problems)));
    composed.open().unwrap_or_else(|problems| panic!("{}", run::messages(&problems)))
}

fn batch(size: usize) -> DataBatch {
    let images: Vec<f32> = (0..size * 784).map(|at| (at * 31 % 256) as f32 / 255.0).collect();
    let labels: Vec<u32> = (0..size as u32).map(|at| at % 10).collect();
    let images = Tensor::from_vec(images, (size, 1, 28, 28), &Device::Cpu).expect("sizes agree");
    let labels = Tensor::from_vec(labels, size, &Device::Cpu).expect("sizes agree");
    DataBatch { fields: vec![images, labels], samples: size, index: 0 }
}

fn steps(criterion: &mut Criterion) {
    let product = [
        ("w1", "component = \"mlp\"\nhidden = [128]", 64, "component = \"sgd\"\nlearning-rate = 0.01\nmomentum = 0.0"),
        ("w2", "component = \"mlp\"\nhidden = [1024, 1024]", 256, "component = \"adamw\"\nlearning-rate = 1e-3"),
    ];
    let mut engine = workloads::engine::all(THREADS);
    let mut candle = workloads::candle::all();
    for (name, model, size, optimizer) in product {
        let mut group = criterion.benchmark_group(name);
        let session = session(model, size, optimizer);
        let batch = batch(size);
        group.bench_function("product", |bencher| {
            bencher.iter(|| session.run_step(0, batch.clone()).expect("the step is sound"));
        });
        drop(session);
        for (kind, peers) in [("engine", &mut engine), ("candle", &mut candle)] {
            let at = peers.iter().position(|(known, _)| known.starts_with(name)).expect("the workload is there");
            let mut step = peers.remove(at).1();
            group.bench_function(kind, |bencher| bencher.iter(&mut step));
        }
        group.finish();
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(5));
    targets = steps
}
criterion_main!(all);
