//! `fluxbay report`: the page is written from records alone, whatever state they are in.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use fluxbay_tests::{fluxbay, plugin_dir, run, scratch, succeed};
use serde_json::Value;

/// The data that a page carries.
fn data(page: &Path) -> Value {
    let text = fs::read_to_string(page).unwrap();
    let begin = "<script id=\"data\" type=\"application/json\">";
    let (_, after) = text.split_once(begin).expect("the page has its data");
    let (data, _) = after.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

fn train(dir: &Path, plugins: &Path, name: &str, more: &[&str]) -> PathBuf {
    let common = ["train", "--set", "run.epochs=2", "--limit-batches", "40", "--run-dir", name];
    succeed(fluxbay(dir, plugins).args(common).args(more));
    dir.join(name)
}

fn series<'a>(run: &'a Value, scope: &str, phase: &str, name: &str) -> &'a Value {
    let all = run["series"].as_array().unwrap();
    let wanted =
        |one: &&Value| one["scope"] == scope && one["phase"] == phase && one["name"] == name;
    all.iter().find(wanted).unwrap_or_else(|| panic!("no {scope} {phase} {name}"))
}

#[test]
fn a_page_holds_curves_configuration_plugins_and_asks_nothing_of_other_places() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let record = train(dir.path(), plugins.path(), "one", &["--set", "run.seed=3"]);
    succeed(fluxbay(dir.path(), plugins.path()).args(["report", "one", "-o", "one.html"]));
    let page = dir.path().join("one.html");
    let text = fs::read_to_string(&page).unwrap();
    // The library's name and address in its licence line are text, not a request.
    for request in ["src=\"http", "href=\"http", "url(http", "@import", "fetch(", "XMLHttpRequest"]
    {
        assert!(!text.contains(request), "{request}");
    }
    let data = data(&page);
    let one = &data["runs"][0];
    assert_eq!(one["id"], "one");
    assert_eq!(one["status"], "finished");
    // Every figure of the record is in the curves.
    let lines = fs::read_to_string(record.join("metrics.jsonl")).unwrap();
    for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let text = |key: &str| line[key].as_str().unwrap();
        let curve = series(one, text("scope"), text("phase"), text("name"));
        let value = line["value"].as_f64().unwrap();
        let near = |y: &Value| (y.as_f64().unwrap() - value).abs() <= 1e-6 * value.abs();
        assert!(curve["y"].as_array().unwrap().iter().any(near), "{line}");
    }
    let row = |key: &str| {
        one["configuration"].as_array().unwrap().iter().find(|row| row[0] == key).cloned()
    };
    assert_eq!(row("run.seed").unwrap()[1], "3");
    assert!(one["plugins"].as_array().unwrap().iter().any(|one| one["name"] == "fluxbay-models"));
    assert!(!one["profile"]["phases"].as_array().unwrap().is_empty());
}

#[test]
fn several_runs_share_a_page_and_a_missing_run_is_an_error_that_writes_nothing() {
    let (dir, plugins) = (scratch(), plugin_dir());
    train(dir.path(), plugins.path(), "one", &[]);
    train(dir.path(), plugins.path(), "two", &["--set", "run.seed=9"]);
    succeed(fluxbay(dir.path(), plugins.path()).args(["report", "one", "two"]));
    let data = data(&dir.path().join("report.html"));
    assert_eq!(data["runs"].as_array().unwrap().len(), 2);
    let failed =
        run(fluxbay(dir.path(), plugins.path()).args(["report", "one", "three", "-o", "no.html"]));
    assert_eq!(failed.code, Some(2), "{}", failed.stderr);
    assert!(failed.stderr.contains("three"), "{}", failed.stderr);
    assert!(!dir.path().join("no.html").exists());
}

