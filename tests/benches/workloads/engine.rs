//! The workloads as a fixed loop over the engine: the kernels of a run of the product, without
//! plugins, events and records.

use candle_core::{DType, Device, Tensor};
use fluxbay::tensor::{Engine, EngineOptions, Init, Kind};
use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::{activation, op};

use super::{Workload, images, labels};

/// An engine with a model, optimizer state, and the tensor handles to release after a step.
struct Trainer {
    engine: Engine,
    parameters: Vec<Handle>,
    moments: Vec<(Handle, Handle)>,
    scratch: Vec<Handle>,
    step: i64,
}

impl Trainer {
    fn new(threads: usize) -> Self {
        let mut engine =
            Engine::new(EngineOptions { seed: 1, threads, ..EngineOptions::default() }).unwrap();
        engine.model("net");
        Self { engine, parameters: Vec::new(), moments: Vec::new(), scratch: Vec::new(), step: 0 }
    }

    fn parameter(&mut self, shape: &[usize], bound: f64) -> Handle {
        let path = format!("p{:03}", self.parameters.len());
        let init = if bound == 0.0 {
            Init::Constant(1.0)
        } else {
            Init::Uniform { low: -bound, high: bound }
        };
        let handle = self.engine.parameter(0, &path, shape, init, Kind::Trainable).unwrap();
        let zeros = || Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let moments = (self.engine.insert(zeros()).unwrap(), self.engine.insert(zeros()).unwrap());
        self.parameters.push(handle);
        self.moments.push(moments);
        handle
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> [Handle; 2] {
        let bound = 1.0 / (inputs as f64).sqrt();
        [self.parameter(&[outputs, inputs], bound), self.parameter(&[outputs], bound)]
    }

    fn apply(&mut self, code: u32, inputs: &[Handle], ints: &[i64], floats: &[f64]) -> Handle {
        let output = self.engine.apply1(code, inputs, ints, floats).unwrap();
        self.scratch.push(output);
        output
    }

    /// A convolution without bias and its batch normalisation.
    fn layer(&mut self, inputs: usize, outputs: usize, kernel: usize, stride: i64) -> Layer {
        let bound = 1.0 / ((inputs * kernel * kernel) as f64).sqrt();
        let weights = self.parameter(&[outputs, inputs, kernel, kernel], bound);
        let norm = [self.parameter(&[outputs], 0.0), self.parameter(&[outputs], 0.01)];
        let running = [0.0_f32, 1.0].map(|value| {
            let tensor = Tensor::full(value, outputs, &Device::Cpu).unwrap();
            self.engine.insert(tensor).unwrap()
        });
        Layer { weights, norm, running, stride, padding: kernel as i64 / 2 }
    }

    fn run(&mut self, layer: &Layer, x: Handle) -> Handle {
        let Layer { weights, norm: [w, b], running: [mean, variance], stride, padding } = *layer;
        let conv = [stride, stride, padding, padding];
        let h = self.apply(op::CONV2D, &[x, weights], &conv, &[]);
        self.apply(op::BATCH_NORM, &[h, w, b, mean, variance], &[1], &[])
    }

    fn update(&mut self, loss: Handle, rule: Rule) {
        self.step += 1;
        self.engine.backward(loss, None).unwrap();
        let mut none = Vec::new();
        for index in 0..self.parameters.len() {
            let gradient = self.engine.gradient(index).unwrap().unwrap();
            let (parameter, (m, v)) = (self.parameters[index], self.moments[index]);
            let (code, inputs, floats): (_, &[Handle], &[f64]) = match rule {
                Rule::Sgd => (op::SGD_UPDATE, &[parameter, gradient], &[0.01]),
                Rule::Momentum => (op::SGD_UPDATE, &[parameter, gradient, m], &[0.01, 0.9]),
                Rule::AdamW => (op::ADAMW_UPDATE, &[parameter, gradient, m, v], &[1e-3]),
            };
            self.engine.apply(code, inputs, &[self.step], floats, &mut none).unwrap();
            self.engine.release(gradient).unwrap();
        }
        self.engine.clear_gradients(None);
        self.engine.clear_tape();
        for handle in self.scratch.drain(..) {
            self.engine.release(handle).unwrap();
        }
    }
}

/// How parameters are updated.
#[derive(Clone, Copy)]
enum Rule {
    Sgd,
    Momentum,
    AdamW,
}

struct Layer {
    weights: Handle,
    norm: [Handle; 2],
    running: [Handle; 2],
    stride: i64,
    padding: i64,
}

/// Workloads W1 to W6.
pub fn all(threads: usize) -> Vec<Workload> {
    vec![
        ("w1", Box::new(move || mlp(threads, &[784, 128, 10], 64, Rule::Sgd))),
        ("w2", Box::new(move || mlp(threads, &[784, 1024, 1024, 10], 256, Rule::AdamW))),
        ("w3", Box::new(move || cnn(threads))),
        ("w4", Box::new(move || gpt(threads, [4, 128, 4, 128]))),
        ("w5", Box::new(move || resnet(threads))),
        ("w6", Box::new(move || gpt(threads, [6, 384, 6, 256]))),
    ]
}

fn mlp(threads: usize, widths: &[usize], batch: usize, rule: Rule) -> Box<dyn FnMut()> {
    let mut trainer = Trainer::new(threads);
    let layers: Vec<[Handle; 2]> =
        widths.windows(2).map(|pair| trainer.linear(pair[0], pair[1])).collect();
    let x = trainer.engine.insert(images(&[batch, widths[0]])).unwrap();
    let y = trainer.engine.insert(labels(batch, 10)).unwrap();
    Box::new(move || {
        let mut h = x;
        for (at, [w, b]) in layers.iter().enumerate() {
            let act = if at + 1 < layers.len() { activation::RELU } else { activation::NONE };
            h = trainer.apply(op::LINEAR, &[h, *w, *b], &[act], &[]);
        }
        let loss = trainer.apply(op::CROSS_ENTROPY, &[h, y], &[], &[]);
        trainer.update(loss, rule);
    })
}

fn cnn(threads: usize) -> Box<dyn FnMut()> {
    let mut trainer = Trainer::new(threads);
    let (w1, b1) = (trainer.parameter(&[16, 1, 3, 3], 0.3), trainer.parameter(&[16], 0.3));
    let (w2, b2) = (trainer.parameter(&[32, 16, 3, 3], 0.08), trainer.parameter(&[32], 0.08));
    let [w3, b3] = trainer.linear(32 * 5 * 5, 10);
    let x = trainer.engine.insert(images(&[64, 1, 28, 28])).unwrap();
    let y = trainer.engine.insert(labels(64, 10)).unwrap();
    Box::new(move || {
        let conv = [1, 1, 0, 0, 1, 1, 1, activation::RELU];
        let h = trainer.apply(op::CONV2D, &[x, w1, b1], &conv, &[]);
        let h = trainer.apply(op::MAX_POOL2D, &[h], &[2, 2], &[]);
        let h = trainer.apply(op::CONV2D, &[h, w2, b2], &conv, &[]);
        let h = trainer.apply(op::MAX_POOL2D, &[h], &[2, 2], &[]);
        let h = trainer.apply(op::RESHAPE, &[h], &[64, -1], &[]);
        let h = trainer.apply(op::LINEAR, &[h, w3, b3], &[], &[]);
        let loss = trainer.apply(op::CROSS_ENTROPY, &[h, y], &[], &[]);
        trainer.update(loss, Rule::AdamW);
    })
}

/// ResNet-18 with a stem of 3 by 3 and without its pooling.
fn resnet(threads: usize) -> Box<dyn FnMut()> {
    let mut trainer = Trainer::new(threads);
    let stem = trainer.layer(1, 64, 3, 1);
    let mut blocks = Vec::new();
    let mut inputs = 64;
    for (stage, outputs) in [64, 128, 256, 512].into_iter().enumerate() {
        for index in 0..2 {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let first = trainer.layer(inputs, outputs, 3, stride);
            let second = trainer.layer(outputs, outputs, 3, 1);
            let shortcut = (stride > 1).then(|| trainer.layer(inputs, outputs, 1, stride));
            blocks.push((first, second, shortcut));
            inputs = outputs;
        }
    }
    let [w, b] = trainer.linear(512, 10);
    let x = trainer.engine.insert(images(&[64, 1, 28, 28])).unwrap();
    let y = trainer.engine.insert(labels(64, 10)).unwrap();
    Box::new(move || {
        let t = &mut trainer;
        let h = t.run(&stem, x);
        let mut h = t.apply(op::RELU, &[h], &[], &[]);
        for (first, second, shortcut) in &blocks {
            let branch = t.run(first, h);
            let branch = t.apply(op::RELU, &[branch], &[], &[]);
            let branch = t.run(second, branch);
            let same = shortcut.as_ref().map_or(h, |layer| t.run(layer, h));
            let sum = t.apply(op::ADD, &[branch, same], &[], &[]);
            h = t.apply(op::RELU, &[sum], &[], &[]);
        }
        let h = t.apply(op::MEAN, &[h], &[0, 2, 3], &[]);
        let logits = t.apply(op::LINEAR, &[h, w, b], &[], &[]);
        let loss = t.apply(op::CROSS_ENTROPY, &[logits, y], &[], &[]);
        t.update(loss, Rule::Momentum);
    })
}

/// Layers, width, heads and context; vocabulary 65, batch 16.
fn gpt(threads: usize, [layers, width, heads, context]: [usize; 4]) -> Box<dyn FnMut()> {
    let (vocabulary, batch) = (65, 16);
    let mut trainer = Trainer::new(threads);
    let tokens = trainer.parameter(&[vocabulary, width], 0.05);
    let places = trainer.parameter(&[context, width], 0.05);
    let blocks: Vec<[Handle; 12]> = (0..layers)
        .map(|_| {
            let norm = |trainer: &mut Trainer| {
                [trainer.parameter(&[width], 0.0), trainer.parameter(&[width], 0.01)]
            };
            let ([n1, c1], [n2, c2]) = (norm(&mut trainer), norm(&mut trainer));
            let ([qw, qb], [pw, pb]) =
                (trainer.linear(width, 3 * width), trainer.linear(width, width));
            let ([uw, ub], [dw, db]) =
                (trainer.linear(width, 4 * width), trainer.linear(4 * width, width));
            [n1, c1, qw, qb, pw, pb, n2, c2, uw, ub, dw, db]
        })
        .collect();
    let (nf, cf) = (trainer.parameter(&[width], 0.0), trainer.parameter(&[width], 0.01));
    let hw = trainer.parameter(&[vocabulary, width], 0.08);
    let x = trainer
        .engine
        .insert(labels(batch * context, vocabulary as u32).reshape((batch, context)).unwrap())
        .unwrap();
    let y = trainer
        .engine
        .insert(labels(batch * context, vocabulary as u32).reshape((batch, context)).unwrap())
        .unwrap();
    Box::new(move || {
        let t = &mut trainer;
        let h = t.apply(op::EMBEDDING, &[tokens, x], &[], &[]);
        let mut h = t.apply(op::ADD, &[h, places], &[], &[]);
        for [n1, c1, qw, qb, pw, pb, n2, c2, uw, ub, dw, db] in &blocks {
            let a = t.apply(op::LAYER_NORM, &[h, *n1, *c1], &[], &[]);
            let a = t.apply(op::LINEAR, &[a, *qw, *qb], &[], &[]);
            let a = t.apply(op::ATTENTION, &[a], &[heads as i64, 1], &[]);
            let a = t.apply(op::LINEAR, &[a, *pw, *pb], &[], &[]);
            h = t.apply(op::ADD, &[h, a], &[], &[]);
            let m = t.apply(op::LAYER_NORM, &[h, *n2, *c2], &[], &[]);
            let m = t.apply(op::LINEAR, &[m, *uw, *ub], &[activation::GELU], &[]);
            let m = t.apply(op::LINEAR, &[m, *dw, *db], &[], &[]);
            h = t.apply(op::ADD, &[h, m], &[], &[]);
        }
        let h = t.apply(op::LAYER_NORM, &[h, nf, cf], &[], &[]);
        let logits = t.apply(op::LINEAR, &[h, hw], &[], &[]);
        let loss = t.apply(op::CROSS_ENTROPY, &[logits, y], &[], &[]);
        t.update(loss, Rule::AdamW);
    })
}

/// Peak rate of square matrix products, in FLOP per second.
#[allow(dead_code)]
pub fn sgemm(threads: usize) -> f64 {
    let mut trainer = Trainer::new(threads);
    let mut best = 0.0_f64;
    for size in [512, 1024, 2048] {
        let (a, b) = (
            trainer.engine.insert(images(&[size, size])).unwrap(),
            trainer.engine.insert(images(&[size, size])).unwrap(),
        );
        for _ in 0..6 {
            let begin = std::time::Instant::now();
            let out = trainer.engine.apply1(op::MATMUL, &[a, b], &[], &[]).unwrap();
            best = best.max(2.0 * (size as f64).powi(3) / begin.elapsed().as_secs_f64());
            trainer.engine.release(out).unwrap();
        }
    }
    best
}
