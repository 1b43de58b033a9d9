//! The command line: one file per command, each of them only arguments, calls into the rest of the
//! host, and printing.
//!
//! Data goes to stdout, everything said about it to stderr. A command answers with [`Exit`] or a
//! [`Failure`]; the failure's text is printed here and nowhere else.

#![forbid(unsafe_code)]

mod check;
mod check_child;
mod completions;
mod compose;
mod dev;
mod help;
mod inspect;
mod list;
mod lock;
mod manual;
mod new;
mod plugin_path;
mod probe_child;
mod quarantine;
mod reference;
mod run_arguments;
mod runs;
mod schedule;
mod schema;
mod train;
mod trust;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::CompleteEnv;

use crate::display::{HostLog, Screen, Verbosity};

pub use plugin_path::PluginPath;
pub use run_arguments::{ReadRun, RunArguments, tell};

use crate::library::probe;
use crate::run_file::Diagnostics;
use crate::supervisor;

/// Folder of the runs' folders, where none is named.
const RUNS: &str = "runs";

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
        let is_refused = |code: &str| matches!(code, "plugin-refused" | "refused-component");
        if problems.iter().any(|one| is_refused(&one.code)) {
            Exit::PluginRefused
        } else {
            Exit::Configuration
        }
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

/// Trains candle models with phases, callbacks, models and data from plugins.
#[derive(Debug, Parser)]
#[command(
    name = "fluxbay",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_long_help = help::REFERENCE
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Descriptor of what this process shares with its supervisor; the host's own.
    #[arg(long, hide = true, value_name = "FD")]
    supervised: Option<i32>,
    /// Say more on stderr; twice for everything.
    #[arg(short, long, global = true, hide_short_help = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Say only what went wrong.
    #[arg(short, long, global = true, hide_short_help = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a run; without a run file, the built-in digits.
    Train(train::Arguments),
    /// Go on with a run from its newest whole checkpoint.
    Resume(train::resume::Arguments),
    /// Prove that a run can be interrupted, by comparing every bit.
    ///
    /// It is trained straight through and with interruptions.
    VerifyResume(train::verify::Arguments),
    /// Measure the model of a run again, on its data or other data.
    Evaluate(train::evaluate::Arguments),
    /// List runs, show one, compare two, remove some.
    Runs(runs::Arguments),
    /// Show plugins and their components; runs none of their code.
    List(list::Arguments),
    /// Try a plugin the way hosts and bad luck will, for its author.
    Check(check::Arguments),
    /// Runs checks and answers over standard input; the host's own child process.
    #[command(name = crate::check::COMMAND, hide = true)]
    CheckChild(check_child::Arguments),
    /// Show all that a component, plugin or file says of itself.
    ///
    /// None of its code is run.
    Inspect(inspect::Arguments),
    /// Show a run without training it: order, events, loop, reasons.
    Compose(compose::Arguments),
    /// Write reference pages of all components found.
    ///
    /// No code of any plugin is run.
    Reference(reference::Arguments),
    /// Plot the values of a run's schedules, or of any schedule.
    Schedule(schedule::Arguments),
    /// Make a crate with a component of your own that trains at once.
    New(new::Arguments),
    /// Build a plugin's crate, check it, and install it for runs.
    ///
    /// The checks are those of `fluxbay check`, in processes of their own; one that fails leaves
    /// installed what was.
    Dev(dev::Arguments),
    /// Write the JSON Schema of run files, or of what --json writes.
    Schema(schema::Arguments),
    /// Keep the keys whose signed plugins are used.
    Trust(trust::Arguments),
    /// Pin the plugins that a run uses, to the byte, in plugins.lock.
    Lock(lock::Arguments),
    /// Show plugins that failed when tried, or have them tried again.
    Quarantine(quarantine::Arguments),
    /// Write the script that completes commands and names in a shell.
    Completions(completions::Arguments),
    /// Write the manual pages.
    Man(manual::Arguments),
    /// Loads one plugin and answers over standard input; the host's own child process.
    #[command(name = probe::COMMAND, hide = true)]
    Probe(probe_child::Arguments),
}

impl Command {
    /// Whether functions of plugins are called in the process of the command.
    fn calls_plugins(&self) -> bool {
        matches!(
            self,
            Command::Train(_)
                | Command::Compose(_)
                | Command::Resume(_)
                | Command::Evaluate(_)
                | Command::Schedule(_)
        )
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    CompleteEnv::with_factory(Arguments::command).var(completions::VARIABLE).complete();
    let parsed =
        help::command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = parsed.unwrap_or_else(|error| wrong_arguments(error));
    let screen = Screen::of_process(arguments.quiet);
    // The child of `check` counts lines of the log itself, and is itself what plugins are tried in.
    let is_check = matches!(arguments.command, Command::CheckChild(_));
    if !is_check {
        start_log(&arguments, &screen);
    }
    // A file that may not grow any more is an error of the write, told and survived, and not the
    // end of the process. Where the system refuses, it stays as it was.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    if !is_check && let Ok(program) = std::env::current_exe() {
        probe::enable(program);
    }
    let exit = match begin(&arguments) {
        Ok(Some(code)) => return ExitCode::from(code),
        Ok(None) => run(&arguments, &screen),
        Err(failure) => tell_failure(&failure),
    };
    supervisor::worker::done(exit.code());
    ExitCode::from(exit.code())
}

