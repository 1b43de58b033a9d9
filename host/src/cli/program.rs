//! The process: parses the arguments, sets up logging, starts the supervised child for commands
//! that call plugins, runs the command, and reports its failure.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::CompleteEnv;

use super::outcome::{Exit, Failure};
use super::{
    Arguments, Command, PluginCalls, completions, help, train::local_ranks, train::watched,
};
use crate::display::{HostLog, Screen, Verbosity};
use crate::library::probe;
use crate::supervisor;
use crate::surroundings;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    CompleteEnv::with_factory(Arguments::command).var(completions::VARIABLE).complete();
    let parsed =
        help::command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = parsed.unwrap_or_else(|error| wrong_arguments(error));
    let screen = Screen::of_process(arguments.quiet);
    // The child of `check` counts log lines itself, and it is already the process that plugins are
    // tried in.
    let is_check_child = matches!(arguments.command, Command::CheckChild(_));
    if !is_check_child {
        start_log(&arguments, &screen);
    }
    // Handle SIGXFSZ, so that a write beyond the file size limit fails instead of the process. If
    // the handler cannot be installed, the default action stays.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    if !is_check_child && let Ok(program) = std::env::current_exe() {
        probe::enable(program);
    }
    let exit = match supervise(&arguments) {
        Ok(Some(code)) => return ExitCode::from(code),
        Ok(None) => {
            if arguments.command.plugin_calls() == PluginCalls::Yes {
                surroundings::watch();
                // Plugins can hang while they are loaded, before the limits of the run are known.
                // Without the thread, calls that hang are not reported.
                let _ = supervisor::worker::watch(supervisor::worker::Patience::DEFAULT);
            }
            arguments.command.run(&screen).unwrap_or_else(|failure| failure.report())
        }
        Err(failure) => failure.report(),
    };
    supervisor::worker::done(exit.code());
    ExitCode::from(exit.code())
}

/// Runs a command that calls plugins in a supervised child process and returns its exit code; with
/// `--watch`, that process is supervised by one more, which this process shows the record of.
/// Returns none in that child, and for other commands: those run in this process.
fn supervise(arguments: &Arguments) -> Result<Option<u8>, Failure> {
    if let Some(number) = arguments.supervised {
        let by_hand = |error| {
            Failure::new(
                Exit::Configuration,
                format!(
                    "only the host itself can pass `{}` ({error})",
                    crate::breadcrumb::WORKER_OPTION
                ),
            )
        };
        return supervisor::worker::begin(number).map(|()| None).map_err(by_hand);
    }
    if let Some(ranks) = arguments.command.ranks() {
        return Err(local_ranks::launch(ranks));
    }
    if let Some(place) = arguments.command.watched() {
        return watched::run(&place).map(Some);
    }
    if arguments.command.plugin_calls() == PluginCalls::No || !supervisor::is_wanted() {
        return Ok(None);
    }
    let unavailable = |error| {
        let help = format!(
            "free some processes, memory or descriptors, or set {}=off to run without supervision",
            supervisor::VARIABLE
        );
        Failure::new(
            Exit::Failed,
            format!("cannot supervise the process that runs the plugins: {error}; {help}"),
        )
    };
    Ok(Some(match supervisor::supervise().map_err(unavailable)? {
        supervisor::Ended::Itself(code) => code,
        supervisor::Ended::Broken { text, code } => {
            Failure::new(Exit::Failed, text).report();
            code
        }
    }))
}

/// Prints what is wrong with the arguments, or the help or version that was asked for, and exits.
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
        // Replaces clap's advice to pass the option as a value.
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    // If the stream is closed, there is nothing left to do.
    let _ = error.print();
    std::process::exit(error.exit_code())
}

/// The run file setting that an unknown option probably means.
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

/// Installs the log. `RUST_LOG` takes precedence over `--quiet` and `--verbose`.
fn start_log(arguments: &Arguments, screen: &Screen) {
    let verbosity = match (arguments.quiet, arguments.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, 0) => Verbosity::Normal,
        (false, 1) => Verbosity::Verbose,
        (false, _) => Verbosity::Debug,
    };
    HostLog::install(verbosity, screen.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_settings_get_their_place() {
        let place = |option| setting_of(option).unwrap_or_default();
        let options = ["--epochs", "--batch_size", "--lr", "--colour"];
        assert_eq!(
            options.map(place),
            ["run.epochs", "loader.batch-size", "optimizer.learning-rate", ""]
        );
    }
}
