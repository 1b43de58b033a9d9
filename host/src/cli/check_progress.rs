//! Shows the progress of `fluxbay check` and `fluxbay dev`.

use std::io::{self, Write as _};

use super::outcome::{Exit, Failure};
use crate::check::{CheckOutcome, Progress};
use crate::display::{Look, Screen};

/// One line for each check on a terminal; elsewhere lines of the log, which `--verbose` shows.
pub(super) struct CheckProgress {
    look: Look,
}

impl CheckProgress {
    pub(super) fn new(screen: &Screen) -> Self {
        Self { look: screen.look() }
    }

    /// Whether each check is shown on a line.
    pub(super) fn shows_lines(&self) -> bool {
        self.look == Look::Bars
    }

    /// Shows that a check begins or has ended.
    pub(super) fn show(&mut self, event: Progress<'_>) {
        match (self.look, event) {
            (Look::Quiet, _) | (Look::Lines, Progress::Begun { .. }) => {}
            (Look::Lines, Progress::Ended(outcome)) => log::info!("checked: {}", line(outcome)),
            (Look::Bars, Progress::Begun { check, component }) => {
                write(&format!("\r\x1b[K  ...      {}{check}", prefix(component)));
            }
            (Look::Bars, Progress::Ended(outcome)) => {
                write(&format!("\r\x1b[K  {}\n", line(outcome)));
            }
        }
    }
}

fn prefix(component: Option<&str>) -> String {
    component.map(|component| format!("{component}  ")).unwrap_or_default()
}

fn line(outcome: &CheckOutcome) -> String {
    let seconds = outcome.milliseconds as f64 / 1000.0;
    let component = prefix(outcome.component.as_deref());
    format!("{:<7}  {component}{}  {seconds:.1} s", outcome.verdict.mark(), outcome.check)
}

fn write(text: &str) {
    // If stderr is closed, there is nobody to show it to.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The failure for a check that could not be run; an interrupted one has its own exit code.
pub(super) fn failure(error: &io::Error, text: &str) -> Failure {
    Failure::new(exit_of(error), format!("{text}: {error}"))
}

fn exit_of(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::Interrupted { Exit::Interrupted } else { Exit::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_verdict_component_check_and_time() {
        let outcome = serde_json::json!({ "check": "trains", "about": "it trains", "component": "loss/x",
            "verdict": "failed", "milliseconds": 1234 });
        let outcome: CheckOutcome = serde_json::from_value(outcome).expect("an outcome");
        assert_eq!(line(&outcome), "FAILED   loss/x  trains  1.2 s");
    }

    #[test]
    fn an_interrupted_check_has_the_exit_code_of_sigint() {
        let interrupted = io::Error::from(io::ErrorKind::Interrupted);
        assert_eq!(exit_of(&interrupted), Exit::Interrupted);
        assert_eq!(exit_of(&io::Error::other("y")), Exit::Failed);
    }
}
