//! Blocks that are computed again in the backward pass: the same bits, less memory.

use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::op;

use super::super::{Behaviour, Engine, Init, Kind, Mode, Recomputed, Recording};
use super::{f32s, single};

const CHANNELS: usize = 4;
const BLOCKS: usize = 3;

/// A residual network of convolutions with batch norm and dropout, in blocks.
struct Network {
    /// Weights, scale, shift and running statistics of each block.
    blocks: Vec<[Handle; 5]>,
    output: Handle,
}

impl Network {
    fn new(engine: &mut Engine) -> Network {
        let model = engine.model("model");
        let mut parameter = |path: String, shape: &[usize], init, kind| {
            engine.parameter(model, &path, shape, init, kind).unwrap()
        };
        let normal = Init::Normal { mean: 0.0, std: 0.3 };
        let one = [CHANNELS];
        let blocks = (0..BLOCKS).map(|block| {
            let path = |name: &str| format!("block.{block}.{name}");
            [
                parameter(path("w"), &[CHANNELS, CHANNELS, 3, 3], normal, Kind::Trainable),
                parameter(path("scale"), &one, Init::Constant(1.0), Kind::Trainable),
                parameter(path("shift"), &one, Init::Constant(0.1), Kind::Trainable),
                parameter(path("mean"), &one, Init::Constant(0.0), Kind::Buffer),
                parameter(path("variance"), &one, Init::Constant(1.0), Kind::Buffer),
            ]
        });
        let blocks = blocks.collect();
        let output = parameter("output.w".to_owned(), &[3, CHANNELS], normal, Kind::Trainable);
        Network { blocks, output }
    }

    /// The blocks' parameters, by number.
    fn recomputed(&self, always: bool) -> Vec<Recomputed> {
        let parameters = |block: usize| (5 * block..5 * block + 5).collect();
        let of = |block: usize| Recomputed { parameters: parameters(block), always };
        (0..self.blocks.len()).map(of).collect()
    }

    /// The loss. Intermediate values are released as soon as nothing else uses them, as in a model.
    fn loss(&self, engine: &mut Engine, x: Handle) -> Handle {
        fn one(engine: &mut Engine, code: u32, inputs: &[Handle], floats: &[f64]) -> Handle {
            let ints: &[i64] = match code {
                op::CONV2D => &[1, 1, 1, 1],
                op::BATCH_NORM => &[0],
                op::MEAN if inputs.len() == 1 && engine.shape(inputs[0]).unwrap().len() == 4 => {
                    &[0, 2, 3]
                }
                op::MEAN => &[0],
                _ => &[],
            };
            engine.apply1(code, inputs, ints, floats).unwrap()
        }
        let mut hidden = x;
        engine.retain(hidden).unwrap();
        for [w, scale, shift, mean, variance] in &self.blocks {
            let filtered = one(engine, op::CONV2D, &[hidden, *w], &[]);
            let inputs = [filtered, *scale, *shift, *mean, *variance];
            let normal = one(engine, op::BATCH_NORM, &inputs, &[1e-5, 0.1]);
            engine.release(filtered).unwrap();
            let positive = one(engine, op::RELU, &[normal], &[]);
            engine.release(normal).unwrap();
            let thinned = one(engine, op::DROPOUT, &[positive], &[0.25]);
            engine.release(positive).unwrap();
            let next = one(engine, op::ADD, &[thinned, hidden], &[]);
            engine.release(thinned).unwrap();
            engine.release(hidden).unwrap();
            hidden = next;
        }
        let means = one(engine, op::MEAN, &[hidden], &[]);
        engine.release(hidden).unwrap();
        let logits = one(engine, op::LINEAR, &[means, self.output], &[]);
        let squares = one(engine, op::SQR, &[logits], &[]);
        let loss = one(engine, op::MEAN, &[squares], &[]);
        for handle in [means, logits, squares] {
            engine.release(handle).unwrap();
        }
        loss
    }
}

/// Everything that a step can change.
#[derive(Debug, PartialEq)]
struct Outcome {
    loss: Vec<u32>,
    gradients: Vec<Vec<u32>>,
    parameters: Vec<Vec<u32>>,
    random: crate::RandomState,
}

fn bits(engine: &Engine, handle: Handle) -> Vec<u32> {
    engine.read_f32(handle).unwrap().iter().map(|x| x.to_bits()).collect()
}