#[test]
fn a_torn_line_damaged_lines_and_texts_that_look_like_html_do_no_harm() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let record = train(dir.path(), plugins.path(), "one", &[]);
    let mut metrics =
        fs::OpenOptions::new().append(true).open(record.join("metrics.jsonl")).unwrap();
    metrics.write_all(b"not json\n").unwrap();
    let name = "</script><script>alert(1)</script>";
    writeln!(
        metrics,
        "{{\"time\":1,\"phase\":\"training\",\"scope\":\"epoch\",\"epoch\":1,\"step\":1,\"name\":{name:?},\"value\":\"NaN\"}}"
    )
    .unwrap();
    metrics.write_all(b"{\"time\":1,\"phase\":\"trai").unwrap();
    succeed(fluxbay(dir.path(), plugins.path()).args(["report", "one", "-o", "one.html"]));
    let data = data(&dir.path().join("one.html"));
    let one = &data["runs"][0];
    assert_eq!(one["notes"].as_array().unwrap().len(), 1, "{}", one["notes"]);
    assert_eq!(series(one, "epoch", "training", name)["y"][0], "NaN");
}

#[test]
fn a_long_record_gives_a_small_page() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let record = train(dir.path(), plugins.path(), "one", &[]);
    let mut lines = String::new();
    for step in 1..=100_000_u32 {
        let value = f64::from(step % 977) / 1000.0;
        lines.push_str(&format!(
            "{{\"time\":1.0,\"phase\":\"training\",\"scope\":\"step\",\"epoch\":1,\"step\":{step},\"name\":\"loss\",\"value\":{value}}}\n"
        ));
    }
    fs::write(record.join("metrics.jsonl"), lines).unwrap();
    succeed(fluxbay(dir.path(), plugins.path()).args(["report", "one", "-o", "one.html"]));
    let page = dir.path().join("one.html");
    assert!(fs::metadata(&page).unwrap().len() < 500_000);
    let data = data(&page);
    let curve = series(&data["runs"][0], "step", "training", "loss");
    assert_eq!(curve["count"], 100_000);
    let points = curve["x"].as_array().unwrap().len();
    assert!((1000..=4000).contains(&points), "{points}");
}

#[test]
fn validations_within_an_epoch_have_places_of_their_own() {
    let (dir, plugins) = (scratch(), plugin_dir());
    train(dir.path(), plugins.path(), "one", &["--set", "run.validate-every=0.25"]);
    succeed(fluxbay(dir.path(), plugins.path()).args(["report", "one", "-o", "one.html"]));
    let data = data(&dir.path().join("one.html"));
    let x = |scope: &str, phase: &str| {
        let x = series(&data["runs"][0], scope, phase, "loss")["x"].as_array().unwrap().clone();
        x.iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(x("epoch", "training"), [1.0, 2.0]);
    assert_eq!(x("epoch", "validation"), [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]);
    // Each validation counts its steps from 1; on the curve they follow one another.
    let by_step = x("step", "validation");
    assert!(by_step.len() > 8 && by_step.windows(2).all(|pair| pair[1] == pair[0] + 1.0));
}

#[test]
fn a_record_in_parts_a_read_only_one_and_one_without_metrics_are_shown() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let record = train(dir.path(), plugins.path(), "one", &[]);
    let shown =
        |run: &str| succeed(fluxbay(dir.path(), plugins.path()).args(["runs", "show", run])).stdout;
    let page_of = |run: &str| {
        succeed(fluxbay(dir.path(), plugins.path()).args(["report", run, "-o", "page.html"]));
        data(&dir.path().join("page.html"))["runs"][0].clone()
    };
    let metrics = |text: String| text[text.find("\nmetrics\n").unwrap()..].to_owned();
    let (before, whole) = (metrics(shown("one")), page_of("one"));
    // Rotated twice, and the last line is half written.
    let path = record.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let (first, second) = (ends[ends.len() / 3], ends[ends.len() / 2]);
    fs::write(record.join("metrics.jsonl.2"), &text[..first]).unwrap();
    fs::write(record.join("metrics.jsonl.1"), &text[first..second]).unwrap();
    fs::write(&path, format!("{}{{\"time\":1,\"pha", &text[second..])).unwrap();
    let files: Vec<_> = fs::read_dir(&record).unwrap().map(|one| one.unwrap().path()).collect();
    let permit = |file: u32, folder: u32| {
        for path in &files {
            let mode = if path.is_dir() { folder } else { file };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(&record, fs::Permissions::from_mode(folder)).unwrap();
    };
    permit(0o444, 0o555);
    let parts = page_of("one");
    assert_eq!(metrics(shown("one")), before);
    assert_eq!((&parts["series"], &parts["figures"]), (&whole["series"], &whole["figures"]));
    let notes = parts["notes"].as_array().unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].as_str().unwrap().contains("2 older parts"), "{notes:?}");
    permit(0o644, 0o755);

    // A run that was killed before its first step has a state and no metrics.
    for name in ["metrics.jsonl", "metrics.jsonl.1", "metrics.jsonl.2"] {
        fs::write(record.join(name), "").unwrap();
    }
    fs::remove_file(record.join("profile.json")).unwrap();
    assert!(!shown("one").contains("\nmetrics\n"));
    let empty = page_of("one");
    assert!(empty["notes"].to_string().contains("recorded no metrics"), "{}", empty["notes"]);
    // One that did not come so far is no run.
    fs::create_dir(dir.path().join("two")).unwrap();
    fs::write(dir.path().join("two/run.toml"), "").unwrap();
    for command in [&["runs", "show", "two"][..], &["report", "two"]] {
        let failed = run(fluxbay(dir.path(), plugins.path()).args(command));
        assert_eq!(failed.code, Some(2), "{}", failed.stderr);
        assert!(failed.stderr.contains("holds no run"), "{}", failed.stderr);
    }
}

