//! `fluxbay init`: what it guesses from data, and that the run file trains at once.

use std::{fs, path::Path};

use fluxbay_tests::{fluxbay, plugin_dir, repository, run, scratch, succeed, write};
use serde_json::Value;

/// Writes a run file for `data` and returns it.
fn init(dir: &Path, plugins: &Path, data: &str, more: &[&str]) -> String {
    let mut command = fluxbay(dir, plugins);
    let said = succeed(command.args(["init", data, "--force"]).args(more)).stdout;
    assert!(said.contains("fluxbay train run.toml"), "{said}");
    fs::read_to_string(dir.join("run.toml")).unwrap()
}

/// Trains the run file and returns the last value of a metric over the validation data.
fn trained(dir: &Path, plugins: &Path, metric: &str) -> f64 {
    let _ = fs::remove_dir_all(dir.join("out"));
    succeed(fluxbay(dir, plugins).args([
        "train",
        "run.toml",
        "--run-dir",
        "out",
        "--threads",
        "1",
    ]));
    let text = fs::read_to_string(dir.join("out/metrics.jsonl")).unwrap();
    let records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_epochs = |record: &&Value| {
        record["phase"] == "validation" && record["scope"] == "epoch" && record["name"] == metric
    };
    records.iter().rfind(of_epochs).and_then(|record| record["value"].as_f64()).expect(metric)
}

fn contains(file: &str, lines: &[&str]) {
    for line in lines {
        assert!(file.contains(line), "{line}:\n{file}");
    }
}

#[test]
fn tables_train_at_once() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let (dir, plugins) = (dir.path(), plugins.path());
    let data = repository().join("tests/data");
    fs::copy(data.join("penguins.csv"), dir.join("penguins.csv")).unwrap();
    // The file of scikit-learn begins with its sizes.
    let iris = fs::read_to_string(data.join("iris.csv")).unwrap();
    let rows = iris.split_once('\n').unwrap().1;
    write(
        dir,
        "iris.csv",
        &format!("sepal_length,sepal_width,petal_length,petal_width,kind\n{rows}"),
    );
    let file = init(dir, plugins, "iris.csv", &[]);
    contains(&file, &["path = \"iris.csv\"", "task = \"classification\"", "component = \"mlp\""]);
    assert!(trained(dir, plugins, "accuracy") > 0.9, "{file}");

    let file = init(dir, plugins, "penguins.csv", &[]);
    contains(&file, &["target = \"species\"", "guessed by its name", "missing = \"fill\""]);
    assert!(trained(dir, plugins, "accuracy") > 0.9, "{file}");

    let file = init(dir, plugins, "penguins.csv", &["--target", "body_mass_g"]);
    contains(&file, &["task = \"regression\"", "standardize-target = true", "\"mae\""]);
    assert!(trained(dir, plugins, "r2") > 0.6, "{file}");

    // Other separators, no header, and columns that are no use.
    let rows: String = (0..60)
        .map(|row| format!("{row};name{row};{},5;{}\n", row % 7, ["a", "b"][row % 2]))
        .collect();
    write(dir, "other.csv", &format!("id;name;size;kind\n{rows}"));
    let file = init(dir, plugins, "other.csv", &[]);
    contains(
        &file,
        &[
            "target = \"kind\"",
            "delimiter = \";\"",
            "decimal = \",\"",
            "ignore = [\"id\", \"name\"]",
            "id: numbers the rows; name: 60 different words",
        ],
    );
    succeed(fluxbay(dir, plugins).args(["train", "run.toml", "--fast-dev-run"]));
    write(dir, "numbers.csv", &"1.5,2,0\n2.5,3,1\n".repeat(20));
    let file = init(dir, plugins, "numbers.csv", &[]);
    contains(&file, &["target = \"2\"", "header = false"]);
    succeed(fluxbay(dir, plugins).args(["train", "run.toml", "--fast-dev-run"]));
}

