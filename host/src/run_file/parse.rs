//! Parses TOML into values with places. Reports all syntax errors of a text, not only the first.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::{Place, SourceId, Sources};
use super::tree::{Entry, Node, Table, Value};

/// Parses a source. Returns the readable part even after errors.
pub fn parse(sources: &Sources, id: SourceId, diagnostics: &mut Diagnostics) -> Table {
    parse_text(sources, id, &sources.get(id).text, diagnostics)
}

/// Parses a text with the byte positions of a source. Used for overrides, which are TOML only in
/// part.
pub fn parse_text(
    sources: &Sources,
    id: SourceId,
    text: &str,
    diagnostics: &mut Diagnostics,
) -> Table {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut context = Context { sources, id, diagnostics };
    // All keys below a duplicate section are duplicates too: report only its header.
    let mut doubled = false;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let duplicate = error.message().contains("duplicate key");
        let header = duplicate && text[..span.start].ends_with('[');
        if header || !duplicate || !doubled {
            context.syntax(error.message(), span);
        }
        doubled = header || (duplicate && doubled);
    }
    context.table(document.get_ref())
}

/// Whether a text is well-formed TOML.
pub fn is_valid(text: &str) -> bool {
    DeTable::parse(text).is_ok()
}

struct Context<'a> {
    sources: &'a Sources,
    id: SourceId,
    diagnostics: &'a mut Diagnostics,
}

impl Context<'_> {
    fn place(&self, span: std::ops::Range<usize>) -> Place {
        Place { source: self.id, start: span.start, end: span.end }
    }

    fn syntax(&mut self, message: &str, span: std::ops::Range<usize>) {
        let found =
            Diagnostic::error("syntax", message.to_owned()).at(self.sources, self.place(span), "");
        let found = match help(message) {
            Some(text) => found.help(text),
            None => found,
        };
        self.diagnostics.push(found);
    }

    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                key_place: Some(self.place(key.span())),
                node: self.node(value),
            })
            .collect();
        // The parser sorts by name; restore the order of the file.
        entries.sort_by_key(|entry| entry.key_place.map(|place| place.start));
        Table { entries }
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        let place = Some(self.place(span.clone()));
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => {
                        self.syntax("this whole number does not fit into 64 bits", span);
                        Value::Integer(0)
                    }
                }
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { value, place }
    }
}

fn help(message: &str) -> Option<&'static str> {
    if message.contains("duplicate key") {
        Some(
            "keep one of the two; a section `[name]` may occur only once, a list of instances is `[[name]]`",
        )
    } else if message.contains("string values must be quoted") {
        Some("put the text into double quotes")
    } else if message.contains("unclosed table") {
        Some("close the name of the section with `]`, of a list with `]]`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::source::SourceKind;
    use super::*;

    fn parsed(text: &str) -> (Table, Diagnostics) {
        let mut sources = Sources::new();
        let id = sources.add("run.toml", SourceKind::File, text);
        let mut diagnostics = Diagnostics::new();
        let table = parse(&sources, id, &mut diagnostics);
        (table, diagnostics)
    }

    #[test]
    fn tables_keep_the_order_of_the_file_and_places_are_right() {
        let (table, found) = parsed("[zebra]\nz = 1\na = \"x\"\n[ant]\n");
        assert!(found.is_empty());
        assert_eq!(table.keys().collect::<Vec<_>>(), ["zebra", "ant"]);
        let zebra = table.get("zebra").unwrap().table().unwrap();
        assert_eq!(zebra.keys().collect::<Vec<_>>(), ["z", "a"]);
        let place = zebra.get("a").unwrap().place.unwrap();
        assert_eq!((place.start, place.end), (18, 21));
    }

    #[test]
    fn several_syntax_errors_are_reported_together() {
        let (_, found) = parsed("a = \nb = 1\nb = 2\nc = [1,\n");
        assert!(found.errors() >= 3, "{found:?}");
        let lines: Vec<usize> = found.iter().map(|d| d.location.as_ref().unwrap().line).collect();
        assert!(lines.contains(&1) && lines.contains(&3), "{lines:?}");
    }

    #[test]
    fn whole_numbers_beyond_64_bits_are_errors() {
        let (_, found) = parsed("a = 99999999999999999999\n");
        assert_eq!(found.errors(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn any_text_is_parsed_or_refused_with_places_inside_it(text in r#"[\[\]a-c={}"'.,\n\\ 0-9#ß-]{0,60}"#) {
            let (_, found) = parsed(&text);
            let lines = text.split('\n').count();
            for diagnostic in found.iter() {
                prop_assert!(diagnostic.location.as_ref().unwrap().line <= lines);
            }
            prop_assert_eq!(found.is_empty(), is_valid(&text));
        }
    }
}