#[test]
fn a_run_leaves_its_report_with_classes_loop_and_reasons_if_it_is_asked_to() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let more = [
        "--set",
        "run.report=true",
        "--set",
        "callback.metrics.metrics=[\"confusion-matrix\", \"f1\"]",
        "--add",
        "callback/worst-samples{count = 5, shape = [8, 8]}",
    ];
    let record = train(dir.path(), plugins.path(), "one", &more);
    let data = data(&record.join("report.html"));
    let one = &data["runs"][0];
    assert_eq!(one["standing"], "finished");
    let details = one["details"].as_array().unwrap();
    let of = |phase: &str, metric: &str| {
        let wanted = |one: &&Value| one["phase"] == phase && one["metric"] == metric;
        details.iter().find(wanted).unwrap_or_else(|| panic!("no {phase} {metric}"))
    };
    let matrix = of("validation", "confusion-matrix");
    assert_eq!(matrix["epoch"], 2);
    let rows = matrix["details"]["matrix"].as_array().unwrap();
    let sum: u64 =
        rows.iter().flat_map(|row| row.as_array().unwrap()).map(|one| one.as_u64().unwrap()).sum();
    assert_eq!((rows.len(), sum), (10, 359), "the digits that are held out");
    assert_eq!(of("training", "f1")["details"]["classes"].as_array().unwrap().len(), 10);
    let worst = of("validation", "worst-samples")["details"]["samples"].as_array().unwrap();
    let losses: Vec<f64> = worst.iter().map(|one| one["loss"].as_f64().unwrap()).collect();
    assert_eq!((losses.len(), worst[0]["pixels"].as_array().unwrap().len()), (5, 64));
    assert!(losses.is_sorted_by(|one, other| one >= other) && losses[0] > 0.5, "{losses:?}");
    let composition = &one["composition"];
    assert!(composition["order"].as_array().unwrap().contains(&"metrics-printer".into()));
    let training = &composition["phases"][0]["callbacks"]["step-end"];
    assert!(training.as_array().unwrap().contains(&"metrics".into()), "{composition}");
    let because = |edge: &Value| !edge["reasons"][0].as_str().unwrap().is_empty();
    assert!(composition["edges"].as_array().unwrap().iter().all(because));
    assert!(one["peak_memory"].as_u64().unwrap() > 1_000_000);
    let shown = succeed(fluxbay(dir.path(), plugins.path()).args(["runs", "show", "one"])).stdout;
    assert!(shown.contains("report      one/report.html"), "{shown}");
    // Without the setting there is none, and metrics with one number leave no details.
    let plain = train(dir.path(), plugins.path(), "two", &[]);
    assert!(!plain.join("report.html").exists() && !plain.join("details").exists());
}
