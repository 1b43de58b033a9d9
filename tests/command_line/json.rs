//! What `--json` writes is JSON, alone on stdout, and as the published schemas say.

use std::path::Path;

use fluxbay_tests::{fluxbay, plugin_dir, scratch, succeed};
use serde_json::Value;

use super::schema;

fn parsed(dir: &Path, plugins: &Path, arguments: &[&str]) -> Value {
    let finished = succeed(fluxbay(dir, plugins).args(arguments));
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{}", finished.stdout))
}

#[test]
fn every_json_output_parses_and_fits_its_published_schema() {
    let (dir, plugins) = (scratch(), plugin_dir());
    for name in ["one", "two"] {
        let settings = ["train", "--set", "run.epochs=1", "--limit-batches", "4", "--run-dir", name];
        succeed(fluxbay(dir.path(), plugins.path()).args(settings).args(["--set", &format!("model.hidden=[{}]", name.len() * 8)]));
    }
    succeed(fluxbay(dir.path(), plugins.path()).args(["train", "--set", "run.epochs=1", "--limit-batches", "4"]));
    let file = plugins.path().join("libfluxbay_models.so").to_string_lossy().into_owned();
    let cases: [(&str, &[&str]); 13] = [
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
        ("quarantine", &["quarantine", "--json"]),
    ];
    for (name, arguments) in cases {
        let schema = parsed(dir.path(), plugins.path(), &["schema", name]);
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        let value = parsed(dir.path(), plugins.path(), arguments);
        schema::check(&schema, &value, name).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{value:#}"));
    }
    let run = parsed(dir.path(), plugins.path(), &["schema"]);
    assert_eq!(run["title"], "fluxbay run file");
    assert!(parsed(dir.path(), plugins.path(), &["compose", "--print-config", "--json"])["model"]["component"] == "mlp");
}

#[test]
fn refused_and_shadowed_files_fit_the_schema_too() {
    let (dir, plugins, others) = (scratch(), plugin_dir(), plugin_dir());
    std::fs::write(plugins.path().join("broken.so"), b"\x7fELF no plugin").unwrap();
    let arguments = ["list", "--json", "--plugin-dir", &others.path().to_string_lossy()];
    let value = parsed(dir.path(), plugins.path(), &arguments);
    schema::check(&parsed(dir.path(), plugins.path(), &["schema", "list"]), &value, "list").unwrap();
    let states: Vec<&str> = value["files"].as_array().unwrap().iter().filter_map(|file| file["state"].as_str()).collect();
    assert!(states.contains(&"refused") && states.contains(&"ok"), "{states:?}");
}
