//! The standard models and optimizers against PyTorch: with equal weights and batches, the losses
//! of all steps agree.
//!
//! `training.py`, `runs.py`, `parameter_groups.py`, `precision.py` and `ctc.py` of `tests/reference` record the
//! expected losses and the versions.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor};
use fluxbay_tests::{build_plugin, fluxbay, plugin_dir, repository, scratch, write};
use serde_json::Value;

/// Largest relative difference of a loss. Observed: 6e-7, from another order of summation.
const TOLERANCE: f64 = 1e-5;

fn recorded(file: &str) -> Value {
    let text = fs::read_to_string(repository().join("tests/reference").join(file));
    serde_json::from_str(&text.expect("the recorded numbers")).expect("recorded as JSON")
}

/// Trains with a run file and compares the losses of all steps with the recorded ones.
fn compare(name: &str, run_file: &Path, dir: &Path, plugins: &Path, expected: &Value) {
    compare_within(name, run_file, dir, plugins, expected, TOLERANCE);
}

/// As [`compare`], with another largest relative difference. Returns the losses.
fn compare_within(
    name: &str,
    run_file: &Path,
    dir: &Path,
    plugins: &Path,
    expected: &Value,
    tolerance: f64,
) -> Vec<f64> {
    let expected: Vec<f64> =
        expected.as_array().expect("losses").iter().filter_map(Value::as_f64).collect();
    let record = dir.join("record");
    let mut train = fluxbay(dir, plugins);
    train.arg("train").arg(run_file).arg("--run-dir").arg(&record).arg("--quiet");
    let output = train.output().expect("the binary starts");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let lines = fs::read_to_string(record.join("metrics.jsonl")).expect("the run's metrics");
    let losses: Vec<f64> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"))
        .filter(|line| line["scope"] == "step" && line["name"] == "loss")
        .filter_map(|line| line["value"].as_f64())
        .collect();
    assert_eq!(losses.len(), expected.len(), "{name}");
    assert!(expected.len() >= 10);
    for (step, (ours, theirs)) in losses.iter().zip(&expected).enumerate() {
        assert!(
            (ours - theirs).abs() < tolerance * theirs,
            "{name}, step {}: loss {ours}, the reference has {theirs}",
            step + 1
        );
    }
    losses
}

fn trains_like_pytorch(name: &str) {
    let (dir, plugins) = (scratch(), plugin_dir());
    let run_file = repository().join(format!("tests/reference/{name}.toml"));
    let expected = &recorded("pytorch.json")["models"][name];
    compare(name, &run_file, dir.path(), plugins.path(), expected);
}

/// A data set with class probabilities as targets.
const SOFT: &str = r#"
use fluxbay_plugin::prelude::*;

struct Soft;

impl Component for Soft {
    type Config = NoConfig;
    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Soft)
    }
}

impl Dataset for Soft {
    fn open(&mut self) -> Result<()> {
        Ok(())
    }
    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[4]), Field::new("ys", DType::F32, &[3])]
    }
    fn splits(&self) -> Vec<Split> {
        vec![Split::new("training", 64)]
    }
    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        for (row, i) in buffers.f32(0)?.chunks_exact_mut(4).zip(indices) {
            row.iter_mut().zip(1..).for_each(|(x, k)| *x = (*i as f64 * f64::from(k)).sin() as f32);
        }
        for (row, i) in buffers.f32(1)?.chunks_exact_mut(3).zip(indices) {
            let y = [0.0, 2.0, 4.0].map(|k| 1.0 + (*i as f64 + k).sin());
            row.iter_mut().zip(y).for_each(|(to, y0)| *to = (y0 / y.iter().sum::<f64>()) as f32);
        }
        Ok(())
    }
}

plugin! {
    summary: "Soft targets.",
    dataset "soft" => Soft { summary: "Inputs [4] with probabilities of 3 classes." },
}
"#;

/// Runs the cases of `runs.json` whose sections mention `section`.
fn runs_like_the_reference(section: &str, soft: bool) {
    runs_of("runs.json", section, soft);
}

/// Runs the cases of a recorded file whose sections mention `section`.
fn runs_of(file: &str, section: &str, soft: bool) {
    let (recorded, plugins) = (recorded(file), plugin_dir());
    if soft {
        fs::copy(build_plugin("soft", SOFT), plugins.path().join("soft.so")).unwrap();
    }
    let digits = repository().join("plugins/data/digits");
    let mut count = 0;
    for (name, case) in recorded["cases"].as_object().unwrap() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (base, sections) = (text(&case["base"]), text(&case["sections"]));
        if !sections.contains(section) || (base == "soft") != soft {
            continue;
        }
        let dir = scratch();
        write(dir.path(), "table.csv", recorded["table"].as_str().unwrap());
        let run = format!("{}{sections}", text(&recorded["bases"][base.as_str()]))
            .replace("IMAGES", &digits.join("images-idx3-ubyte.gz").display().to_string())
            .replace("LABELS", &digits.join("labels-idx1-ubyte.gz").display().to_string());
        let run_file = write(dir.path(), "run.toml", &run);
        compare(name, &run_file, dir.path(), plugins.path(), &case["losses"]);
        same_bias(name, dir.path(), "model.output.bias", &case["bias"]);
        count += 1;
    }
    assert!(count >= 2, "{count} cases");
}

/// Compares a bias of the trained model with the recorded one.
fn same_bias(name: &str, dir: &Path, path: &str, expected: &Value) {
    let model = candle_core::safetensors::load(dir.join("record/model.safetensors"), &Device::Cpu);
    let bias = model.unwrap()[path].to_vec1::<f32>().unwrap();
    for (ours, theirs) in bias.iter().zip(expected.as_array().unwrap()) {
        let (ours, theirs) = (f64::from(*ours), theirs.as_f64().unwrap());
        assert!((ours - theirs).abs() < 1e-5, "{name}: bias {ours}, the reference has {theirs}");
    }
}

