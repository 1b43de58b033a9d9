//! Errors and warnings about a run, each with place and help.
//!
//! Every stage, from reading the run file to composing the run, adds to one [`Diagnostics`], so
//! that all problems are reported together. They are printed as text with a caret (see
//! [`super::render()`]) or serialised for `--json`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;

use super::source::{Location, Place, Sources};

/// Whether a problem stops the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The run cannot start.
    Error,
    /// The run can start, but something is probably not intended.
    Warning,
}

/// A further place of a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Related {
    /// The place.
    pub location: Location,
    /// Text beside the marker.
    pub label: String,
}

/// One problem with place, explanation and help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Diagnostic {
    /// Whether it stops the run.
    pub severity: Severity,
    /// Stable kebab-case code of the problem, for scripts.
    pub code: Cow<'static, str>,
    /// One sentence without a full stop.
    pub message: String,
    /// The place; `None` for problems such as a missing file.
    #[serde(flatten)]
    pub location: Option<Location>,
    /// Text beside the caret; may be empty.
    pub label: String,
    /// Further places.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// Further explanations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error without a place yet.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning without a place yet.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            code: Cow::Borrowed(code),
            message: message.into(),
            location: None,
            label: String::new(),
            related: Vec::new(),
            notes: Vec::new(),
            help: None,
        }
    }

    /// Sets the place and the text beside the caret, which may be empty.
    #[must_use]
    pub fn at(mut self, sources: &Sources, place: Place, label: impl Into<String>) -> Self {
        self.location = Some(sources.locate(place));
        self.label = label.into();
        self
    }

    /// Adds a further place.
    #[must_use]
    pub fn related(mut self, sources: &Sources, place: Place, label: impl Into<String>) -> Self {
        self.related.push(Related { location: sources.locate(place), label: label.into() });
        self
    }

    /// Adds an explanation.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Sets the help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Message, file, line and column of a diagnostic.
type Position = (String, Option<(String, usize, usize)>);

/// All problems found so far, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// Indices of the diagnostics by message, file, line and column, to find duplicates.
    #[serde(skip)]
    indices: HashMap<Position, Vec<usize>>,
}

impl Diagnostics {
    /// An empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a problem, unless an equal one was added before.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let place = diagnostic.location.as_ref();
        let place = place.map(|place| (place.file.clone(), place.line, place.column));
        let alike = self.indices.entry((diagnostic.message.clone(), place)).or_default();
        if !alike.iter().any(|at| self.list[*at] == diagnostic) {
            alike.push(self.list.len());
            self.list.push(diagnostic);
        }
    }

    /// Adds all of another collection.
    pub fn append(&mut self, other: Diagnostics) {
        for diagnostic in other.list {
            self.push(diagnostic);
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Whether there are neither errors nor warnings.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|d| d.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.list.len() - self.errors()
    }

    /// Whether the run cannot start.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }
}
