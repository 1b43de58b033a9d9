//! The pages in `docs/reference` match the standard plugins, and every example is valid in a run
//! file.
//!
//! After an intended change of a component, run `FLUXBAY_BLESS=1 cargo test -p fluxbay-tests --test
//! reference`, review the diff and commit it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::rc::Rc;

use fluxbay::library::{Catalog, ScanOptions, SearchOrigin, SearchPath};
use fluxbay::run_file::{Diagnostics, Draft, Inputs, resolve};
use fluxbay_tests::{fluxbay, plugin_dir, repository, scratch, succeed, write};

fn pages(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_reference_pages_are_current() {
    let (dir, plugins) = (scratch(), plugin_dir());
    succeed(fluxbay(dir.path(), plugins.path()).args(["reference", "pages"]));
    let made = pages(&dir.path().join("pages"));
    let committed = repository().join("docs/reference");
    if std::env::var_os("FLUXBAY_BLESS").is_some() {
        let _ = fs::remove_dir_all(&committed);
        fs::create_dir_all(&committed).unwrap();
        made.iter().for_each(|(name, text)| fs::write(committed.join(name), text).unwrap());
    }
    let known = pages(&committed);
    assert_eq!(
        made.keys().collect::<Vec<_>>(),
        known.keys().collect::<Vec<_>>(),
        "pages of docs/reference; see the top of this test"
    );
    for (name, text) in &made {
        let difference =
            text.lines().zip(known[name].lines()).position(|(made, known)| made != known);
        if let Some(line) = difference {
            let (made, known) =
                (text.lines().nth(line).unwrap(), known[name].lines().nth(line).unwrap());
            panic!(
                "docs/reference/{name}:{} is not current\n  there:   {known}\n  should be: {made}\nSee the top of this test.",
                line + 1
            );
        }
        assert_eq!(
            text.lines().count(),
            known[name].lines().count(),
            "docs/reference/{name} is not current; see the top of this test"
        );
    }
    for kind in ["phases", "callbacks", "metrics", "schedules", "loggers"] {
        assert!(made.contains_key(&format!("{kind}.md")), "{kind}");
    }
}

#[test]
fn every_example_is_a_piece_of_a_run_file() {
    let plugins = plugin_dir();
    let mut path = SearchPath::new();
    path.push(plugins.path(), SearchOrigin::CommandLine);
    let catalog = Rc::new(Catalog::scan(&path, &ScanOptions::default()));
    let base: BTreeMap<&str, &str> = BTreeMap::from([
        ("data", "[data]\ncomponent = \"digits\"\n"),
        ("model", "[model]\ncomponent = \"mlp\"\n"),
        ("loss", "[loss]\ncomponent = \"cross-entropy\"\n"),
        ("optimizer", "[optimizer]\ncomponent = \"sgd\"\n"),
        ("phase", "[[phase]]\ncomponent = \"training\"\n"),
    ]);
    let mut seen = BTreeSet::new();
    for component in catalog.components() {
        let example = &component.manifest.example;
        assert!(!example.trim().is_empty(), "{} has no example", component.id());
        assert!(
            example.contains(&format!("\"{}\"", component.manifest.name)),
            "{}:\n{example}",
            component.id()
        );
        let given: toml::Table = toml::from_str(example)
            .unwrap_or_else(|error| panic!("{}: {error}\n{example}", component.id()));
        // Sections that the example lacks come from the base. Named models need no optimizer here.
        let rest: String = base
            .iter()
            .filter(|(section, _)| !given.contains_key(**section))
            .map(|(_, text)| *text)
            .collect();
        let dir = scratch();
        let file = write(
            dir.path(),
            "run.toml",
            &format!("[run]\ndefault-callbacks = false\n{rest}{example}"),
        );
        let mut diagnostics = Diagnostics::new();
        let draft =
            Draft::read(&Inputs { files: vec![file], ..Inputs::default() }, &mut diagnostics);
        resolve(draft, &catalog, &mut diagnostics);
        let messages: Vec<String> = diagnostics.iter().map(|one| one.message.clone()).collect();
        assert!(!diagnostics.has_errors(), "{}: {messages:?}\n{example}", component.id());
        seen.insert(component.id());
    }
    assert!(seen.len() > 80, "{seen:?}");
}

#[test]
fn every_standard_metric_declares_its_direction() {
    let (dir, plugins) = (scratch(), plugin_dir());
    let mut path = SearchPath::new();
    path.push(plugins.path(), SearchOrigin::CommandLine);
    let catalog = Catalog::scan(&path, &ScanOptions::default());
    let metrics: Vec<&str> = catalog
        .components()
        .filter(|component| component.id().starts_with("metric/"))
        .map(|component| component.manifest.name.as_str())
        .collect();
    assert!(metrics.len() >= 13, "{metrics:?}");
    let named: Vec<String> = metrics
        .iter()
        .map(|name| format!("{{ component = \"{name}\", name = \"{name}\" }}"))
        .collect();
    let watched: String = metrics
        .iter()
        .map(|name| {
            format!(
                "[[callback]]\ncomponent = \"early-stopping\"\nid = \"stop-{name}\"\nmetric = \"{name}\"\n"
            )
        })
        .collect();
    let run = format!(
        "[data]\ncomponent = \"digits\"\n[model]\ncomponent = \"mlp\"\n[loss]\ncomponent = \"cross-entropy\"\n\
         [optimizer]\ncomponent = \"sgd\"\n[[callback]]\ncomponent = \"metrics\"\nmetrics = [{}]\n{watched}",
        named.join(", ")
    );
    write(dir.path(), "run.toml", &run);
    // An unknown direction is a problem that asks for `better`.
    succeed(fluxbay(dir.path(), plugins.path()).args(["compose", "run.toml"]));
}
