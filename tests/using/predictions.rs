//! `fluxbay predict`: classes by name, keys, files without targets, whole outputs, bad rows.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use fluxbay_tests::{repository, run, succeed, write};
use serde_json::Value;

use crate::{Trained, rows};

/// The table of penguins without the column of the target.
fn without_species(trained: &Trained) -> String {
    let lines = trained.penguins().into_iter().map(|cells| cells[1..].join(","));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn files_without_the_target_are_predicted_with_classes_by_name_and_lines_as_keys() {
    let trained = Trained::shared();
    write(trained.dir.path(), "unknown.csv", &without_species(trained));
    let table =
        succeed(trained.fluxbay(&["predict", "run", "unknown.csv", "--probabilities"])).stdout;
    let table = rows(&table);
    assert_eq!(table[0].join(","), "key,class,probability,p(Adelie),p(Chinstrap),p(Gentoo)");
    assert_eq!(table.len(), trained.penguins().len());
    // The key is the line in the file; the header is line 1.
    assert_eq!(table[1][0], "2");
    let penguins = trained.penguins();
    let right = table[1..].iter().zip(&penguins[1..]);
    let right = right.filter(|(predicted, penguin)| predicted[1] == penguin[0]).count();
    assert!(right * 10 > table.len() * 8, "{right} of {}", table.len());
    for row in &table[1..] {
        let sum: f64 = row[3..].iter().map(|cell| cell.parse::<f64>().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{row:?}");
    }
    // Columns are found by name: with the target, another order and more columns, nothing changes.
    let reversed: Vec<String> = trained
        .penguins()
        .iter()
        .map(|cells| cells.iter().rev().cloned().collect::<Vec<_>>().join(",") + ",x")
        .collect();
    write(trained.dir.path(), "reversed.csv", &(reversed.join("\n") + "\n"));
    let again = succeed(trained.fluxbay(&["predict", "run", "reversed.csv", "--probabilities"]));
    assert_eq!(rows(&again.stdout), table);
}

#[test]
fn predictions_give_the_figures_of_evaluate() {
    let trained = Trained::shared();
    let evaluated = succeed(trained.fluxbay(&["evaluate", "run", "--json"])).stdout;
    let evaluated: Value = serde_json::from_str(&evaluated).unwrap();
    let accuracy = evaluated["figures"]
        .as_array()
        .unwrap()
        .iter()
        .find(|figure| figure["name"] == "accuracy")
        .unwrap()["value"]
        .as_f64()
        .unwrap();
    let predicted = succeed(trained.fluxbay(&["predict", "run", "-o", "validation.jsonl"]));
    assert!(predicted.stderr.contains("predictions in validation.jsonl"), "{}", predicted.stderr);
    let lines: Vec<Value> = trained
        .read("validation.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let right = lines.iter().filter(|line| line["class"] == line["target"]).count();
    let share = right as f64 / lines.len() as f64;
    assert!((share - accuracy).abs() < 1e-12, "{share} {accuracy}");
    // The same samples read from a file have the same outputs, to the bit.
    let indices: Vec<usize> =
        lines.iter().map(|line| line["key"].as_str().unwrap().parse().unwrap()).collect();
    let penguins = trained.penguins();
    let picked: Vec<String> = std::iter::once(&penguins[0])
        .chain(indices.iter().map(|index| &penguins[index + 1]))
        .map(|cells| cells.join(","))
        .collect();
    write(trained.dir.path(), "picked.csv", &(picked.join("\n") + "\n"));
    let raw = |arguments: &[&str]| {
        let table = succeed(trained.fluxbay(&[&["predict", "run", "--raw"], arguments].concat()));
        let table = rows(&table.stdout);
        table[1..].iter().map(|row| row[row.len() - 3..].to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(raw(&["picked.csv"]), raw(&[]));
}

/// Columns of a table from `from` on, as numbers.
fn numbers(table: &str, from: usize) -> Vec<Vec<f64>> {
    let rows = rows(table);
    rows[1..]
        .iter()
        .map(|row| row[from..].iter().map(|cell| cell.parse().unwrap()).collect())
        .collect()
}

#[test]
fn the_values_of_a_layer_are_written_in_place_of_the_outputs() {
    let trained = Trained::shared();
    let table = |arguments: &[&str]| {
        let files = ["predict", "run", "penguins.csv"];
        succeed(trained.fluxbay(&[&files, arguments].concat())).stdout
    };
    let outputs = table(&["--raw"]);
    assert_eq!(table(&["--layer", "output"]), outputs);
    assert_eq!(table(&["--layer", "model.output"]), outputs);
    // What the last layer takes gives its outputs with its own parameters.
    let features = numbers(&table(&["--before", "output"]), 1);
    assert_eq!(numbers(&table(&["--layer", "hidden.0"]), 1), features, "the activation is fused");
    let model = trained.dir.path().join("run/model.safetensors");
    let model = candle_core::safetensors::load(model, &candle_core::Device::Cpu).unwrap();
    let weight = model["model.output.weight"].to_vec2::<f32>().unwrap();
    let bias = model["model.output.bias"].to_vec1::<f32>().unwrap();
    for (features, outputs) in features.iter().zip(numbers(&outputs, 1)) {
        for ((weight, bias), output) in weight.iter().zip(&bias).zip(outputs) {
            let sum: f64 = weight.iter().zip(features).map(|(w, x)| f64::from(*w) * x).sum();
            assert!((sum + f64::from(*bias) - output).abs() < 1e-5, "{sum} {bias} {output}");
        }
    }
    let refused = run(trained.fluxbay(&["predict", "run", "penguins.csv", "--layer", "ouput"]));
    assert!(refused.stderr.contains("no layer `ouput`: did you mean"), "{}", refused.stderr);
    assert!(refused.stderr.contains("output`?"), "{}", refused.stderr);
}

#[test]
fn several_files_and_stdin_are_read_in_order_and_top_classes_are_listed() {
    let trained = Trained::shared();
    let text = without_species(trained);
    let lines: Vec<&str> = text.lines().collect();
    write(trained.dir.path(), "a.csv", &(lines[..41].join("\n") + "\n"));
    let second = format!("{}\n{}\n", lines[0], lines[41..].join("\n"));
    write(trained.dir.path(), "b.csv", &second);
    let both =
        rows(&succeed(trained.fluxbay(&["predict", "run", "a.csv", "b.csv", "--top", "2"])).stdout);
    assert_eq!(both[0].join(","), "key,class,probability,class-2,probability-2");
    assert_eq!((both[1][0].as_str(), both[41][0].as_str()), ("a.csv:2", "b.csv:2"));
    let mut piped = trained
        .fluxbay(&["predict", "run", "-", "--top", "2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = piped.wait_with_output().unwrap();
    let piped = rows(&String::from_utf8(output.stdout).unwrap());
    let cells =
        |table: &[Vec<String>]| table.iter().map(|row| row[1..].to_vec()).collect::<Vec<_>>();
    assert_eq!(cells(&piped), cells(&both));
}

#[test]
fn bad_rows_are_left_out_or_end_the_command_as_configured() {
    let trained = Trained::shared();
    let good = without_species(trained);
    let lines: Vec<&str> = good.lines().take(4).collect();
    let bad = format!("{}\n{}\nDream,x,1,2,3,male,2007\n{}\n", lines[0], lines[1], lines[2]);
    write(trained.dir.path(), "bad.csv", &bad);
    let refused = run(trained.fluxbay(&["predict", "run", "bad.csv", "-o", "bad-out.csv"]));
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("bad.csv:3: column `bill_length_mm`: \"x\" is not a number"),
        "{}",
        refused.stderr
    );
    assert!(!trained.path("bad-out.csv").exists(), "an output is written as a whole or not at all");
    let skipped =
        succeed(trained.fluxbay(&["predict", "run", "bad.csv", "--set", "data.on-bad-row=skip"]));
    let keys: Vec<String> = rows(&skipped.stdout)[1..].iter().map(|row| row[0].clone()).collect();
    assert_eq!(keys, ["2", "4"]);
    assert!(skipped.stderr.contains("1 of 3 rows have no prediction"), "{}", skipped.stderr);
    write(trained.dir.path(), "lacks.csv", "island,sex\nDream,male\n");
    let lacks = run(trained.fluxbay(&["predict", "run", "lacks.csv"]));
    assert!(
        lacks.stderr.contains("predicts from column `bill_length_mm`, the file has: island, sex"),
        "{}",
        lacks.stderr
    );
    let nameless = run(trained.fluxbay(&["predict", "run", "bad.csv", "-o", "out"]));
    assert!(nameless.code == Some(2) && nameless.stderr.contains("--format csv"));
}

#[test]
fn a_killed_prediction_leaves_no_part_of_a_file_and_again_gives_the_same() {
    let trained = Trained::shared();
    let good = without_species(trained);
    let (header, rest) = good.split_once('\n').unwrap();
    let long = format!("{header}\n{}", rest.repeat(60));
    write(trained.dir.path(), "long.csv", &long);
    let arguments = ["predict", "run", "long.csv", "-o", "long-out.csv", "-q"];
    succeed(trained.fluxbay(&arguments));
    let whole = trained.read("long-out.csv");
    fs::remove_file(trained.path("long-out.csv")).unwrap();
    for millis in [20, 60, 120, 200] {
        let mut child = trained.fluxbay(&arguments).spawn().unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(millis) && child.try_wait().unwrap().is_none()
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        child.wait().unwrap();
        if trained.path("long-out.csv").exists() {
            assert!(trained.read("long-out.csv") == whole, "a part of a file was left");
        }
    }
    succeed(trained.fluxbay(&arguments));
    assert!(trained.read("long-out.csv") == whole);
}

#[test]
fn a_parquet_file_has_the_columns_and_values_of_the_table() {
    use parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::Field,
    };

    let trained = Trained::shared();
    for (arguments, file) in [
        (&["--top", "2", "--probabilities"][..], "classes"),
        (&["--raw"], "values"),
        (&["--before", "output"], "features"),
    ] {
        let name = format!("{file}.parquet");
        let table = |output: &str| {
            let all = [&["predict", "run", "-o", output, "-q"], arguments].concat();
            succeed(trained.fluxbay(&all));
        };
        table(&name);
        table(&format!("{file}.csv"));
        let expected = rows(&trained.read(&format!("{file}.csv")));
        let first = fs::read(trained.path(&name)).unwrap();
        let reader = SerializedFileReader::try_from(trained.path(&name).as_path()).unwrap();
        let columns = reader.metadata().file_metadata().schema().get_fields();
        let columns: Vec<&str> = columns.iter().map(|column| column.name()).collect();
        assert_eq!(columns, expected[0]);
        let found: Vec<Vec<String>> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| {
                let cells = row.unwrap().into_columns().into_iter();
                let cell = |(_, field)| match field {
                    Field::Str(text) => text,
                    Field::Float(number) => serde_json::to_string(&number).unwrap(),
                    other => panic!("{other}"),
                };
                cells.map(cell).collect()
            })
            .collect();
        assert_eq!(found, expected[1..], "{file}");
        table(&name);
        assert!(first == fs::read(trained.path(&name)).unwrap(), "the same bytes again");
    }
}

#[test]
fn arrays_predict_for_files_without_targets() {
    let (trained, folder) = (Trained::shared(), repository().join("plugins/data/tests/arrays"));
    write(
        trained.dir.path(),
        "arrays.toml",
        &format!(
            "[run]\nepochs = 1\n[data]\ncomponent = \"arrays\"\npath = {:?}\nstandardize = true\n[loader]\nvalidation = 0.25\nbatch-size = 5\n[model]\ncomponent = \"mlp\"\nhidden = [4]\n[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\n",
            folder.join("stored.npz")
        ),
    );
    succeed(trained.fluxbay(&["train", "arrays.toml", "--run-dir", "arrays", "-q"]));
    let of = |files: &[PathBuf]| {
        let files = files.iter().map(|file| file.to_str().unwrap());
        let all: Vec<&str> = ["predict", "arrays"].into_iter().chain(files).collect();
        rows(&succeed(trained.fluxbay(&all)).stdout)
    };
    let [npz, tensors] = ["stored.npz", "tensors.safetensors"].map(|name| of(&[folder.join(name)]));
    assert_eq!((npz.len(), npz[0].join(",").as_str()), (13, "key,class,probability"));
    assert_eq!(npz, tensors);
    let both = of(&[folder.join("stored.npz"), folder.join("tensors.safetensors")]);
    assert_eq!(both.len(), 25);
    assert_eq!(both[24][1..], npz[12][1..], "the same sample");
    assert!(both[24][0].ends_with("tensors.safetensors:11"), "{}", both[24][0]);
}

#[test]
fn data_sets_without_files_predict_for_the_data_of_the_run() {
    let trained = Trained::shared();
    write(
        trained.dir.path(),
        "digits.toml",
        "[run]\nepochs = 1\n[data]\ncomponent = \"digits\"\n[loader]\nvalidation = 0.1\n[model]\ncomponent = \"mlp\"\nhidden = [16]\n[loss]\ncomponent = \"cross-entropy\"\n[optimizer]\ncomponent = \"adamw\"\n",
    );
    succeed(trained.fluxbay(&[
        "train",
        "digits.toml",
        "--run-dir",
        "digits",
        "-q",
        "--limit-batches",
        "4",
    ]));
    let table = rows(&succeed(trained.fluxbay(&["predict", "digits"])).stdout);
    assert_eq!(table[0].join(","), "key,target,class,probability");
    assert_eq!(table.len(), 181);
    let refused = run(trained.fluxbay(&["predict", "digits", "penguins.csv"]));
    assert!(
        refused.code == Some(1) && refused.stderr.contains("reads no files to predict from"),
        "{}",
        refused.stderr
    );
}
