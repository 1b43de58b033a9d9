//! The screens of `fluxbay -h`, which fits a terminal of 24 lines, and `fluxbay --help`, which has
//! everything.
//!
//! Both are made of what the commands say of themselves, so that nothing is told twice.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::Arguments;

/// Commands by what they are for, in the order in which they are shown; the first of a group that
/// many need stand on the short screen as well.
const GROUPS: [(&str, &[&str], &[&str]); 5] = [
    ("Train", &["train", "resume", "evaluate", "runs"], &["verify-resume"]),
    ("Look", &["list", "inspect", "compose"], &["schedule", "schema", "reference"]),
    ("Write plugins", &["new", "dev", "check"], &[]),
    ("Choose plugins", &[], &["lock", "trust", "quarantine"]),
    ("Shell", &[], &["completions", "man"]),
];

const BEGIN: [(&str, &str); 4] = [
    ("fluxbay train", "train the built-in digits"),
    ("fluxbay list", "see what runs can be composed of"),
    ("fluxbay inspect mlp", "see what one of them does, with lines for a run file"),
    ("fluxbay new callback mine", "write your own"),
];

const OPTIONS: [(&str, &str); 4] = [
    ("-v, --verbose", "Say more on stderr; twice for everything"),
    ("-q, --quiet", "Say only what went wrong"),
    ("-h, --help", "Help: -h for a screen, --help for everything; also after a command"),
    ("-V, --version", "Print version"),
];

/// Below the long help, and in the manual.
pub(super) const REFERENCE: &str = "\
Environment:
  FLUXBAY_PLUGIN_PATH     folders with plugins, separated by colons
  FLUXBAY__SECTION__KEY   a value of the run file, such as FLUXBAY__RUN__EPOCHS=3
  FLUXBAY_SUPERVISOR      off: plugins run in the process itself, for debuggers
  RUST_LOG                what is logged, such as debug or fluxbay=trace; wins over
                          --quiet and --verbose
  NO_COLOR                set to anything: no colours

Exit codes:
  0 finished, or stopped early by a callback   1 failed while it ran
  2 wrong arguments, run file or data          3 a plugin that is needed was refused
  130 ended by SIGINT, 143 by SIGTERM; all that was done is kept";

/// The command with these screens.
pub(super) fn command() -> Command {
    let command = Arguments::command();
    let (short, long) = (short(&command), long(&command));
    command
        .help_template("{about-with-newline}\n{usage-heading} {usage}{after-help}")
        .after_help(short)
        .after_long_help(long)
}

fn short(command: &Command) -> String {
    let mut screen = Sheet::new(command);
    screen.head("Begin with");
    BEGIN
        .iter()
        .filter(|(what, _)| !what.contains("inspect"))
        .for_each(|(what, why)| screen.line(what, 25, why));
    screen.head("Commands");
    GROUPS.iter().flat_map(|(_, common, _)| *common).for_each(|name| screen.command(name, 8));
    let others: Vec<&str> = GROUPS.iter().flat_map(|(_, _, others)| *others).copied().collect();
    let _ = writeln!(screen.text, "  and {}", others.join(", "));
    screen.text.push('\n');
    let _ = write!(
        screen.text,
        "{0}Options:{0:#} -v says more, -q less; `fluxbay --help` shows everything",
        screen.header
    );
    screen.text
}

fn long(command: &Command) -> String {
    let mut screen = Sheet::new(command);
    screen.head("Begin with");
    BEGIN.iter().for_each(|(what, why)| screen.line(what, 25, why));
    for (heading, common, others) in GROUPS {
        screen.head(heading);
        common.iter().chain(others).for_each(|name| screen.command(name, 13));
    }
    screen.head("Options");
    OPTIONS.iter().for_each(|(what, why)| screen.line(what, 13, why));
    screen.text.push('\n');
    screen.text.push_str(REFERENCE);
    screen.text
}

/// A screen in the making.
struct Sheet<'a> {
    command: &'a Command,
    header: clap::builder::styling::Style,
    literal: clap::builder::styling::Style,
    text: String,
}

impl<'a> Sheet<'a> {
    fn new(command: &'a Command) -> Self {
        let styles = command.get_styles();
        Self {
            command,
            header: *styles.get_header(),
            literal: *styles.get_literal(),
            text: String::new(),
        }
    }

    fn head(&mut self, heading: &str) {
        let between = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{between}{0}{heading}:{0:#}", self.header);
    }

    fn line(&mut self, what: &str, width: usize, why: &str) {
        let _ = writeln!(self.text, "  {0}{what:width$}{0:#}  {why}", self.literal);
    }

    fn command(&mut self, name: &str, width: usize) {
        let about = self
            .command
            .find_subcommand(name)
            .and_then(Command::get_about)
            .map(ToString::to_string)
            .unwrap_or_default();
        self.line(name, width, &about);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short and long help of a command and of all below it, as on a terminal of 80 columns.
    fn screens(command: &mut Command, path: &str, found: &mut Vec<(String, String, String)>) {
        let screen = |text: clap::builder::StyledStr| text.to_string();
        found.push((
            path.to_owned(),
            screen(command.render_help()),
            screen(command.render_long_help()),
        ));
        for below in command.get_subcommands_mut().filter(|below| !below.is_hide_set()) {
            let path = format!("{path} {}", below.get_name());
            screens(below, &path, found);
        }
    }

    #[test]
    fn the_short_help_of_every_command_fits_a_screen_and_the_long_one_has_more() {
        let mut command = command().term_width(80);
        command.build();
        let mut all = Vec::new();
        screens(&mut command, "fluxbay", &mut all);
        assert!(all.len() > 20, "{}", all.len());
        let mut too_large = Vec::new();
        for (path, short, long) in &all {
            let rows = short.trim_end().lines().count();
            let columns = short.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            if rows > 24 || columns > 80 {
                too_large.push(format!("{path} ({rows} rows, {columns} columns):\n{short}"));
            }
            assert!(
                long.len() > short.len() && long.contains("--verbose") && long.contains("--quiet"),
                "{path}\n{long}"
            );
        }
        assert!(too_large.is_empty(), "{}", too_large.join("\n"));
    }

    #[test]
    fn every_command_stands_in_one_group() {
        let command = Arguments::command();
        let mut shown: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, common, others)| common.iter().chain(*others))
            .copied()
            .collect();
        let mut all: Vec<&str> = command
            .get_subcommands()
            .filter(|one| !one.is_hide_set())
            .map(Command::get_name)
            .collect();
        shown.sort_unstable();
        all.sort_unstable();
        assert_eq!(shown, all);
    }
}
