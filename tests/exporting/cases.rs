//! Models of a single operation: a case for each operation that is translated, in several sizes.

use candle_core::{DType, Device, Tensor};
use fluxbay::export::onnx::{Description, ExportError, InputForm, input, traced};
use fluxbay::learner::ModelTrace;
use fluxbay::tensor::{Behaviour, Engine, EngineOptions, Init, Kind, Mode, Recording};
use fluxbay_plugin::abi::handle::{Handle, dtype};
use fluxbay_plugin::abi::operation::op;

/// Sizes of each operation's models.
pub const VARIANTS: usize = 3;
/// Random sizes of each operation's models that are checked.
pub const RANDOM: usize = 50;

/// What the host computes while a case is built.
pub struct Bench {
    pub engine: Engine,
    parameters: usize,
}

impl Bench {
    fn new() -> Bench {
        let options = EngineOptions { threads: 1, ..EngineOptions::default() };
        let mut engine = Engine::new(options).unwrap();
        engine.model("model");
        engine.set_mode(Mode { recording: Recording::Off, behaviour: Behaviour::Evaluation });
        Bench { engine, parameters: 0 }
    }

    /// A new parameter within `[low, high)`.
    fn within(&mut self, shape: &[usize], low: f64, high: f64) -> Handle {
        self.parameters += 1;
        let path = format!("layer.p{}", self.parameters);
        let init = Init::Uniform { low, high };
        self.engine.parameter(0, &path, shape, init, Kind::Trainable).unwrap()
    }

    pub fn parameter(&mut self, shape: &[usize]) -> Handle {
        self.within(shape, -1.0, 1.0)
    }

    /// A constant of whole numbers.
    fn indices(&mut self, values: &[u32], shape: &[usize]) -> Handle {
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        self.engine.insert(tensor).unwrap()
    }

    pub fn all(
        &mut self,
        code: u32,
        inputs: &[Handle],
        ints: &[i64],
        floats: &[f64],
    ) -> Vec<Handle> {
        let mut outputs = Vec::new();
        self.engine.apply(code, inputs, ints, floats, &mut outputs).unwrap();
        outputs
    }

    pub fn apply(&mut self, code: u32, inputs: &[Handle], ints: &[i64], floats: &[f64]) -> Handle {
        self.all(code, inputs, ints, floats)[0]
    }

    /// Values from -2 to 2 of an input from 0 to 1.
    fn signed(&mut self, x: Handle) -> Handle {
        self.apply(op::AFFINE, &[x], &[], &[4.0, -2.0])
    }

    pub fn samples(&self, x: Handle) -> i64 {
        self.engine.shape(x).unwrap()[0] as i64
    }
}

type Build = Box<dyn Fn(&mut Bench, Handle) -> Vec<Handle>>;

/// A model that applies operation `code` to inputs `shape` per sample.
pub struct Case {
    shape: Vec<usize>,
    classes: u64,
    /// Samples that the exported model is run on.
    pub samples: usize,
    build: Build,
}

pub fn case(
    shape: &[usize],
    build: impl Fn(&mut Bench, Handle) -> Vec<Handle> + 'static,
) -> Option<Case> {
    Some(Case { shape: shape.to_vec(), classes: 0, samples: 4, build: Box::new(build) })
}

/// Sizes of a case: `a` to `c` are dimensions, `d` and `f` are added to dimensions, `e` is the height of an image.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
    samples: usize,
}

impl Sizes {
    pub fn of(variant: usize) -> Sizes {
        Sizes {
            a: 2 + variant,
            b: 3 + 2 * variant,
            c: 4 + variant,
            d: variant,
            e: 7,
            f: 0,
            samples: 4,
        }
    }

    /// Sizes that only the operation and the variant determine.
    pub fn random(code: u32, variant: usize) -> Sizes {
        let mut state = u64::from(code) << 32 | variant as u64;
        let mut within = |low: u64, high: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (low + (state >> 33) % (high - low + 1)) as usize
        };
        Sizes {
            a: within(2, 5),
            b: within(5, 12),
            c: within(2, 9),
            d: within(0, 8),
            e: within(6, 12),
            f: within(0, 5),
            samples: within(2, 7),
        }
    }
}

