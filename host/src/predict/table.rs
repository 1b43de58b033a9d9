//! Predictions as a table in CSV or Parquet, or as an object per line in JSON.

use std::io::{self, Write};

use super::parquet::{Cell, ParquetWriter};
use super::reading::Prediction;

/// Format of predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table with a header.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// A Parquet file with the columns of the CSV table.
    Parquet,
}

/// What is written of each prediction.
#[derive(Clone, Debug)]
pub struct TableOptions {
    /// The format.
    pub format: Format,
    /// Number of most probable classes.
    pub top: usize,
    /// Whether the probabilities of all classes are written.
    pub probabilities: bool,
    /// Names of the classes; a class without a name is written as its number.
    pub classes: Vec<String>,
}

/// Writes predictions to `out`, one line or row each.
pub struct Table<W: Write> {
    out: W,
    options: TableOptions,
    begun: bool,
    /// The columns, once the first row of a Parquet file is known.
    parquet: Option<ParquetWriter>,
}

/// A number in its shortest form that reads back as the same; NaN and infinities as text.
fn number(value: f32) -> String {
    if value.is_finite() {
        serde_json::to_string(&value).unwrap_or_default()
    } else {
        value.to_string()
    }
}

/// A number for JSON, where NaN and infinities are text.
fn json_number(value: f32) -> String {
    if value.is_finite() { number(value) } else { text(&value.to_string()) }
}

/// A JSON string.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A cell of a CSV file, quoted where that is necessary.
fn cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

impl<W: Write> Table<W> {
    /// A table that is written to `out`.
    pub fn new(out: W, options: TableOptions) -> Table<W> {
        Table { out, options, begun: false, parquet: None }
    }

    /// Name of a class.
    fn class(&self, class: usize) -> String {
        self.options.class(class)
    }

