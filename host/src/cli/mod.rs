//! The `fluxbay` command line.
//!
//! Each command has a file (or folder) with its arguments and a `run` function that calls the rest
//! of the host and prints the result. Data goes to stdout, diagnostics go to stderr. A command
//! returns an [`outcome::Exit`] or an [`outcome::Failure`]; [`program`] prints the failure.
//!
//! This file is the table of commands. Help screens, completions, manual pages and the tests of all
//! screens follow from it. To add a command:
//!
//! 1. write `NAME.rs` with `Arguments` and `run`,
//! 2. add it here: `mod NAME;` and an entry in `commands!`,
//! 3. bless the help screens: `INSTA_UPDATE=always cargo test -p fluxbay-tests --test command_line`
//!    (changes `tests/command_line/screens/help.snap`).
//!
//! A command with `--json` also needs a schema in `schemas/` and an entry in `schema.rs`.

#![forbid(unsafe_code)]

mod candidates;
mod check;
mod check_child;
mod check_progress;
mod completions;
mod compose;
mod data;
mod dev;
mod doctor;
pub mod help;
mod init;
mod inspect;
mod list;
mod lock;
mod manual;
mod new;
pub mod outcome;
mod output;
mod plugin_path;
mod probe_child;
mod profile;
pub mod program;
mod quarantine;
mod reference;
mod report;
mod run_arguments;
mod run_lookup;
mod runs;
mod schedule;
mod schema;
pub mod serve;
mod tokenizer;
mod train;
mod trust;
mod watch;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::display::Screen;
use outcome::Outcome;

/// Heading of the help screens below which a command is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Train,
    Look,
    WritePlugins,
    ChoosePlugins,
    Shell,
    /// Listed nowhere: the host starts these itself.
    Internal,
}

/// How the short help screen lists a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// With its summary.
    Summary,
    /// By its name only.
    Name,
}

/// Whether a command calls functions of plugins. If it does, it runs in a supervised child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PluginCalls {
    Yes,
    No,
}

/// Generates [`Command`] and [`TABLE`] from one entry for each command: summary, name, arguments,
/// where help lists it, whether it calls plugins, and the function that runs it.
macro_rules! commands {
    ($(
        $(#[$attribute:meta])*
        $name:ident($arguments:ty), $group:ident, $listing:ident, plugin calls: $calls:ident,
        |$given:pat_param, $screen:pat_param| $run:expr;
    )*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$attribute])* $name($arguments),)*
        }

        /// Where help lists each command, in the order of [`Command`].
        const TABLE: &[(Group, Listing)] = &[$((Group::$group, Listing::$listing),)*];

        impl Command {
            fn run(&self, screen: &Screen) -> Outcome {
                match self {
                    $(Command::$name(arguments) => {
                        let ($given, $screen) = (arguments, screen);
                        $run
                    })*
                }
            }

            fn plugin_calls(&self) -> PluginCalls {
                match self {
                    $(Command::$name(_) => PluginCalls::$calls,)*
                }
            }
        }
    };
}

