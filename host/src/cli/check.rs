//! `fluxbay check`: checks a plugin for its author.

use std::path::PathBuf;

use super::outcome::{Exit, Failure, Outcome};
use super::output::{print, print_json};
use crate::check::{self, Check, Options, Verdict};
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

pub(super) fn run(arguments: &Arguments) -> Outcome {
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
    };
    let report = check::check(&options).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("{} cannot be checked: {error}", escape::path(&options.file)),
        )
    })?;
    if arguments.json {
        print_json(&Published { schema: 1, report: &report })?;
    } else {
        print(&report.text())?;
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
            .map(|check| format!("{:<24} {}\n", check.name(), check.about()))
            .collect::<String>(),
    )
}
