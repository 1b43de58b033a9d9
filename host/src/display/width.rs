//! How wide the terminal is that data goes to.

use std::io::{self, IsTerminal as _};

/// Columns of the terminal that stdout is; none where it is a file or a pipe, whose readers want
/// whole lines.
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
