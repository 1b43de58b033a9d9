//! `fluxbay schema`: the JSON Schema of run files, for editors, and of the `--json` output of
//! commands, for scripts.

use super::outcome::Outcome;
use super::output::{print, print_json};
use super::plugin_path::PluginPath;
use crate::run_file::json_schema;

/// Arguments of `fluxbay schema`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to describe.
    #[arg(value_enum, default_value_t = Subject::Run)]
    of: Subject,
    #[command(flatten)]
    path: PluginPath,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match arguments.of.published() {
        Some(schema) => print(schema),
        None => print_json(&json_schema(&arguments.path.scan(&[]))),
    }
}

/// Whether the `--json` output of a command, such as `runs-list`, has a schema.
#[cfg(test)]
pub(super) fn is_published(command: &str) -> bool {
    <Subject as clap::ValueEnum>::from_str(command, false)
        .is_ok_and(|subject| subject.published().is_some())
}

/// What has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// Run files, with the settings of every component found.
    Run,
    /// Output of `list --json`.
    List,
    /// Output of `inspect --json`.
    Inspect,
    /// Output of `compose --json`.
    Compose,
    /// Output of `data inspect --json`.
    DataInspect,
    /// Output of `evaluate --json`.
    Evaluate,
    /// Output of `generate --json`.
    Generate,
    /// Output of `compare-models --json`.
    CompareModels,
    /// Output of `profile --json`.
    Profile,
    /// Output of `runs list --json`.
    RunsList,
    /// Output of `runs show --json`.
    RunsShow,
    /// Output of `runs compare --json`.
    RunsCompare,
    /// Output of `runs folds --json`.
    RunsFolds,
    /// Output of `schedule --json`.
    Schedule,
    /// Output of `check --json`.
    Check,
    /// Output of `check --list --json`.
    CheckList,
    /// Output of `doctor --json`.
    Doctor,
    /// Output of `verify-resume --json`.
    VerifyResume,
    /// Output of `trust list --json`.
    TrustList,
    /// Output of `quarantine --json`.
    Quarantine,
}

impl Subject {
    /// The schema's text; none for run files, whose schema depends on the components found.
    fn published(self) -> Option<&'static str> {
        match self {
            Subject::Run => None,
            Subject::List => Some(include_str!("schemas/list.json")),
            Subject::Inspect => Some(include_str!("schemas/inspect.json")),
            Subject::Compose => Some(include_str!("schemas/compose.json")),
            Subject::DataInspect => Some(include_str!("schemas/data-inspect.json")),
            Subject::Evaluate => Some(include_str!("schemas/evaluate.json")),
            Subject::Generate => Some(include_str!("schemas/generate.json")),
            Subject::CompareModels => Some(include_str!("schemas/compare-models.json")),
            Subject::Profile => Some(include_str!("schemas/profile.json")),
            Subject::RunsList => Some(include_str!("schemas/runs-list.json")),
            Subject::RunsShow => Some(include_str!("schemas/runs-show.json")),
            Subject::RunsCompare => Some(include_str!("schemas/runs-compare.json")),
            Subject::RunsFolds => Some(include_str!("schemas/runs-folds.json")),
            Subject::Schedule => Some(include_str!("schemas/schedule.json")),
            Subject::Check => Some(include_str!("schemas/check.json")),
            Subject::CheckList => Some(include_str!("schemas/check-list.json")),
            Subject::Doctor => Some(include_str!("schemas/doctor.json")),
            Subject::VerifyResume => Some(include_str!("schemas/verify-resume.json")),
            Subject::TrustList => Some(include_str!("schemas/trust-list.json")),
            Subject::Quarantine => Some(include_str!("schemas/quarantine.json")),
        }
    }
}
