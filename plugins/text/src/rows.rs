//! The fields of a JSON object that a sample needs.

use std::{borrow::Cow, fmt};

use fluxbay_plugin::{
    prelude::*,
    serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};

/// Names of the fields.
#[derive(Clone, Debug)]
pub struct Names {
    pub text: String,
    pub pair: Option<String>,
    pub label: Option<String>,
}

/// The values of a row.
#[derive(Debug, Default)]
pub struct Row<'a> {
    pub text: Cow<'a, str>,
    pub pair: Option<Cow<'a, str>>,
    /// A text, a number or a truth value.
    pub label: Option<serde_json::Value>,
}

impl Names {
    /// Reads a line.
    ///
    /// # Errors
    /// It is no JSON object, or lacks a field; a text or the label has another type.
    pub fn read<'a>(&self, line: &'a [u8]) -> Result<Row<'a>> {
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let found = Fields(self).deserialize(&mut deserializer)?;
        deserializer.end()?;
        let text = |name: &str, value: Option<Value<'a>>| match value {
            Some(Value::Text(text)) => Ok(text),
            Some(Value::Other(other)) => {
                Err(Error::new(format!("field `{name}` holds {other}, not a text")))
            }
            None => Err(Error::new(format!(
                "there is no field `{name}`; the fields are: {}",
                found.others.join(", ")
            ))),
        };
        let mut row = Row { text: text(&self.text, found.text)?, ..Row::default() };
        if let Some(name) = &self.pair {
            row.pair = Some(text(name, found.pair)?);
        }
        if let Some(name) = &self.label {
            row.label = match found.label {
                Some(Value::Text(text)) => Some(text.into_owned().into()),
                Some(Value::Other(value)) if value.is_number() || value.is_boolean() => Some(value),
                Some(Value::Other(other)) => {
                    bail!("field `{name}` holds {other}, not a text, number or truth value")
                }
                None => {
                    bail!("there is no field `{name}`; the fields are: {}", found.others.join(", "))
                }
            };
        }
        Ok(row)
    }
}

/// A value; texts without escapes are borrowed.
enum Value<'a> {
    Text(Cow<'a, str>),
    Other(serde_json::Value),
}

#[derive(Default)]
struct Found<'a> {
    text: Option<Value<'a>>,
    pair: Option<Value<'a>>,
    label: Option<Value<'a>>,
    /// Names of other fields, for errors.
    others: Vec<String>,
}

struct Fields<'n>(&'n Names);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Found<'de>;

    fn deserialize<D: fluxbay_plugin::serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Found<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, such as {\"text\": \"...\", \"label\": \"...\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Found<'de>, A::Error> {
        let mut found = Found::default();
        while let Some(Text(key)) = map.next_key()? {
            let is = |name: Option<&String>| name.is_some_and(|name| *name == key);
            let (text, pair, label) =
                (key == self.0.text, is(self.0.pair.as_ref()), is(self.0.label.as_ref()));
            if !(text || pair || label) {
                map.next_value::<IgnoredAny>()?;
                found.others.push(key.into_owned());
                continue;
            }
            let value: Value = map.next_value()?;
            if text {
                found.text = Some(value);
            } else if pair {
                found.pair = Some(value);
            } else {
                found.label = Some(value);
            }
        }
        Ok(found)
    }
}

/// A text, borrowed if it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> fluxbay_plugin::serde::Deserialize<'de> for Text<'a> {
    fn deserialize<D: fluxbay_plugin::serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Texts).map(Text)
    }
}

impl<'de: 'a, 'a> fluxbay_plugin::serde::Deserialize<'de> for Value<'a> {
    fn deserialize<D: fluxbay_plugin::serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        struct Values;
        macro_rules! others {
            ($($name:ident: $type:ty),+) => { $(
                fn $name<E>(self, value: $type) -> std::result::Result<Self::Value, E> {
                    Ok(Value::Other(value.into()))
                }
            )+ };
        }
        impl<'de> Visitor<'de> for Values {
            type Value = Value<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Value::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Value::Text(Cow::Owned(text.to_owned())))
            }
            others!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
            fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
                Ok(Value::Other(serde_json::Value::Null))
            }
            fn visit_seq<A: fluxbay_plugin::serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Other(serde_json::json!([])))
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other(serde_json::json!({})))
            }
        }
        deserializer.deserialize_any(Values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { text: "text".into(), pair: None, label: Some("label".into()) }
    }

    #[test]
    fn fields_are_found_among_others() {
        let line = br#"{"id": [1, {"text": 2}], "label": 3, "t\u0065xt": "caf\u00e9", "x": null}"#;
        let row = names().read(line).unwrap();
        assert_eq!((&*row.text, row.label), ("café", Some(3.into())));
        let pair = Names { pair: Some("b".into()), label: None, ..names() };
        let row = pair.read(br#"{"text": "one", "b": "two"}"#).unwrap();
        assert!(matches!(row.text, Cow::Borrowed("one")) && row.pair.as_deref() == Some("two"));
    }

    #[test]
    fn rows_that_cannot_be_used_are_described() {
        for (line, words) in [
            (r#"{"text": "a"}"#, "no field `label`"),
            (r#"{"body": "a", "label": 1}"#, "no field `text`; the fields are: body"),
            (r#"{"text": 1, "label": 1}"#, "`text` holds 1, not a text"),
            (r#"{"text": "a", "label": null}"#, "`label` holds null"),
            (r#"{"text": "a", "label": [1]}"#, "`label` holds []"),
            (r#"["a"]"#, "an object, such as"),
            (r#"{"text": "a", "label": 1"#, "EOF"),
            (r#"{"text": "a", "label": 1} 2"#, "trailing"),
        ] {
            let error = names().read(line.as_bytes()).unwrap_err();
            assert!(error.message().contains(words), "{line}: {error}");
        }
    }
}
