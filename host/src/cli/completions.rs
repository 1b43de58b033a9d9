//! Completion on the command line: scripts for shells, and what they ask this program for while
//! somebody types.

use std::ffi::OsStr;
use std::io::Write as _;

use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;

use super::{Exit, Failure, Outcome, PluginPath, print};
use crate::library::{Catalog, Kind, escape};
use crate::record::RunIndex;
use crate::run_file::DEFAULT_CALLBACKS;

/// The environment variable by which a shell asks.
pub const VARIABLE: &str = "FLUXBAY_COMPLETE";

/// Arguments of `fluxbay completions`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell to write the script for.
    #[arg(value_enum)]
    shell: Shell,
}

/// Shells that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    /// In ~/.bashrc: source <(fluxbay completions bash)
    Bash,
    /// In ~/.zshrc: source <(fluxbay completions zsh)
    Zsh,
    /// In ~/.config/fish/config.fish: fluxbay completions fish | source
    Fish,
    /// In ~/.config/elvish/rc.elv: eval (fluxbay completions elvish | slurp)
    Elvish,
    /// In the profile: fluxbay completions powershell | Out-String | Invoke-Expression
    Powershell,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let name = match arguments.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
    };
    let failed = |text: String| {
        Failure::new(
            Exit::Failed,
            format!("the script for {name} cannot be written: {text}; please report this"),
        )
    };
    let shells = Shells::builtins();
    let shell = shells.completer(name).ok_or_else(|| failed("it is not known".to_owned()))?;
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "fluxbay", "fluxbay", "fluxbay", &mut script)
        .map_err(|error| failed(error.to_string()))?;
    script.flush().map_err(|error| failed(error.to_string()))?;
    print(&String::from_utf8_lossy(&script))
}

/// What is on the search path that every command has: what a half-typed command names is not known
/// here.
fn catalog() -> Catalog {
    PluginPath::default().scan(&[])
}

fn starting(
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
    starting(typed, components.chain(plugins))
}

/// Names of plugins.
pub(super) fn plugins(typed: &OsStr) -> Vec<CompletionCandidate> {
    let catalog = catalog();
    starting(
        typed,
        catalog
            .plugins()
            .iter()
            .map(|plugin| (plugin.name().to_owned(), plugin.manifest().plugin.summary.clone())),
    )
}

/// What `--add` takes: `callback/NAME` and others that a run lists.
pub(super) fn addable(typed: &OsStr) -> Vec<CompletionCandidate> {
    let catalog = catalog();
    let listed = |kind: Kind| matches!(kind, Kind::Phase | Kind::Callback | Kind::Logger);
    let all = catalog.components().filter(|one| listed(one.manifest.kind));
    starting(typed, all.map(|one| (one.id(), one.manifest.summary.clone())))
}

/// Names of callbacks; by custom these are the ids of instances too.
pub(super) fn callbacks(typed: &OsStr) -> Vec<CompletionCandidate> {
    let catalog = catalog();
    starting(
        typed,
        catalog
            .of_kind(Kind::Callback)
            .map(|one| (one.manifest.name.clone(), one.manifest.summary.clone())),
    )
}

/// Callbacks that stand in runs without being named, and the phases of the default.
pub(super) fn removable(typed: &OsStr) -> Vec<CompletionCandidate> {
    let defaults =
        DEFAULT_CALLBACKS.iter().map(|name| ((*name).to_owned(), "default callback".to_owned()));
    let mut all = starting(typed, defaults);
    all.extend(callbacks(typed));
    all
}

/// Names of the events of the loop.
pub(super) fn events(typed: &OsStr) -> Vec<CompletionCandidate> {
    let standard =
        fluxbay_plugin::abi::event::NAMES.iter().map(|name| ((*name).to_owned(), String::new()));
    let catalog = catalog();
    let custom = catalog
        .components()
        .flat_map(|one| one.manifest.emits.clone())
        .map(|name| (name, "an event of a phase".to_owned()));
    starting(typed, standard.chain(custom))
}

/// State paths that any component reads or writes.
pub(super) fn paths(typed: &OsStr) -> Vec<CompletionCandidate> {
    let catalog = catalog();
    let all = catalog
        .components()
        .flat_map(|one| [one.manifest.reads.clone(), one.manifest.writes.clone()].concat());
    starting(typed, all.map(|path| (path, String::new())))
}

/// Runs below `runs`.
pub(super) fn runs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let index = RunIndex::read(super::RUNS.as_ref());
    starting(typed, index.runs().iter().map(|run| (run.id.clone(), run.standing())))
}
