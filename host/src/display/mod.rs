//! Progress and diagnostics on stderr: bars on a terminal, plain lines elsewhere, nothing with
//! `--quiet`.
//!
//! All output goes through one [`Screen`], so that log lines and lines of plugins appear above the
//! bars without breaking them. Text of plugins is escaped here. Used by the command line; the
//! learner prints through the trait `learner::ports::Display`, which [`Bars`] implements.
//!
//! - `screen`, `log`, `bars`: the terminal, the process log, progress bars.
//! - `launch`, `summary`: the banner before a run and the summary after it.
//! - `table`, `plot`, `width`: aligned columns, numbers, curves, the width of stdout.

#![forbid(unsafe_code)]

mod bars;
mod launch;
mod log;
mod plot;
mod screen;
mod summary;
mod table;
mod width;

pub use self::{
    bars::Bars,
    launch::{Launch, LaunchData, LaunchModel, LaunchPlugin},
    log::{HostLog, Verbosity},
    plot::plot,
    screen::{Colors, Look, Screen},
    summary::{Conclusion, Summary},
};
pub(crate) use self::{
    summary::memory_lines,
    table::{bytes, columns, number, shape, thousands},
    width::width_of_stdout,
};
