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

    fn update(&mut self, loss: Handle, adamw: bool) {
        self.step += 1;
        self.engine.backward(loss, None).unwrap();
        let mut none = Vec::new();
        for index in 0..self.parameters.len() {
            let gradient = self.engine.gradient(index).unwrap().unwrap();
            let (parameter, (m, v)) = (self.parameters[index], self.moments[index]);
            if adamw {
                self.engine
                    .apply(
                        op::ADAMW_UPDATE,
                        &[parameter, gradient, m, v],
                        &[self.step],
                        &[1e-3],
                        &mut none,
                    )
                    .unwrap();
            } else {
                self.engine
                    .apply(op::SGD_UPDATE, &[parameter, gradient], &[self.step], &[0.01], &mut none)
                    .unwrap();
            }
            self.engine.release(gradient).unwrap();
        }
        self.engine.clear_gradients(None);
        self.engine.clear_tape();
        for handle in self.scratch.drain(..) {
            self.engine.release(handle).unwrap();
        }
    }
}

/// Workloads W1 to W4.
pub fn all(threads: usize) -> Vec<Workload> {
    vec![
        ("w1", Box::new(move || mlp(threads, &[784, 128, 10], 64, false))),
        ("w2", Box::new(move || mlp(threads, &[784, 1024, 1024, 10], 256, true))),
        ("w3", Box::new(move || cnn(threads))),
        ("w4", Box::new(move || gpt(threads))),
    ]
}

fn mlp(threads: usize, widths: &[usize], batch: usize, adamw: bool) -> Box<dyn FnMut()> {
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
        trainer.update(loss, adamw);
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
        trainer.update(loss, true);
    })
}

fn gpt(threads: usize) -> Box<dyn FnMut()> {
    let (layers, width, heads, context, vocabulary, batch) = (4, 128, 4, 128, 65, 16);
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
        t.update(loss, true);
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
