//! `fluxbay report`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::outcome::{Exit, Failure, Outcome};
use super::output::print;
use super::runs::{Place, names};
use crate::library::escape;
use crate::record::{RunEntry, atomic};
use crate::report;

/// Arguments of `fluxbay report`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A run's folder, its name or a part of it, or `last`; several of them share a report.
    ///
    /// The beginning or the end of a name below `runs` is enough if only one run matches.
    #[arg(value_name = "RUN", default_value = "last", add = names())]
    runs: Vec<OsString>,
    #[command(flatten)]
    place: Place,
    /// The file to write.
    ///
    /// It is replaced as a whole: a failure leaves the file that was there.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let find = |text: &OsString| arguments.place.find(text);
    let runs: Vec<RunEntry> = arguments.runs.iter().map(find).collect::<Result<_, _>>()?;
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
    let page = report::page(&runs).map_err(|error| failed(&error))?;
    atomic::replace(&arguments.output, page.as_bytes()).map_err(|error| failed(&error))?;
    print(&format!("{}\n", escape::path(&arguments.output)))
}
