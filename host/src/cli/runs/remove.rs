//! `fluxbay runs remove`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};

use super::folder::{Place, names};
use crate::cli::outcome::{Exit, Failure, Outcome};
use crate::cli::output::print;
use crate::display::bytes;
use crate::library::escape;
use crate::record::RunEntry;

/// Arguments of `fluxbay runs remove`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Runs: folders, names, beginnings or ends of names, or `last`.
    #[arg(value_name = "RUN", required = true, add = names())]
    runs: Vec<OsString>,
    #[command(flatten)]
    place: Place,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    // Look up all runs before removing the first one.
    let mut runs: Vec<RunEntry> =
        arguments.runs.iter().map(|text| arguments.place.find(text)).collect::<Result<_, _>>()?;
    runs.sort_by(|one, other| one.path.cmp(&other.path));
    runs.dedup_by(|one, other| one.path == other.path);
    if !arguments.yes && !agreed(&runs)? {
        return Err(Failure::new(Exit::Configuration, "nothing was removed"));
    }
    for run in &runs {
        let size = run.size();
        run.remove().map_err(|error| Failure::new(Exit::Failed, error))?;
        print(&format!("removed {}, {}\n", escape::path(&run.path), bytes(size)))?;
    }
    Ok(Exit::Done)
}

/// Asks for confirmation; fails if stdin is not a terminal.
fn agreed(runs: &[RunEntry]) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Configuration,
            "stdin is not a terminal, so removing cannot be confirmed: pass --yes",
        ));
    }
    let mut stderr = io::stderr();
    for run in runs {
        // If stderr is closed, the answer below is no.
        let _ = writeln!(
            stderr,
            "  {} ({}), {}",
            escape::path(&run.path),
            run.standing(),
            bytes(run.size())
        );
    }
    let _ = write!(
        stderr,
        "remove {}? [y/N] ",
        if runs.len() == 1 { "it".to_owned() } else { format!("these {}", runs.len()) }
    );
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}
