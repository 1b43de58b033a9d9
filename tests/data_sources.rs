//! Data sets of different formats: the same samples give the same training, to the bit.

use std::{fs, path::Path};

use fluxbay_tests::{fluxbay, plugin_dir, repository, scratch, succeed, write};
use serde_json::Value;

const MLP: &str = "[model]\ncomponent = \"mlp\"\nhidden = [8]\n[loss]\ncomponent = \"cross-entropy\"\n\
                   [optimizer]\ncomponent = \"adamw\"\nlearning-rate = 1e-2\n[[callback]]\ncomponent = \"metrics\"\n\
                   metrics = [\"accuracy\"]\n";

/// Trains in `dir` with the given `[data]` and returns the records of `metrics.jsonl` without their
/// times, and the bytes of the model.
fn trained(dir: &Path, plugins: &Path, data: &str, rest: &str) -> (Vec<Value>, Vec<u8>) {
    let run = format!(
        "[run]\nepochs = 2\nseed = 5\nthreads = 1\n[data]\n{data}\n[loader]\nbatch-size = 16\n{rest}"
    );
    write(dir, "run.toml", &run);
    let _ = fs::remove_dir_all(dir.join("out"));
    succeed(fluxbay(dir, plugins).args(["train", "run.toml", "--run-dir", "out"]));
    let text = fs::read_to_string(dir.join("out/metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record.as_object_mut().unwrap().remove("time");
        record
    });
    (records.collect(), fs::read(dir.join("out/model.safetensors")).unwrap())
}

/// Last value of a metric over the validation data.
fn number(records: &[Value], name: &str) -> f64 {
    let of_epochs = |record: &&Value| {
        record["phase"] == "validation" && record["scope"] == "epoch" && record["name"] == name
    };
    let found = records.iter().rfind(of_epochs).and_then(|record| record["value"].as_f64());
    found.unwrap_or_else(|| panic!("{name}: {records:?}"))
}

/// A `.npy` file.
fn npy(kind: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), elements].concat()
}

#[test]
fn a_table_trains_the_same_from_csv_parquet_and_arrays() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let (dir, plugins) = (dir.path(), plugins.path());
    let examples = repository().join("docs/examples/runs/penguins.csv");
    fs::copy(examples, dir.join("penguins.csv")).unwrap();
    let parquet = repository().join("plugins/parquet/tests/penguins.parquet");
    fs::copy(parquet, dir.join("penguins.parquet")).unwrap();
    let penguins = |format: &str| {
        let data = format!(
            "component = \"{format}\"\npath = \"penguins.{format}\"\ntarget = \"species\"\nmissing = \"fill\""
        );
        trained(dir, plugins, &data, MLP)
    };
    assert!(penguins("csv") == penguins("parquet"));

    // Numbers that all formats write exactly.
    let rows: Vec<([f32; 3], u8)> = (0..90_u8)
        .map(|row| {
            let value = |factor: u8| f32::from(row.wrapping_mul(factor) % 64) / 8.0 - 3.0;
            ([value(7), value(29), value(53)], row % 3)
        })
        .collect();
    let lines: String = rows.iter().map(|([a, b, c], y)| format!("{a},{b},{c},{y}\n")).collect();
    write(dir, "table.csv", &format!("a,b,c,y\n{lines}"));
    let numbers: Vec<u8> =
        rows.iter().flat_map(|(xs, _)| xs).flat_map(|x| x.to_le_bytes()).collect();
    let classes: Vec<u8> = rows.iter().map(|(_, y)| *y).collect();
    fs::write(dir.join("x.npy"), npy("<f4", "(90, 3)", &numbers)).unwrap();
    fs::write(dir.join("y.npy"), npy("|u1", "(90,)", &classes)).unwrap();
    for standardize in [false, true] {
        let csv = format!(
            "component = \"csv\"\npath = \"table.csv\"\ntarget = \"y\"\nstandardize = {standardize}"
        );
        let arrays = format!(
            "component = \"arrays\"\npath = \"x.npy\"\ntargets = \"y.npy\"\nstandardize = {standardize}"
        );
        let (csv, arrays) = (trained(dir, plugins, &csv, MLP), trained(dir, plugins, &arrays, MLP));
        assert!(csv == arrays, "standardize = {standardize}");
    }
}

#[test]
fn texts_are_classified_and_padding_does_not_change_the_result() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let (dir, plugins) = (dir.path(), plugins.path());
    for name in ["reviews.jsonl", "reviews.toml"] {
        fs::copy(repository().join("docs/examples/runs").join(name), dir.join(name)).unwrap();
    }
    let train = |length: usize| {
        let length = format!("data.length={length}");
        let run = format!("out-{length}");
        let mut command = fluxbay(dir, plugins);
        succeed(command.args(["train", "reviews.toml", "--run-dir", &run, "--set", &length]));
        let text = fs::read_to_string(dir.join(run).join("metrics.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let short = train(64);
    assert!(number(&short, "accuracy") > 0.9, "{short:?}");
    let long = train(96);
    let (short, long) = (number(&short, "loss"), number(&long, "loss"));
    assert!((short - long).abs() < 1e-3 * short.max(1e-2), "{short} {long}");
    // The tokenizer that was trained is in the run's folder and gives the same ids.
    let tokenizer = dir.join("out-data.length=64/tokenizer.json");
    fs::copy(tokenizer, dir.join("tokenizer.json")).unwrap();
    let mut command = fluxbay(dir, plugins);
    command.args(["train", "reviews.toml", "--run-dir", "again", "--set", "data.length=64"]);
    succeed(command.args(["--set", "data.tokenizer=\"tokenizer.json\""]));
    let model = |run: &str| fs::read(dir.join(run).join("model.safetensors")).unwrap();
    assert!(model("out-data.length=64") == model("again"));
    // Measured again, and with other data: the tokenizer and the classes are those of the run.
    fs::remove_file(dir.join("tokenizer.json")).unwrap();
    let rows = "{\"text\": \"It never worked.\", \"label\": \"bad\"}\n".repeat(10);
    write(dir, "other.jsonl", &rows);
    let other = "data.path=\"other.jsonl\"";
    succeed(
        fluxbay(dir, plugins).args(["evaluate", "again", "--data", "training", "--set", other]),
    );
}
