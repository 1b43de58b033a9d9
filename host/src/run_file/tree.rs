//! TOML values with places: the parser returns them, layers are merged in them, schemas check them.
//!
//! Unlike in `toml::Value`, every key and value has a place, and tables keep the order of the file.

use serde_json::Value as Json;

use super::source::Place;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value itself.
    pub value: Value,
    /// Where it was written; `None` for defaults.
    pub place: Option<Place>,
}

/// A TOML value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction or an exponent; also `inf` and `nan`.
    Float(f64),
    /// Text.
    Text(String),
    /// A date or a time, as text for the error message: no setting takes one.
    Date(String),
    /// A list, or the tables of one `[[name]]`.
    List(Vec<Node>),
    /// A table, inline or with a header.
    Table(Table),
}

/// A table in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Its entries; no two with the same key.
    pub entries: Vec<Entry>,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub key_place: Option<Place>,
    /// The value.
    pub node: Node,
}

impl Value {
    /// Its type with an article, for messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Value::Flag(_) => "a truth value",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Text(_) => "text",
            Value::Date(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The value as in a run file, shortened.
    pub fn shown(&self) -> String {
        let text = match self {
            Value::Flag(flag) => flag.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::Date(text) => text.clone(),
            Value::List(_) => "[...]".to_owned(),
            Value::Table(_) => "{...}".to_owned(),
        };
        match text.char_indices().nth(40) {
            Some((at, _)) => format!("{}...", &text[..at]),
            None => text,
        }
    }
}

impl Node {
    /// A value without a place.
    pub fn placeless(value: Value) -> Self {
        Self { value, place: None }
    }

    /// A JSON value without places. Returns `None` for `null`; omits `null` items.
    pub fn from_json(json: &Json) -> Option<Self> {
        let value = match json {
            Json::Null => return None,
            Json::Bool(flag) => Value::Flag(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Integer(whole),
                None => Value::Float(number.as_f64()?),
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().filter_map(Node::from_json).collect()),
            Json::Object(map) => Value::Table(Table {
                entries: map
                    .iter()
                    .filter_map(|(key, value)| {
                        let node = Node::from_json(value)?;
                        Some(Entry { key: key.clone(), key_place: None, node })
                    })
                    .collect(),
            }),
        };
        Some(Self::placeless(value))
    }

    /// The table, if it is one.
    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The text, if it is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Table {
    /// The entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// Mutable access to the value of a key.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
    }

    /// Removes an entry.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Replaces the entry of a key, or appends it.
    pub fn set(&mut self, new: Entry) {
        match self.entries.iter_mut().find(|entry| entry.key == new.key) {
            Some(old) => *old = new,
            None => self.entries.push(new),
        }
    }

    /// The value of a key, if it is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::text)
    }

    /// All keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }
}
