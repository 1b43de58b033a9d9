//! Training steps of four models, through the engine and through plain candle.
//!
//! W1: MLP 784-128-10, ReLU, SGD, batch 64. W2: MLP 784-1024-1024-10, AdamW, batch 256. W3: two convolutions with pooling,
//! AdamW, batch 64 of 28x28. W4: GPT of 4 layers, width 128, 4 heads, context 128, vocabulary 65, AdamW, batch 16.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, SGD};
use fluxbay::tensor::{Engine, EngineOptions, Init, Kind};
use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::{activation, op};

/// A name, and what makes its training step.
pub type Workload = (&'static str, Box<dyn Fn() -> Box<dyn FnMut()>>);

/// An engine with a model, its optimizer's state, and the handles of one step to be released.
struct Trainer {
    engine: Engine,
    parameters: Vec<Handle>,
    moments: Vec<(Handle, Handle)>,
    scratch: Vec<Handle>,
    step: i64,
}

impl Trainer {
    fn new(threads: usize) -> Self {
        let mut engine = Engine::new(EngineOptions { seed: 1, threads, ..EngineOptions::default() }).unwrap();
        engine.model("net");
        Self { engine, parameters: Vec::new(), moments: Vec::new(), scratch: Vec::new(), step: 0 }
    }

    fn parameter(&mut self, shape: &[usize], bound: f64) -> Handle {
        let path = format!("p{:03}", self.parameters.len());
        let init = if bound == 0.0 { Init::Constant(1.0) } else { Init::Uniform { low: -bound, high: bound } };
        let handle = self.engine.parameter(0, &path, shape, init, Kind::Trainable).unwrap();
        let zeros = || Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let moments = (self.engine.insert(zeros()), self.engine.insert(zeros()));
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
                self.engine.apply(op::ADAMW_UPDATE, &[parameter, gradient, m, v], &[self.step], &[1e-3], &mut none).unwrap();
            } else {
                self.engine.apply(op::SGD_UPDATE, &[parameter, gradient], &[self.step], &[0.01], &mut none).unwrap();
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

fn images(shape: &[usize]) -> Tensor {
    Tensor::rand(0.0_f32, 1.0, shape, &Device::Cpu).unwrap()
}

fn labels(count: usize, classes: u32) -> Tensor {
    Tensor::from_iter((0..count as u32).map(|at| at.wrapping_mul(2_654_435_761) % classes), &Device::Cpu).unwrap()
}

/// The four through the engine.
pub fn engine(threads: usize) -> Vec<Workload> {
    vec![
        ("w1/engine", Box::new(move || mlp(threads, &[784, 128, 10], 64, false))),
        ("w2/engine", Box::new(move || mlp(threads, &[784, 1024, 1024, 10], 256, true))),
        ("w3/engine", Box::new(move || cnn(threads))),
        ("w4/engine", Box::new(move || gpt(threads))),
    ]
}

fn mlp(threads: usize, widths: &[usize], batch: usize, adamw: bool) -> Box<dyn FnMut()> {
    let mut trainer = Trainer::new(threads);
    let layers: Vec<[Handle; 2]> = widths.windows(2).map(|pair| trainer.linear(pair[0], pair[1])).collect();
    let x = trainer.engine.insert(images(&[batch, widths[0]]));
    let y = trainer.engine.insert(labels(batch, 10));
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
    let x = trainer.engine.insert(images(&[64, 1, 28, 28]));
    let y = trainer.engine.insert(labels(64, 10));
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
            let norm = |trainer: &mut Trainer| [trainer.parameter(&[width], 0.0), trainer.parameter(&[width], 0.01)];
            let ([n1, c1], [n2, c2]) = (norm(&mut trainer), norm(&mut trainer));
            let ([qw, qb], [pw, pb]) = (trainer.linear(width, 3 * width), trainer.linear(width, width));
            let ([uw, ub], [dw, db]) = (trainer.linear(width, 4 * width), trainer.linear(4 * width, width));
            [n1, c1, qw, qb, pw, pb, n2, c2, uw, ub, dw, db]
        })
        .collect();
    let (nf, cf) = (trainer.parameter(&[width], 0.0), trainer.parameter(&[width], 0.01));
    let [hw, hb] = trainer.linear(width, vocabulary);
    let x = trainer.engine.insert(labels(batch * context, vocabulary as u32).reshape((batch, context)).unwrap());
    let y = trainer.engine.insert(labels(batch * context, vocabulary as u32).reshape((batch, context)).unwrap());
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
        let logits = t.apply(op::LINEAR, &[h, hw, hb], &[], &[]);
        let loss = t.apply(op::CROSS_ENTROPY, &[logits, y], &[], &[]);
        t.update(loss, true);
    })
}

