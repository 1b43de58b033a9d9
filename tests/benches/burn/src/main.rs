//! `burn_loop WORKLOAD STEPS`: the workloads W1 to W4 in burn with its flex backend, as its users
//! would write them. Prints the median time of a step as JSON, like the other loops of
//! `compare.py`.

use std::time::Instant;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, SgdConfig};
use burn::prelude::*;
use burn::tensor::activation::{gelu_approximate, relu, softmax};
use burn::tensor::Distribution;

#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn new(widths: &[usize], device: &Device) -> Self {
        Self { layers: widths.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device)).collect() }
    }

    fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            if index + 1 < self.layers.len() {
                x = relu(x);
            }
        }
        x
    }
}

#[derive(Module, Debug)]
struct Cnn {
    first: Conv2d,
    second: Conv2d,
    pool: MaxPool2d,
    output: Linear,
}

impl Cnn {
    fn new(device: &Device) -> Self {
        Self {
            first: Conv2dConfig::new([1, 16], [3, 3]).init(device),
            second: Conv2dConfig::new([16, 32], [3, 3]).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            output: LinearConfig::new(800, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.first.forward(x)));
        let x = self.pool.forward(relu(self.second.forward(x)));
        self.output.forward(x.flatten(1, 3))
    }
}

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    mix: Linear,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
}

#[derive(Module, Debug)]
struct Gpt {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    output: Linear,
}

const WIDTH: usize = 128;
const HEADS: usize = 4;
const TIME: usize = 128;

impl Gpt {
    fn new(device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let norm = || LayerNormConfig::new(WIDTH).init(device);
        Self {
            tokens: EmbeddingConfig::new(65, WIDTH).init(device),
            positions: EmbeddingConfig::new(TIME, WIDTH).init(device),
            blocks: (0..4)
                .map(|_| Block {
                    norm1: norm(),
                    qkv: linear(WIDTH, 3 * WIDTH),
                    mix: linear(WIDTH, WIDTH),
                    norm2: norm(),
                    up: linear(WIDTH, 4 * WIDTH),
                    down: linear(4 * WIDTH, WIDTH),
                })
                .collect(),
            norm: norm(),
            output: LinearConfig::new(WIDTH, 65).with_bias(false).init(device),
        }
    }

    fn forward(&self, x: Tensor<2, Int>, mask: &Tensor<4, Bool>) -> Tensor<2> {
        let [batch, time] = x.dims();
        let places = Tensor::<1, Int>::arange(0..time as i64, &x.device()).unsqueeze::<2>();
        let mut h = self.tokens.forward(x) + self.positions.forward(places);
        for block in &self.blocks {
            let packed = block.qkv.forward(block.norm1.forward(h.clone()));
            let part = |which: usize| {
                let part = packed.clone().slice([0..batch, 0..time, which * WIDTH..(which + 1) * WIDTH]);
                part.reshape([batch, time, HEADS, WIDTH / HEADS]).swap_dims(1, 2)
            };
            let scores = part(0).matmul(part(1).swap_dims(2, 3)) / ((WIDTH / HEADS) as f64).sqrt();
            let weights = softmax(scores.mask_fill(mask.clone().expand([batch, HEADS, time, time]), f32::NEG_INFINITY), 3);
            let mixed = weights.matmul(part(2)).swap_dims(1, 2).reshape([batch, time, WIDTH]);
            h = h + block.mix.forward(mixed);
            h = h.clone() + block.down.forward(gelu_approximate(block.up.forward(block.norm2.forward(h))));
        }
        self.output.forward(self.norm.forward(h)).reshape([batch * time, 65])
    }
}

/// Runs `steps` training steps and returns the seconds of each.
macro_rules! train {
    ($model:expr, $optimizer:expr, $rate:expr, $targets:expr, $steps:expr, |$network:ident| $forward:expr) => {{
        let mut model = $model;
        let mut optimizer = $optimizer.init();
        let loss = CrossEntropyLossConfig::new().init(&$targets.device());
        let mut times = Vec::new();
        for _ in 0..$steps {
            let begin = Instant::now();
            let logits = {
                let $network = &model;
                $forward
            };
            let gradients = loss.forward(logits, $targets.clone()).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            model = optimizer.step($rate, model, gradients);
            times.push(begin.elapsed().as_secs_f64());
        }
        times
    }};
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let steps: usize = arguments.next().and_then(|steps| steps.parse().ok()).unwrap_or(10);
    let device = Device::flex().autodiff();
    let labels = |count: usize, classes: u64| {
        let labels: Vec<i32> = (0..count as u64).map(|at| (at.wrapping_mul(2_654_435_761) % classes) as i32).collect();
        Tensor::<1, Int>::from_ints(&labels[..], &device)
    };
    let mlp = |widths: &[usize]| Mlp::new(widths, &device);
    let images = |rows: usize| Tensor::<2>::random([rows, 784], Distribution::Default, &device);
    let mut times = match &name[..] {
        "w1" => {
            let x = images(64);
            train!(mlp(&[784, 128, 10]), SgdConfig::new(), 0.01, labels(64, 10), steps, |network| network.forward(x.clone()))
        }
        "w2" => {
            let x = images(256);
            let model = mlp(&[784, 1024, 1024, 10]);
            train!(model, AdamWConfig::new(), 1e-3, labels(256, 10), steps, |network| network.forward(x.clone()))
        }
        "w3" => {
            let x = images(64).reshape([64, 1, 28, 28]);
            train!(Cnn::new(&device), AdamWConfig::new(), 1e-3, labels(64, 10), steps, |network| network.forward(x.clone()))
        }
        "w4" => {
            let x = labels(16 * TIME, 65).reshape([16, TIME]);
            let mask = Tensor::<2, Bool>::tril_mask([TIME, TIME], 0, &device).reshape([1, 1, TIME, TIME]);
            let y = labels(16 * TIME, 65);
            train!(Gpt::new(&device), AdamWConfig::new(), 1e-3, y, steps, |network| network.forward(x.clone(), &mask))
        }
        _ => {
            eprintln!("usage: burn_loop w1|w2|w3|w4 STEPS");
            std::process::exit(2);
        }
    };
    let mut rest = times.split_off(steps / 10);
    rest.sort_by(f64::total_cmp);
    println!("{{\"seconds\": {}, \"steps\": {steps}}}", rest[rest.len() / 2]);
}
