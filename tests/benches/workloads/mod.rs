//! Training steps of six models, each as a function that runs one step.
//!
//! W1: MLP 784-128-10, ReLU, SGD, batch 64. W2: MLP 784-1024-1024-10, AdamW, batch 256. W3: two
//! convolutions with pooling, AdamW, batch 64 of 28x28. W4: GPT of 4 layers, width 128, 4 heads,
//! context 128, vocabulary 65, AdamW, batch 16. W5: ResNet-18 with a stem of 3x3, SGD with momentum,
//! batch 64 of 28x28. W6: GPT of 6 layers, width 384, 6 heads, context 256, AdamW, batch 16.

use std::time::Instant;

use candle_core::{Device, Tensor};

pub mod candle;
pub mod engine;

/// A name and the function that creates its training step.
pub type Workload = (&'static str, Box<dyn Fn() -> Box<dyn FnMut()>>);

/// Configures the allocator to keep freed memory, as the binary does.
#[allow(dead_code)]
pub fn keep_memory() {
    // SAFETY: sets an integer option of the allocator, `mi_option_purge_delay`, before another
    // thread exists.
    unsafe { libmimalloc_sys::mi_option_set(15, -1) };
}

pub fn images(shape: &[usize]) -> Tensor {
    Tensor::rand(0.0_f32, 1.0, shape, &Device::Cpu).unwrap()
}

pub fn labels(count: usize, classes: u32) -> Tensor {
    Tensor::from_iter(
        (0..count as u32).map(|at| at.wrapping_mul(2_654_435_761) % classes),
        &Device::Cpu,
    )
    .unwrap()
}

/// Runs the workload and the number of steps given on the command line; prints the median seconds
/// per step as JSON.
#[allow(dead_code)]
pub fn measure(workloads: Vec<Workload>) {
    let mut arguments = std::env::args().skip(1);
    let (name, steps) = (
        arguments.next().unwrap_or_default(),
        arguments.next().and_then(|steps| steps.parse().ok()),
    );
    let Some((Some((_, make)), steps)) =
        steps.map(|steps: usize| (workloads.iter().find(|(known, _)| **known == name), steps))
    else {
        eprintln!(
            "usage: WORKLOAD STEPS, with a workload of {:?}",
            workloads.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        );
        std::process::exit(2);
    };
    let mut step = make();
    let mut times: Vec<f64> = (0..steps)
        .map(|_| {
            let begin = Instant::now();
            step();
            begin.elapsed().as_secs_f64()
        })
        .skip(steps / 10)
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{{\"seconds\": {}, \"steps\": {steps}}}", times[times.len() / 2]);
}
