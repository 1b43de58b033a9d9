//! The values that a hyper-parameter can have.

use serde_json::Value as Json;

/// The values that a hyper-parameter can have: finite numbers within the bounds of its schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    minimum: Option<f64>,
    exclusive_minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_maximum: Option<f64>,
}

impl Range {
    /// The range of a property of a configuration schema.
    pub fn of_schema(property: &Json) -> Range {
        let bound = |name: &str| property.get(name).and_then(Json::as_f64);
        Range {
            minimum: bound("minimum"),
            exclusive_minimum: bound("exclusiveMinimum"),
            maximum: bound("maximum"),
            exclusive_maximum: bound("exclusiveMaximum"),
        }
    }

    /// Whether a value is allowed.
    pub fn contains(&self, value: f64) -> bool {
        value.is_finite()
            && self.minimum.is_none_or(|bound| value >= bound)
            && self.exclusive_minimum.is_none_or(|bound| value > bound)
            && self.maximum.is_none_or(|bound| value <= bound)
            && self.exclusive_maximum.is_none_or(|bound| value < bound)
    }

    /// The allowed values in words, such as `a finite number, at least 0`.
    pub fn describe(&self) -> String {
        let mut text = "a finite number".to_owned();
        let bounds = [
            ("at least", self.minimum),
            ("above", self.exclusive_minimum),
            ("at most", self.maximum),
            ("below", self.exclusive_maximum),
        ];
        for (word, bound) in bounds {
            if let Some(bound) = bound {
                text += &format!(", {word} {bound}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bounds_come_from_the_schema_and_only_finite_numbers_pass() {
        let range = Range::of_schema(&json!({ "minimum": 0.0, "exclusiveMaximum": 1.0 }));
        assert!(range.contains(0.0) && range.contains(0.5));
        for value in [-1e-9, 1.0, f64::NAN, f64::INFINITY] {
            assert!(!range.contains(value), "{value}");
        }
        assert_eq!(range.describe(), "a finite number, at least 0, below 1");
        assert!(Range::default().contains(-1.0) && !Range::default().contains(f64::NAN));
    }
}
