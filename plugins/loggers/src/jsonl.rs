//! The logger `jsonl`: one JSON object per line, and images as PNG files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fluxbay_plugin::prelude::*;
use serde_json::{Value, json};

use crate::{histogram::Histogram, image::Image, log_file::LogFile};

config! {
    /// The output file.
    pub struct Config {
        /// Name of the file in the folder of the logger.
        file: String = "records.jsonl",
    }
}

/// The logger `jsonl`.
pub struct JsonLines {
    name: String,
    dir: PathBuf,
    file: LogFile,
}

impl Component for JsonLines {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(JsonLines { name: config.file, dir: PathBuf::new(), file: LogFile::default() })
    }

    fn save(&self) -> Result<Vec<u8>> {
        self.file.save()
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.file.load(bytes)
    }
}

/// A JSON number; NaN and infinities, which JSON lacks, become texts.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

fn histogram(histogram: &Histogram) -> Value {
    json!({
        "count": histogram.count,
        "not-finite": histogram.not_finite,
        "min": histogram.min,
        "max": histogram.max,
        "mean": number(histogram.mean()),
        "std": number(histogram.deviation()),
        "limits": histogram.limits,
        "counts": histogram.counts,
    })
}

/// The file name of an image: characters of the tag other than letters, digits, `-` and `_` become
/// `-`.
fn image_name(tag: &str, step: u64) -> String {
    let safe: String = tag
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' })
        .collect();
    format!("{safe}-{step}.png")
}

impl JsonLines {
    fn value(&self, record: &Record<'_>) -> Result<(&'static str, Value)> {
        Ok(match &record.value {
            RecordValue::Scalar(value) => ("scalar", number(*value)),
            RecordValue::Text(text) => ("text", json!(text)),
            RecordValue::HyperParameters(text) => ("hyper-parameters", serde_json::from_str(text)?),
            RecordValue::Histogram(tensor) => {
                ("histogram", histogram(&Histogram::of(&tensor.to_vec()?)))
            }
            RecordValue::Image(tensor) => {
                let name = image_name(&record.tag, record.step);
                let folder = self.dir.join("images");
                fs::create_dir_all(&folder).context(folder.display())?;
                let path = folder.join(&name);
                fs::write(&path, Image::new(&tensor.to_vec()?, &tensor.dims()?)?.png()?)
                    .context(path.display())?;
                ("image", json!(format!("images/{name}")))
            }
        })
    }
}

impl Logger for JsonLines {
    fn open(&mut self, dir: &Path) -> Result<()> {
        self.dir = dir.to_owned();
        self.file.open(dir, &self.name, b"")
    }

    fn write(&mut self, record: &Record<'_>) -> Result<()> {
        let (kind, value) = self.value(record)?;
        let object = json!({"time": record.time, "tag": record.tag, "step": record.step, "kind": kind, "value": value});
        self.file.append(format!("{object}\n").as_bytes())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_an_object() {
        let dir = tempfile::tempdir().unwrap();
        let mut logger = JsonLines {
            name: "records.jsonl".into(),
            dir: PathBuf::new(),
            file: LogFile::default(),
        };
        logger.open(dir.path()).unwrap();
        logger.write(&Record::scalar("a", 1, f64::NAN)).unwrap();
        logger
            .write(&Record::new("h", 0, RecordValue::HyperParameters("{\"rate\": 0.1}".into())))
            .unwrap();
        logger.close().unwrap();
        let text = fs::read_to_string(dir.path().join("records.jsonl")).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines[0],
            json!({"time": 0.0, "tag": "a", "step": 1, "kind": "scalar", "value": "NaN"})
        );
        assert_eq!(lines[1]["value"]["rate"], 0.1);
    }

    #[test]
    fn file_names_of_images_are_sanitized() {
        assert_eq!(image_name("step/training/images/0", 7), "step-training-images-0-7.png");
        assert_eq!(image_name("../x", 1), "---x-1.png");
    }
}
