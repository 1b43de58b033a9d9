//! The command line: one file per command, each of them only arguments, calls into the rest of the host, and printing.
//!
//! Data goes to stdout, everything said about it to stderr. A command answers with [`Exit`] or a [`Failure`]; the
//! failure's text is printed here and nowhere else.

#![forbid(unsafe_code)]

mod compose;
mod inspect;
mod list;
mod lock;
mod plugin_path;
mod probe_child;
mod quarantine;
mod reference;
mod run_arguments;
mod schedule;
mod schema;
mod train;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::display::{HostLog, Screen, Verbosity};

pub use plugin_path::PluginPath;
pub use run_arguments::{ReadRun, RunArguments, tell};

use crate::library::probe;
use crate::run_file::Diagnostics;

/// How a command ended, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Finished, or stopped early because a callback wanted so.
    Done,
    /// Failed while it ran.
    Failed,
    /// Wrong arguments, run file or data.
    Configuration,
    /// A plugin that is needed was refused.
    PluginRefused,
    /// Ended by the first SIGINT, everything saved.
    Interrupted,
    /// Ended by the first SIGTERM, everything saved.
    Terminated,
}

impl Exit {
    /// The code of a run that cannot begin.
    pub fn of_problems(problems: &Diagnostics) -> Self {
        if problems.iter().any(|one| one.code == "plugin-refused") { Exit::PluginRefused } else { Exit::Configuration }
    }

    /// The number given to the shell.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Configuration => 2,
            Exit::PluginRefused => 3,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What, where, why and what to do; printed as it is.
    pub text: String,
}

impl Failure {
    /// A failure with its text.
    pub fn new(exit: Exit, text: impl ToString) -> Self {
        Self { exit, text: text.to_string() }
    }
}

/// What a command returns.
pub type Outcome = Result<Exit, Failure>;

/// Trains candle models with phases, callbacks, models, losses and data sets from shared libraries.
#[derive(Debug, Parser)]
#[command(name = "fluxbay", version, max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Say more on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Say only what went wrong.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show plugins and their components; runs no code of any plugin.
    List(list::Arguments),
    /// Pin every plugin that a run uses, to the byte, in plugins.lock beside the run file.
    Lock(lock::Arguments),
    /// Show plugins that failed when they were tried, or have them tried again.
    Quarantine(quarantine::Arguments),
    /// Loads one plugin and answers over standard input; the host's own child process.
    #[command(name = probe::COMMAND, hide = true)]
    Probe(probe_child::Arguments),
    /// Train a run; without a run file, the embedded digits.
    Train(train::Arguments),
    /// Show all that a component or a plugin says of itself; runs no code of any plugin.
    Inspect(inspect::Arguments),
    /// Show a run without training it: instances, order, events, the loop, and why.
    Compose(compose::Arguments),
    /// Write reference pages of all components found; runs no code of any plugin.
    Reference(reference::Arguments),
    /// Show the values of a run's schedules, or of any schedule, as a plot and as numbers.
    Schedule(schedule::Arguments),
    /// Write the JSON Schema of run files, with the settings of every component found.
    Schema(schema::Arguments),
    /// Go on with a run from its newest whole checkpoint.
    Resume(train::resume::Arguments),
    /// Prove that a run can be interrupted: train straight through and with interruptions, and compare every bit.
    VerifyResume(train::verify::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let screen = Screen::of_process(arguments.quiet);
    start_log(&arguments, &screen);
    // A file that may not grow any more is an error of the write, told and survived, and not the end of the process. Where the
    // system refuses, it stays as it was.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    if let Ok(program) = std::env::current_exe() {
        probe::enable(program);
    }
    let outcome = match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Lock(arguments) => lock::run(arguments),
        Command::Quarantine(arguments) => quarantine::run(arguments),
        Command::Probe(arguments) => probe_child::run(arguments),
        Command::Train(arguments) => train::run(arguments, &screen),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Compose(arguments) => compose::run(arguments),
        Command::Reference(arguments) => reference::run(arguments),
        Command::Schedule(arguments) => schedule::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
        Command::Resume(arguments) => train::resume::run(arguments, &screen),
        Command::VerifyResume(arguments) => train::verify::run(arguments, &screen),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        // A closed stderr leaves nobody to tell.
        let _ = writeln!(io::stderr(), "error: {}", failure.text);
        failure.exit
    });
    ExitCode::from(exit.code())
}

/// `RUST_LOG` decides, where it is set; otherwise warnings are shown, fewer or more as asked.
fn start_log(arguments: &Arguments, screen: &Screen) {
    let verbosity = match (arguments.quiet, arguments.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, 1) => Verbosity::Verbose,
        (false, _) => Verbosity::Debug,
    };
    HostLog::install(verbosity, screen.clone());
}

/// Writes data to stdout. A reader that went away early, such as `head`, is no failure.
pub(crate) fn print(text: &str) -> Outcome {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("stdout cannot be written: {error}; free some space, or send it elsewhere")))
        }
        _ => Ok(Exit::Done),
    }
}

/// Writes data to stdout as indented JSON.
pub(crate) fn print_json(data: &impl serde::Serialize) -> Outcome {
    match serde_json::to_string_pretty(data) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => Err(Failure::new(Exit::Failed, format!("the answer cannot be written as JSON: {error}; please report this"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn exit_codes_are_those_documented() {
        let all = [Exit::Done, Exit::Failed, Exit::Configuration, Exit::PluginRefused, Exit::Interrupted, Exit::Terminated];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 130, 143]);
    }
}