/// Hands a command that calls plugins to a process of its own, and answers with its code when it
/// has ended; in that process, and for other commands, there is nothing to wait for.
fn begin(arguments: &Arguments) -> Result<Option<u8>, Failure> {
    if let Some(number) = arguments.supervised {
        let by_hand = |error| {
            Failure::new(
                Exit::Configuration,
                format!(
                    "`{}` is the host's own and cannot be given by hand ({error})",
                    supervisor::OPTION
                ),
            )
        };
        return supervisor::worker::begin(number).map(|()| None).map_err(by_hand);
    }
    if !arguments.command.calls_plugins() || !supervisor::is_wanted() {
        return Ok(None);
    }
    let unavailable = |error| {
        let help = format!(
            "free some processes, memory or descriptors, or set {}=off to do without",
            supervisor::VARIABLE
        );
        Failure::new(
            Exit::Failed,
            format!("the process that runs the plugins cannot be watched: {error}; {help}"),
        )
    };
    Ok(Some(match supervisor::supervise().map_err(unavailable)? {
        supervisor::Ended::Itself(code) => code,
        supervisor::Ended::Broken { text, code } => {
            tell_failure(&Failure::new(Exit::Failed, text));
            code
        }
    }))
}

fn tell_failure(failure: &Failure) -> Exit {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "error: {}", failure.text);
    failure.exit
}

fn run(arguments: &Arguments, screen: &Screen) -> Exit {
    let outcome = match &arguments.command {
        Command::Check(arguments) => check::run(arguments),
        Command::CheckChild(arguments) => check_child::run(arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Lock(arguments) => lock::run(arguments),
        Command::Quarantine(arguments) => quarantine::run(arguments),
        Command::Probe(arguments) => probe_child::run(arguments),
        Command::Train(arguments) => train::run(arguments, screen),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Compose(arguments) => compose::run(arguments),
        Command::Reference(arguments) => reference::run(arguments),
        Command::Schedule(arguments) => schedule::run(arguments),
        Command::Schema(arguments) => schema::run(arguments),
        Command::Trust(arguments) => trust::run(arguments),
        Command::Resume(arguments) => train::resume::run(arguments, screen),
        Command::VerifyResume(arguments) => train::verify::run(arguments, screen),
        Command::Evaluate(arguments) => train::evaluate::run(arguments, screen),
        Command::Runs(arguments) => runs::run(arguments),
        Command::New(arguments) => new::run(arguments),
        Command::Dev(arguments) => dev::run(arguments, screen),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Man(arguments) => manual::run(arguments, Arguments::command()),
    };
    outcome.unwrap_or_else(|failure| tell_failure(&failure))
}

/// Tells what is wrong with the arguments, or what was asked for (help, version), and ends the
/// process.
fn wrong_arguments(mut error: clap::Error) -> ! {
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) if error.kind() == ErrorKind::UnknownArgument => {
            option.clone()
        }
        _ => String::new(),
    };
    if let Some(path) = setting_of(&option) {
        let tip = format!(
            "`{}` is a setting of the run: --set {path}=VALUE",
            option.trim_start_matches('-')
        );
        // Instead of how to pass it as a value, which is hardly meant.
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    // A closed stream leaves nobody to tell.
    let _ = error.print();
    std::process::exit(error.exit_code())
}

/// The setting of a run file that an option was probably meant to be.
fn setting_of(option: &str) -> Option<String> {
    let name = option.strip_prefix("--")?.replace('_', "-");
    let is_setting = |section: &str| {
        let schema = crate::run_file::settings::schema(section).unwrap_or_default();
        schema["properties"].get(&name).is_some()
    };
    let of_host = ["run", "loader"]
        .into_iter()
        .find(|section| is_setting(section))
        .map(|section| format!("{section}.{name}"));
    of_host.or_else(|| {
        matches!(name.as_str(), "lr" | "learning-rate")
            .then(|| "optimizer.learning-rate".to_owned())
    })
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
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failed,
            format!("stdout cannot be written: {error}; free some space, or send it elsewhere"),
        )),
        _ => Ok(Exit::Done),
    }
}

/// Writes data to stdout as indented JSON.
pub(crate) fn print_json(data: &impl serde::Serialize) -> Outcome {
    match serde_json::to_string_pretty(data) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            format!("the answer cannot be written as JSON: {error}; please report this"),
        )),
    }
}

/// A number for JSON, which has none for NaN and the infinities.
pub(crate) fn json_number(value: f64) -> serde_json::Value {
    if value.is_finite() { serde_json::json!(value) } else { serde_json::json!(value.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        help::command().debug_assert();
    }

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

    #[test]
    fn options_that_are_settings_get_their_place() {
        let place = |option| setting_of(option).unwrap_or_default();
        let options = ["--epochs", "--batch_size", "--lr", "--colour"];
        assert_eq!(
            options.map(place),
            ["run.epochs", "loader.batch-size", "optimizer.learning-rate", ""]
        );
    }

    #[test]
    fn exit_codes_are_those_documented() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Configuration,
            Exit::PluginRefused,
            Exit::Interrupted,
            Exit::Terminated,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 130, 143]);
    }
}
