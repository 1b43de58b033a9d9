//! The workloads as a user of candle would write them, with candle's autograd and optimizers.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, SGD};

use super::{Workload, images, labels};

/// Workloads W1 to W4.
pub fn all() -> Vec<Workload> {
    vec![
        ("w1", Box::new(|| candle_mlp(&[784, 128, 10], 64, false))),
        ("w2", Box::new(|| candle_mlp(&[784, 1024, 1024, 10], 256, true))),
        ("w3", Box::new(candle_cnn)),
        ("w4", Box::new(candle_gpt)),
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
    let layers: Vec<(Var, Var)> = widths
        .windows(2)
        .map(|pair| {
            (variable(&[pair[1], pair[0]], bound(pair[0])), variable(&[pair[1]], bound(pair[0])))
        })
        .collect();
    let mut update =
        candle_update(layers.iter().flat_map(|(w, b)| [w.clone(), b.clone()]).collect(), adamw);
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
    let mut update =
        candle_update([&w1, &b1, &w2, &b2, &w3, &b3].into_iter().cloned().collect(), true);
    let (x, y) = (images(&[64, 1, 28, 28]), labels(64, 10));
    Box::new(move || {
        let conv = |x: &Tensor, w: &Tensor, b: &Tensor| {
            let channels = b.dims()[0];
            let z = x
                .conv2d(w, 0, 1, 1, 1)
                .unwrap()
                .broadcast_add(&b.reshape((1, channels, 1, 1)).unwrap())
                .unwrap();
            z.relu().unwrap().max_pool2d(2).unwrap()
        };
        let h = conv(&conv(&x, &w1, &b1), &w2, &b2).flatten_from(1).unwrap();
        let logits = h.matmul(&w3.t().unwrap()).unwrap().broadcast_add(&b3).unwrap();
        update(&candle_nn::loss::cross_entropy(&logits, &y).unwrap());
    })
}

fn candle_gpt() -> Box<dyn FnMut()> {
    let (layers, width, heads, context, vocabulary, batch) = (4, 128, 4, 128, 65, 16);
    let mut variables = Vec::new();
    let mut new = |shape: &[usize], bound: f32| {
        let variable = if bound == 0.0 {
            Var::ones(shape, DType::F32, &Device::Cpu).unwrap()
        } else {
            variable(shape, bound)
        };
        variables.push(variable.clone());
        variable
    };
    let mut linear = |inputs: usize, outputs: usize| {
        let bound = 1.0 / (inputs as f32).sqrt();
        (new(&[outputs, inputs], bound), new(&[outputs], bound))
    };
    let blocks: Vec<_> = (0..layers)
        .map(|_| {
            [
                linear(width, 3 * width),
                linear(width, width),
                linear(width, 4 * width),
                linear(4 * width, width),
            ]
        })
        .collect();
    let mut norms: Vec<(Var, Var)> =
        (0..2 * layers + 1).map(|_| (new(&[width], 0.0), new(&[width], 0.01))).collect();
    let (tokens, places) = (new(&[vocabulary, width], 0.05), new(&[context, width], 0.05));
    let head = new(&[vocabulary, width], 0.08);
    let mut update = candle_update(variables, true);
    let x = labels(batch * context, vocabulary as u32);
    let y = x.clone();
    let mask: Vec<f32> = (0..context * context)
        .map(|at| if at % context > at / context { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    let mask = Tensor::from_vec(mask, (context, context), &Device::Cpu).unwrap();
    let last = norms.pop().unwrap();
    Box::new(move || {
        let apply = |x: &Tensor, (w, b): &(Var, Var)| {
            x.broadcast_matmul(&w.t().unwrap()).unwrap().broadcast_add(b).unwrap()
        };
        // candle's fused layer norm has no gradient.
        let norm = |x: &Tensor, (w, b): &(Var, Var)| {
            candle_nn::ops::layer_norm_slow(x, w, b, 1e-5).unwrap()
        };
        let mut h = tokens
            .index_select(&x, 0)
            .unwrap()
            .reshape((batch, context, width))
            .unwrap()
            .broadcast_add(&places)
            .unwrap();
        for (index, [qkv, mix, up, down]) in blocks.iter().enumerate() {
            let packed = apply(&norm(&h, &norms[2 * index]), qkv)
                .reshape((batch, context, 3, heads, width / heads))
                .unwrap();
            let part = |which: usize| {
                packed
                    .narrow(2, which, 1)
                    .unwrap()
                    .squeeze(2)
                    .unwrap()
                    .transpose(1, 2)
                    .unwrap()
                    .contiguous()
                    .unwrap()
            };
            let (q, k, v) = (part(0), part(1), part(2));
            let scale = 1.0 / ((width / heads) as f64).sqrt();
            let scores =
                (q.matmul(&k.t().unwrap()).unwrap() * scale).unwrap().broadcast_add(&mask).unwrap();
            let mixed = candle_nn::ops::softmax(&scores, 3).unwrap().matmul(&v).unwrap();
            let mixed = mixed.transpose(1, 2).unwrap().reshape((batch, context, width)).unwrap();
            h = (&h + apply(&mixed, mix)).unwrap();
            let fed = apply(&apply(&norm(&h, &norms[2 * index + 1]), up).gelu().unwrap(), down);
            h = (&h + fed).unwrap();
        }
        let logits = norm(&h, &last)
            .reshape((batch * context, width))
            .unwrap()
            .matmul(&head.t().unwrap())
            .unwrap();
        update(&candle_nn::loss::cross_entropy(&logits, &y).unwrap());
    })
}
