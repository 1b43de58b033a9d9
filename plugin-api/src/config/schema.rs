//! The schema of a configuration, as constants: rendered to JSON at compile time, used to fill
//! defaults at run time.

use serde_json::{Map, Value};

use crate::{Error, Result, json::Sink};

/// A type that can be a value in a configuration, with its schema as a constant. Implemented for
/// numbers, texts, lists, maps and options, and by [`choice!`](crate::choice!) and
/// [`variants!`](crate::variants!).
pub trait Described {
    /// The schema.
    const SCHEMA: Schema;
}

/// What a value may be: the part of JSON Schema that configurations need.
#[derive(Clone, Copy, Debug)]
pub enum Schema {
    /// True or false.
    Flag,
    /// A whole number, at least the given one where there is one.
    Integer(Option<&'static str>),
    /// A number.
    Number,
    /// A text.
    Text,
    /// Any value.
    Any,
    /// A list.
    List(&'static Schema),
    /// A value or null.
    Optional(&'static Schema),
    /// A table with these keys and no others.
    Object(&'static [Field]),
    /// A table with any keys and values of one schema.
    Map(&'static Schema),
    /// One of these texts; each with its description.
    Choice(&'static [(&'static str, &'static str)]),
    /// A table whose key `type` says which of these it is.
    Variants(&'static [Variant]),
    /// Another schema with a description.
    Documented(&'static str, &'static Schema),
}

/// One key of a table. Names are Rust's; users see them with `-` for `_`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Rust name.
    pub name: &'static str,
    /// Documentation comment.
    pub description: &'static str,
    /// Type.
    pub schema: &'static Schema,
    /// Default as JSON; none where the key is required.
    pub default: Option<&'static str>,
    /// Range as Rust writes it: `0.0..=1.0`, `1..`.
    pub range: Option<&'static str>,
}

/// One shape of a table with a `type`.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Rust name; users see it in kebab-case.
    pub name: &'static str,
    /// Documentation comment.
    pub description: &'static str,
    /// Its keys.
    pub fields: &'static [Field],
}

macro_rules! described {
    ($($type:ty => $schema:expr),+ $(,)?) => { $(
        impl Described for $type {
            const SCHEMA: Schema = $schema;
        }
    )+ };
}

described! {
    bool => Schema::Flag,
    f64 => Schema::Number,
    f32 => Schema::Number,
    u64 => Schema::Integer(Some("0")),
    u32 => Schema::Integer(Some("0")),
    usize => Schema::Integer(Some("0")),
    i64 => Schema::Integer(None),
    String => Schema::Text,
    std::path::PathBuf => Schema::Text,
    Value => Schema::Any,
}

impl<T: Described> Described for Vec<T> {
    const SCHEMA: Schema = Schema::List(&T::SCHEMA);
}

impl<T: Described> Described for Option<T> {
    const SCHEMA: Schema = Schema::Optional(&T::SCHEMA);
}

impl<T: Described> Described for std::collections::BTreeMap<String, T> {
    const SCHEMA: Schema = Schema::Map(&T::SCHEMA);
}

impl Schema {
    /// Number of bytes of [`Schema::json`].
    pub const fn json_len(&self) -> usize {
        let mut sink = Sink::counting();
        self.write(&mut sink);
        sink.len()
    }

    /// The schema as JSON. `N` is [`Schema::json_len`].
    pub const fn json<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        let mut sink = Sink::writing(&mut bytes);
        self.write(&mut sink);
        bytes
    }

    /// Writes an object in braces.
    pub(crate) const fn write(&self, sink: &mut Sink<'_>) {
        sink.raw("{");
        self.write_members(sink);
        sink.raw("}");
    }

    const fn write_members(&self, sink: &mut Sink<'_>) {
        match self {
            Schema::Optional(inner) => match inner.type_name() {
                Some(name) => {
                    sink.raw("\"type\":[");
                    sink.text(name);
                    sink.raw(",\"null\"]");
                    inner.write_rest(sink);
                }
                None => {
                    sink.raw("\"oneOf\":[");
                    inner.write(sink);
                    sink.raw(",{\"type\":\"null\"}]");
                }
            },
            other => {
                if let Some(name) = other.type_name() {
                    sink.raw("\"type\":");
                    sink.text(name);
                    other.write_rest(sink);
                } else {
                    other.write_untyped(sink);
                }
            }
        }
    }

    const fn type_name(&self) -> Option<&'static str> {
        match self {
            Schema::Flag => Some("boolean"),
            Schema::Integer(_) => Some("integer"),
            Schema::Number => Some("number"),
            Schema::Text | Schema::Choice(_) => Some("string"),
            Schema::List(_) => Some("array"),
            Schema::Object(_) | Schema::Map(_) => Some("object"),
            Schema::Documented(_, inner) => inner.type_name(),
            Schema::Any | Schema::Optional(_) | Schema::Variants(_) => None,
        }
    }

    /// Members beside `type`.
    const fn write_rest(&self, sink: &mut Sink<'_>) {
        match self {
            Schema::Integer(Some(minimum)) => {
                sink.raw(",\"minimum\":");
                sink.raw(minimum);
            }
            Schema::List(items) => {
                sink.raw(",\"items\":");
                items.write(sink);
            }
            Schema::Object(fields) => write_object(fields, None, sink),
            Schema::Map(values) => {
                sink.raw(",\"additionalProperties\":");
                values.write(sink);
            }
            Schema::Choice(choices) => {
                sink.raw(",\"enum\":[");
                let mut index = 0;
                while index < choices.len() {
                    sink.comma(index);
                    sink.kebab(choices[index].0);
                    index += 1;
                }
                sink.raw("],\"x-descriptions\":[");
                index = 0;
                while index < choices.len() {
                    sink.comma(index);
                    sink.text(choices[index].1);
                    index += 1;
                }
                sink.raw("]");
            }
            Schema::Documented(description, inner) => {
                inner.write_rest(sink);
                sink.raw(",\"description\":");
                sink.text(description);
            }
            _ => {}
        }
    }

    const fn write_untyped(&self, sink: &mut Sink<'_>) {
        match self {
            Schema::Variants(variants) => {
                sink.raw("\"oneOf\":[");
                let mut index = 0;
                while index < variants.len() {
                    sink.comma(index);
                    sink.raw("{\"type\":\"object\",\"description\":");
                    sink.text(variants[index].description);
                    write_object(variants[index].fields, Some(variants[index].name), sink);
                    sink.raw("}");
                    index += 1;
                }
                sink.raw("]");
            }
            Schema::Documented(description, inner) => {
                sink.raw("\"description\":");
                sink.text(description);
                if !matches!(inner, Schema::Any) {
                    sink.raw(",");
                    inner.write_members(sink);
                }
            }
            _ => {}
        }
    }

    /// Puts defaults where keys are missing, at every depth.
    pub(crate) fn fill(&self, value: &mut Value) -> Result<()> {
        match (self, value) {
            (Schema::Documented(_, inner), value) | (Schema::Optional(inner), value) => {
                inner.fill(value)
            }
            (Schema::List(items), Value::Array(values)) => {
                values.iter_mut().try_for_each(|value| items.fill(value))
            }
            (Schema::Map(items), Value::Object(values)) => {
                values.values_mut().try_for_each(|value| items.fill(value))
            }
            (Schema::Object(fields), Value::Object(values)) => fill_object(fields, values),
            (Schema::Variants(variants), Value::Object(values)) => {
                let name =
                    values.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
                match variants.iter().find(|variant| kebab(variant.name) == name) {
                    Some(variant) => fill_object(variant.fields, values),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

fn fill_object(fields: &[Field], values: &mut Map<String, Value>) -> Result<()> {
    for field in fields {
        let name = kebab(field.name);
        if let (false, Some(default)) = (values.contains_key(&name), field.default) {
            let default = serde_json::from_str(&json_default(default)).map_err(|error| {
                Error::new(format!("the default of `{name}`, {default}, is not JSON: {error}"))
            })?;
            values.insert(name.clone(), default);
        }
        if let Some(value) = values.get_mut(&name) {
            field.schema.fill(value)?;
        }
    }
    Ok(())
}

/// A Rust literal as JSON: without the underscores and spaces that are not within texts.
fn json_default(text: &str) -> String {
    let mut bytes = vec![0; text.len()];
    let mut sink = Sink::writing(&mut bytes);
    sink.literal(text);
    let len = sink.len();
    bytes.truncate(len);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `WithBias` and `with_bias` as `with-bias`.
fn kebab(name: &str) -> String {
    let mut bytes = vec![0; 2 * name.len() + 2];
    let mut sink = Sink::writing(&mut bytes);
    sink.kebab(name);
    let len = sink.len();
    String::from_utf8_lossy(&bytes[1..len - 1]).into_owned()
}

const fn write_object(fields: &[Field], tag: Option<&str>, sink: &mut Sink<'_>) {
    sink.raw(",\"additionalProperties\":false,\"properties\":{");
    if let Some(name) = tag {
        sink.raw("\"type\":{\"const\":");
        sink.kebab(name);
        sink.raw("}");
    }
    let mut index = 0;
    while index < fields.len() {
        if index > 0 || tag.is_some() {
            sink.raw(",");
        }
        write_field(&fields[index], sink);
        index += 1;
    }
    sink.raw("},\"required\":[");
    let mut written = 0;
    if tag.is_some() {
        sink.raw("\"type\"");
        written = 1;
    }
    index = 0;
    while index < fields.len() {
        if fields[index].default.is_none() {
            sink.comma(written);
            sink.kebab(fields[index].name);
            written += 1;
        }
        index += 1;
    }
    sink.raw("]");
}

const fn write_field(field: &Field, sink: &mut Sink<'_>) {
    sink.kebab(field.name);
    sink.raw(":{\"description\":");
    sink.text(field.description);
    if let Some(default) = field.default {
        sink.raw(",\"default\":");
        sink.literal(default);
    }
    match (field.range, field.schema) {
        (Some(range), schema) => {
            sink.raw(",");
            write_range(range, sink);
            sink.raw(",");
            schema.ranged().write_members_undescribed(sink);
        }
        (None, Schema::Any) => {}
        (None, schema) => {
            sink.raw(",");
            schema.write_members_undescribed(sink);
        }
    }
    sink.raw("}");
}

impl Schema {
    /// The same without the type's own minimum: a range stands in its place.
    const fn ranged(&self) -> Schema {
        match self {
            Schema::Integer(_) => Schema::Integer(None),
            Schema::Optional(Schema::Integer(_)) => Schema::Optional(&Schema::Integer(None)),
            other => *other,
        }
    }

    /// Members without the type's own description: the field's stands already.
    const fn write_members_undescribed(&self, sink: &mut Sink<'_>) {
        match self {
            Schema::Documented(_, inner) => inner.write_members(sink),
            Schema::Optional(Schema::Documented(_, inner)) => {
                Schema::Optional(inner).write_members(sink)
            }
            other => other.write_members(sink),
        }
    }
}

/// `0.0..=1.0` as `"minimum":0.0,"maximum":1.0`.
const fn write_range(range: &str, sink: &mut Sink<'_>) {
    let bytes = range.as_bytes();
    let mut dots = 0;
    while dots + 1 < bytes.len() && !(bytes[dots] == b'.' && bytes[dots + 1] == b'.') {
        dots += 1;
    }
    let (low, high) = bytes.split_at(dots);
    if !low.is_empty() {
        sink.raw("\"minimum\":");
        sink.number(low);
    }
    let (_, mut high) = high.split_at(2);
    let mut key = "\"exclusiveMaximum\":";
    if !high.is_empty() && high[0] == b'=' {
        (_, high) = high.split_at(1);
        key = "\"maximum\":";
    }
    if !high.is_empty() {
        if !low.is_empty() {
            sink.raw(",");
        }
        sink.raw(key);
        sink.number(high);
    }
}
