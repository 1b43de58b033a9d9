//! Validates JSON against the schemas that `fluxbay schema` prints. Supports the part of JSON
//! Schema that these use.

use serde_json::Value;

/// Returns the first mismatch with its path as the error.
pub fn check(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    if let Some(options) = schema["oneOf"].as_array() {
        let fitting = options.iter().filter(|option| check(option, value, path).is_ok()).count();
        let first = options.first().and_then(|option| check(option, value, path).err());
        return if fitting == 1 {
            Ok(())
        } else {
            Err(format!("{path}: {fitting} alternatives fit; the first: {first:?}"))
        };
    }
    for also in schema["allOf"].as_array().into_iter().flatten() {
        check(also, value, path)?;
    }
    if let Some(condition) = schema.get("if") {
        let branch = if check(condition, value, path).is_ok() { "then" } else { "else" };
        check(&schema[branch], value, path)?;
    }
    let number = value.as_f64().unwrap_or(0.0);
    let bound = |name: &str| schema[name].as_f64().filter(|_| value.is_number());
    if bound("minimum").is_some_and(|least| number < least)
        || bound("exclusiveMinimum").is_some_and(|least| number <= least)
    {
        return Err(format!("{path}: {value} is too small"));
    }
    if let Some(only) = schema.get("const").filter(|only| *only != value) {
        return Err(format!("{path}: {value} is not {only}"));
    }
    if schema["enum"].as_array().is_some_and(|choices| !choices.contains(value)) {
        return Err(format!("{path}: {value} is none of {}", schema["enum"]));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is(name, value)) {
        return Err(format!("{path}: {value} is no {types:?}"));
    }
    if let Some(object) = value.as_object() {
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(key) {
                return Err(format!("{path}: `{key}` is missing"));
            }
        }
        for (key, value) in object {
            let below = format!("{path}.{key}");
            match (schema["properties"].get(key), &schema["additionalProperties"]) {
                (Some(schema), _) => check(schema, value, &below)?,
                (None, Value::Bool(false)) => return Err(format!("{below} is not described")),
                (None, schema @ Value::Object(_)) => check(schema, value, &below)?,
                (None, _) => {}
            }
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &format!("{path}[{index}]"))?;
    }
    Ok(())
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => panic!("{name} is no type"),
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let schema = serde_json::json!({"type": "object", "required": ["a"], "additionalProperties": false, "properties": {"a": {"type": "integer"}}});
    let wrong = |text: &str| check(&schema, &serde_json::from_str(text).unwrap(), "").is_err();
    assert!(
        !wrong(r#"{"a": 1}"#)
            && wrong(r#"{"a": "1"}"#)
            && wrong("{}")
            && wrong(r#"{"a": 1, "b": 2}"#)
            && wrong("[]")
    );
}
