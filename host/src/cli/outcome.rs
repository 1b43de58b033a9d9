//! What a command returns: an exit code, or a failure that still has to be reported.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use crate::run_file::{Colours, Diagnostics, render};

/// How a command ended, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Finished, or stopped early by a callback.
    Done,
    /// Failed while it ran.
    Failed,
    /// Wrong arguments, run file or data.
    Configuration,
    /// A required plugin was refused.
    PluginRefused,
    /// Ended by SIGINT after everything was saved.
    Interrupted,
    /// Ended by SIGTERM after everything was saved.
    Terminated,
    /// Ended by another signal after everything was saved.
    Signalled(u32),
}

impl Exit {
    /// The exit code for a run that cannot start because of these problems.
    pub fn of_problems(problems: &Diagnostics) -> Self {
        let is_refused =
            |code: &str| matches!(code, "plugin-refused" | "refused-component" | "plugin-missing");
        if problems.iter().any(|one| is_refused(&one.code)) {
            Exit::PluginRefused
        } else {
            Exit::Configuration
        }
    }

    /// The process exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Configuration => 2,
            Exit::PluginRefused => 3,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
            Exit::Signalled(signal) => 128 + signal as u8,
        }
    }
}

/// Why a command failed.
///
/// Commands return it; only `Failure::report` prints it.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// What happened, where, why, and what to do; printed unchanged.
    Text(String),
    /// Problems of a run, with their places in its files.
    Problems(Diagnostics),
}

impl Failure {
    /// A failure with its text.
    pub fn new(exit: Exit, text: impl ToString) -> Self {
        Self { exit, reason: Reason::Text(text.to_string()) }
    }

    /// A run that cannot start because of these problems.
    pub fn problems(problems: Diagnostics) -> Self {
        Self { exit: Exit::of_problems(&problems), reason: Reason::Problems(problems) }
    }

    /// Prints the failure on stderr and returns the exit code.
    pub(super) fn report(&self) -> Exit {
        match &self.reason {
            // If stderr is closed, there is nothing left to do.
            Reason::Text(text) => drop(writeln!(io::stderr(), "error: {text}")),
            Reason::Problems(problems) => report(problems),
        }
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Text(text) => f.write_str(text),
            Reason::Problems(problems) => {
                let messages: Vec<&str> = problems.iter().map(|one| one.message.as_str()).collect();
                f.write_str(&messages.join("; "))
            }
        }
    }
}

/// What a command returns.
pub type Outcome = Result<Exit, Failure>;

/// Prints problems on stderr, in colours on a terminal unless `NO_COLOR` is set.
pub fn report(problems: &Diagnostics) {
    if problems.is_empty() {
        return;
    }
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || !io::stderr().is_terminal();
    let colours = if plain { Colours::Never } else { Colours::Always };
    // If stderr is closed, there is nothing left to do.
    let _ = io::stderr().write_all(render(problems, colours).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_file::Diagnostic;

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

    #[test]
    fn a_refused_plugin_has_an_exit_code_of_its_own() {
        let of = |codes: &[&'static str]| {
            let mut problems = Diagnostics::new();
            codes.iter().for_each(|code| problems.push(Diagnostic::error(code, "text")));
            Failure::problems(problems).exit
        };
        assert_eq!(of(&["unknown-key"]), Exit::Configuration);
        assert_eq!(of(&["unknown-key", "plugin-refused"]), Exit::PluginRefused);
    }
}
