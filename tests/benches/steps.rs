//! Overhead of plugins: a training step of the product with default callbacks and metrics, compared
//! with the same engine operations in a plain function and with a hand-written candle loop.
//!
//! All use one batch repeatedly, in one process. Product and engine alternate in short intervals,
//! so that a slower machine affects both; the printed overhead is the median of the ratios per
//! interval. `steps w1 w3` measures only these workloads.

use std::time::{Duration, Instant};

use fluxbay::learner::ports::DataBatch;
use fluxbay::session::{Session, Tensor};
use fluxbay_tests::scratch;

#[path = "../behaviours/run.rs"]
#[allow(dead_code)]
mod run;
#[allow(dead_code)]
mod workloads;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Intervals per side.
const ROUNDS: usize = 121;
/// Approximate length of an interval.
const STRETCH: Duration = Duration::from_millis(20);

const THREADS: usize = 2;

/// Images and labels in the MNIST files' format: `count` images of 28x28.
fn idx_files(dir: &std::path::Path, count: u32) {
    let image = |index: u32| (0..784).map(move |pixel| (index.wrapping_mul(37) + pixel * 11) as u8);
    let mut images: Vec<u8> =
        [0x803, count, 28, 28].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    images.extend((0..count).flat_map(image));
    let mut labels: Vec<u8> =
        [0x801, count].iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    labels.extend((0..count).map(|index| (index % 10) as u8));
    std::fs::write(dir.join("images"), images).expect("a scratch folder can be written");
    std::fs::write(dir.join("labels"), labels).expect("a scratch folder can be written");
}

/// Data, model and optimizer of a workload as sections of a run file, and its batch.
fn workload(name: &str, dir: &std::path::Path) -> (String, DataBatch) {
    let folder = dir.display();
    let idx = format!(
        "component = \"idx\"\nimages = \"{folder}/images\"\nlabels = \"{folder}/labels\"\n"
    );
    let adamw = "component = \"adamw\"\nlearning-rate = 1e-3\n";
    let (data, model, optimizer, batch) = match name {
        "w1" => (
            idx,
            "component = \"mlp\"\nhidden = [128]\n",
            "component = \"sgd\"\nlearning-rate = 0.01\n",
            images(64),
        ),
        "w2" => (idx, "component = \"mlp\"\nhidden = [1024, 1024]\n", adamw, images(256)),
        "w3" => (idx, "component = \"cnn\"\nchannels = [16, 32]\nhidden = []\n", adamw, images(64)),
        _ => {
            let letters: String = (0..65).map(|at| char::from(b'(' + at)).collect();
            std::fs::write(dir.join("text"), letters.repeat(200))
                .expect("a scratch folder can be written");
            let data = format!(
                "component = \"text\"\npath = \"{folder}/text\"\ncontext = 128\nstride = 128\nvalidation = 0.0\n"
            );
            (
                data,
                "component = \"gpt\"\nlayers = 4\nwidth = 128\nheads = 4\n",
                adamw,
                texts(16, 128),
            )
        }
    };
    let text = format!(
        "[run]\nseed = 1\nthreads = {THREADS}\n[data]\n{data}[loader]\nbatch-size = {}\n[model]\n{model}[loss]\ncomponent = \"cross-entropy\"\n\
         [optimizer]\n{optimizer}[[phase]]\ncomponent = \"training\"\n[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"accuracy\"]\n",
        batch.samples
    );
    (text, batch)
}

fn session(text: &str) -> Session {
    let composed =
        run::compose_whole(text).unwrap_or_else(|problems| panic!("{}", run::messages(&problems)));
    composed.open().unwrap_or_else(|problems| panic!("{}", run::messages(&problems)))
}

/// The data of [`workloads::engine`] as a batch of the product.
fn batch(x: Tensor, y: Tensor) -> DataBatch {
    DataBatch { samples: x.dims()[0], fields: vec![x, y], index: 0 }
}

fn images(size: usize) -> DataBatch {
    batch(workloads::images(&[size, 1, 28, 28]), workloads::labels(size, 10))
}

fn texts(size: usize, context: usize) -> DataBatch {
    let tokens =
        || workloads::labels(size * context, 65).reshape((size, context)).expect("sizes agree");
    batch(tokens(), tokens())
}

/// Median seconds per step of both sides and the median ratio per interval. Each function runs the
/// number of steps that it is given.
fn compare(mut first: impl FnMut(usize), mut second: impl FnMut(usize)) -> (f64, f64, f64) {
    let begin = Instant::now();
    let mut steps = 0;
    while begin.elapsed() < STRETCH || steps < 2 {
        first(1);
        second(1);
        steps += 1;
    }
    let stretch = (2.0 * f64::from(steps) * STRETCH.as_secs_f64() / begin.elapsed().as_secs_f64())
        .max(1.0) as usize;
    let time = |run: &mut dyn FnMut(usize)| {
        let begin = Instant::now();
        run(stretch);
        begin.elapsed().as_secs_f64() / stretch as f64
    };
    let mut all: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        let (a, b) = if round % 2 == 0 {
            let a = time(&mut first);
            (a, time(&mut second))
        } else {
            let b = time(&mut second);
            (time(&mut first), b)
        };
        [a, b, a / b].into_iter().zip(&mut all).for_each(|(value, values)| values.push(value));
    }
    let [a, b, ratio] = all.map(median);
    (a, b, ratio)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median seconds of a step, over about a second.
fn alone(mut step: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut times = Vec::new();
    while begin.elapsed() < Duration::from_secs(1) || times.len() < 5 {
        let begin = Instant::now();
        step();
        times.push(begin.elapsed().as_secs_f64());
    }
    median(times)
}

fn main() {
    workloads::keep_memory();
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|word| word.starts_with('w')).collect();
    for ((name, make), (_, candle)) in
        workloads::engine::all(THREADS).into_iter().zip(workloads::candle::all())
    {
        if !wanted.is_empty() && !wanted.iter().any(|word| word == name) {
            continue;
        }
        let dir = scratch();
        idx_files(dir.path(), 1024);
        let (text, batch) = workload(name, dir.path());
        let (session, mut engine) = (session(&text), make());
        let product = |steps| {
            session.run_steps(0, std::iter::repeat_n(&batch, steps)).expect("the steps are sound")
        };
        let (product, engine, ratio) = compare(product, |steps| (0..steps).for_each(|_| engine()));
        let candle = alone(candle());
        println!(
            "{name}: product {:.3} ms, engine alone {:.3} ms, overhead {:+.1} %; candle {:.3} ms, {:.1} times the product",
            product * 1e3,
            engine * 1e3,
            (ratio - 1.0) * 1e2,
            candle * 1e3,
            candle / product,
        );
    }
}
