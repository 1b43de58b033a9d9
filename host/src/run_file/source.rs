//! The texts of a run description, and places in them.
//!
//! Every file, command-line override and environment variable is one [`Source`]. Every value keeps
//! its [`Place`], so that later stages can report file, line and column. Nothing here interprets
//! the text.

use serde::Serialize;

/// Kind of a source; decides how the origin of a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// The run that is trained without a run file.
    BuiltIn,
    /// A run file.
    File,
    /// An environment variable.
    Environment,
    /// `--add kind/name{...}` on the command line.
    Add,
    /// `--set key.path=value` on the command line.
    Set,
    /// `--remove ID` on the command line.
    Remove,
}

/// One text with its name.
#[derive(Clone, Debug)]
pub struct Source {
    /// File path as given, or `--set`, `environment`, ...
    pub name: String,
    /// Its kind.
    pub kind: SourceKind,
    /// The whole text.
    pub text: String,
    /// First byte of each line.
    line_starts: Vec<usize>,
}

impl Source {
    fn new(name: String, kind: SourceKind, text: String) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Self { name, kind, text, line_starts }
    }

    /// Number of the line with a byte, from 1, and its first byte.
    fn line(&self, byte: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= byte).max(1);
        (line, self.line_starts[line - 1])
    }
}

/// Number of a source within its [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(u32);

/// A range of bytes in one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The source.
    pub source: SourceId,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A place as file, line and column (both from 1; columns count characters), with the line itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Location {
    /// Name of the source.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// One past the last marked column on that line; greater than `column`.
    pub end_column: usize,
    /// The whole line without its line end.
    pub source_line: String,
}

/// All texts of one run description, in the order in which they were read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
}

impl Sources {
    /// No sources.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text and returns its number.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        kind: SourceKind,
        text: impl Into<String>,
    ) -> SourceId {
        self.list.push(Source::new(name.into(), kind, text.into()));
        SourceId(u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX))
    }

    /// The end of the last run file, where something missing could be added; `None` without a run
    /// file.
    pub fn end_of_files(&self) -> Option<Place> {
        let (id, source) =
            self.list.iter().enumerate().rfind(|(_, source)| source.kind == SourceKind::File)?;
        let end = source.text.trim_end().len();
        Some(Place { source: SourceId(u32::try_from(id).unwrap_or(u32::MAX)), start: end, end })
    }

    /// The source with this number.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.list[id.0 as usize]
    }

    /// The whole text of a source as a place.
    pub fn whole(&self, id: SourceId) -> Place {
        Place { source: id, start: 0, end: self.get(id).text.len() }
    }

    /// All sources with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        (0u32..).map(SourceId).zip(&self.list)
    }

    /// File, line and column of a place. Places outside the text are moved to its end.
    pub fn locate(&self, place: Place) -> Location {
        let source = self.get(place.source);
        let text = source.text.as_str();
        let start = floor_boundary(text, place.start);
        let end = floor_boundary(text, place.end).max(start);
        let (line, line_start) = source.line(start);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let shown = text[line_start..line_end].trim_end_matches('\r');
        let column = text[line_start..start].chars().count() + 1;
        let marked = text[start..end.min(line_end)].chars().count().max(1);
        Location {
            file: source.name.clone(),
            line,
            column,
            end_column: column + marked,
            source_line: shown.to_owned(),
        }
    }

    /// The origin of a value in short: `file:line`, or the override itself.
    pub fn describe(&self, place: Place) -> String {
        let source = self.get(place.source);
        match source.kind {
            SourceKind::BuiltIn => "built-in run".to_owned(),
            SourceKind::File => format!("{}:{}", source.name, self.locate(place).line),
            SourceKind::Environment => {
                let name = source.text.split('=').next().unwrap_or_default();
                format!("environment {name}")
            }
            SourceKind::Add | SourceKind::Set | SourceKind::Remove => {
                format!("{} {}", source.name, source.text)
            }
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let mut sources = Sources::new();
        let id = sources.add("a.toml", SourceKind::File, "x = 1\r\nnäme = \"ß\"\n");
        let start = sources.get(id).text.find('"').unwrap();
        let found = sources.locate(Place { source: id, start, end: start + 4 });
        assert_eq!((found.line, found.column, found.end_column), (2, 8, 11));
        assert_eq!(found.source_line, "näme = \"ß\"");
        let first = sources.locate(Place { source: id, start: 0, end: 1 });
        assert_eq!((first.line, first.column, first.source_line.as_str()), (1, 1, "x = 1"));
    }

    #[test]
    fn places_outside_the_text_are_moved_into_it() {
        let mut sources = Sources::new();
        let id = sources.add("a.toml", SourceKind::File, "ß");
        let found = sources.locate(Place { source: id, start: 1, end: 900 });
        assert_eq!((found.line, found.column, found.end_column), (1, 1, 2));
    }
}