/// The model for an operation; none if it has no translation. `variant` chooses attributes.
pub fn of(code: u32, variant: usize, sizes: Sizes) -> Option<Case> {
    Some(Case { samples: sizes.samples, ..made_of(code, variant, sizes)? })
}

fn made_of(code: u32, variant: usize, sizes: Sizes) -> Option<Case> {
    let Sizes { a, b, c, d, e, f, .. } = sizes;
    match code {
        op::ADD..=op::MAXIMUM | op::EQ..=op::GE => case(&[a, b], move |bench, x| {
            let x = bench.signed(x);
            let other = bench.parameter(&[[a, b], [1, b], [a, 1]][variant % 3][..]);
            vec![bench.apply(code, &[x, other], &[], &[])]
        }),
        op::POW => case(&[a, b], move |bench, x| {
            let other = bench.within(&[b], 0.5, 2.5);
            vec![bench.apply(code, &[x, other], &[], &[])]
        }),
        op::LOG | op::SQRT | op::RECIP => case(&[a, b], move |bench, x| {
            let x = bench.apply(op::AFFINE, &[x], &[], &[1.0, 0.25]);
            vec![bench.apply(code, &[x], &[], &[])]
        }),
        op::AFFINE..=op::ERF => case(&[a, b], move |bench, x| {
            let x = if code == op::POWF { x } else { bench.signed(x) };
            let floats: &[f64] = match code {
                op::AFFINE => &[1.5, -0.25],
                op::ELU => &[0.75],
                op::LEAKY_RELU => &[0.125],
                op::POWF => &[1.75],
                op::CLAMP => &[-0.5, 0.75],
                _ => &[],
            };
            vec![bench.apply(code, &[x], &[], floats)]
        }),
        op::WHERE_COND => case(&[a, b], move |bench, x| {
            let (one, other) = (bench.parameter(&[a, b]), bench.parameter(&[b]));
            let condition = bench.apply(op::LT, &[x, one], &[], &[]);
            vec![bench.apply(code, &[condition, x, other], &[], &[])]
        }),
        op::SUM | op::MEAN | op::MAX | op::MIN | op::LOG_SUM_EXP => {
            case(&[a, b], move |bench, x| {
                let ints: &[i64] = [&[0, -1][..], &[1, 1, 2], &[0]][variant % 3];
                vec![bench.apply(code, &[x], ints, &[])]
            })
        }
        op::VAR => case(&[a, b], move |bench, x| {
            let ints: &[i64] = [&[0, 1, -1][..], &[1, 0, 1, 2], &[0, 1, 0, 2]][variant % 3];
            vec![bench.apply(code, &[x], ints, &[])]
        }),
        op::NORM => case(&[a, b], move |bench, x| vec![bench.apply(code, &[x], &[], &[])]),
        op::ARGMAX | op::ARGMIN => case(&[a, b], move |bench, x| {
            vec![bench.apply(code, &[x], &[(variant % 2) as i64, -1], &[])]
        }),
        op::CUMSUM => case(&[a, b], move |bench, x| {
            vec![bench.apply(code, &[x], &[(variant % 3) as i64], &[])]
        }),
        op::SORT => case(&[a, b], move |bench, x| {
            bench.all(code, &[x], &[(variant % 3) as i64, (variant % 2) as i64], &[])
        }),
        op::TOP_K => case(&[a, b], move |bench, x| bench.all(code, &[x], &[a as i64], &[])),
        op::MATMUL => case(&[a, b], move |bench, x| {
            let shape: &[usize] = if variant == 1 { &[1, b, 4] } else { &[b, 4] };
            let other = bench.parameter(shape);
            vec![bench.apply(code, &[x, other], &[], &[])]
        }),
        op::LINEAR | op::FLAT_LINEAR => {
            let shape: &[usize] = if variant == 0 { &[b] } else { &[a, b] };
            let inputs = if code == op::LINEAR { b } else { shape.iter().product() };
            let shape = shape.to_vec();
            case(&shape, move |bench, x| {
                let (weight, bias) = (bench.parameter(&[c, inputs]), bench.parameter(&[c]));
                let plain = bench.apply(code, &[x, weight], &[], &[]);
                let mut outputs = vec![plain];
                for activation in [1 + (variant % 3) as i64, 4 + (variant % 3) as i64] {
                    outputs.push(bench.apply(code, &[x, weight, bias], &[activation], &[]));
                }
                outputs
            })
        }
        op::GROUPED_LINEAR => case(&[a, b], move |bench, x| {
            let rows = bench.samples(x) * a as i64;
            let groups = bench.apply(op::ARGMAX, &[x], &[0, -1], &[]);
            let groups = bench.apply(op::RESHAPE, &[groups], &[rows], &[]);
            let x = bench.signed(x);
            let x = bench.apply(op::RESHAPE, &[x], &[rows, b as i64], &[]);
            let mut inputs = vec![x, groups];
            // Some matrices have no rows.
            inputs.extend((0..b + variant % 2).map(|_| bench.parameter(&[c, b])));
            vec![bench.apply(code, &inputs, &[], &[])]
        }),
        op::RESHAPE => case(&[a, b], move |bench, x| {
            let n = bench.samples(x);
            let (a, b) = (a as i64, b as i64);
            let shape = [vec![n, b, a], vec![n * a, b], vec![-1, n]];
            vec![bench.apply(code, &[x], &shape[variant % 3], &[])]
        }),
        op::TRANSPOSE => case(&[a, b], move |bench, x| {
            let ints: &[i64] = [&[1, 2][..], &[0, -1], &[0, 1]][variant % 3];
            vec![bench.apply(code, &[x], ints, &[])]
        }),
        op::PERMUTE => case(&[a, b], move |bench, x| {
            let ints: &[i64] = [&[2, 0, 1][..], &[0, 2, 1], &[1, 2, 0]][variant % 3];
            vec![bench.apply(code, &[x], ints, &[])]
        }),
        op::NARROW => case(&[a, b], move |bench, x| {
            let n = bench.samples(x);
            let ints = [[1, 1, 1], [-1, 2, 3], [0, 0, n]];
            vec![bench.apply(code, &[x], &ints[variant % 3], &[])]
        }),
        op::SQUEEZE => case(&[1, b], move |bench, x| vec![bench.apply(code, &[x], &[1], &[])]),
        op::UNSQUEEZE => case(&[a, b], move |bench, x| {
            vec![bench.apply(code, &[x], &[[-1, 0, 2][variant % 3]], &[])]
        }),
        op::BROADCAST_AS => case(&[1, b], move |bench, x| {
            let n = bench.samples(x);
            vec![bench.apply(code, &[x], &[3, n, a as i64, b as i64], &[])]
        }),
        op::CAT => case(&[a, b], move |bench, x| {
            let other = bench.signed(x);
            vec![bench.apply(code, &[x, other, x], &[[1, -1, 0][variant % 3]], &[])]
        }),
        op::STACK => case(&[a, b], move |bench, x| {
            let other = bench.signed(x);
            vec![bench.apply(code, &[x, other], &[[1, -1, 0][variant % 3]], &[])]
        }),
        op::CONTIGUOUS | op::DETACH => {
            case(&[a, b], move |bench, x| vec![bench.apply(code, &[x], &[], &[])])
        }
        op::PAD => case(&[a, b], move |bench, x| {
            let ints: &[i64] = [&[1, 1, 2][..], &[-1, 0, 3, 1, 2, 0], &[2, 1, 1]][variant % 3];
            vec![bench.apply(code, &[x], ints, &[0.5])]
        }),
        op::FLIP => case(&[a, b], move |bench, x| {
            let ints: &[i64] = [&[1][..], &[-1, 1], &[0]][variant % 3];
            vec![bench.apply(code, &[x], ints, &[])]
        }),
        op::INDEX_SELECT => case(&[a, b], move |bench, x| {
            let indices = bench.indices(&[1, 0, 1, 1], &[4]);
            vec![bench.apply(code, &[x, indices], &[1 + (variant % 2) as i64], &[])]
        }),
        op::GATHER => case(&[a, b], move |bench, x| {
            let table = bench.parameter(&[a, b]);
            let order = bench.apply(op::ARGMAX, &[x], &[1, 1], &[]);
            let order = bench.apply(op::NARROW, &[order], &[0, 0, 1], &[]);
            let order = bench.apply(op::SQUEEZE, &[order], &[0], &[]);
            vec![bench.apply(code, &[table, order], &[0], &[])]
        }),
        op::SCATTER_ADD => case(&[b], move |bench, x| {
            let table = bench.parameter(&[5, b]);
            let indices: Vec<u32> = (0..2 * b as u32).map(|index| index * 3 % 5).collect();
            let indices = bench.indices(&indices, &[2, b]);
            let source = bench.apply(op::NARROW, &[x], &[0, 0, 2], &[]);
            vec![bench.apply(code, &[table, indices, source], &[0], &[])]
        }),
        op::EMBEDDING => {
            let mut made = case(&[a], move |bench, x| {
                let table = bench.parameter(&[7, b]);
                vec![bench.apply(code, &[table, x], &[], &[])]
            })?;
            made.classes = 7;
            Some(made)
        }
        op::ONE_HOT => {
            let mut made = case(&[a], move |bench, x| vec![bench.apply(code, &[x], &[7], &[])])?;
            made.classes = 7;
            Some(made)
        }
        op::SEGMENT_REDUCE => case(&[a, b], move |bench, x| {
            let segments = bench.apply(op::ARGMAX, &[x], &[0, -1], &[]);
            let segments = bench.apply(op::NARROW, &[segments], &[1, 0, 1], &[]);
            let segments = bench.apply(op::SQUEEZE, &[segments], &[1], &[]);
            let x = bench.signed(x);
            let rows = match variant % 3 {
                2 => bench.apply(op::SUM, &[x], &[0, 1, 2], &[]),
                _ => x,
            };
            // The last segment is empty.
            let count = b as i64 + 1;
            let reduced = [[count, 0], [count, 1]];
            reduced.map(|ints| bench.apply(code, &[rows, segments], &ints, &[])).to_vec()
        }),
        op::CONV1D => case(&[4, 9 + d], move |bench, x| {
            let (weight, bias) = (bench.parameter(&[6, 4, 3]), bench.parameter(&[6]));
            let grouped = bench.parameter(&[6, 2, 2]);
            let ints: &[i64] =
                [&[1, 0, 1, 1, 0][..], &[2, 1, 1, 1, 1], &[1, 2, 2, 1, 6]][variant % 3];
            vec![
                bench.apply(code, &[x, weight, bias], ints, &[]),
                bench.apply(code, &[x, grouped], &[1, 0, 1, 2], &[]),
            ]
        }),
        op::CONV2D => case(&[2, e, 6 + d], move |bench, x| {
            let (weight, bias) = (bench.parameter(&[4, 2, 3, 2]), bench.parameter(&[4]));
            let grouped = bench.parameter(&[4, 1, 2, 2]);
            let ints: &[i64] = [
                &[1, 1, 0, 0, 1, 1, 1, 1][..],
                &[2, 1, 1, 2, 1, 1, 1, 3],
                &[1, 2, 2, 0, 2, 1, 1, 0],
            ][variant % 3];
            vec![
                bench.apply(code, &[x, weight, bias], ints, &[]),
                bench.apply(code, &[x, grouped], &[1, 1, 0, 0, 1, 1, 2], &[]),
            ]
        }),
        op::CONV_TRANSPOSE2D => case(&[4, 3 + f, 4 + d], move |bench, x| {
            let (weight, bias) = (bench.parameter(&[4, 2, 3, 2]), bench.parameter(&[2]));
            let ints: &[i64] = [
                &[1, 1, 0, 0, 0, 0, 1, 1, 1][..],
                &[2, 3, 1, 0, 1, 2, 1, 1, 1],
                &[2, 1, 0, 1, 0, 0, 2, 2, 1],
            ][variant % 3];
            vec![bench.apply(code, &[x, weight, bias], ints, &[])]
        }),
        op::MAX_POOL2D | op::AVG_POOL2D => case(&[2, e, 6 + d], move |bench, x| {
            let x = bench.signed(x);
            let ints: &[i64] = [&[2, 2][..], &[3, 2, 2, 1, 1, 1], &[2, 3, 1, 2, 0, 1]][variant % 3];
            vec![bench.apply(code, &[x], ints, &[])]
        }),
        op::UPSAMPLE_NEAREST2D => case(&[2, 3 + f, 5 + f], move |bench, x| {
            let size = [[6, 10], [7, 8], [3, 13]][variant % 3];
            vec![bench.apply(code, &[x], &size, &[])]
        }),
        op::RESIZE2D => case(&[2, 5 + d, e], move |bench, x| {
            let ints: &[i64] =
                [&[9, 4, 0, 0, 0][..], &[3, 11, 1, 1, 0], &[8, 8, 1, 0, 1]][variant % 3];
            vec![bench.apply(code, &[x], ints, &[])]
        }),
        op::ADAPTIVE_AVG_POOL2D => case(&[2, 5 + d, e], move |bench, x| {
            let size = [[1, 1], [3, 2], [4, 9]][variant % 3];
            vec![bench.apply(code, &[x], &size, &[])]
        }),
        op::SCALED_ATTENTION => case(&[4, 5 + d, 6], move |bench, x| {
            let x = bench.signed(x);
            let n = bench.samples(x);
            let k = bench.apply(op::AFFINE, &[x], &[], &[0.5, 0.25]);
            let k = bench.apply(op::NARROW, &[k], &[1, 0, [4, 2, 1][variant % 3]], &[]);
            let v = bench.apply(op::COS, &[k], &[], &[]);
            let q = bench.apply(op::NARROW, &[x], &[2, 1, 4 + d as i64], &[]);
            let plain = bench.apply(code, &[q, k, v], &[], &[]);
            let bias = bench.parameter(&[1, 4, 1, 5 + d]);
            let ints: &[i64] = [&[1][..], &[0, 2], &[1, 3]][variant % 3];
            let masked = bench.apply(code, &[q, k, v, bias], ints, &[0.25]);
            let lengths = bench.apply(op::ARANGE, &[], &[i64::from(dtype::U32)], &[0.0, n as f64]);
            let six = bench.indices(&[5], &[1]);
            let lengths = bench.apply(op::MINIMUM, &[lengths, six], &[], &[]);
            let short = bench.apply(code, &[q, k, v, lengths], &[1], &[]);
            vec![plain, masked, short]
        }),
        op::ROTARY => case(&[3, 4 + d, 6], move |bench, x| {
            let x = bench.signed(x);
            let n = bench.samples(x);
            let angles = bench.parameter(&[4 + d, 3]);
            let angles = match variant % 3 {
                1 => bench.apply(op::BROADCAST_AS, &[angles], &[n, 4 + d as i64, 3], &[]),
                _ => angles,
            };
            let cosines = bench.apply(op::COS, &[angles], &[], &[]);
            let sines = bench.apply(op::SIN, &[angles], &[], &[]);
            let turned = |bench: &mut Bench, interleaved: i64| {
                bench.apply(code, &[x, cosines, sines], &[interleaved], &[])
            };
            vec![turned(bench, 0), turned(bench, 1)]
        }),
        op::SOFTMAX | op::LOG_SOFTMAX => case(&[a, b], move |bench, x| {
            let x = bench.signed(x);
            vec![bench.apply(code, &[x], &[[-1, 1, 2][variant % 3]], &[])]
        }),
        op::LAYER_NORM | op::RMS_NORM => case(&[a, b], move |bench, x| {
            let (weight, bias) = (bench.parameter(&[b]), bench.parameter(&[b]));
            let inputs = [x, weight, bias];
            let all = if code == op::RMS_NORM { 2 } else { 3 };
            let count = if variant == 0 { 1 } else { all };
            vec![bench.apply(code, &inputs[..count], &[], &[1e-3])]
        }),
        op::BATCH_NORM => {
            let shape = [4, 3 + f, 2 + f];
            case(&shape[..=variant % 3], move |bench, x| {
                let (weight, bias) = (bench.parameter(&[4]), bench.parameter(&[4]));
                let (mean, variance) = (bench.parameter(&[4]), bench.within(&[4], 0.5, 2.0));
                let inputs = [x, weight, bias, mean, variance];
                vec![bench.apply(code, &inputs, &[0], &[1e-3, 0.1])]
            })
        }
        op::GROUP_NORM => case(&[4, 3 + d, 2 + f], move |bench, x| {
            let (weight, bias) = (bench.parameter(&[4]), bench.parameter(&[4]));
            let count = if variant == 0 { 1 } else { 3 };
            let groups = [1, 2, 4][variant % 3];
            vec![bench.apply(code, &[x, weight, bias][..count], &[groups], &[1e-3])]
        }),
        op::DROPOUT => case(&[a, b], move |bench, x| vec![bench.apply(code, &[x], &[], &[0.5])]),
        op::ATTENTION => case(&[3 + d, 24], move |bench, x| {
            let x = bench.signed(x);
            let ints = [[2, 0], [4, 1], [1, 1]][variant % 3];
            vec![bench.apply(code, &[x], &ints, &[])]
        }),
        op::TO_DTYPE => case(&[a, b], move |bench, x| {
            let x = bench.signed(x);
            let to = [dtype::F64, dtype::F16, dtype::BF16][variant % 3];
            let other = bench.apply(code, &[x], &[i64::from(to)], &[]);
            let sum = bench.apply(op::ADD, &[other, other], &[], &[]);
            vec![bench.apply(code, &[sum], &[i64::from(dtype::F32)], &[])]
        }),
        op::ZEROS | op::ONES | op::FULL => case(&[a, b], move |bench, x| {
            let n = bench.samples(x);
            let floats: &[f64] = if code == op::FULL { &[0.75] } else { &[] };
            let ints = [i64::from(dtype::F32), n, 1, b as i64];
            let made = bench.apply(code, &[], &ints, floats);
            vec![bench.apply(op::ADD, &[x, made], &[], &[])]
        }),
        op::ARANGE => case(&[a, b], move |bench, x| {
            let n = bench.samples(x);
            let made = bench.apply(code, &[], &[i64::from(dtype::F32)], &[0.0, n as f64]);
            let made = bench.apply(op::RESHAPE, &[made], &[n, 1, 1], &[]);
            vec![bench.apply(op::ADD, &[x, made], &[], &[])]
        }),
        _ => None,
    }
}