/// The first three with candle's own autograd and optimizers.
pub fn candle() -> Vec<Workload> {
    vec![
        ("w1/candle", Box::new(|| candle_mlp(&[784, 128, 10], 64, false))),
        ("w2/candle", Box::new(|| candle_mlp(&[784, 1024, 1024, 10], 256, true))),
        ("w3/candle", Box::new(candle_cnn)),
    ]
}

fn variable(shape: &[usize], bound: f32) -> Var {
    Var::rand(-bound, bound, shape, &Device::Cpu).unwrap()
}

fn candle_update(variables: Vec<Var>, adamw: bool) -> Box<dyn FnMut(&Tensor)> {
    if adamw {
        let mut optimizer = AdamW::new(variables, ParamsAdamW::default()).unwrap();
        Box::new(move |loss| optimizer.backward_step(loss).unwrap())
    } else {
        let mut optimizer = SGD::new(variables, 0.01).unwrap();
        Box::new(move |loss| optimizer.backward_step(loss).unwrap())
    }
}

fn candle_mlp(widths: &[usize], batch: usize, adamw: bool) -> Box<dyn FnMut()> {
    let bound = |inputs: usize| 1.0 / (inputs as f32).sqrt();
    let layers: Vec<(Var, Var)> =
        widths.windows(2).map(|pair| (variable(&[pair[1], pair[0]], bound(pair[0])), variable(&[pair[1]], bound(pair[0])))).collect();
    let mut update = candle_update(layers.iter().flat_map(|(w, b)| [w.clone(), b.clone()]).collect(), adamw);
    let (x, y) = (images(&[batch, widths[0]]), labels(batch, 10));
    Box::new(move || {
        let mut h = x.clone();
        for (at, (w, b)) in layers.iter().enumerate() {
            h = h.matmul(&w.t().unwrap()).unwrap().broadcast_add(b).unwrap();
            if at + 1 < layers.len() {
                h = h.relu().unwrap();
            }
        }
        update(&candle_nn::loss::cross_entropy(&h, &y).unwrap());
    })
}

fn candle_cnn() -> Box<dyn FnMut()> {
    let (w1, b1) = (variable(&[16, 1, 3, 3], 0.3), variable(&[16], 0.3));
    let (w2, b2) = (variable(&[32, 16, 3, 3], 0.08), variable(&[32], 0.08));
    let (w3, b3) = (variable(&[10, 800], 0.03), variable(&[10], 0.03));
    let mut update = candle_update([&w1, &b1, &w2, &b2, &w3, &b3].into_iter().cloned().collect(), true);
    let (x, y) = (images(&[64, 1, 28, 28]), labels(64, 10));
    Box::new(move || {
        let conv = |x: &Tensor, w: &Tensor, b: &Tensor| {
            let channels = b.dims()[0];
            let z = x.conv2d(w, 0, 1, 1, 1).unwrap().broadcast_add(&b.reshape((1, channels, 1, 1)).unwrap()).unwrap();
            z.relu().unwrap().max_pool2d(2).unwrap()
        };
        let h = conv(&conv(&x, &w1, &b1), &w2, &b2).flatten_from(1).unwrap();
        let logits = h.matmul(&w3.t().unwrap()).unwrap().broadcast_add(&b3).unwrap();
        update(&candle_nn::loss::cross_entropy(&logits, &y).unwrap());
    })
}
