//! `fluxbay watch`: the dashboard of a run.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use fluxbay_watch::{Host, Left};

use super::{
    outcome::{Exit, Failure, Outcome},
    runs::{Place, names},
};
use crate::{
    display::{Colors, Screen},
    record::{RunEntry, RunIndex},
};

/// Arguments of `fluxbay watch`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it, or `last`.
    ///
    /// The beginning or the end of a name below `runs` is enough if only one run matches.
    #[arg(value_name = "RUN", default_value = "last", add = names())]
    run: OsString,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    check_terminal("`fluxbay watch`")?;
    let run = arguments.place.find(&arguments.run)?;
    let mut records = Records { beside: folder_of(&run.path) };
    let colors = screen.colors() == Colors::On;
    match fluxbay_watch::watch(&run.id, &run.path, colors, &mut records) {
        Ok(Left::BySignal(signal)) => Ok(match signal.unsigned_abs() {
            2 => Exit::Interrupted,
            15 => Exit::Terminated,
            other => Exit::Signalled(other),
        }),
        Ok(Left::ByUser | Left::ByHost) => Ok(Exit::Done),
        Err(error) => Err(failed(&error)),
    }
}

/// The failure of a terminal that cannot be used.
pub(super) fn failed(error: &io::Error) -> Failure {
    let help = "try another terminal, or `fluxbay report`, which writes a page for a browser";
    Failure::new(Exit::Failed, format!("the dashboard cannot use the terminal: {error}; {help}"))
}

/// Refuses a dashboard without a terminal. `what` asks for it.
pub(super) fn check_terminal(what: &str) -> Result<(), Failure> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    let help = "`fluxbay runs show` and `fluxbay report` need none";
    let text = format!("{what} needs a terminal as stdin and stdout; {help}");
    Err(Failure::new(Exit::Configuration, text))
}

/// The folder that holds the folder of a run.
pub(super) fn folder_of(run: &Path) -> PathBuf {
    let whole = std::fs::canonicalize(run).unwrap_or_else(|_| run.to_owned());
    whole.parent().map_or(whole.clone(), Path::to_owned)
}

/// The runs of a folder, for the dashboard.
#[derive(Debug)]
struct Records {
    /// Folder of the runs to compare with.
    beside: PathBuf,
}

impl Host for Records {
    fn is_live(&self, folder: &Path) -> bool {
        is_live(folder)
    }

    fn runs(&self) -> Vec<(String, PathBuf)> {
        runs(&self.beside)
    }
}

/// Whether a process works in the folder of a run.
pub(super) fn is_live(folder: &Path) -> bool {
    RunEntry::read(folder).is_some_and(|run| run.live)
}

/// Name and folder of the runs of a folder, oldest first.
pub(super) fn runs(folder: &Path) -> Vec<(String, PathBuf)> {
    let index = RunIndex::read(folder);
    index.runs().iter().map(|run| (run.id.clone(), run.path.clone())).collect()
}
