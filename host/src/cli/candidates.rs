//! Candidates for words that a user completes in a shell: plugins, components, events, runs.

use std::ffi::OsStr;

use clap_complete::engine::CompletionCandidate;

use super::run_lookup::RUNS;
use crate::library::{Catalog, Kind, ScanOptions, SearchPath, escape};
use crate::record::RunIndex;
use crate::run_file::DEFAULT_CALLBACKS;

/// The plugins of the standard search path. Options of the unfinished command are not known here.
fn catalog() -> Catalog {
    Catalog::scan(&SearchPath::standard(&[], &[]), &ScanOptions::of_user())
}

/// Candidates among (name, summary) pairs, sorted by name.
fn starting_with(
    typed: &OsStr,
    names: impl Iterator<Item = (String, String)>,
) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let mut all: Vec<(String, String)> =
        names.filter(|(name, _)| name.starts_with(&*typed)).collect();
    all.sort();
    all.dedup_by(|one, other| one.0 == other.0);
    all.into_iter()
        .map(|(name, summary)| {
            CompletionCandidate::new(name).help(Some(escape::text(&summary).into()))
        })
        .collect()
}

/// Components by name and as `kind/name`, plugins, files.
pub(super) fn inspectable(typed: &OsStr) -> Vec<CompletionCandidate> {
    let catalog = catalog();
    let components = catalog.components().flat_map(|one| {
        let summary = one.manifest.summary.clone();
        [(one.manifest.name.clone(), summary.clone()), (one.id(), summary)]
    });
    let plugins = catalog
        .plugins()
        .iter()
        .map(|plugin| (plugin.name().to_owned(), plugin.manifest().plugin.summary.clone()));
    starting_with(typed, components.chain(plugins))
}

/// Names of plugins.
pub(super) fn plugins(typed: &OsStr) -> Vec<CompletionCandidate> {
    let catalog = catalog();
    starting_with(
        typed,
        catalog
            .plugins()
            .iter()
            .map(|plugin| (plugin.name().to_owned(), plugin.manifest().plugin.summary.clone())),
    )
}

/// Values of `--add`: phases, callbacks and loggers as `KIND/NAME`.
pub(super) fn addable(typed: &OsStr) -> Vec<CompletionCandidate> {
    let catalog = catalog();
    let listed =
        |kind: Kind| matches!(kind, Kind::Phase | Kind::Transform | Kind::Callback | Kind::Logger);
    let all = catalog.components().filter(|one| listed(one.manifest.kind));
    starting_with(typed, all.map(|one| (one.id(), one.manifest.summary.clone())))
}

/// Names of callbacks. An instance has the name of its component as id unless the run file says
/// otherwise.
pub(super) fn callbacks(typed: &OsStr) -> Vec<CompletionCandidate> {
    let catalog = catalog();
    starting_with(
        typed,
        catalog
            .of_kind(Kind::Callback)
            .map(|one| (one.manifest.name.clone(), one.manifest.summary.clone())),
    )
}

/// Values of `--remove`: the default callbacks, then all others.
pub(super) fn removable(typed: &OsStr) -> Vec<CompletionCandidate> {
    let defaults =
        DEFAULT_CALLBACKS.iter().map(|name| ((*name).to_owned(), "default callback".to_owned()));
    let mut all = starting_with(typed, defaults);
    all.extend(callbacks(typed));
    all
}

/// Names of standard and custom events.
pub(super) fn events(typed: &OsStr) -> Vec<CompletionCandidate> {
    let standard = fluxbay_plugin::abi::event::EVENTS
        .iter()
        .map(|event| (event.name.to_owned(), event.summary().to_owned()));
    let catalog = catalog();
    let custom = catalog
        .components()
        .flat_map(|one| one.manifest.emits.clone())
        .map(|name| (name, "custom event of a phase".to_owned()));
    starting_with(typed, standard.chain(custom))
}

/// State paths that a component reads or writes.
pub(super) fn paths(typed: &OsStr) -> Vec<CompletionCandidate> {
    let catalog = catalog();
    let all = catalog
        .components()
        .flat_map(|one| [one.manifest.reads.clone(), one.manifest.writes.clone()].concat());
    starting_with(typed, all.map(|path| (path, String::new())))
}

/// Runs below `runs`.
pub(super) fn runs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let index = RunIndex::read(RUNS.as_ref());
    starting_with(typed, index.runs().iter().map(|run| (run.id.clone(), run.standing())))
}