impl Case {
    fn form(&self) -> InputForm {
        let dtype = if self.classes > 0 { DType::U32 } else { DType::F32 };
        InputForm { name: "xs".into(), dtype, shape: self.shape.clone(), classes: self.classes }
    }

    fn run(&self, inputs: &[Tensor]) -> Result<ModelTrace, String> {
        let mut bench = Bench::new();
        bench.engine.begin_trace();
        let x = bench.engine.insert(inputs[0].clone()).unwrap();
        let outputs = (self.build)(&mut bench, x);
        let operations = bench.engine.end_trace();
        let engine = &bench.engine;
        Ok(ModelTrace {
            operations,
            inputs: vec![x],
            outputs: outputs.iter().map(|one| (*one, engine.value(*one).unwrap())).collect(),
            parameters: engine.parameters().map(|one| (one.handle, one.path.to_owned())).collect(),
        })
    }

    pub fn export(&self, batch: Option<usize>) -> Result<Vec<u8>, ExportError> {
        let description = Description { batch, ..Description::default() };
        traced(&self.form(), &description, |inputs| self.run(inputs))
    }

    /// An input of the model, with what the host computes from it.
    pub fn example(&self) -> (Vec<Tensor>, Vec<Tensor>) {
        let input = input(&self.form(), self.samples, &self.shape, 9).unwrap();
        let outputs = self.run(std::slice::from_ref(&input)).unwrap().outputs;
        (vec![input], outputs.into_iter().map(|(_, tensor)| tensor).collect())
    }
}
