//! The logger `csv`: one line per record.

use std::{borrow::Cow, path::Path};

use fluxbay_plugin::prelude::*;

use crate::{histogram::Histogram, log_file::LogFile};

config! {
    /// The output file.
    pub struct Config {
        /// Name of the file in the folder of the logger.
        file: String = "records.csv",
    }
}

/// The logger `csv`.
pub struct Csv {
    name: String,
    file: LogFile,
}

impl Component for Csv {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Csv { name: config.file, file: LogFile::default() })
    }

    fn save(&self) -> Result<Vec<u8>> {
        self.file.save()
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.file.load(bytes)
    }
}

/// A field, quoted if necessary (RFC 4180).
fn quoted(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

fn line(time: f64, kind: &str, tag: &str, step: u64, value: &str) -> String {
    format!("{time:.3},{kind},{},{step},{}\n", quoted(tag), quoted(value))
}

fn histogram_lines(time: f64, tag: &str, step: u64, histogram: &Histogram) -> String {
    let parts = [
        ("count", histogram.count as f64),
        ("mean", histogram.mean()),
        ("std", histogram.deviation()),
        ("min", histogram.min),
        ("max", histogram.max),
    ];
    parts
        .iter()
        .map(|(part, value)| {
            line(time, "histogram", &format!("{tag}/{part}"), step, &value.to_string())
        })
        .collect()
}

impl Logger for Csv {
    fn open(&mut self, dir: &Path) -> Result<()> {
        self.file.open(dir, &self.name, b"time,kind,tag,step,value\n")
    }

    fn write(&mut self, record: &Record<'_>) -> Result<()> {
        let (time, tag, step) = (record.time, &record.tag, record.step);
        let text = match &record.value {
            RecordValue::Scalar(value) => line(time, "scalar", tag, step, &value.to_string()),
            RecordValue::Text(text) => line(time, "text", tag, step, text),
            RecordValue::HyperParameters(json) => line(time, "hyper-parameters", tag, step, json),
            RecordValue::Histogram(tensor) => {
                histogram_lines(time, tag, step, &Histogram::of(&tensor.to_vec()?))
            }
            RecordValue::Image(_) => return Ok(()),
        };
        self.file.append(text.as_bytes())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_the_heading_and_texts_are_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let mut logger = Csv { name: "records.csv".into(), file: LogFile::default() };
        logger.open(dir.path()).unwrap();
        logger.write(&Record::scalar("step/training/metrics/loss", 3, 0.1 + 0.2)).unwrap();
        logger.write(&Record::new("note", 1, RecordValue::Text("a \"b\", c".into()))).unwrap();
        logger.close().unwrap();
        let text = std::fs::read_to_string(dir.path().join("records.csv")).unwrap();
        let expected = "time,kind,tag,step,value\n0.000,scalar,step/training/metrics/loss,3,0.30000000000000004\n0.000,text,note,1,\"a \"\"b\"\", c\"\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_histogram_becomes_five_numbers() {
        let lines = histogram_lines(1.0, "w", 2, &Histogram::of(&[1.0, 3.0]));
        let expected = "1.000,histogram,w/count,2,2\n1.000,histogram,w/mean,2,2\n1.000,histogram,w/std,2,1\n1.000,histogram,w/min,2,1\n1.000,histogram,w/max,2,3\n";
        assert_eq!(lines, expected);
    }
}
