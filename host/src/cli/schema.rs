//! `fluxbay schema`: the JSON Schema of run files, for editors, and those of what commands write as
//! JSON, for scripts.

use super::{Outcome, PluginPath, print, print_json};
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

/// Whether what a command writes, such as `runs-list`, has a published schema.
#[cfg(test)]
pub(super) fn is_published(command: &str) -> bool {
    <Subject as clap::ValueEnum>::from_str(command, false)
        .is_ok_and(|subject| subject.published().is_some())
}

/// What there is a schema of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// Run files, with the settings of every component found.
    Run,
    /// What `list --json` writes.
    List,
    /// What `inspect --json` writes.
    Inspect,
    /// What `compose --json` writes.
    Compose,
    /// What `evaluate --json` writes.
    Evaluate,
    /// What `runs list --json` writes.
    RunsList,
    /// What `runs show --json` writes.
    RunsShow,
    /// What `runs compare --json` writes.
    RunsCompare,
    /// What `schedule --json` writes.
    Schedule,
    /// What `check --json` writes.
    Check,
    /// What `check --list --json` writes.
    CheckList,
    /// What `verify-resume --json` writes.
    VerifyResume,
    /// What `trust list --json` writes.
    TrustList,
    /// What `quarantine --json` writes.
    Quarantine,
}

impl Subject {
    /// The schema's text; none where it depends on what is found.
    fn published(self) -> Option<&'static str> {
        match self {
            Subject::Run => None,
            Subject::List => Some(include_str!("schemas/list.json")),
            Subject::Inspect => Some(include_str!("schemas/inspect.json")),
            Subject::Compose => Some(include_str!("schemas/compose.json")),
            Subject::Evaluate => Some(include_str!("schemas/evaluate.json")),
            Subject::RunsList => Some(include_str!("schemas/runs-list.json")),
            Subject::RunsShow => Some(include_str!("schemas/runs-show.json")),
            Subject::RunsCompare => Some(include_str!("schemas/runs-compare.json")),
            Subject::Schedule => Some(include_str!("schemas/schedule.json")),
            Subject::Check => Some(include_str!("schemas/check.json")),
            Subject::CheckList => Some(include_str!("schemas/check-list.json")),
            Subject::VerifyResume => Some(include_str!("schemas/verify-resume.json")),
            Subject::TrustList => Some(include_str!("schemas/trust-list.json")),
            Subject::Quarantine => Some(include_str!("schemas/quarantine.json")),
        }
    }
}
