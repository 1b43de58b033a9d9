//! Results of the checks, and their text for people.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::Check;
use crate::library::escape;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No problem.
    Passed,
    /// A fault that the author must fix.
    Failed,
    /// Allowed, but not recommended.
    Warning,
    /// It could not be run.
    Skipped,
}

impl Verdict {
    /// The word in reports.
    pub fn mark(self) -> &'static str {
        match self {
            Verdict::Passed => "ok",
            Verdict::Failed => "FAILED",
            Verdict::Warning => "warning",
            Verdict::Skipped => "skipped",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckOutcome {
    /// Name of the check.
    pub check: String,
    /// What it checks.
    pub about: String,
    /// The component as `kind/name`, if the check is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found; may be empty if it passed.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub message: String,
    /// How long it took.
    pub milliseconds: u64,
}

/// Verdict and message of a check.
pub(super) type Found = (Verdict, String);

pub(super) fn passed() -> Found {
    (Verdict::Passed, String::new())
}

pub(super) fn failed(message: impl Into<String>) -> Found {
    (Verdict::Failed, message.into())
}

pub(super) fn warning(message: impl Into<String>) -> Found {
    (Verdict::Warning, message.into())
}

pub(super) fn skipped(message: impl Into<String>) -> Found {
    (Verdict::Skipped, message.into())
}

impl CheckOutcome {
    pub(super) fn new(
        check: Check,
        component: Option<String>,
        (verdict, message): Found,
        milliseconds: u64,
    ) -> Self {
        let message = escape::paragraph(&message);
        Self {
            check: check.name().to_owned(),
            about: check.about().to_owned(),
            component,
            verdict,
            message,
            milliseconds,
        }
    }
}

/// The results of all checks of a file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckReport {
    /// The file.
    pub file: String,
    /// Plugin and version, if they could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Hash of its bytes, if they could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Seed of all generated inputs.
    pub seed: u64,
    /// In the order in which the checks ran.
    pub outcomes: Vec<CheckOutcome>,
}

impl CheckReport {
    /// Number of outcomes with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.verdict == verdict).count()
    }

    /// Text for people: one line per check, with the message below it.
    pub fn text(&self) -> String {
        self.text_of(|_| true)
    }

    /// As [`CheckReport::text`], without checks that passed.
    pub fn problems(&self) -> String {
        self.text_of(|outcome| outcome.verdict != Verdict::Passed)
    }

    fn text_of(&self, is_shown: impl Fn(&CheckOutcome) -> bool) -> String {
        let mut out = format!("{}\n", self.file);
        if let (Some(plugin), Some(sha256)) = (&self.plugin, &self.sha256) {
            let _ = writeln!(out, "{plugin}, sha256 {sha256}, seed {}", self.seed);
        }
        let mut component = None;
        for outcome in self.outcomes.iter().filter(|outcome| is_shown(outcome)) {
            if outcome.component != component {
                component.clone_from(&outcome.component);
                let _ = writeln!(out, "\n{}", component.as_deref().unwrap_or("the plugin"));
            }
            let mark = outcome.verdict.mark();
            let _ = writeln!(out, "  {mark:<7}  {:<26} {}", outcome.check, outcome.about);
            for line in outcome.message.lines() {
                let _ = writeln!(out, "           {line}");
            }
        }
        let count = |verdict| self.count(verdict);
        let _ = writeln!(
            out,
            "\n{} passed, {} failed, {} warnings, {} skipped",
            count(Verdict::Passed),
            count(Verdict::Failed),
            count(Verdict::Warning),
            count(Verdict::Skipped)
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_shows_every_check_and_escapes_what_plugins_say() {
        let outcomes = vec![
            CheckOutcome::new(Check::Loads, None, passed(), 3),
            CheckOutcome::new(
                Check::Trains,
                Some("loss/x".into()),
                failed("bad \u{1b}[2J luck"),
                5,
            ),
        ];
        let report = CheckReport {
            file: "x.so".into(),
            plugin: Some("x 1.0.0".into()),
            sha256: Some("ab".into()),
            seed: 7,
            outcomes,
        };
        insta::assert_snapshot!(report.text(), @r"
        x.so
        x 1.0.0, sha256 ab, seed 7
          ok       loads                      the file loads: symbols, layout, and a description at run time equal to the manifest

        loss/x
          FAILED   trains                     a small training with it finishes
                   bad \x1b[2J luck

        1 passed, 1 failed, 0 warnings, 0 skipped
        ");
    }
}
