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
    // The model of the last run, applied to rows of the file: the same as to those of the csv.
    let predict = |file: &str, component: &str| {
        let mut command = fluxbay(dir, plugins);
        let data = format!("data.component={component:?}");
        let path = format!("data.path={file:?}");
        command.args(["train", "run.toml", "--run-dir", component, "--set", &data, "--set", &path]);
        // Another component has settings of its own.
        command.args(["--set", "data.target=\"species\"", "--set", "data.missing=\"fill\""]);
        succeed(&mut command);
        let predicted = succeed(fluxbay(dir, plugins).args(["predict", component, file])).stdout;
        // Keys are lines of a text, and rows of a table.
        let rows = predicted.lines().map(|line| line.split_once(',').unwrap().1.to_owned());
        rows.collect::<Vec<String>>()
    };
    let of_parquet = predict("penguins.parquet", "parquet");
    assert!(of_parquet.len() > 300 && of_parquet == predict("penguins.csv", "csv"));

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
    // Batches as long as their longest text, and those of texts of similar lengths.
    let longest = |out: &str, more: &[&str]| {
        let mut command = fluxbay(dir, plugins);
        command.args(["train", "reviews.toml", "--run-dir", out, "--set", "data.length=64"]);
        command.args(["--set", "data.padding=\"longest\""]);
        command.args(more.iter().flat_map(|setting| ["--set", setting]));
        succeed(&mut command);
        let text = fs::read_to_string(dir.join(out).join("metrics.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let loss = number(&longest("longest", &[]), "loss");
    assert!((short - loss).abs() < 1e-3 * short.max(1e-2), "{short} {loss}");
    let bucketed = longest("bucketed", &["loader.ragged=\"bucket\"", "loader.pad-multiple=8"]);
    assert!(number(&bucketed, "accuracy") > 0.9, "{bucketed:?}");
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

#[test]
fn texts_are_packed_into_rows_for_a_language_model() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let (dir, plugins) = (dir.path(), plugins.path());
    fs::copy(repository().join("docs/examples/runs/reviews.jsonl"), dir.join("reviews.jsonl"))
        .unwrap();
    let run = |task: &str, ragged: &str| {
        format!(
            "[run]\nepochs = 1\nthreads = 1\n[data]\ncomponent = \"jsonl\"\npath = \"reviews.jsonl\"\n\
             vocabulary = 300\nlength = 48\ntask = \"{task}\"\npadding = \"longest\"\n[loader]\nbatch-size = 4\n\
             ragged = \"{ragged}\"\n[model]\ncomponent = \"gpt\"\nlayers = 1\nwidth = 16\nheads = 2\n[loss]\n\
             component = \"cross-entropy\"\nignore-index = 0\n[optimizer]\ncomponent = \"adamw\"\n"
        )
    };
    write(dir, "pack.toml", &run("language-model", "pack"));
    succeed(fluxbay(dir, plugins).args(["train", "pack.toml", "--run-dir", "out"]));
    let seen = succeed(fluxbay(dir, plugins).args(["data", "inspect", "pack.toml", "--json"]));
    let seen: Value = serde_json::from_str(&seen.stdout).unwrap();
    let names: Vec<&str> =
        seen["fields"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["xs", "ys", "segments", "positions"]);
    write(dir, "classes.toml", &run("classification", "pack"));
    let refused = fluxbay_tests::run(fluxbay(dir, plugins).args(["train", "classes.toml"]));
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    let text = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("that of field `ys` is the same for all"), "{text}");
}

#[test]
fn a_tokenizer_is_trained_without_a_run_and_is_that_of_a_run() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let (dir, plugins) = (dir.path(), plugins.path());
    for name in ["reviews.jsonl", "reviews.toml"] {
        fs::copy(repository().join("docs/examples/runs").join(name), dir.join(name)).unwrap();
    }
    let train = |more: &[&str]| {
        let mut command = fluxbay(dir, plugins);
        fluxbay_tests::run(command.args(["tokenizer", "train", "--vocabulary", "400"]).args(more))
    };
    let said = train(&["reviews.jsonl"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout.starts_with("tokenizer.json: "), "{}", said.stdout);
    let refused = train(&["reviews.jsonl"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("--force"), "{}", refused.stderr);
    succeed(fluxbay(dir, plugins).args(["train", "reviews.toml", "--run-dir", "out"]));
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert!(read("tokenizer.json") == read("out/tokenizer.json"));
    // The texts alone, as a file of lines: the same special tokens, other merges at the ends of texts.
    let texts: String = read("reviews.jsonl")
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned() + "\n"
        })
        .collect();
    write(dir, "texts.txt", &texts);
    let said = train(&["texts.txt", "-o", "texts.json"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let tokenizer: Value = serde_json::from_str(&read("texts.json")).unwrap();
    assert_eq!(tokenizer["model"]["vocab"]["<|endoftext|>"], 1);
    let refused = train(&["reviews.jsonl", "--force", "--field", "body"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("there is no field `body`"), "{}", refused.stderr);
}

#[test]
fn lists_train_the_same_from_parquet_and_json_lines() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let (dir, plugins) = (dir.path(), plugins.path());
    for file in ["lists.parquet", "lists.jsonl"] {
        fs::copy(repository().join("plugins/parquet/tests").join(file), dir.join(file)).unwrap();
    }
    let both = |columns: &str, rest: &str| {
        let [parquet, json] = ["parquet", "jsonl-table"].map(|component| {
            let file = if component == "parquet" { "lists.parquet" } else { "lists.jsonl" };
            let data = format!(
                "component = {component:?}\npath = {file:?}\ntarget = \"label\"\ncolumns = [{columns}]\nmissing = \"fill\""
            );
            let of_run = trained(dir, plugins, &data, rest);
            let mut command = fluxbay(dir, plugins);
            let predicted = succeed(command.args(["predict", "out", file])).stdout;
            assert_eq!(predicted.lines().count(), 61, "{component}: {columns}");
            let values = predicted.lines().map(|line| line.split_once(',').unwrap().1.to_owned());
            (of_run, values.collect::<Vec<String>>())
        });
        assert!(parquet == json, "{columns}");
        parquet.0
    };
    // Lists of one length are inputs beside the number.
    let (records, _) = both("\"number\", \"embedding\", \"flags\"", MLP);
    assert!(number(&records, "loss").is_finite());
    // Lists of ids are what language models read; batches are as long as their longest list.
    let bag = MLP.replace(
        "component = \"mlp\"\nhidden = [8]",
        "component = \"bag-of-embeddings\"\nwidth = 4\nhidden = [4]",
    );
    for rule in ["pad", "bucket"] {
        let rest = format!("ragged = {rule:?}\n{bag}");
        let (records, _) = both("\"tokens\"]\nids = [\"tokens\"", &rest);
        assert!(number(&records, "loss").is_finite());
    }
}
