//! Requests as tensors or as files for the data set.

use candle_core::DType;
use serde_json::Value;

use crate::{
    wire::{Content, Form},
    worker::About,
};

/// A request's body in JSON, parsed.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Inputs of the model: nested lists `[samples, ...]`.
    inputs: Option<Value>,
    /// Objects with the columns of the data set.
    rows: Option<Vec<serde_json::Map<String, Value>>>,
    #[serde(default)]
    top: usize,
    #[serde(default)]
    probabilities: bool,
    #[serde(default)]
    raw: bool,
}

/// The content of a JSON body and how its predictions are written.
///
/// # Errors
/// What is wrong, with the place in the body.
pub fn of_json(bytes: &[u8], about: &About, most: usize) -> Result<(Content, Form), String> {
    let body: Body = serde_json::from_slice(bytes)
        .map_err(|error| format!("the body is no JSON of the documented form: {error}"))?;
    let form = Form { top: body.top, probabilities: body.probabilities, raw: body.raw };
    let content = match (&body.inputs, &body.rows) {
        (Some(inputs), None) => elements(inputs, about, most)?,
        (None, Some(rows)) => Content::File(table(rows, about, most)?),
        _ => return Err("the body needs either `inputs` or `rows`".to_owned()),
    };
    Ok((content, form))
}

/// Nested lists as the elements of the model's input.
fn elements(inputs: &Value, about: &About, most: usize) -> Result<Content, String> {
    let dtype: DType =
        about.dtype.parse().map_err(|_| format!("the input has element type {}", about.dtype))?;
    let Value::Array(samples) = inputs else {
        return Err("`inputs` is no list of samples".to_owned());
    };
    if samples.is_empty() {
        return Err("`inputs` has no samples".to_owned());
    }
    if samples.len() > most {
        return Err(format!(
            "`inputs` has {} samples, at most {most} are allowed: send them in several requests",
            samples.len()
        ));
    }
    let size: usize = about.shape.iter().product();
    let mut values = Vec::with_capacity(samples.len() * size);
    for (index, sample) in samples.iter().enumerate() {
        flatten(sample, &about.shape, &mut values)
            .map_err(|problem| format!("`inputs[{index}]` {problem}"))?;
    }
    let floating = matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16);
    if !floating {
        let limit = match (about.input_classes, dtype) {
            (0, DType::U8) => 256.0,
            (0, DType::U32) => 4_294_967_296.0,
            (0, _) => 9e15,
            (classes, _) => classes as f64,
        };
        let low = if dtype == DType::I64 && about.input_classes == 0 { -limit } else { 0.0 };
        let fits = |value: &f64| value.fract() == 0.0 && *value >= low && *value < limit;
        if let Some(value) = values.iter().find(|value| !fits(value)) {
            return Err(format!(
                "`inputs` holds {value}, but whole numbers from {low} to below {limit} are needed"
            ));
        }
    }
    let bytes = bytes_of(&values, dtype).ok_or_else(|| {
        format!(
            "the model takes {} numbers, which JSON bodies cannot hold: send a file",
            about.dtype
        )
    })?;
    Ok(Content::Inputs { samples: samples.len(), bytes })
}

/// Numbers as elements of a type; none for types that no data set has.
fn bytes_of(values: &[f64], dtype: DType) -> Option<Vec<u8>> {
    fn all<const N: usize>(values: &[f64], bytes: impl Fn(f64) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|value| bytes(*value)).collect()
    }
    Some(match dtype {
        DType::F32 => all(values, |value| (value as f32).to_le_bytes()),
        DType::F64 => all(values, f64::to_le_bytes),
        DType::F16 => all(values, |value| half::f16::from_f64(value).to_le_bytes()),
        DType::BF16 => all(values, |value| half::bf16::from_f64(value).to_le_bytes()),
        DType::U8 => all(values, |value| [value as u8]),
        DType::U32 => all(values, |value| (value as u32).to_le_bytes()),
        DType::I64 => all(values, |value| (value as i64).to_le_bytes()),
        _ => return None,
    })
}

/// Appends the numbers of nested lists of a shape.
fn flatten(value: &Value, shape: &[usize], values: &mut Vec<f64>) -> Result<(), String> {
    match (value, shape.split_first()) {
        (Value::Number(number), None) => {
            let number = number.as_f64().filter(|number| number.is_finite());
            values.push(number.ok_or("holds a number that is too large")?);
            Ok(())
        }
        (Value::Array(items), Some((size, rest))) => {
            if items.len() != *size {
                return Err(format!("has {} elements where {size} are needed", items.len()));
            }
            items.iter().try_for_each(|item| flatten(item, rest, values))
        }
        (_, None) => Err("holds something else than a number".to_owned()),
        (_, Some(_)) => Err(format!("has no list where shape {shape:?} is needed")),
    }
}