/// Three steps; what they changed, and the most bytes of tensors.
fn train(blocks: impl Fn(&Network) -> (Vec<Recomputed>, Option<u64>)) -> (Outcome, u64, u64) {
    let mut engine = single(3);
    let network = Network::new(&mut engine);
    let (blocks, budget) = blocks(&network);
    engine.recompute(&blocks, budget).unwrap();
    engine.set_mode(Mode { recording: Recording::On, behaviour: Behaviour::Training });
    let before = engine.memory().now;
    engine.mark_memory();
    let mut losses = Vec::new();
    for step in 0..3 {
        let numbers = (0..2 * CHANNELS * 256).map(|at| ((at * 7 + step) % 13) as f32 - 6.0);
        let x = f32s(&mut engine, &[2, CHANNELS, 16, 16], &numbers.collect::<Vec<_>>());
        engine.clear_gradients(None);
        let loss = network.loss(&mut engine, x);
        engine.backward(loss, None).unwrap();
        losses.extend(bits(&engine, loss));
        for index in 0..engine.parameters().count() {
            if let Some(gradient) = engine.lent_gradient(index) {
                let handle = engine.parameters().find(|p| p.index == index).unwrap().handle;
                engine
                    .apply(op::SGD_UPDATE, &[handle, gradient], &[1], &[0.1], &mut Vec::new())
                    .unwrap();
            }
        }
        engine.clear_tape();
        engine.release(loss).unwrap();
        engine.release(x).unwrap();
    }
    let most = engine.memory().peak - before;
    let parameters: Vec<(usize, Handle)> =
        engine.parameters().map(|p| (p.index, p.handle)).collect();
    let gradients = parameters.iter().filter_map(|(index, _)| engine.lent_gradient(*index));
    let outcome = Outcome {
        loss: losses,
        gradients: gradients.map(|gradient| bits(&engine, gradient)).collect(),
        parameters: parameters.iter().map(|(_, handle)| bits(&engine, *handle)).collect(),
        random: engine.random_state(),
    };
    (outcome, most, engine.recomputed())
}

#[test]
fn a_network_with_recomputed_blocks_trains_to_the_same_bits_with_less_memory() {
    let (kept, most, none) = train(|_| (Vec::new(), None));
    let (again, less, times) = train(|network| (network.recomputed(true), None));
    assert_eq!(kept, again);
    assert!(kept.loss.iter().all(|loss| f32::from_bits(*loss).is_finite()));
    assert_eq!((none, times), (0, 9), "three blocks in three steps");
    assert!(10 * less < 7 * most, "{less} of {most} bytes");
}

#[test]
fn a_budget_decides_how_many_blocks_are_computed_again() {
    let (kept, most, _) = train(|_| (Vec::new(), None));
    let with = |budget: u64| train(move |network| (network.recomputed(false), Some(budget)));
    let (roomy, same, none) = with(100 * most);
    assert_eq!((&roomy, same, none), (&kept, most, 0));
    let (tight, less, times) = with(1);
    assert_eq!(tight, kept);
    assert!(less < most && times > 3, "{less} of {most} bytes, {times} blocks");
}

#[test]
fn only_some_blocks_may_be_computed_again() {
    let (kept, ..) = train(|_| (Vec::new(), None));
    let (second, _, times) = train(|network| (network.recomputed(true)[1..2].to_vec(), None));
    assert_eq!((second, times), (kept, 3));
}

#[test]
fn gradients_of_several_losses_pass_a_recomputed_block_once() {
    let gradients = |recomputes: bool| {
        let mut engine = single(1);
        let model = engine.model("model");
        let mut w = |path: &str| {
            let init = Init::Normal { mean: 0.0, std: 1.0 };
            engine.parameter(model, path, &[2, 2], init, Kind::Trainable).unwrap()
        };
        let (a, b) = (w("a.w"), w("b.w"));
        if recomputes {
            let blocks = [Recomputed { parameters: vec![0], always: true }];
            engine.recompute(&blocks, None).unwrap();
        }
        engine.set_mode(Mode { recording: Recording::On, behaviour: Behaviour::Training });
        let x = f32s(&mut engine, &[2, 2], &[1.0, -2.0, 0.5, 3.0]);
        engine.watch(x).unwrap();
        let hidden = engine.apply1(op::LINEAR, &[x, a], &[1], &[]).unwrap();
        let middle = engine.apply1(op::TANH, &[hidden], &[], &[]).unwrap();
        let side = engine.apply1(op::SUM, &[hidden], &[0], &[]).unwrap();
        let out = engine.apply1(op::LINEAR, &[middle, b], &[], &[]).unwrap();
        let loss = engine.apply1(op::SUM, &[out], &[0], &[]).unwrap();
        let total = engine.apply1(op::ADD, &[loss, side], &[], &[]).unwrap();
        // A value inside of the block is a target, too.
        let found = engine.gradient_of(total, &[x, hidden]).unwrap();
        let found: Vec<Vec<u32>> = found.iter().map(|gradient| bits(&engine, *gradient)).collect();
        // The nodes were used: a second pass through them is refused, recomputed or not.
        assert!(engine.backward(total, None).is_err());
        found
    };
    assert_eq!(gradients(true), gradients(false));
}

