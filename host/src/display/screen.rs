//! Where output to stderr goes, and whether it has bars and colours.

use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressDrawTarget};

/// How output is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Progress bars, with lines above them.
    Bars,
    /// Lines only, because stderr is a file or a pipe.
    Lines,
    /// Errors only.
    Quiet,
}

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// Colours are used.
    On,
    /// No colours: not a terminal, or `NO_COLOR` is set.
    Off,
}

/// Writes to stderr without breaking progress bars. Clones share the bars.
#[derive(Clone, Debug)]
pub struct Screen {
    look: Look,
    colors: Colors,
    bars: MultiProgress,
}

impl Screen {
    /// The screen for this process: bars on a terminal that can move its cursor, lines elsewhere,
    /// errors only if `quiet`.
    pub fn of_process(quiet: bool) -> Screen {
        let terminal = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let look = match (quiet, terminal) {
            (true, _) => Look::Quiet,
            (false, true) => Look::Bars,
            (false, false) => Look::Lines,
        };
        // As defined by no-color.org: set and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen::new(look, if terminal && !refused { Colors::On } else { Colors::Off })
    }

    /// A screen with the given look.
    pub fn new(look: Look, colors: Colors) -> Screen {
        let target = if look == Look::Bars {
            ProgressDrawTarget::stderr_with_hz(15)
        } else {
            ProgressDrawTarget::hidden()
        };
        Screen { look, colors, bars: MultiProgress::with_draw_target(target) }
    }

    /// How output is shown.
    pub fn look(&self) -> Look {
        self.look
    }

    /// Whether colours are used.
    pub fn colors(&self) -> Colors {
        self.colors
    }

    /// Characters in a line: the width of the terminal, or 100.
    pub fn columns(&self) -> usize {
        let of_terminal = rustix::termios::tcgetwinsize(std::io::stderr())
            .ok()
            .map(|size| usize::from(size.ws_col));
        of_terminal.filter(|columns| *columns >= 40).unwrap_or(100)
    }

    /// Prints lines above the bars, unless the look is quiet. The text is not escaped: callers
    /// escape text of plugins and files.
    pub fn print(&self, text: &str) {
        if self.look != Look::Quiet {
            self.print_always(text);
        }
    }

    /// Prints lines above the bars, even if the look is quiet: for errors.
    pub fn print_always(&self, text: &str) {
        let text = text.trim_end_matches('\n');
        self.bars.suspend(|| {
            let mut line = String::with_capacity(text.len() + 1);
            line.push_str(text);
            line.push('\n');
            // If stderr is closed, there is nothing left to do.
            let _ = match crate::surroundings::own_output(2) {
                Ok(mut output) => output.write_all(line.as_bytes()),
                Err(_) => std::io::stderr().lock().write_all(line.as_bytes()),
            };
        });
    }

    pub(super) fn bars(&self) -> &MultiProgress {
        &self.bars
    }
}

/// Colours and styles of the terminal's palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
    Cyan,
}

impl Colors {
    /// `text` with the style, or unchanged without colours.
    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Green => "1;32",
            Paint::Yellow => "1;33",
            Paint::Red => "1;31",
            Paint::Cyan => "36",
        };
        match self {
            Colors::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Colors::Off => text.to_owned(),
        }
    }
}