#[test]
fn texts_and_arrays_train_at_once() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let (dir, plugins) = (dir.path(), plugins.path());
    let reviews = repository().join("docs/examples/runs/reviews.jsonl");
    fs::copy(reviews, dir.join("reviews.jsonl")).unwrap();
    let file = init(dir, plugins, "reviews.jsonl", &[]);
    contains(&file, &["text = \"text\"", "label = \"label\"", "component = \"bag-of-embeddings\""]);
    assert!(trained(dir, plugins, "accuracy") > 0.9, "{file}");

    let pairs: String = (0..40)
        .map(|row| {
            format!(
                "{{\"premise\": \"it is {row} o'clock\", \"hypothesis\": \"it is late\", \"gold\": {}}}\n",
                row % 3
            )
        })
        .collect();
    write(dir, "pairs.jsonl", &pairs);
    let file = init(dir, plugins, "pairs.jsonl", &[]);
    contains(&file, &["text = \"premise\"", "pair = \"hypothesis\"", "label = \"gold\""]);
    succeed(fluxbay(dir, plugins).args(["train", "run.toml", "--fast-dev-run"]));

    let texts: String = (0..40)
        .map(|row| format!("{{\"body\": \"text number {row} of many others\"}}\n"))
        .collect();
    write(dir, "texts.jsonl", &texts);
    let file = init(dir, plugins, "texts.jsonl", &[]);
    contains(&file, &["text = \"body\"", "task = \"language-model\"", "component = \"gpt\""]);
    succeed(fluxbay(dir, plugins).args(["train", "run.toml", "--fast-dev-run"]));

    fs::copy(repository().join("README.md"), dir.join("book.txt")).unwrap();
    contains(&init(dir, plugins, "book.txt", &[]), &["component = \"text\"", "context = 16"]);
    succeed(fluxbay(dir, plugins).args(["train", "run.toml", "--fast-dev-run"]));

    let arrays = repository().join("plugins/data/tests/arrays");
    for (name, lines) in [
        ("stored.npz", &["inputs = \"x\"", "task = \"classification\"", "standardize = true"][..]),
        ("tensors.safetensors", &["targets = \"y\"", "component = \"mlp\""][..]),
    ] {
        fs::copy(arrays.join(name), dir.join(name)).unwrap();
        contains(&init(dir, plugins, name, &[]), lines);
        succeed(fluxbay(dir, plugins).args(["train", "run.toml", "--fast-dev-run"]));
    }
}

#[test]
fn folders_of_images_are_found() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let (dir, plugins) = (dir.path(), plugins.path());
    let header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x1c\0\0\0\x1c\x08";
    for folder in ["birds/train/owl", "birds/train/duck", "birds/val/owl", "birds/val/duck"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
        fs::write(dir.join(folder).join("1.png"), header).unwrap();
    }
    let file = init(dir, plugins, "birds", &[]);
    contains(
        &file,
        &[
            "component = \"images\"",
            "folder = \"birds/train\"",
            "validation-folder = \"birds/val\"",
            "size = [28, 28]",
            "component = \"cnn\"",
        ],
    );
    assert!(!file.contains("validation = 0.2"), "{file}");
    let file = init(dir, plugins, "birds/train", &[]);
    contains(&file, &["folder = \"birds/train\"", "2 images in 2 classes", "validation = 0.2"]);
}

#[test]
fn what_cannot_be_used_is_refused_with_a_reason() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let (dir, plugins) = (dir.path(), plugins.path());
    fs::create_dir(dir.join("empty")).unwrap();
    write(dir, "one.csv", "a\n1\n");
    write(dir, "two.csv", "a,b\n1,2\n");
    write(dir, "no.jsonl", "nothing\n");
    write(dir, "x.bin", "");
    for (arguments, words) in [
        (&["none.csv"][..], "none.csv: No such file"),
        (&["empty"], "0 folders with images"),
        (&["one.csv"], "at least two columns"),
        (&["two.csv", "--target", "c"], "there is no column `c`; the columns are: a, b"),
        (&["no.jsonl"], "is a JSON object"),
        (&["x.bin"], "init knows .csv"),
    ] {
        let refused = run(fluxbay(dir, plugins).arg("init").args(arguments));
        assert_eq!(refused.code, Some(2), "{arguments:?}");
        assert!(refused.stderr.contains(words), "{arguments:?}: {}", refused.stderr);
        assert!(!dir.join("run.toml").exists());
    }
    init(dir, plugins, "two.csv", &[]);
    let refused = run(fluxbay(dir, plugins).args(["init", "two.csv"]));
    assert!(refused.code == Some(2) && refused.stderr.contains("--force"), "{}", refused.stderr);
}