    /// Writes one prediction. `target` is the true class or value, where it is known. All predictions
    /// of a table have the same form.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn push(
        &mut self,
        key: &str,
        target: Option<&[f32]>,
        prediction: &Prediction,
    ) -> io::Result<()> {
        let line = match self.options.format {
            Format::Parquet => return self.parquet_row(key, target, prediction),
            Format::Jsonl => self.json(key, target, prediction),
            Format::Csv => {
                if !self.begun {
                    let header = self.header(target, prediction);
                    self.out.write_all(header.as_bytes())?;
                }
                self.row(key, target, prediction)
            }
        };
        self.begun = true;
        self.out.write_all(line.as_bytes())
    }

    /// Flushes and returns the output.
    ///
    /// # Errors
    /// `out` cannot be written to.
    pub fn finish(mut self) -> io::Result<W> {
        if self.options.format == Format::Parquet {
            let parquet = match self.parquet.take() {
                Some(parquet) => parquet,
                // Without a prediction nothing but the key is known.
                None => {
                    let key = [Cell::Text(String::new())];
                    ParquetWriter::begin(&mut self.out, &["key".to_owned()], &key)?
                }
            };
            parquet.end(&mut self.out)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// The true value as text: the name of a class, or numbers.
    fn target(&self, target: &[f32], prediction: &Prediction) -> String {
        match (prediction, target) {
            (Prediction::Classes(_), [class]) => self.class(*class as usize),
            _ => target.iter().map(|value| number(*value)).collect::<Vec<_>>().join(" "),
        }
    }

    /// Adds a row to a Parquet file.
    fn parquet_row(
        &mut self,
        key: &str,
        target: Option<&[f32]>,
        prediction: &Prediction,
    ) -> io::Result<()> {
        let mut cells = vec![Cell::Text(key.to_owned())];
        cells.extend(target.map(|target| match (prediction, target) {
            (Prediction::Values(_), [value]) => Cell::Number(*value),
            _ => Cell::Text(self.target(target, prediction)),
        }));
        match prediction {
            Prediction::Classes(probabilities) => {
                for (class, probability) in prediction.ranked().into_iter().take(self.options.top) {
                    cells.extend([Cell::Text(self.class(class)), Cell::Number(probability)]);
                }
                if self.options.probabilities {
                    cells.extend(probabilities.iter().map(|value| Cell::Number(*value)));
                }
            }
            Prediction::Values(values) => {
                cells.extend(values.iter().map(|value| Cell::Number(*value)));
            }
        }
        let writer = match &mut self.parquet {
            Some(writer) => writer,
            none => {
                let names = self.options.columns(target.is_some(), prediction);
                none.insert(ParquetWriter::begin(&mut self.out, &names, &cells)?)
            }
        };
        writer.row(&mut self.out, &cells)
    }

    fn header(&self, target: Option<&[f32]>, prediction: &Prediction) -> String {
        let columns = self.options.columns(target.is_some(), prediction);
        let columns: Vec<String> = columns.iter().map(|name| cell(name)).collect();
        columns.join(",") + "\n"
    }
}

impl TableOptions {
    /// Name of a class.
    fn class(&self, class: usize) -> String {
        self.classes.get(class).cloned().unwrap_or_else(|| class.to_string())
    }

    /// The names of the columns of a table.
    fn columns(&self, has_target: bool, prediction: &Prediction) -> Vec<String> {
        let mut columns = vec!["key".to_owned()];
        if has_target {
            columns.push("target".to_owned());
        }
        match prediction {
            Prediction::Classes(probabilities) => {
                for place in 1..=self.top.min(probabilities.len()) {
                    let suffix = if place == 1 { String::new() } else { format!("-{place}") };
                    columns.push(format!("class{suffix}"));
                    columns.push(format!("probability{suffix}"));
                }
                if self.probabilities {
                    let names = (0..probabilities.len()).map(|class| self.class(class));
                    columns.extend(names.map(|name| format!("p({name})")));
                }
            }
            Prediction::Values(values) if values.len() == 1 => columns.push("value".to_owned()),
            Prediction::Values(values) => {
                columns.extend((0..values.len()).map(|index| format!("value-{index}")));
            }
        }
        columns
    }
}

impl<W: Write> Table<W> {
    fn row(&self, key: &str, target: Option<&[f32]>, prediction: &Prediction) -> String {
        let mut cells = vec![cell(key)];
        cells.extend(target.map(|target| cell(&self.target(target, prediction))));
        match prediction {
            Prediction::Classes(probabilities) => {
                for (class, probability) in prediction.ranked().into_iter().take(self.options.top) {
                    cells.push(cell(&self.class(class)));
                    cells.push(number(probability));
                }
                if self.options.probabilities {
                    cells.extend(probabilities.iter().map(|value| number(*value)));
                }
            }
            Prediction::Values(values) => cells.extend(values.iter().map(|value| number(*value))),
        }
        cells.join(",") + "\n"
    }

    fn json(&self, key: &str, target: Option<&[f32]>, prediction: &Prediction) -> String {
        let mut members = vec![format!("\"key\":{}", text(key))];
        let list = |values: &[f32]| {
            let values: Vec<String> = values.iter().map(|value| json_number(*value)).collect();
            format!("[{}]", values.join(","))
        };
        if let Some(target) = target {
            let target = match (prediction, target) {
                (Prediction::Classes(_), [class]) => text(&self.class(*class as usize)),
                (_, [value]) => json_number(*value),
                (_, values) => list(values),
            };
            members.push(format!("\"target\":{target}"));
        }
        match prediction {
            Prediction::Classes(probabilities) => {
                let ranked = prediction.ranked();
                if let Some((class, probability)) = ranked.first() {
                    members.push(format!("\"class\":{}", text(&self.class(*class))));
                    members.push(format!("\"probability\":{}", json_number(*probability)));
                }
                if self.options.top > 1 {
                    let top = ranked.iter().take(self.options.top).map(|(class, probability)| {
                        format!(
                            "{{\"class\":{},\"probability\":{}}}",
                            text(&self.class(*class)),
                            json_number(*probability)
                        )
                    });
                    members.push(format!("\"top\":[{}]", top.collect::<Vec<_>>().join(",")));
                }
                if self.options.probabilities {
                    let all = probabilities.iter().enumerate().map(|(class, probability)| {
                        format!("{}:{}", text(&self.class(class)), json_number(*probability))
                    });
                    members.push(format!(
                        "\"probabilities\":{{{}}}",
                        all.collect::<Vec<_>>().join(",")
                    ));
                }
            }
            Prediction::Values(values) if values.len() == 1 => {
                members.push(format!("\"value\":{}", json_number(values[0])));
            }
            Prediction::Values(values) => members.push(format!("\"values\":{}", list(values))),
        }
        format!("{{{}}}\n", members.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, top: usize, predictions: &[Prediction]) -> String {
        let classes = vec!["a, \"b\"".to_owned(), "c".to_owned()];
        let options = TableOptions { format, top, probabilities: true, classes };
        let mut table = Table::new(Vec::new(), options);
        for (key, prediction) in predictions.iter().enumerate() {
            table.push(&key.to_string(), Some(&[1.0]), prediction).unwrap();
        }
        String::from_utf8(table.finish().unwrap()).unwrap()
    }

    #[test]
    fn classes_have_names_and_probabilities() {
        let classes = [Prediction::Classes(vec![0.75, 0.25])];
        assert_eq!(
            written(Format::Csv, 2, &classes),
            "key,target,class,probability,class-2,probability-2,\"p(a, \"\"b\"\")\",p(c)\n\
             0,c,\"a, \"\"b\"\"\",0.75,c,0.25,0.75,0.25\n"
        );
        let line = written(Format::Jsonl, 1, &classes);
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&json["class"], &json["probability"]), (&"a, \"b\"".into(), &0.75.into()));
        assert_eq!(json["probabilities"]["c"], 0.25);
        assert_eq!(json["target"], "c");
    }

    #[test]
    fn numbers_read_back_as_they_were() {
        for value in [0.1_f32, 1e-30, 16_777_217.0, -0.0, f32::MIN_POSITIVE] {
            let text = written(Format::Csv, 1, &[Prediction::Values(vec![value])]);
            let last = text.lines().last().unwrap().rsplit(',').next().unwrap().to_owned();
            assert_eq!(last.parse::<f32>().unwrap().to_bits(), value.to_bits(), "{last}");
        }
        let text = written(Format::Jsonl, 1, &[Prediction::Values(vec![f32::NAN, 1.0])]);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["values"][0], "NaN");
    }
}
