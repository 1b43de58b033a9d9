//! The screens of `fluxbay -h`, which fits a terminal of 24 lines, and of `fluxbay --help`, which
//! lists everything.
//!
//! Both are generated from the table of commands in [`super`] and the summaries of the commands.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::{Arguments, ENVIRONMENT_AND_EXIT_CODES, Group, Listing, TABLE};

/// Groups with their headings, in the order of the screens.
const GROUPS: [(Group, &str); 5] = [
    (Group::Train, "Train"),
    (Group::Look, "Look"),
    (Group::WritePlugins, "Write plugins"),
    (Group::ChoosePlugins, "Choose plugins"),
    (Group::Shell, "Shell"),
];

/// First commands to try, with what they do.
const FIRST_STEPS: [(&str, &str); 4] = [
    ("fluxbay train", "train the built-in digits"),
    ("fluxbay list", "list the components that a run can use"),
    ("fluxbay inspect mlp", "describe one of them, with lines for a run file"),
    ("fluxbay new callback mine", "write your own"),
];

const OPTIONS: [(&str, &str); 4] = [
    ("-v, --verbose", "Print more on stderr; twice for everything"),
    ("-q, --quiet", "Print errors only"),
    ("-h, --help", "Short help; --help prints everything; also after a command"),
    ("-V, --version", "Print version"),
];

/// The command line with these screens.
pub fn command() -> Command {
    let command = Arguments::command();
    let (short, long) = (short(&command), long(&command));
    command
        .help_template("{about-with-newline}\n{usage-heading} {usage}{after-help}")
        .after_help(short)
        .after_long_help(long)
}

/// Every visible command as its words after `fluxbay`, such as `runs list`, in the order of the
/// table.
pub fn commands() -> Vec<Vec<String>> {
    fn add(command: &Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            let path = [path, &[below.get_name().to_owned()]].concat();
            found.push(path.clone());
            add(below, &path, found);
        }
    }
    let mut found = Vec::new();
    add(&Arguments::command(), &[], &mut found);
    found
}

/// The commands of a group.
fn of_group(command: &Command, group: Group) -> impl Iterator<Item = (&Command, Listing)> {
    command
        .get_subcommands()
        .zip(TABLE)
        .filter(move |(_, row)| row.0 == group)
        .map(|(command, row)| (command, row.1))
}

fn short(command: &Command) -> String {
    let mut screen = Sheet::new(command);
    screen.head("Start with");
    FIRST_STEPS
        .iter()
        .filter(|(what, _)| !what.contains("inspect") && !what.contains("list"))
        .for_each(|(what, why)| screen.line(what, 25, why));
    screen.head("Commands");
    let mut others = Vec::new();
    for (one, listing) in GROUPS.iter().flat_map(|(group, _)| of_group(command, *group)) {
        match listing {
            Listing::Summary => screen.command(one, 8),
            Listing::Name => others.push(one.get_name()),
        }
    }
    let _ = writeln!(screen.text, "  and {}\n", others.join(", "));
    let _ = write!(
        screen.text,
        "{0}Options:{0:#} -v prints more, -q less; `fluxbay --help` shows everything",
        screen.header
    );
    screen.text
}

fn long(command: &Command) -> String {
    let mut screen = Sheet::new(command);
    screen.head("Start with");
    FIRST_STEPS.iter().for_each(|(what, why)| screen.line(what, 25, why));
    for (group, heading) in GROUPS {
        screen.head(heading);
        of_group(command, group).for_each(|(one, _)| screen.command(one, 13));
    }
    screen.head("Options");
    OPTIONS.iter().for_each(|(what, why)| screen.line(what, 13, why));
    screen.text.push('\n');
    screen.text.push_str(ENVIRONMENT_AND_EXIT_CODES);
    screen.text
}

/// A screen that is being written.
struct Sheet {
    header: clap::builder::styling::Style,
    literal: clap::builder::styling::Style,
    text: String,
}

impl Sheet {
    fn new(command: &Command) -> Self {
        let styles = command.get_styles();
        Self { header: *styles.get_header(), literal: *styles.get_literal(), text: String::new() }
    }

    fn head(&mut self, heading: &str) {
        let between = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{between}{0}{heading}:{0:#}", self.header);
    }

    fn line(&mut self, what: &str, width: usize, why: &str) {
        let _ = writeln!(self.text, "  {0}{what:width$}{0:#}  {why}", self.literal);
    }

    fn command(&mut self, command: &Command, width: usize) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        self.line(command.get_name(), width, &about);
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
    fn the_arguments_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_table_follows_the_commands_and_hides_internal_ones() {
        let command = Arguments::command();
        let hidden: Vec<bool> = command.get_subcommands().map(Command::is_hide_set).collect();
        let internal: Vec<bool> = TABLE.iter().map(|row| row.0 == Group::Internal).collect();
        assert_eq!(hidden, internal);
        let listed = GROUPS.iter().flat_map(|(group, _)| of_group(&command, *group)).count();
        assert_eq!(listed, hidden.iter().filter(|hidden| !**hidden).count());
        assert!(commands().contains(&vec!["runs".to_owned(), "list".to_owned()]));
    }
}