commands! {
    /// Train a run; without a run file, the built-in digits.
    Train(train::Arguments), Train, Summary, plugin calls: Yes,
    |arguments, screen| train::run(arguments, screen);

    /// Look at data and write a run file that trains with it.
    ///
    /// Tables, JSON lines, texts, arrays, and folders of images. Each guess has a comment with what
    /// else is possible.
    Init(init::Arguments), Train, Summary, plugin calls: No,
    |arguments, _| init::run(arguments);

    /// Continue a run from its newest intact checkpoint.
    Resume(train::resume::Arguments), Train, Summary, plugin calls: Yes,
    |arguments, screen| train::resume::run(arguments, screen);

    /// Evaluate the model of a run again, on its data or other data.
    Evaluate(train::evaluate::Arguments), Train, Summary, plugin calls: Yes,
    |arguments, screen| train::evaluate::run(arguments, screen);

    /// Apply the model of a run or bundle to files, or to the run's data.
    Predict(train::predict::Arguments), Train, Summary, plugin calls: Yes,
    |arguments, screen| train::predict::run(arguments, screen);

    /// Continue a text with the language model of a run or bundle.
    ///
    /// The text goes to stdout as it comes.
    Generate(train::generate::Arguments), Train, Name, plugin calls: Yes,
    |arguments, screen| train::generate::run(arguments, screen);

    /// Write the model of a run as a bundle, or as an ONNX file.
    ///
    /// A bundle is a folder with all that is needed to apply the model: parameters, configuration,
    /// what the data set learnt, a model card, and hashes.
    Export(train::export::Arguments), Train, Name, plugin calls: Yes,
    |arguments, screen| train::export::run(arguments, screen);

    /// Compare two trained models on the same samples, with McNemar's test.
    CompareModels(train::compare_models::Arguments), Train, Name, plugin calls: Yes,
    |arguments, _| train::compare_models::run(arguments);

    /// Serve the model of a bundle or run over HTTP, on this machine.
    ///
    /// `POST /predict` answers JSON or files of the data set; `/openapi.json` describes it all. The
    /// program `fluxbay-serve` beside this one does it.
    Serve(serve::Arguments), Train, Name, plugin calls: No,
    |arguments, _| serve::run(arguments);

    /// List runs, show one, compare two, remove some.
    Runs(runs::Arguments), Train, Summary, plugin calls: No,
    |arguments, _| runs::run(arguments);

    /// Write a report on runs with their curves as one HTML file.
    ///
    /// The file needs no other file and no network. Several runs share their curves.
    Report(report::Arguments), Train, Name, plugin calls: No,
    |arguments, _| report::run(arguments);

    /// Show a run in the terminal: curves, progress, times, log.
    ///
    /// Reads only the record of the run, while it trains or later, so that training is not slowed. The
    /// key `?` lists all keys.
    Watch(watch::Arguments), Train, Name, plugin calls: No,
    |arguments, screen| watch::run(arguments, screen);

    /// Prove that a run can be interrupted, by comparing every bit.
    ///
    /// The run is trained once without and once with interruptions.
    VerifyResume(train::verify::Arguments), Train, Name, plugin calls: No,
    |arguments, screen| train::verify::run(arguments, screen);

    /// List plugins and their components; runs none of their code.
    List(list::Arguments), Look, Summary, plugin calls: No,
    |arguments, _| list::run(arguments);

    /// Describe a component, plugin, file or bundle in full.
    ///
    /// Runs none of its code.
    Inspect(inspect::Arguments), Look, Summary, plugin calls: No,
    |arguments, _| inspect::run(arguments);

    /// Show a run without training it: order, events, loop, reasons.
    Compose(compose::Arguments), Look, Summary, plugin calls: Yes,
    |arguments, _| compose::run(arguments);

    /// Look at the data of a run, measure how fast it is read, pack it into one file.
    Data(data::Arguments), Look, Name, plugin calls: Yes,
    |arguments, screen| data::run(arguments, screen);

    /// Show what the training steps of a run need: memory by layer.
    ///
    /// Three steps are trained and thrown away; no record is written.
    Profile(profile::Arguments), Look, Name, plugin calls: Yes,
    |arguments, _| profile::run(arguments);

    /// Say what this machine offers to runs on several processes.
    ///
    /// Launchers and libraries of MPI, and which of them belong together; processors, memory, limits,
    /// network; and what is missing.
    Doctor(doctor::Arguments), Look, Name, plugin calls: No,
    |arguments, _| doctor::run(arguments);

    /// Train a tokenizer on a text.
    Tokenizer(tokenizer::Arguments), Look, Name, plugin calls: Yes,
    |arguments, _| tokenizer::run(arguments);

    /// Plot the schedules of a run, or any schedule.
    Schedule(schedule::Arguments), Look, Name, plugin calls: Yes,
    |arguments, _| schedule::run(arguments);

    /// Write the JSON Schema of run files, or of a command's --json.
    Schema(schema::Arguments), Look, Name, plugin calls: No,
    |arguments, _| schema::run(arguments);

    /// Write reference pages of all components found.
    ///
    /// Runs no code of any plugin.
    Reference(reference::Arguments), Look, Name, plugin calls: No,
    |arguments, _| reference::run(arguments);

    /// Create a crate with a component that already trains.
    New(new::Arguments), WritePlugins, Summary, plugin calls: No,
    |arguments, _| new::run(arguments);

    /// Build a plugin's crate, check it, and install it for runs.
    ///
    /// The checks are those of `fluxbay check`, each in a process of its own. If one fails, the
    /// plugin that is installed stays.
    Dev(dev::Arguments), WritePlugins, Name, plugin calls: No,
    |arguments, screen| dev::run(arguments, screen);

    /// Test a plugin with valid and invalid input, for its author.
    Check(check::Arguments), WritePlugins, Name, plugin calls: No,
    |arguments, screen| check::run(arguments, screen);

    /// Pin the exact plugins that a run uses in plugins.lock.
    ///
    /// The run is composed to find out which these are, so code of the plugins runs.
    Lock(lock::Arguments), ChoosePlugins, Name, plugin calls: Yes,
    |arguments, _| lock::run(arguments);

    /// Manage the keys whose signatures are trusted.
    Trust(trust::Arguments), ChoosePlugins, Name, plugin calls: No,
    |arguments, _| trust::run(arguments);

    /// List plugins that failed when loaded, or retry them.
    Quarantine(quarantine::Arguments), ChoosePlugins, Name, plugin calls: No,
    |arguments, _| quarantine::run(arguments);

    /// Write the script that completes commands and names in a shell.
    Completions(completions::Arguments), Shell, Name, plugin calls: No,
    |arguments, _| completions::run(arguments);

    /// Write the manual pages.
    Man(manual::Arguments), Shell, Name, plugin calls: No,
    |arguments, _| manual::run(arguments, Arguments::command());

    /// Runs checks in a child process; started by the host only.
    #[command(name = crate::check::COMMAND, hide = true)]
    CheckChild(check_child::Arguments), Internal, Name, plugin calls: No,
    |arguments, _| check_child::run(arguments);

    /// Loads one plugin in a child process; started by the host only.
    #[command(name = crate::library::probe::COMMAND, hide = true)]
    Probe(probe_child::Arguments), Internal, Name, plugin calls: No,
    |arguments, _| probe_child::run(arguments);
}

