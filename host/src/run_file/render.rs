//! Renders diagnostics as text: message, place, the source line with a caret, notes, help.
//!
//! Used by the command line on stderr. Control characters of files are not printed, so that a run
//! file cannot control the terminal.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::source::Location;

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Plain text, for files, pipes and `NO_COLOR`.
    Never,
    /// ANSI colours.
    Always,
}

/// Number of diagnostics that are printed.
const MOST_SHOWN: usize = 100;

/// Most characters of a source line that are shown; longer lines are cut around the place.
const WINDOW: usize = 120;

/// All diagnostics, separated by empty lines, and a last line with their number.
pub fn render(diagnostics: &Diagnostics, colours: Colours) -> String {
    let paint = Paint(colours);
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(MOST_SHOWN) {
        render_one(&mut out, diagnostic, paint);
        out.push('\n');
    }
    let left_out = diagnostics.iter().count().saturating_sub(MOST_SHOWN);
    if left_out > 0 {
        let _ = writeln!(out, "{left_out} more are not shown\n");
    }
    let (errors, warnings) = (diagnostics.errors(), diagnostics.warnings());
    if errors + warnings > 0 {
        let mut parts = Vec::new();
        if errors > 0 {
            parts.push(paint.bold(Severity::Error, &count(errors, "error")));
        }
        if warnings > 0 {
            parts.push(paint.bold(Severity::Warning, &count(warnings, "warning")));
        }
        let _ = writeln!(out, "{}", parts.join(", "));
    }
    out
}

fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[derive(Clone, Copy)]
struct Paint(Colours);

impl Paint {
    fn with(self, codes: &str, text: &str) -> String {
        match self.0 {
            Colours::Never => text.to_owned(),
            Colours::Always => format!("\x1b[{codes}m{text}\x1b[0m"),
        }
    }

    fn bold(self, severity: Severity, text: &str) -> String {
        match severity {
            Severity::Error => self.with("1;31", text),
            Severity::Warning => self.with("1;33", text),
        }
    }

    fn frame(self, text: &str) -> String {
        self.with("1;34", text)
    }

    fn strong(self, text: &str) -> String {
        self.with("1", text)
    }
}

fn render_one(out: &mut String, diagnostic: &Diagnostic, paint: Paint) {
    let word = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let head = paint.bold(diagnostic.severity, &format!("{word}[{}]", diagnostic.code));
    let _ = writeln!(out, "{head}{}", paint.strong(&format!(": {}", plain(&diagnostic.message))));
    let locations =
        diagnostic.location.iter().chain(diagnostic.related.iter().map(|r| &r.location));
    let gutter = locations.map(|l| l.line.to_string().len()).max().unwrap_or(1);
    if let Some(location) = &diagnostic.location {
        let marker = paint.bold(diagnostic.severity, &marker(location, '^', &diagnostic.label));
        excerpt(out, location, &marker, "-->", gutter, paint);
    }
    for related in &diagnostic.related {
        let marker = paint.frame(&marker(&related.location, '-', &related.label));
        excerpt(out, &related.location, &marker, ":::", gutter, paint);
    }
    let remarks = diagnostic
        .notes
        .iter()
        .map(|n| ("note", n))
        .chain(diagnostic.help.iter().map(|m| ("help", m)));
    for (word, text) in remarks {
        let mut lines = text.lines();
        let first = plain(lines.next().unwrap_or_default());
        let _ =
            writeln!(out, "{:gutter$} {} {}: {first}", "", paint.frame("="), paint.strong(word));
        for line in lines {
            let _ =
                writeln!(out, "{:width$}{}", "", plain(line), width = gutter + 3 + word.len() + 2);
        }
    }
}

fn excerpt(
    out: &mut String,
    location: &Location,
    marker: &str,
    arrow: &str,
    gutter: usize,
    paint: Paint,
) {
    let (file, line, column) = (plain(&location.file), location.line, location.column);
    let bar = paint.frame("|");
    let (shown, offset) = window(location);
    let _ = writeln!(out, "{:gutter$}{} {file}:{line}:{column}", "", paint.frame(arrow));
    let _ = writeln!(out, "{:gutter$} {bar}", "");
    let _ = writeln!(out, "{} {bar} {shown}", paint.frame(&format!("{line:gutter$}")));
    let _ = writeln!(out, "{:gutter$} {bar} {:offset$}{marker}", "", "");
}

