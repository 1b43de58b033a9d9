//! Invalid run files and the message for each: place, cause, help.
//!
//! The components are described in `wrong-runs/catalog.json` and not built, so that changes to the
//! standard plugins do not change the messages.

use std::fs;
use std::path::{Path, PathBuf};

use fluxbay::compose::{compose, diagnostics, from_manifests};
use fluxbay::library::{Catalog, Manifest};
use fluxbay::run_file::{Colours, Diagnostics, Draft, Inputs, Severity, render, resolve};
use fluxbay_tests::{fluxbay, repository, run, scratch, write};

fn folder() -> PathBuf {
    repository().join("tests/wrong-runs")
}

fn catalog() -> Catalog {
    let text = fs::read_to_string(folder().join("catalog.json")).expect("the catalog is there");
    Catalog::described([Manifest::parse(&text).expect("the catalog is a manifest")])
}

fn wrong_runs() -> Vec<PathBuf> {
    let files = fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("a file").path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

/// All problems found before a plugin is loaded.
fn problems(file: &Path) -> Diagnostics {
    let mut found = Diagnostics::new();
    let inputs = Inputs { files: vec![file.to_path_buf()], ..Inputs::default() };
    let catalog = catalog();
    let run = resolve(Draft::read(&inputs, &mut found), &catalog, &mut found);
    let input = from_manifests::input(&run, &catalog);
    if let Err(problems) = compose(&input) {
        found.append(diagnostics(&problems, &input.members, &run.sources));
    }
    found
}

#[test]
fn every_wrong_run_has_a_message_with_place_cause_and_help() {
    let files = wrong_runs();
    assert!(files.len() >= 25, "{} wrong run files", files.len());
    for file in files {
        let name = file.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let found = problems(&file);
        assert!(found.has_errors(), "{name} is not wrong");
        for one in found.iter().filter(|one| one.severity == Severity::Error) {
            assert!(one.location.is_some(), "{name}: no place: {one:?}");
            assert!(one.help.is_some(), "{name}: no help: {one:?}");
        }
        let shown = render(&found, Colours::Never).replace(&format!("{}/", folder().display()), "");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder().join("snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name.clone(), shown));
    }
}

#[test]
fn the_command_tells_all_errors_on_stderr_and_exits_with_2() {
    let (dir, plugins) = (scratch(), scratch());
    write(dir.path(), "wrong.toml", "[run]\nepoch = 3\n[modle]\ncomponent = 'mlp'\n");
    let finished = run(fluxbay(dir.path(), plugins.path()).args(["compose", "wrong.toml"]));
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""));
    for part in [
        "wrong.toml:2:1",
        "did you mean `epochs`?",
        "wrong.toml:3:2",
        "did you mean `model`?",
        "^^^^^",
    ] {
        assert!(finished.stderr.contains(part), "{part} is missing in\n{}", finished.stderr);
    }
}
