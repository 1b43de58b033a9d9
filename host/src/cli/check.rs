//! `fluxbay check`: checks a plugin for its author.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use super::check_progress::{self as progress, CheckProgress};
use super::outcome::{Exit, Failure, Outcome};
use super::output::{print, print_json};
use super::train::shortcuts::time;
use crate::check::{self, Check, Options, Verdict};
use crate::display::Screen;
use crate::library::escape;

/// Arguments of `fluxbay check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The plugin's file.
    #[arg(required_unless_present = "list")]
    file: Option<PathBuf>,
    /// List all checks.
    #[arg(long)]
    list: bool,
    /// Run only these checks; may be given several times.
    #[arg(long, value_name = "CHECK")]
    only: Vec<String>,
    /// Train components in this run instead of a small generated one.
    ///
    /// May be given several times; each component is trained in the first run that uses it.
    #[arg(long = "run", value_name = "RUN.toml")]
    runs: Vec<PathBuf>,
    /// Seed of generated configurations and states.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of further plugins for the trainings.
    ///
    /// The standard plugins are found without it.
    #[arg(long = "plugin-dir", value_name = "DIR")]
    plugin_dirs: Vec<PathBuf>,
    /// Time for all checks: 30s, 5m.
    ///
    /// Trainings are made so small that all checks fit; what does not fit is skipped.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    budget: Duration,
    /// Fail for warnings, too.
    #[arg(long)]
    strict: bool,
    /// Write JSON, as `fluxbay schema check` describes.
    ///
    /// `fluxbay schema check-list` describes what `--list --json` writes.
    #[arg(long)]
    json: bool,
}

/// The JSON report.
#[derive(serde::Serialize)]
struct Published<'a> {
    schema: u32,
    #[serde(flatten)]
    report: &'a check::CheckReport,
}

pub(super) fn run(arguments: &Arguments, screen: &Screen) -> Outcome {
    if let Some(unknown) =
        arguments.only.iter().find(|name| Check::ALL.iter().all(|check| check.name() != *name))
    {
        let text = format!(
            "there is no check `{}`; `fluxbay check --list` shows them",
            escape::text(unknown)
        );
        return Err(Failure::new(Exit::Configuration, text));
    }
    let Some(file) = arguments.file.clone().filter(|_| !arguments.list) else {
        return list(arguments.json);
    };
    let options = Options {
        file,
        dirs: arguments.plugin_dirs.clone(),
        runs: arguments.runs.clone(),
        seed: arguments.seed,
        only: arguments.only.clone(),
        budget: arguments.budget,
    };
    let mut progress = CheckProgress::new(screen);
    let report = check::check(&options, &mut |event| progress.show(event)).map_err(|error| {
        progress::failure(&error, &format!("{} cannot be checked", escape::path(&options.file)))
    })?;
    if arguments.json {
        print_json(&Published { schema: 1, report: &report })?;
    } else {
        // A terminal shows the checks that passed already.
        let is_shown = progress.shows_lines() && std::io::stdout().is_terminal();
        print(&if is_shown { report.problems() } else { report.text() })?;
    }
    let wrong = report.count(Verdict::Failed)
        + if arguments.strict { report.count(Verdict::Warning) } else { 0 };
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

fn list(json: bool) -> Outcome {
    if json {
        let all: Vec<_> = Check::ALL
            .iter()
            .map(|check| serde_json::json!({ "check": check.name(), "about": check.about() }))
            .collect();
        return print_json(&serde_json::json!({ "schema": 1, "checks": all }));
    }
    print(
        &Check::ALL
            .iter()
            .map(|check| format!("{:<26} {}\n", check.name(), check.about()))
            .collect::<String>(),
    )
}