/// Objects as a file with a header, for a data set that reads tables.
fn table(
    rows: &[serde_json::Map<String, Value>],
    about: &About,
    most: usize,
) -> Result<Vec<u8>, String> {
    if !about.rows {
        return Err(match &about.files {
            Some(files) => format!(
                "the data set `{files}` is configured for another form of files than rows in JSON: send a file as the body, with another content type"
            ),
            None => "the data set of this model reads no rows: send `inputs`".to_owned(),
        });
    }
    if rows.is_empty() {
        return Err("`rows` is empty".to_owned());
    }
    if rows.len() > most {
        return Err(format!(
            "`rows` has {} samples, at most {most} are allowed: send them in several requests",
            rows.len()
        ));
    }
    let mut columns: Vec<&str> = Vec::new();
    for row in rows {
        for key in row.keys() {
            if !columns.contains(&key.as_str()) {
                columns.push(key);
            }
        }
    }
    let mut out = String::new();
    let header: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    out.push_str(&header.join(","));
    out.push('\n');
    for (index, row) in rows.iter().enumerate() {
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            match row.get(*column) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => out.push_str(&quoted(text)),
                Some(Value::Number(number)) => out.push_str(&number.to_string()),
                Some(Value::Bool(flag)) => out.push_str(if *flag { "true" } else { "false" }),
                Some(_) => {
                    return Err(format!(
                        "`rows[{index}].{column}` is a list or an object: a number, a text, true, false or null is needed"
                    ));
                }
            }
        }
        // A row of one empty cell would be no line.
        if columns.len() == 1 && out.ends_with('\n') {
            out.push_str("\"\"");
        }
        out.push('\n');
    }
    Ok(out.into_bytes())
}

/// A cell in quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(shape: &[usize], dtype: DType, classes: u64) -> About {
        About {
            run: String::new(),
            input: "xs".into(),
            dtype: dtype.as_str().to_owned(),
            shape: shape.to_vec(),
            input_classes: classes,
            classes: Vec::new(),
            files: Some("csv".into()),
            rows: true,
        }
    }

    fn refused(body: &str, about: &About) -> String {
        of_json(body.as_bytes(), about, 2).expect_err("it is refused")
    }

    #[test]
    fn lists_are_tensors_of_the_input_and_others_are_refused_with_their_place() {
        let images = about(&[2, 2], DType::F32, 0);
        let (content, form) =
            of_json(br#"{"inputs": [[[1, 2.5], [3, 4]]], "top": 3}"#, &images, 2).unwrap();
        let bytes = [1.0_f32, 2.5, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes());
        assert_eq!(content, Content::Inputs { samples: 1, bytes: bytes.collect() });
        assert_eq!((form.top, form.raw), (3, false));
        for (body, part) in [
            ("{", "no JSON"),
            ("[]", "no JSON"),
            (r#"{"input": []}"#, "unknown field `input`"),
            ("{}", "either `inputs` or `rows`"),
            (r#"{"inputs": []}"#, "no samples"),
            (r#"{"inputs": 1}"#, "no list of samples"),
            (r#"{"inputs": [[[1, 2]]]}"#, "`inputs[0]` has 1 elements where 2 are needed"),
            (r#"{"inputs": [[[1, 2], [3, "x"]]]}"#, "something else than a number"),
            (r#"{"inputs": [[1, 2]]}"#, "no list where"),
            (r#"{"inputs": [[[1, 2], [3, 1e999]]]}"#, "no JSON"),
            (r#"{"inputs": [0, 0, 0]}"#, "at most 2 are allowed"),
        ] {
            assert!(refused(body, &images).contains(part), "{body}: {}", refused(body, &images));
        }
        let tokens = about(&[2], DType::U32, 5);
        let (content, _) = of_json(br#"{"inputs": [[0, 4]]}"#, &tokens, 2).unwrap();
        assert_eq!(content, Content::Inputs { samples: 1, bytes: vec![0, 0, 0, 0, 4, 0, 0, 0] });
        for body in
            [r#"{"inputs": [[0, 5]]}"#, r#"{"inputs": [[0, -1]]}"#, r#"{"inputs": [[0, 0.5]]}"#]
        {
            assert!(refused(body, &tokens).contains("whole numbers from 0 to below 5"), "{body}");
        }
    }

    #[test]
    fn rows_are_a_table_with_every_column() {
        let table = about(&[3], DType::F32, 0);
        let body = br#"{"rows": [{"a": 1.5, "b": "x,\"y\""}, {"b": null, "c": true}]}"#;
        let (Content::File(file), _) = of_json(body, &table, 2).unwrap() else { panic!("a file") };
        assert_eq!(
            String::from_utf8(file).unwrap(),
            "\"a\",\"b\",\"c\"\n1.5,\"x,\"\"y\"\"\",\n,,true\n"
        );
        assert!(refused(r#"{"rows": [{"a": []}]}"#, &table).contains("`rows[0].a` is a list"));
        assert!(refused(r#"{"rows": []}"#, &table).contains("empty"));
        let other = About { rows: false, ..table };
        assert!(refused(r#"{"rows": [{"a": 1}]}"#, &other).contains("another form of files"));
    }
}