impl Command {
    /// Where the record of the run appears that the command shows in a dashboard, if it does.
    fn watched(&self) -> Option<train::watched::Place> {
        match self {
            Command::Train(arguments) => arguments.watched(),
            Command::Resume(arguments) => arguments.watched(),
            _ => None,
        }
    }
}

impl Command {
    /// Number of processes that the command is to be started on.
    fn ranks(&self) -> Option<usize> {
        match self {
            Command::Train(arguments) => arguments.ranks(),
            Command::Resume(arguments) => arguments.ranks(),
            _ => None,
        }
    }
}

/// The version; of packages, also the commit that they were built from.
const VERSION: &str = match option_env!("FLUXBAY_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Trains candle models with phases, callbacks, models and data from plugins.
#[derive(Debug, Parser)]
#[command(
    name = "fluxbay",
    version = VERSION,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_long_help = ENVIRONMENT_AND_EXIT_CODES
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Descriptor of the memory that is shared with the supervisor; set by the host only.
    #[arg(long, hide = true, value_name = "FD")]
    supervised: Option<i32>,
    /// Print more on stderr; twice for everything.
    #[arg(short, long, global = true, hide_short_help = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Print errors only.
    #[arg(short, long, global = true, hide_short_help = true)]
    quiet: bool,
}

/// End of the long help and of the manual page.
const ENVIRONMENT_AND_EXIT_CODES: &str = "\
Environment:
  FLUXBAY_PLUGIN_PATH     folders with plugins, separated by colons
  FLUXBAY__SECTION__KEY   a run file setting: FLUXBAY__RUN__EPOCHS=3
  FLUXBAY_PROBE_LIMIT     seconds that loading a plugin may take when it is
                          tried for the first time (10)
  FLUXBAY_SUPERVISOR      off: plugins run in the main process, for debuggers
  RUST_LOG                log filter, such as debug or fluxbay=trace; overrides
                          --quiet and --verbose
  NO_COLOR                if set and not empty: no colours

Exit codes:
  0 finished, or stopped early by a callback   1 failed while running
  2 wrong arguments, run file or data          3 a required plugin was refused
  130 ended by SIGINT, 143 by SIGTERM, with everything saved";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_writes_json_has_a_published_schema() {
        fn writers(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            if command.get_arguments().any(|argument| argument.get_id() == "json") {
                found.push(path.to_owned());
            }
            for below in command.get_subcommands() {
                let path = if path.is_empty() {
                    below.get_name().to_owned()
                } else {
                    format!("{path}-{}", below.get_name())
                };
                writers(below, &path, found);
            }
        }
        let mut found = Vec::new();
        writers(&Arguments::command(), "", &mut found);
        assert!(found.len() >= 12, "{found:?}");
        let without: Vec<_> = found.iter().filter(|path| !schema::is_published(path)).collect();
        assert!(without.is_empty(), "{without:?}");
    }
}
