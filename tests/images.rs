//! Images in files: the run file of the documentation trains on a folder of JPEGs; damaged files,
//! chains of transforms, lists of labels.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use fluxbay_tests::{Finished, fluxbay, plugin_dir, repository, run, scratch, succeed, write};
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use serde_json::Value;
use tempfile::TempDir;

/// The elements of an IDX file of the digits.
fn idx(name: &str, header: usize) -> Vec<u8> {
    let file = fs::File::open(repository().join("plugins/data/digits").join(name)).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes.split_off(header)
}

/// Writes handwritten digits as grey JPEGs of 16 x 16 pixels, a folder per digit.
fn write_digits(folder: &Path, count: usize) -> Vec<(PathBuf, u8)> {
    let (pixels, labels) = (idx("images-idx3-ubyte.gz", 16), idx("labels-idx1-ubyte.gz", 8));
    let bright = pixels.iter().max().copied().unwrap();
    let mut written = Vec::new();
    for (number, (image, label)) in pixels.chunks_exact(64).zip(labels).take(count).enumerate() {
        let path = folder.join(format!("digit-{label}/{number:04}.jpg"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let doubled: Vec<u8> = (0..256)
            .map(|at| (u32::from(image[at / 32 * 8 + at % 16 / 2]) * 255 / u32::from(bright)) as u8)
            .collect();
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 95)
            .encode(&doubled, 16, 16, ExtendedColorType::L8)
            .unwrap();
        fs::write(&path, bytes).unwrap();
        written.push((path, label));
    }
    written
}

struct Place {
    dir: TempDir,
    plugins: TempDir,
}

impl Place {
    fn new(run_file: &str) -> Place {
        let place = Place { dir: scratch(), plugins: plugin_dir() };
        write(place.dir.path(), "run.toml", run_file);
        place
    }

    fn fluxbay(&self, arguments: &[&str]) -> Finished {
        run(fluxbay(self.dir.path(), self.plugins.path()).args(arguments))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The last value of a metric of validation.
    fn last(&self, run: &str, name: &str) -> f64 {
        let lines = fs::read_to_string(self.path(run).join("metrics.jsonl")).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter(|line| line["phase"] == "validation" && line["name"] == name)
            .filter(|line| line["scope"] == "epoch")
            .filter_map(|line| line["value"].as_f64())
            .next_back()
            .unwrap()
    }
}

/// The run file that the page on images begins with.
fn documented() -> String {
    let page = fs::read_to_string(repository().join("docs/data/images.md")).unwrap();
    let run = page.split("<!-- run -->\n```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(run.lines().count() <= 20, "{run}");
    run.to_owned()
}

#[test]
fn a_small_network_learns_a_folder_of_jpegs_from_the_run_file_of_the_documentation() {
    // Digits are not the same from left to right.
    let place = Place::new(
        &documented().replace("\"flip\"", "\"random-crop\"\nsize = [16, 16]\npadding = 1"),
    );
    write_digits(&place.path("photos"), 700);
    let set = [
        "--set",
        "data.size=[16, 16]",
        "--set",
        "data.channels=\"grey\"",
        "--set",
        "transform.normalize.values=\"half\"",
    ];
    let train = |more: &[&str]| {
        let finished = place.fluxbay(&[&["train", "run.toml"], &set[..], more].concat());
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    };
    train(&["--run-dir", "one", "--set", "run.epochs=6"]);
    let accuracy = place.last("one", "accuracy");
    assert!(accuracy > 0.85, "validation accuracy {accuracy}");
    // Bytes until they are normalized, prepared ahead by another number of threads: the same bits.
    let again = [
        "--set",
        "loader.prefetch=5",
        "--set",
        "loader.threads=3",
        "--set",
        "data.values=\"bytes\"",
    ];
    train(&[&["--run-dir", "other", "--set", "run.epochs=6"][..], &again].concat());
    let model = |name: &str| fs::read(place.path(name).join("model.safetensors")).unwrap();
    assert!(model("one") == model("other"), "the parameters differ");
    // Predicted from files alone, through the transforms of evaluation.
    let files = ["photos/digit-3", "photos/digit-7"];
    let predicted = place.fluxbay(&[&["predict", "one"][..], &files].concat());
    assert_eq!(predicted.code, Some(0), "{}", predicted.stderr);
    let lines: Vec<&str> = predicted.stdout.lines().skip(1).collect();
    let right = |line: &&&str| {
        let digit = line.split("digit-").nth(1).and_then(|rest| rest.chars().next());
        line.matches(&format!("digit-{}", digit.unwrap())).count() > 1
    };
    let share = lines.iter().filter(right).count() as f64 / lines.len() as f64;
    assert!(lines.len() > 100 && share > 0.8, "{share} of {}", lines.len());
    // Measured again, without augmentation: the same figure.
    let measured = place.fluxbay(&["evaluate", "one", "--json"]);
    let measured: Value = serde_json::from_str(&measured.stdout).unwrap();
    let figures = measured["figures"].as_array().unwrap();
    let again = figures.iter().find(|one| one["name"] == "accuracy").unwrap()["value"].as_f64();
    assert_eq!(again, Some(accuracy));
}

#[test]
fn the_documented_run_file_trains_as_it_is() {
    let place = Place::new(&documented());
    write_digits(&place.path("photos"), 40);
    let trained = place.fluxbay(&["train", "run.toml", "--run-dir", "out", "--fast-dev-run"]);
    assert_eq!(trained.code, Some(0), "{}", trained.stderr);
    assert!(trained.stderr.contains("flip, normalize"), "{}", trained.stderr);
    let composed = place.fluxbay(&["compose", "run.toml", "--no-data"]);
    let chains = "transforms of the samples, in order\n  for training    flip, normalize\n  for evaluation  normalize\n";
    assert!(composed.stdout.contains(chains), "{}", composed.stdout);
    let other = ["--set", "transform.normalize.field=\"zs\""];
    let refused = place.fluxbay(&[&["compose", "run.toml"][..], &other].concat());
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("the samples have the fields xs, ys"), "{}", refused.stderr);
    let refused =
        place.fluxbay(&["compose", "run.toml", "--set", "transform.flip.when=\"evaluate\""]);
    assert!(refused.stderr.contains("did you mean `evaluation`?"), "{}", refused.stderr);
    let unequal = ["--add", "transform/random-crop{size = [8, 8]}"];
    let refused = place.fluxbay(&[&["compose", "run.toml"][..], &unequal].concat());
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("of shape [3, 8, 8]"), "{}", refused.stderr);
}

#[test]
fn a_damaged_image_is_named_or_left_out_and_counted() {
    let place = Place::new(&documented());
    let written = write_digits(&place.path("photos"), 60);
    for (path, _) in &written[10..14] {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 8]).unwrap();
    }
    let train = |name: &str, more: &[&str]| {
        let set = ["--set", "data.size=[8, 8]", "--set", "run.epochs=2", "--run-dir", name];
        place.fluxbay(&[&["train", "run.toml"][..], &set, more].concat())
    };
    let stopped = train("stopped", &[]);
    assert_eq!(stopped.code, Some(1), "{}", stopped.stderr);
    assert!(
        stopped.stderr.contains(".jpg: ") && stopped.stderr.contains("on-bad-sample"),
        "{}",
        stopped.stderr
    );
    let skip = ["--set", "data.on-bad-sample=\"skip\""];
    let skipped = train("skipped", &skip);
    assert_eq!(skipped.code, Some(0), "{}", skipped.stderr);
    assert!(
        skipped.stderr.contains("samples were left out because they cannot be read"),
        "{}",
        skipped.stderr
    );
    let left_out = fs::read_to_string(place.path("skipped/left-out.json")).unwrap();
    let left_out: Value = serde_json::from_str(&left_out).unwrap();
    let count = |split: &str| left_out[split]["left-out"].as_u64().unwrap_or(0);
    assert_eq!(count("training") + count("validation"), 4, "{left_out}");
    let listed = fs::read_to_string(place.path("skipped/skipped-images.jsonl")).unwrap();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    // Predictions for all images but those that cannot be read.
    let predicted = place.fluxbay(&["predict", "skipped", "photos"]);
    assert_eq!(predicted.code, Some(0), "{}", predicted.stderr);
    assert_eq!(predicted.stdout.lines().count(), 57, "{}", predicted.stdout);
    let damaged: Vec<String> =
        written[10..14].iter().map(|(path, _)| path.display().to_string()).collect();
    assert!(damaged.iter().all(|path| !predicted.stdout.contains(path)), "{}", predicted.stdout);
    let split = place.fluxbay(&["predict", "skipped", "--data", "training"]);
    assert_eq!(split.code, Some(0), "{}", split.stderr);
    let rows = split.stdout.lines().count() as u64 - 1;
    assert_eq!(rows, 48 - count("training"), "{}", split.stdout);
    let limit = train("limited", &[&skip[..], &["--set", "data.bad-sample-limit=1"]].concat());
    assert_eq!(limit.code, Some(1));
    assert!(limit.stderr.contains("one more than the 1 images"), "{}", limit.stderr);
}

