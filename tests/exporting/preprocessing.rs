//! Preprocessing as part of the graph: from raw values, exported models compute what `predict --raw` does with files.
//!
//! The learning rate is 0, so that the exported files are the same on every machine.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use fluxbay::export::onnx::{self, Description, Preprocessing};
use fluxbay::predict::{DataUse, PredictorOptions};
use fluxbay_tests::{fluxbay, plugin_dir, repository, scratch, succeed, write};

use crate::{onnxruntime, tract};

/// Largest difference between raw values in the graph and files in `predict`.
const TOLERANCE: f64 = 1e-4;

/// What tract says of missing numbers: it takes the result of `IsNaN` for one of the type of its input. onnxruntime runs it.
const UNABLE: &str = "Impossible to unify F64 with Bool";

/// A run, with samples as raw values and as a file.
struct Case {
    name: &'static str,
    /// Settings of the data set.
    data: String,
    file: PathBuf,
    raw: Vec<Tensor>,
}

fn column(values: Vec<f64>) -> Tensor {
    let count = values.len();
    Tensor::from_vec(values, (count, 1), &Device::Cpu).unwrap()
}

/// The table of penguins without their species, some numbers missing, and without the rows that have no sex.
fn table(dir: &Path) -> Case {
    let examples = repository().join("docs/examples/runs");
    let penguins = fs::read_to_string(examples.join("penguins.csv")).unwrap();
    let mut rows: Vec<Vec<&str>> = penguins
        .lines()
        .map(|line| line.split(',').skip(1).collect())
        .filter(|row: &Vec<&str>| row[5] != "NA")
        .collect();
    for (row, column) in [(2, 1), (5, 4), (9, 6)] {
        rows[row][column] = "NA";
    }
    let lines: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
    let file = write(dir, "unknown.csv", &lines.join("\n"));
    let number = |at: usize| -> Tensor {
        column(rows[1..].iter().map(|row| row[at].parse().unwrap_or(f64::NAN)).collect())
    };
    let word = |at: usize, words: &[&str]| {
        let place =
            |row: &Vec<&str>| words.iter().position(|word| *word == row[at]).unwrap() as i64;
        let places: Vec<i64> = rows[1..].iter().map(place).collect();
        Tensor::from_vec(places, rows.len() - 1, &Device::Cpu).unwrap()
    };
    let raw = vec![
        word(0, &["Biscoe", "Dream", "Torgersen"]),
        number(1),
        number(2),
        number(3),
        number(4),
        word(5, &["female", "male"]),
        number(6),
    ];
    let data = format!(
        "component = \"csv\"\npath = {:?}\ntarget = \"species\"\nmissing = \"fill\"\n",
        examples.join("penguins.csv")
    );
    Case { name: "csv", data, file, raw }
}

fn arrays() -> Case {
    let folder = repository().join("plugins/data/tests/arrays");
    let file = folder.join("tensors.safetensors");
    let tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    let data = format!(
        "component = \"arrays\"\npath = {:?}\nstandardize = true\n",
        folder.join("stored.npz")
    );
    Case { name: "arrays", data, file, raw: vec![tensors["x"].to_dtype(DType::F64).unwrap()] }
}

/// Images, whose bytes are divided.
fn pictures() -> Case {
    let folder = repository().join("plugins/data/digits");
    let file = folder.join("images-idx3-ubyte.gz");
    let mut bytes = Vec::new();
    let packed = fs::File::open(&file).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut bytes).unwrap();
    let pixels: Vec<f32> = bytes[16..].iter().map(|pixel| f32::from(*pixel)).collect();
    let raw = Tensor::from_vec(pixels, (bytes.len() / 64, 8, 8), &Device::Cpu).unwrap();
    let data = format!(
        "component = \"idx\"\nimages = {file:?}\nlabels = {:?}\n",
        folder.join("labels-idx1-ubyte.gz")
    );
    Case { name: "idx", data, file, raw: vec![raw] }
}

#[test]
fn raw_values_in_the_graph_give_what_files_give() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let command = |arguments: &[&str]| {
        let mut command = fluxbay(dir.path(), plugins.path());
        command.args(arguments);
        succeed(&mut command)
    };
    let plugin_dirs = vec![plugins.path().to_owned()];
    let options = PredictorOptions { plugin_dirs, ..PredictorOptions::default() };
    let mut wrong = Vec::new();
    for Case { name, data, file, raw } in [table(dir.path()), arrays(), pictures()] {
        let run_file = write(
            dir.path(),
            &format!("{name}.toml"),
            &format!(
                "[run]\nepochs = 1\n[data]\n{data}[loader]\nvalidation = 0.25\nbatch-size = 4\n\
                 [model]\ncomponent = \"mlp\"\nhidden = [8]\n[loss]\ncomponent = \"cross-entropy\"\n\
                 [optimizer]\ncomponent = \"sgd\"\nlearning-rate = 0.0\n"
            ),
        );
        let (run_file, file) = (run_file.to_str().unwrap(), file.to_str().unwrap());
        command(&["train", run_file, "--run-dir", name, "-q", "--limit-batches", "1"]);
        let outputs = format!("{name}-raw.csv");
        command(&["predict", name, file, "--raw", "-q", "-o", &outputs]);
        let text = fs::read_to_string(dir.path().join(&outputs)).unwrap();
        let rows = text.lines().skip(1).map(|line| line.split(',').skip(1));
        let numbers: Vec<f32> =
            rows.flat_map(|row| row.map(|cell| cell.parse().unwrap())).collect();
        let samples = raw[0].dims()[0];
        let expected = numbers.len() / samples;
        let expected = Tensor::from_vec(numbers, (samples, expected), &Device::Cpu).unwrap();
        let applied = options.open(&dir.path().join(name), DataUse::Files).unwrap();
        let (inputs, steps) = applied.steps(&[]).unwrap();
        let preprocessing = Some(Preprocessing { inputs, steps });
        let description = Description { preprocessing, ..Description::default() };
        let model = onnx::model(&applied, &description).unwrap();
        let found = tract::difference(&model, &raw, std::slice::from_ref(&expected));
        let agrees = match (name, &found) {
            ("csv", Err(message)) => message.contains(UNABLE),
            (_, found) => found.as_ref().is_ok_and(|difference| *difference <= TOLERANCE),
        };
        if !agrees {
            wrong.push(format!("{name}: {found:?}"));
        }
        let name = format!("preprocessing-{name}");
        wrong.extend(onnxruntime::unlike(&name, &model, || (raw.clone(), vec![expected])));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
