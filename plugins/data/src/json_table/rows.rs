//! Rows of a JSON lines file: values by the names of columns.

use std::io::BufRead as _;

use fluxbay_plugin::{
    prelude::*,
    serde_json::{self, Map, Value},
};
use fluxbay_table::{Number, Raw};

use crate::source::Source;

/// The objects of a file.
pub struct Objects {
    source: Source,
    buffer: Vec<u8>,
    /// Number of the line that was read last, from 1.
    pub line: u64,
}

impl Objects {
    /// Reads nothing yet.
    pub fn new(source: Source) -> Objects {
        Objects { source, buffer: Vec::new(), line: 0 }
    }

    /// The object of the next line that is not blank, or why it is none; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self) -> Result<Option<std::result::Result<Map<String, Value>, String>>> {
        loop {
            self.buffer.clear();
            if self.source.read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if self.buffer.trim_ascii().is_empty() {
                continue;
            }
            return Ok(Some(match serde_json::from_slice(&self.buffer) {
                Ok(Value::Object(object)) => Ok(object),
                Ok(_) => Err("the line is no JSON object".to_owned()),
                Err(error) => Err(format!("the line is no JSON object: {error}")),
            }));
        }
    }
}

/// Passes all values of an object on with the names of their columns: a key, or `outer.inner` for a key of
/// an object in it.
pub fn each(object: &Map<String, Value>, prefix: &str, take: &mut dyn FnMut(&str, &Value)) {
    for (key, value) in object {
        let name = format!("{prefix}{key}");
        match value {
            Value::Object(inner) => each(inner, &format!("{name}."), take),
            value => take(&name, value),
        }
    }
}

/// The value of a column in an object.
fn find<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    object.get(name).or_else(|| {
        name.match_indices('.')
            .find_map(|(dot, _)| find(object.get(&name[..dot])?.as_object()?, &name[dot + 1..]))
    })
}

/// A value of a row.
pub enum Item<'v> {
    Missing,
    Number(Number),
    Text(&'v str),
    List(Vec<f64>),
}

impl Item<'_> {
    /// The value for a table; `bytes` says whether white space around a text belongs to it.
    pub fn raw(&self, bytes: bool) -> Raw<'_> {
        match self {
            Item::Missing => Raw::Missing,
            Item::Number(number) => Raw::Number(*number),
            Item::Text(text) if bytes => Raw::Text(text.as_bytes()),
            Item::Text(text) => Raw::Text(text.trim().as_bytes()),
            Item::List(list) => Raw::List(list),
        }
    }
}

/// The values of some columns. The error says why a value cannot be read.
pub fn items<'v, 'n>(
    object: &'v Map<String, Value>,
    names: impl Iterator<Item = &'n str>,
) -> std::result::Result<Vec<Item<'v>>, String> {
    let item = |name: &str| match find(object, name) {
        None | Some(Value::Null) => Ok(Item::Missing),
        Some(Value::Bool(truth)) => Ok(Item::Text(if *truth { "true" } else { "false" })),
        Some(Value::String(text)) => Ok(Item::Text(text)),
        Some(Value::Number(number)) => Ok(Item::Number(match number.as_i64() {
            Some(whole) => Number::decimal(whole, 0).unwrap_or(Number::float(whole as f64)),
            None => Number::float(number.as_f64().unwrap_or(f64::NAN)),
        })),
        Some(Value::Array(elements)) => {
            let list: Option<Vec<f64>> = elements.iter().map(element).collect();
            list.map(Item::List).ok_or_else(|| {
                format!(
                    "column `{name}` has a list of something else than numbers, which `ignore` leaves out"
                )
            })
        }
        Some(Value::Object(_)) => {
            Err(format!("column `{name}` holds an object, in other rows a value"))
        }
    };
    names.map(item).collect()
}

/// An element of a list: a number, a truth value as 0 or 1, or null as NaN.
fn element(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Number(number) => number.as_f64(),
        _ => None,
    }
}