#[test]
fn images_with_several_labels_are_trained_from_a_list() {
    let run_file = documented().replace("\"cross-entropy\"", "\"bce-with-logits\"").replace(
        "[[callback]]\ncomponent = \"metrics\"\nmetrics = [\"accuracy\"]\n",
        "[sampler]\ncomponent = \"balanced\"\n",
    );
    let place = Place::new(&run_file);
    let written = write_digits(&place.path("photos"), 40);
    let lines = written.iter().map(|(path, label)| {
        let parity = if label % 2 == 0 { "even" } else { "odd" };
        let path = path.strip_prefix(place.path("photos")).unwrap();
        format!("{{\"path\":{path:?},\"label\":[\"{parity}\",\"d{label}\"]}}\n")
    });
    write(place.dir.path(), "labels.jsonl", &lines.collect::<String>());
    let set = [
        "--set",
        "data.labels=\"labels.jsonl\"",
        "--set",
        "data.label-separator=\"|\"",
        "--set",
        "data.size=[8, 8]",
    ];
    let more = ["--set", "run.epochs=1", "--run-dir", "out"];
    let refused = place.fluxbay(&[&["train", "run.toml"][..], &set, &more].concat());
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("the data has no class labels"), "{}", refused.stderr);
    succeed(
        fluxbay(place.dir.path(), place.plugins.path())
            .args(["train", "run.toml"])
            .args(set)
            .args(more)
            .args(["--set", "sampler.component=\"balanced\"", "--set", "loader.overfit-batches=1"]),
    );
}

