//! What `--json` writes is JSON, alone on stdout, and as the published schemas say.

use std::path::Path;

use fluxbay_tests::{fluxbay, plugin_dir, run, schema, scratch, succeed};
use serde_json::Value;

fn parsed(dir: &Path, plugins: &Path, arguments: &[&str]) -> Value {
    let finished = succeed(fluxbay(dir, plugins).args(arguments));
    serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{}", finished.stdout))
}

#[test]
fn every_json_output_parses_and_fits_its_published_schema() {
    let (dir, plugins) = (scratch(), plugin_dir());
    for name in ["one", "two"] {
        let settings =
            ["train", "--set", "run.epochs=1", "--limit-batches", "4", "--run-dir", name];
        succeed(
            fluxbay(dir.path(), plugins.path())
                .args(settings)
                .args(["--set", &format!("model.hidden=[{}]", name.len() * 8)]),
        );
    }
    succeed(fluxbay(dir.path(), plugins.path()).args([
        "train",
        "--set",
        "run.epochs=1",
        "--limit-batches",
        "4",
    ]));
    let loggers = plugins.path().join("libfluxbay_loggers.so").to_string_lossy().into_owned();
    let file = plugins.path().join("libfluxbay_models.so").to_string_lossy().into_owned();
    let cases: [(&str, &[&str]); 20] = [
        ("list", &["list", "--json"]),
        ("list", &["list", "--kind", "phases", "--event", "fit-begin", "--json"]),
        ("inspect", &["inspect", "mlp", "--json"]),
        ("inspect", &["inspect", "csv", "--json"]),
        ("inspect", &["inspect", "fluxbay-callbacks", "--json"]),
        ("inspect", &["inspect", &file, "--json"]),
        ("compose", &["compose", "--json"]),
        ("compose", &["compose", "--no-load", "--json"]),
        ("evaluate", &["evaluate", "one", "--json"]),
        ("runs-list", &["runs", "list", "--json"]),
        ("runs-show", &["runs", "show", "last", "--json"]),
        ("runs-compare", &["runs", "compare", "one", "two", "--json"]),
        ("schedule", &["schedule", "--of", "poly{start = 1.0, degree = 2, steps = 9}", "--json"]),
        ("check", &["check", &loggers, "--json"]),
        ("check-list", &["check", "--list", "--json"]),
        (
            "verify-resume",
            &[
                "verify-resume",
                "--set",
                "run.epochs=1",
                "--set",
                "loader.limit-batches=4",
                "--interruptions",
                "1",
                "--json",
            ],
        ),
        ("profile", &["profile", "--memory", "--json"]),
        ("doctor", &["doctor", "--json"]),
        ("quarantine", &["quarantine", "--json"]),
        ("trust-list", &["trust", "list", "--json"]),
    ];
    for (name, arguments) in cases {
        let schema = parsed(dir.path(), plugins.path(), &["schema", name]);
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        let value = parsed(dir.path(), plugins.path(), arguments);
        schema::check(&schema, &value, name)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{value:#}"));
    }
    let of_runs = parsed(dir.path(), plugins.path(), &["schema"]);
    assert_eq!(of_runs["title"], "fluxbay run file");
    let config = parsed(dir.path(), plugins.path(), &["compose", "--print-config", "--json"]);
    schema::check(&of_runs, &config, "run").unwrap();
    // The last, as no plugin is used any more without a signature.
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    succeed(fluxbay(dir.path(), plugins.path()).args(["trust", "add", key, "--name", "team"]));
    let keys = parsed(dir.path(), plugins.path(), &["trust", "list", "--json"]);
    schema::check(&parsed(dir.path(), plugins.path(), &["schema", "trust-list"]), &keys, "keys")
        .unwrap();
    assert_eq!(keys["keys"][0]["name"], "team");
}

#[test]
fn a_configuration_that_is_wrong_does_not_fit_the_schema_of_run_files() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let of_runs = parsed(dir.path(), plugins.path(), &["schema"]);
    let config = parsed(dir.path(), plugins.path(), &["compose", "--print-config", "--json"]);
    for (path, wrong) in [
        ("/optimizer/learning-rate", Value::from(-1)),
        ("/run/epochs", "3".into()),
        ("/callback/0/every", true.into()),
    ] {
        let mut config = config.clone();
        if let Some(value) = config.pointer_mut(path) {
            *value = wrong;
        } else {
            config["callback"][0]["every-now-and-then"] = wrong;
        }
        schema::check(&of_runs, &config, "run").unwrap_err();
    }
}

#[test]
fn refused_and_shadowed_files_fit_the_schema_too() {
    let (dir, plugins, others) = (scratch(), plugin_dir(), plugin_dir());
    std::fs::write(plugins.path().join("broken.so"), b"\x7fELF no plugin").unwrap();
    let arguments = ["list", "--json", "--plugin-dir", &others.path().to_string_lossy()];
    let value = parsed(dir.path(), plugins.path(), &arguments);
    schema::check(&parsed(dir.path(), plugins.path(), &["schema", "list"]), &value, "list")
        .unwrap();
    let checked = run(fluxbay(dir.path(), plugins.path())
        .args(["check", "--json"])
        .arg(plugins.path().join("broken.so")));
    assert_eq!(checked.code, Some(1));
    schema::check(
        &parsed(dir.path(), plugins.path(), &["schema", "check"]),
        &serde_json::from_str(&checked.stdout).unwrap(),
        "check",
    )
    .unwrap();
    let states: Vec<&str> = value["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|file| file["state"].as_str())
        .collect();
    assert!(states.contains(&"refused") && states.contains(&"ok"), "{states:?}");
}