#[test]
fn an_unknown_parameter_is_refused() {
    let mut engine = single(0);
    let blocks = [Recomputed { parameters: vec![4], always: true }];
    assert!(engine.recompute(&blocks, None).is_err());
}

#[test]
fn memory_is_counted_by_layer_until_the_backward_pass() {
    let mut engine = single(3);
    let network = Network::new(&mut engine);
    engine.set_mode(Mode { recording: Recording::On, behaviour: Behaviour::Training });
    engine.count_layers(true);
    let kept = |engine: &mut Engine| {
        let x = f32s(engine, &[1, CHANNELS, 4, 4], &[0.5; CHANNELS * 16]);
        let loss = network.loss(engine, x);
        engine.backward(loss, None).unwrap();
        engine.clear_tape();
        engine.layer_memory()
    };
    let layers = kept(&mut engine);
    let paths: Vec<&str> = layers.iter().map(|layer| layer.path.as_str()).collect();
    assert_eq!(paths, ["", "block.0", "block.1", "block.2", "output"]);
    let bytes = |layers: &[crate::LayerMemory], at: usize| layers[at].bytes;
    assert!(bytes(&layers, 1) >= 3 * 4 * 16 * CHANNELS as u64, "{layers:?}");
    engine.recompute(&network.recomputed(true), None).unwrap();
    let fewer = kept(&mut engine);
    assert!(bytes(&fewer, 1) < bytes(&layers, 1), "{fewer:?} after {layers:?}");
    engine.count_layers(false);
    assert!(engine.layer_memory().is_empty());
}

/// A block of a transformer whose values from `again_from` bytes on are computed again: its gradients,
/// and the bytes that it keeps.
fn transformer(again_from: u64) -> (Vec<Vec<u32>>, u64) {
    let mut engine = single(5);
    engine.set_again_from(again_from);
    let model = engine.model("model");
    let mut parameter = |path: &str, shape: &[usize]| {
        let init = Init::Normal { mean: 0.0, std: 0.1 };
        engine.parameter(model, path, shape, init, Kind::Trainable).unwrap()
    };
    let (time, width) = (32, 64);
    let (scale, shift) = (parameter("norm.w", &[width]), parameter("norm.b", &[width]));
    let pack = parameter("pack.w", &[3 * width, width]);
    let (expand, bias) = (parameter("expand.w", &[256, width]), parameter("expand.b", &[256]));
    let contract = parameter("contract.w", &[width, 256]);
    engine.set_mode(Mode { recording: Recording::On, behaviour: Behaviour::Training });
    let numbers: Vec<f32> =
        (0..2 * time * width).map(|at| (at * 31 % 57) as f32 / 28.0 - 1.0).collect();
    let x = f32s(&mut engine, &[2, time, width], &numbers);
    engine.watch(x).unwrap();
    let before = engine.memory().now;
    let mut used = Vec::new();
    let mut one = |code: u32, inputs: &[Handle], ints: &[i64], floats: &[f64]| {
        let result = engine.apply1(code, inputs, ints, floats).unwrap();
        used.push(result);
        result
    };
    let normal = one(op::LAYER_NORM, &[x, scale, shift], &[], &[1e-5]);
    let packed = one(op::LINEAR, &[normal, pack], &[], &[]);
    let mixed = one(op::ATTENTION, &[packed], &[4, 1], &[]);
    let hidden = one(op::ADD, &[mixed, x], &[], &[]);
    let wide = one(op::LINEAR, &[hidden, expand, bias], &[2], &[]);
    let narrow = one(op::LINEAR, &[wide, contract], &[], &[]);
    let sum = one(op::ADD, &[narrow, hidden], &[], &[]);
    let squares = one(op::SQR, &[sum], &[], &[]);
    let loss = one(op::MEAN, &[squares], &[0], &[]);
    let gradients = |engine: &mut Engine| {
        let found = engine.gradient_of(loss, &[x, scale, shift, pack, expand, bias, contract]);
        found.unwrap().iter().map(|gradient| bits(engine, *gradient)).collect()
    };
    used.retain(|handle| *handle != loss);
    for handle in used {
        engine.release(handle).unwrap();
    }
    let kept = engine.memory().now - before;
    (gradients(&mut engine), kept)
}

