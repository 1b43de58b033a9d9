//! The examples of the documentation: each crate builds, and each run file trains.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fluxbay_tests::{binary, fluxbay, plugin_dir, repository, scratch, succeed};

fn examples() -> PathBuf {
    repository().join("docs/examples")
}

/// The entries of a folder, sorted.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Trains a run file and gives what was printed. The plugins are the standard ones and `plugin`.
fn train(run_file: &Path, plugin: Option<&Path>) -> String {
    let (dir, plugins) = (scratch(), plugin_dir());
    if let Some(plugin) = plugin {
        fs::copy(plugin, plugins.path().join(plugin.file_name().unwrap())).unwrap();
    }
    let mut command = fluxbay(dir.path(), plugins.path());
    let finished = succeed(command.arg("train").arg(run_file).args(["--run-dir", "run"]));
    let model = dir.path().join("run/model.safetensors");
    assert!(model.is_file(), "{}: no model is saved", run_file.display());
    finished.stderr
}

#[test]
fn every_run_file_trains() {
    let files: Vec<PathBuf> = entries(&examples().join("runs"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        train(&file, None);
    }
}

#[test]
fn every_plugin_crate_trains_with_its_run_file_and_is_listed() {
    let crates = entries(&examples().join("plugins"));
    assert!(crates.len() >= 4, "{crates:?}");
    let index = fs::read_to_string(examples().join("README.md")).unwrap();
    for folder in crates {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let library = format!("libexample_{}.so", name.replace('-', "_"));
        train(&folder.join("run.toml"), Some(&binary().with_file_name(library)));
        let page = format!("plugins/{name}/README.md");
        assert!(folder.join("README.md").is_file() && index.contains(&page), "{name}");
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let command = format!("cargo build --release -p example-{name}");
        assert!(readme.contains(&command), "{name}: its README does not build it");
    }
}

#[test]
fn the_spirals_are_separated() {
    let library = binary().with_file_name("libexample_spirals.so");
    let printed = train(&examples().join("plugins/spirals/run.toml"), Some(&library));
    let accuracy = printed
        .lines()
        .filter(|line| line.trim_start().starts_with("accuracy"))
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.parse::<f64>().ok())
        .next_back();
    assert!(accuracy.is_some_and(|accuracy| accuracy > 0.9), "{printed}");
}