#[test]
fn losses_agree_with_pytorch() {
    runs_like_the_reference("component = \"sgd\"", false);
}

#[test]
fn losses_of_soft_targets_agree_with_pytorch() {
    runs_like_the_reference("component = \"sgd\"", true);
}

#[test]
fn optimizers_agree_with_their_references() {
    runs_like_the_reference("component = \"ada", false);
    runs_like_the_reference("component = \"muon", false);
    runs_like_the_reference("component = \"schedule-free", false);
}

/// Both precisions beside f32 and `torch.autocast`. Products of rounded operands are summed in f32 here
/// and there, but PyTorch rounds their results, too. Batch normalisation amplifies the last bits of f32.
#[test]
fn losses_of_both_precisions_agree_with_pytorch() {
    let (recorded, plugins) = (recorded("precision.json"), plugin_dir());
    let digits = repository().join("plugins/data/digits");
    let paths = [
        ("IMAGES", digits.join("images-idx3-ubyte.gz")),
        ("LABELS", digits.join("labels-idx1-ubyte.gz")),
        ("LICENSE", repository().join("LICENSE-APACHE")),
    ];
    for (name, case) in recorded["cases"].as_object().unwrap() {
        let losses = [("f32", 2e-4), ("bf16", 2e-2)].map(|(precision, tolerance)| {
            let dir = scratch();
            let mut run = case["run"].as_str().unwrap().to_owned();
            for (word, path) in &paths {
                run = run.replace(&format!("\"{word}\""), &format!("\"{}\"", path.display()));
            }
            let run = run.replace("[run]\n", &format!("[run]\nprecision = \"{precision}\"\n"));
            let run_file = write(dir.path(), "run.toml", &run);
            let (name, expected) = (format!("{name} in {precision}"), &case[precision]);
            compare_within(&name, &run_file, dir.path(), plugins.path(), expected, tolerance)
        });
        let mut pairs = losses[0].iter().zip(&losses[1]);
        assert!(pairs.any(|(f32, bf16)| (f32 - bf16).abs() > 1e-5), "{name}: bf16 is f32");
    }
}

#[test]
fn parameter_groups_agree_with_pytorch() {
    runs_of("parameter_groups.json", "decay-exempt", false);
    runs_of("parameter_groups.json", "[[optimizer.group]]", false);
}

/// A tensor of recorded numbers.
fn tensor(value: &Value) -> Tensor {
    fn flat(value: &Value, shape: &mut Vec<usize>, depth: usize, numbers: &mut Vec<f32>) {
        let Some(list) = value.as_array() else {
            return numbers.push(value.as_f64().unwrap() as f32);
        };
        if shape.len() == depth {
            shape.push(list.len());
        }
        list.iter().for_each(|value| flat(value, shape, depth + 1, numbers));
    }
    let (mut shape, mut numbers) = (Vec::new(), Vec::new());
    flat(value, &mut shape, 0, &mut numbers);
    Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
}

#[test]
fn ctc_agrees_with_pytorch() {
    let (recorded, plugins) = (recorded("ctc.json"), plugin_dir());
    for (name, case) in recorded["cases"].as_object().unwrap() {
        let dir = scratch();
        let save = |file: &str, tensors: &[(&str, Tensor)]| {
            let tensors: HashMap<_, _> = tensors.iter().cloned().collect();
            candle_core::safetensors::save(&tensors, dir.path().join(file)).unwrap();
        };
        let targets = tensor(&case["targets"]).to_dtype(DType::U32).unwrap();
        save("data.safetensors", &[("x", tensor(&recorded["inputs"])), ("y", targets)]);
        let start = [("weight", "model.1.weight"), ("bias", "model.1.bias")];
        save("start.safetensors", &start.map(|(from, to)| (to, tensor(&recorded[from]))));
        let settings = case["settings"].as_str().unwrap();
        let run = format!(
            r#"[run]
epochs = 12
threads = 1
[data]
component = "arrays"
path = "data.safetensors"
inputs = "x"
targets = "y"
[loader]
batch-size = 6
shuffle = false
validation = 0.0
[model]
component = "sequential"
[[model.layers]]
type = "flatten"
[[model.layers]]
type = "linear"
out = 45
[[model.layers]]
type = "reshape"
shape = [9, 5]
[fine-tuning]
from = "start.safetensors"
[[phase]]
component = "training"
[optimizer]
component = "sgd"
learning-rate = 0.05
[loss]
component = "ctc"
{settings}"#
        );
        let run_file = write(dir.path(), "run.toml", &run);
        compare(name, &run_file, dir.path(), plugins.path(), &case["losses"]);
        same_bias(name, dir.path(), "model.1.bias", &case["bias"]);
        if !settings.contains("too-long") {
            continue;
        }
        let refused = write(dir.path(), "refused.toml", &run.replace(settings, ""));
        let output =
            fluxbay(dir.path(), plugins.path()).arg("train").arg(refused).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(text.contains("has 6 labels and needs 11 frames, the model gives 9"), "{text}");
    }
}

#[test]
fn mlp_with_nesterov_trains_like_pytorch() {
    trains_like_pytorch("mlp");
}

#[test]
fn cnn_with_adam_trains_like_pytorch() {
    trains_like_pytorch("cnn");
}

#[test]
fn gpt_with_adamw_trains_like_pytorch() {
    trains_like_pytorch("gpt");
}
