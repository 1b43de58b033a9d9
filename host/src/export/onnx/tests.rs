//! Every operation as a model of its own: exported, and compared with what onnxruntime has checked.
//!
//! `tests/reference/onnx_models.py` runs these tests with `FLUXBAY_ONNX_CASES` set to a folder: they then write each
//! model there, with inputs and outputs of the host. The script runs the models with onnxruntime, compares the
//! outputs, and records the hashes of the models that agree in `tests/reference/onnx.json`.

use std::{collections::BTreeMap, path::PathBuf};

use candle_core::{DType, Device, Tensor};
use fluxbay_plugin::abi::handle::{Handle, dtype};
use fluxbay_plugin::abi::operation::{OPERATIONS, op};

use super::traces::{InputForm, compare};
use super::{Description, ExportError, encode};
use crate::learner::ModelTrace;
use crate::library::Sha256;
use crate::tensor::{Behaviour, Engine, EngineOptions, Init, Kind, Mode, Recording};

/// Sizes of each operation's models.
const VARIANTS: usize = 3;
/// Random sizes of each operation's models that the script checks.
const RANDOM: usize = 50;

/// What the host computes while a case is built.
struct Bench {
    engine: Engine,
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

    fn parameter(&mut self, shape: &[usize]) -> Handle {
        self.within(shape, -1.0, 1.0)
    }

    /// A constant of whole numbers.
    fn indices(&mut self, values: &[u32], shape: &[usize]) -> Handle {
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        self.engine.insert(tensor).unwrap()
    }

    fn all(&mut self, code: u32, inputs: &[Handle], ints: &[i64], floats: &[f64]) -> Vec<Handle> {
        let mut outputs = Vec::new();
        self.engine.apply(code, inputs, ints, floats, &mut outputs).unwrap();
        outputs
    }

    fn apply(&mut self, code: u32, inputs: &[Handle], ints: &[i64], floats: &[f64]) -> Handle {
        self.all(code, inputs, ints, floats)[0]
    }

    /// Values from -2 to 2 of an input from 0 to 1.
    fn signed(&mut self, x: Handle) -> Handle {
        self.apply(op::AFFINE, &[x], &[], &[4.0, -2.0])
    }

    fn samples(&self, x: Handle) -> i64 {
        self.engine.shape(x).unwrap()[0] as i64
    }
}

type Build = Box<dyn Fn(&mut Bench, Handle) -> Vec<Handle>>;

/// A model that applies operation `code` to inputs `shape` per sample.
struct Case {
    shape: Vec<usize>,
    classes: u64,
    /// Samples that the exported model is run on.
    samples: usize,
    build: Build,
}

fn case(
    shape: &[usize],
    build: impl Fn(&mut Bench, Handle) -> Vec<Handle> + 'static,
) -> Option<Case> {
    Some(Case { shape: shape.to_vec(), classes: 0, samples: 4, build: Box::new(build) })
}

/// Sizes of a case: `a` to `c` are dimensions, `d` and `f` are added to dimensions, `e` is the height of an image.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
    samples: usize,
}