#[test]
fn large_values_are_computed_again_to_the_same_bits() {
    let (kept, all) = transformer(u64::MAX);
    let (again, few) = transformer(1);
    assert_eq!(kept, again);
    // The result of the norm, the weights of the attention, and a side of the activation. Of each of
    // four sides of sums a number is kept that has their shape; two are of no other use.
    let [normal, weights, wide] = [2 * 32 * 64, 2 * 4 * 32 * 32, 2 * 32 * 256].map(|n| 4 * n);
    let sides = 2 * normal - 4 * 4;
    assert_eq!(all - few, normal + weights + wide + sides);
}

/// Two convolutions with a normalisation and an activation between them: gradients, and bytes kept.
fn convolutions(again_from: u64) -> (Vec<Vec<u32>>, u64) {
    let mut engine = single(5);
    engine.set_again_from(again_from);
    let numbers = |count: usize| (0..count).map(|at| (at * 31 % 57) as f32 / 28.0 - 1.0);
    let mut leaf = |shape: &[usize]| {
        let numbers: Vec<f32> = numbers(shape.iter().product()).collect();
        let handle = f32s(&mut engine, shape, &numbers);
        engine.watch(handle).unwrap();
        handle
    };
    let (x, first, second) = (leaf(&[2, 3, 8, 8]), leaf(&[4, 3, 3, 3]), leaf(&[5, 4, 3, 3]));
    let (scale, shift) = (leaf(&[4]), leaf(&[4]));
    let running = [f32s(&mut engine, &[4], &[0.0; 4]), f32s(&mut engine, &[4], &[1.0; 4])];
    let before = engine.memory().now;
    let mut used = Vec::new();
    let mut one = |code: u32, inputs: &[Handle], ints: &[i64], floats: &[f64]| {
        let result = engine.apply1(code, inputs, ints, floats).unwrap();
        used.push(result);
        result
    };
    let filtered = one(op::CONV2D, &[x, first], &[1, 1, 1, 1], &[]);
    let inputs = [filtered, scale, shift, running[0], running[1]];
    let normal = one(op::BATCH_NORM, &inputs, &[1], &[1e-5, 0.1]);
    let positive = one(op::RELU, &[normal], &[], &[]);
    let filtered = one(op::CONV2D, &[positive, second], &[1, 1, 1, 1], &[]);
    let squares = one(op::SQR, &[filtered], &[], &[]);
    let loss = one(op::MEAN, &[squares], &[0], &[]);
    used.retain(|handle| *handle != loss);
    for handle in used {
        engine.release(handle).unwrap();
    }
    let kept = engine.memory().now - before;
    let found = engine.gradient_of(loss, &[x, first, second, scale, shift]).unwrap();
    (found.iter().map(|gradient| bits(&engine, *gradient)).collect(), kept)
}

#[test]
fn an_activation_after_a_normalisation_is_computed_again_to_the_same_bits() {
    let ((kept, all), (again, few)) = (convolutions(u64::MAX), convolutions(1));
    assert_eq!(kept, again);
    // The activation, for which the variances are kept.
    assert_eq!(all - few, 4 * 2 * 4 * 8 * 8 - 4 * 4);
}

#[test]
fn a_value_that_is_overwritten_is_not_computed_again_from_what_it_was() {
    let gradient = |again_from: u64| {
        let mut engine = single(0);
        engine.set_again_from(again_from);
        let model = engine.model("model");
        let init = Init::Normal { mean: 0.0, std: 1.0 };
        let w = engine.parameter(model, "w", &[2, 4], init, Kind::Trainable).unwrap();
        engine.set_mode(Mode { recording: Recording::On, behaviour: Behaviour::Training });
        let x = f32s(&mut engine, &[1, 4], &[1.0, -2.0, 0.5, 3.0]);
        engine.watch(x).unwrap();
        let normal = engine.apply1(op::LAYER_NORM, &[x], &[], &[]).unwrap();
        let constant = engine.apply1(op::DETACH, &[normal], &[], &[]).unwrap();
        engine.release(normal).unwrap();
        engine.clear_tape();
        engine.apply(op::SCALE_, &[constant], &[], &[3.0], &mut Vec::new()).unwrap();
        let out = engine.apply1(op::LINEAR, &[constant, w], &[], &[]).unwrap();
        let loss = engine.apply1(op::SUM, &[out], &[0], &[]).unwrap();
        engine.backward(loss, None).unwrap();
        bits(&engine, engine.lent_gradient(0).unwrap())
    };
    assert_eq!(gradient(1), gradient(u64::MAX));
}