fn marker(location: &Location, mark: char, label: &str) -> String {
    let marked: String = visible(&location.source_line)
        .chars()
        .skip(location.column - 1)
        .take(location.end_column - location.column)
        .collect();
    let width = marked.width().clamp(1, WINDOW);
    let mut text = String::from(mark).repeat(width);
    if !label.is_empty() {
        text.push(' ');
        text.push_str(&plain(label));
    }
    text
}

/// The part of the line to show, and the screen column of the place in it.
fn window(location: &Location) -> (String, usize) {
    let line = visible(&location.source_line);
    let chars: Vec<char> = line.chars().collect();
    let at = (location.column - 1).min(chars.len());
    if chars.len() <= WINDOW {
        let offset = chars[..at].iter().collect::<String>().width();
        return (line.trim_end().to_owned(), offset);
    }
    let from = at.saturating_sub(WINDOW / 3);
    let to = (from + WINDOW).min(chars.len());
    let (before, after) =
        (if from > 0 { "..." } else { "" }, if to < chars.len() { "..." } else { "" });
    let shown: String = chars[from..to].iter().collect();
    let offset = before.len() + chars[from..at].iter().collect::<String>().width();
    (format!("{before}{shown}{after}"), offset)
}

/// Replaces control characters and tabs by spaces and other invisible characters by `?`, one for
/// one.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            c if c.width().is_none_or(|w| w == 0) || is_direction_mark(c) => '?',
            c => c,
        })
        .collect()
}

fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text for a terminal, with control characters escaped.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_direction_mark(c) {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::source::{Place, SourceKind, Sources};
    use super::*;

    fn rendered(text: &str, start: usize, end: usize) -> String {
        let mut sources = Sources::new();
        let id = sources.add("run.toml", SourceKind::File, text);
        let mut all = Diagnostics::new();
        all.push(
            Diagnostic::error("unknown-key", "unknown key `leraning-rate`")
                .at(&sources, Place { source: id, start, end }, "not a setting of `adamw`")
                .help("did you mean `learning-rate`?"),
        );
        render(&all, Colours::Never)
    }

    #[test]
    fn the_caret_is_under_the_fault() {
        let text = "[optimizer]\nleraning-rate = 1\n";
        let expected = "\
error[unknown-key]: unknown key `leraning-rate`
 --> run.toml:2:1
  |
2 | leraning-rate = 1
  | ^^^^^^^^^^^^^ not a setting of `adamw`
  = help: did you mean `learning-rate`?

1 error
";
        assert_eq!(rendered(text, 12, 25), expected);
    }

    #[test]
    fn wide_characters_and_tabs_keep_the_caret_in_place() {
        let text = "\ta = \"漢字\" # x";
        let at = text.find('#').unwrap();
        let shown = rendered(text, at, at + 1);
        let lines: Vec<&str> = shown.lines().collect();
        let hash = lines[3][..lines[3].find('#').unwrap()].width();
        let caret = lines[4][..lines[4].find('^').unwrap()].width();
        assert_eq!(hash, caret);
    }

    #[test]
    fn long_lines_are_cut_around_the_fault_and_escapes_are_not_printed() {
        let text = format!("x = \"{}\x1b[31m{}\" !", "a".repeat(500), "b".repeat(500));
        let at = text.find('!').unwrap();
        let shown = rendered(&text, at, at + 1);
        assert!(!shown.contains('\x1b'), "{shown}");
        assert!(shown.lines().all(|line| line.len() < 200), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3].find('!'), lines[4].find('^'));
    }

    #[test]
    fn a_fault_at_the_very_end_has_a_caret() {
        assert!(rendered("a", 1, 1).contains("  |  ^ not"), "{}", rendered("a", 1, 1));
    }
}