impl Sizes {
    fn of(variant: usize) -> Sizes {
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
    fn random(code: u32, variant: usize) -> Sizes {
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
fn of(code: u32, variant: usize, sizes: Sizes) -> Option<Case> {
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

    fn export(&self, batch: Option<usize>) -> Result<Vec<u8>, ExportError> {
        let form = self.form();
        let compared = compare(&form, batch, |inputs| self.run(inputs))?;
        encode(&form, &compared, &Description::default())
    }
}

/// Writes a model with an input and the outputs of the host, for the script.
fn write(folder: &str, name: &str, case: &Case, model: &[u8]) {
    let folder = PathBuf::from(folder);
    std::fs::write(folder.join(format!("{name}.onnx")), model).unwrap();
    let input = super::traces::input(&case.form(), case.samples, &case.shape, 9).unwrap();
    let json = |tensor: &Tensor| {
        let values: Vec<f64> =
            tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        serde_json::json!({ "shape": tensor.dims(), "values": values })
    };
    let outputs = case.run(std::slice::from_ref(&input)).unwrap().outputs;
    let outputs: Vec<_> = outputs.iter().map(|(_, tensor)| json(tensor)).collect();
    let text = serde_json::json!({ "input": json(&input), "outputs": outputs }).to_string();
    std::fs::write(folder.join(format!("{name}.json")), text).unwrap();
}

#[test]
fn every_operation_is_exported_as_onnxruntime_has_checked_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/onnx.json");
    let recorded: serde_json::Value = std::fs::read_to_string(path)
        .map_or(serde_json::Value::Null, |text| serde_json::from_str(&text).unwrap());
    let folder = std::env::var("FLUXBAY_ONNX_CASES").ok();
    let mut unlike = BTreeMap::new();
    for info in OPERATIONS {
        // An operation without a case is refused when a model uses it.
        let of = |variant| of(info.code, variant, Sizes::of(variant));
        let cases: Vec<Case> = (0..VARIANTS).filter_map(of).collect();
        for (variant, case) in cases.iter().enumerate() {
            let name = format!("{}-{variant}", info.name);
            let model = case.export(None).unwrap_or_else(|error| panic!("{name}: {error}"));
            let hash = Sha256::of(&model).hex();
            match &folder {
                Some(folder) => write(folder, &name, case, &model),
                None if recorded["models"][&name] == hash.as_str() => {}
                None => drop(unlike.insert(name, hash)),
            }
        }
    }
    assert!(
        unlike.is_empty(),
        "not as onnxruntime has checked them (tests/reference/onnx_models.py records them): {unlike:#?}"
    );
}

#[test]
fn every_differentiable_operation_was_checked_in_fifty_random_sizes() {
    let folder = std::env::var("FLUXBAY_ONNX_CASES").ok();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/onnx_random.json");
    let recorded: serde_json::Value = std::fs::read_to_string(path)
        .map_or(serde_json::Value::Null, |text| serde_json::from_str(&text).unwrap());
    for info in OPERATIONS.iter().filter(|info| info.differentiable) {
        let cases = |number: usize| of(info.code, number, Sizes::random(info.code, number));
        let Some(first) = cases(0) else { continue };
        match &folder {
            Some(folder) => {
                for number in 0..RANDOM {
                    let case = cases(number).unwrap();
                    let name = format!("{}-random-{number}", info.name);
                    let model = case.export(None).unwrap_or_else(|error| panic!("{name}: {error}"));
                    write(folder, &name, &case, &model);
                }
            }
            None => {
                let found = &recorded["operations"][info.name];
                assert_eq!(found["sizes"], RANDOM, "{}", info.name);
                assert_eq!(found["first"], Sha256::of(&first.export(None).unwrap()).hex());
            }
        }
    }
}

#[test]
fn losses_random_numbers_and_operations_in_place_are_refused_with_their_layer() {
    let refused = |build: fn(&mut Bench, Handle) -> Vec<Handle>| {
        let case = case(&[3], build).unwrap();
        case.export(None).unwrap_err().to_string()
    };
    let loss = refused(|bench, x| {
        let (weight, target) = (bench.parameter(&[3, 3]), bench.parameter(&[3]));
        let y = bench.apply(op::LINEAR, &[x, weight], &[], &[]);
        let target = {
            let n = bench.samples(x);
            bench.apply(op::BROADCAST_AS, &[target], &[n, 3], &[])
        };
        vec![bench.apply(op::MSE, &[y, target], &[], &[])]
    });
    assert!(loss.contains("`mse` in layer `layer` cannot be exported: a loss"), "{loss}");
    let random = refused(|bench, x| {
        let noise = bench.apply(op::UNIFORM, &[], &[-1, i64::from(dtype::F32), 3], &[]);
        vec![bench.apply(op::ADD, &[x, noise], &[], &[])]
    });
    assert!(random.contains("`uniform` before the first layer"), "{random}");
    let in_place = refused(|bench, x| {
        let buffer = bench.parameter(&[3]);
        let all = bench.all(op::SCALE_, &[buffer], &[], &[2.0]);
        assert!(all.is_empty());
        vec![bench.apply(op::ADD, &[x, buffer], &[], &[])]
    });
    assert!(in_place.contains("`scale`"), "{in_place}");
}

#[test]
fn what_a_model_computes_outside_of_operations_is_noticed() {
    let outside = case(&[3], |bench, x| {
        let sum = bench.engine.read_f32(x).unwrap().iter().sum::<f32>();
        let sum = bench.engine.insert(Tensor::new(&[sum], &Device::Cpu).unwrap()).unwrap();
        vec![bench.apply(op::ADD, &[x, sum], &[], &[])]
    })
    .unwrap();
    let error = outside.export(None).unwrap_err().to_string();
    assert!(error.contains("`add`") && error.contains("without operations of the host"), "{error}");
    // A constant that depends on the number of samples alone is exported for one number.
    let sized = case(&[3], |bench, x| {
        let ones = vec![1.0_f32; bench.samples(x) as usize];
        let ones = Tensor::from_vec(ones, (bench.samples(x) as usize, 1), &Device::Cpu).unwrap();
        let ones = bench.engine.insert(ones).unwrap();
        vec![bench.apply(op::ADD, &[x, ones], &[], &[])]
    })
    .unwrap();
    assert!(sized.export(None).unwrap_err().to_string().contains("`--batch N`"));
    assert!(sized.export(Some(4)).is_ok());
}
