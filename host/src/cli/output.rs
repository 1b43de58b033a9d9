//! Writing results to stdout, as text or JSON.

use std::io::{self, Write as _};

use super::outcome::{Exit, Failure, Outcome};
use crate::surroundings::own_output;

/// Writes data to stdout. A reader that closes the pipe early, such as `head`, is not a failure.
pub(crate) fn print(text: &str) -> Outcome {
    match write(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failed,
            format!("cannot write to stdout: {error}; free some space, or redirect it elsewhere"),
        )),
        _ => Ok(Exit::Done),
    }
}

/// Writes to the host's own copy of descriptor 1: in a process that runs plugins, descriptor 1 itself
/// leads to stderr.
fn write(text: &str) -> io::Result<()> {
    if let Ok(mut output) = own_output(1) {
        return output.write_all(text.as_bytes());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

/// Writes data to stdout as indented JSON.
pub(crate) fn print_json(data: &impl serde::Serialize) -> Outcome {
    match serde_json::to_string_pretty(data) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            format!("the result cannot be written as JSON: {error}; please report this"),
        )),
    }
}

/// A number for JSON, which cannot represent NaN and the infinities: those become strings.
pub(crate) fn json_number(value: f64) -> serde_json::Value {
    if value.is_finite() { serde_json::json!(value) } else { serde_json::json!(value.to_string()) }
}