#[test]
fn data_is_inspected_with_classes_damage_and_duplicates() {
    let place = Place::new(&documented());
    let written = write_digits(&place.path("photos"), 60);
    fs::copy(&written[0].0, written[0].0.with_file_name("again.jpg")).unwrap();
    fs::write(&written[1].0, "no image").unwrap();
    let set = ["--set", "data.size=[8, 8]", "--set", "data.on-bad-sample=\"skip\""];
    let inspect = |more: &[&str]| {
        let found = place.fluxbay(&[&["data", "inspect", "run.toml"][..], &set, more].concat());
        assert_eq!(found.code, Some(0), "{}", found.stderr);
        found.stdout
    };
    let seen: Value = serde_json::from_str(&inspect(&["--json"])).unwrap();
    let schema = place.fluxbay(&["schema", "data-inspect"]).stdout;
    fluxbay_tests::schema::check(&serde_json::from_str(&schema).unwrap(), &seen, "").unwrap();
    assert_eq!(seen["fields"][0]["shape"], serde_json::json!([3, 8, 8]));
    let sum = |key: &str| -> u64 {
        let splits = seen["splits"].as_array().unwrap().iter();
        splits.map(|split| split["read"][key].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("left-out"), sum("duplicates") + sum("in-other-splits")), (1, 1));
    let training = &seen["splits"][0];
    let classes = training["classes"].as_array().unwrap();
    assert_eq!((classes.len(), &classes[3]["name"]), (10, &"digit-3".into()));
    let text = inspect(&["--no-read"]);
    assert!(text.contains("digit-9") && !text.contains("xs from"), "{text}");
    assert!(inspect(&["--sheet", "first.png"]).contains("xs from"));
    assert!(fs::read(place.path("first.png")).unwrap().starts_with(b"\x89PNG"));
    let measured = place
        .fluxbay(&["data", "bench", "run.toml", "--time", "0.1", set[0], set[1], set[2], set[3]]);
    assert_eq!(measured.stdout.matches("samples/s").count(), 3, "{}", measured.stderr);
}
