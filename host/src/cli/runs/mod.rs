//! `fluxbay runs`: what the folders of runs tell: which there are, one in full, two side by side,
//! and away with them.

mod compare;
mod list;
mod remove;
mod show;

use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;

use super::{Exit, Failure, Outcome, RUNS, completions};
use crate::record::{EpochMetric, RunEntry, RunIndex};

/// Arguments of `fluxbay runs`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the runs below a folder, oldest first.
    List(list::Arguments),
    /// Show one run: how it ended, its figures, plugins, checkpoints, and what to do next.
    Show(show::Arguments),
    /// Show what differs between two runs: configuration, plugins, figures.
    Compare(compare::Arguments),
    /// Remove runs with everything in them.
    Remove(remove::Arguments),
}

/// Where runs are.
#[derive(Clone, Debug, clap::Args)]
struct Place {
    /// The folder of the runs' folders.
    #[arg(long = "in", value_name = "DIR", default_value = RUNS)]
    folder: PathBuf,
}

impl Place {
    fn index(&self) -> RunIndex {
        RunIndex::read(&self.folder)
    }

    fn find(&self, text: &str) -> Result<RunEntry, Failure> {
        self.index().find(text).map_err(|error| Failure::new(Exit::Configuration, error))
    }
}

fn names() -> ArgValueCompleter {
    ArgValueCompleter::new(completions::runs)
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Remove(arguments) => remove::run(arguments),
    }
}

fn json_figure(figure: &EpochMetric) -> serde_json::Value {
    serde_json::json!({
        "phase": figure.phase,
        "name": figure.name,
        "last": super::json_number(figure.last.0),
        "last-epoch": figure.last.1,
        "best": figure.best.map(|best| super::json_number(best.0)),
        "best-epoch": figure.best.map(|best| best.1),
    })
}

/// The figure that says most of a run at a glance: of the last phase that measured, the first
/// metric that is not a loss.
fn headline(figures: &[EpochMetric]) -> Option<&EpochMetric> {
    let phase = figures.iter().rev().map(|figure| figure.phase.as_str()).next()?;
    let of_phase = || figures.iter().filter(|figure| figure.phase == phase);
    of_phase().find(|figure| !figure.name.contains("loss")).or_else(|| of_phase().next())
}
