//! The width of stdout.

use std::io::{self, IsTerminal as _};

/// Columns of the terminal on stdout; none if stdout is a file or a pipe, where lines are not
/// wrapped.
pub(crate) fn width_of_stdout() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&stdout)
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
}
