//! TensorBoard's event files: TFRecord frames around `Event` messages.
//!
//! Messages and field numbers are those of TensorBoard's `event.proto`, `summary.proto`,
//! `tensor.proto` and the plugins `text` and `hparams`. `tests/reference/tensorboard_events.py`
//! reads a file back with the official package.

use std::path::Path;

use crc::{CRC_32_ISCSI, Crc};
use fluxbay_plugin::prelude::*;
use serde_json::{Map, Value};

use crate::{histogram::Histogram, image::Image, log_file::LogFile, protobuf::Message};

/// TensorBoard requires `tfevents` in the name. The name is fixed, so that a resumed run continues the
/// same file.
const FILE: &str = "events.out.tfevents.0.fluxbay";

/// The logger `tensorboard`.
pub struct TensorBoard {
    file: LogFile,
}

impl Component for TensorBoard {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(TensorBoard { file: LogFile::default() })
    }

    fn save(&self) -> Result<Vec<u8>> {
        self.file.save()
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.file.load(bytes)
    }
}

impl Logger for TensorBoard {
    fn open(&mut self, dir: &Path) -> Result<()> {
        let version = Message::new().double(1, 0.0).bytes(3, "brain.Event:2");
        self.file.open(dir, FILE, &frame(&version.into_bytes()))
    }

    fn write(&mut self, record: &Record<'_>) -> Result<()> {
        for value in values(record)? {
            self.file.append(&frame(&event(record.time, record.step, value).into_bytes()))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

/// A TFRecord: length, checksum of the length, data, checksum of the data.
fn frame(data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(data.len() + 16);
    bytes.extend_from_slice(&len);
    bytes.extend_from_slice(&masked_crc(&len).to_le_bytes());
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(&masked_crc(data).to_le_bytes());
    bytes
}

/// CRC-32C, masked as in TFRecord files.
fn masked_crc(bytes: &[u8]) -> u32 {
    const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
    CRC.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// `Event`: wall_time 1, step 2, summary 5.
fn event(time: f64, step: u64, value: Message) -> Message {
    Message::new()
        .double(1, time)
        .integer(2, step as i64)
        .message(5, Message::new().message(1, value))
}

/// `Summary.Value`: tag 1, simple_value 2, image 4, histo 5, tensor 8, metadata 9.
fn values(record: &Record<'_>) -> Result<Vec<Message>> {
    let tagged = || Message::new().bytes(1, record.tag.as_bytes());
    Ok(match &record.value {
        RecordValue::Scalar(number) => vec![tagged().float(2, *number as f32)],
        RecordValue::Histogram(tensor) => {
            vec![tagged().message(5, histogram(&Histogram::of(&tensor.to_vec()?)))]
        }
        RecordValue::Image(tensor) => {
            vec![
                tagged().message(4, image_proto(&Image::new(&tensor.to_vec()?, &tensor.dims()?)?)?),
            ]
        }
        RecordValue::Text(text) => {
            vec![tagged().message(8, string_tensor(text)).message(9, metadata("text", &[]))]
        }
        RecordValue::HyperParameters(json) => hyper_parameters(json, record.time)?,
    })
}

/// `HistogramProto`.
fn histogram(histogram: &Histogram) -> Message {
    Message::new()
        .double(1, histogram.min)
        .double(2, histogram.max)
        .double(3, histogram.count as f64)
        .double(4, histogram.sum)
        .double(5, histogram.sum_squares)
        .doubles(6, &histogram.limits)
        .doubles(7, &histogram.counts)
}

/// `Summary.Image`.
fn image_proto(image: &Image) -> Result<Message> {
    let sizes = Message::new().integer(1, image.height.into()).integer(2, image.width.into());
    Ok(sizes.integer(3, image.channels.into()).bytes(4, image.png()?))
}

/// `TensorProto` with one text: dtype 1 (`DT_STRING` = 7), tensor_shape 2, string_val 8.
fn string_tensor(text: &str) -> Message {
    let one = Message::new().message(2, Message::new().integer(1, 1));
    Message::new().integer(1, 7).message(2, one).bytes(8, text)
}

/// `SummaryMetadata` with the name and the data of a TensorBoard plugin.
fn metadata(plugin: &str, content: &[u8]) -> Message {
    Message::new().message(1, Message::new().bytes(1, plugin).bytes(2, content))
}

/// The summaries of the TensorBoard plugin `hparams`: the experiment with its parameters, and the
/// session with their values.
fn hyper_parameters(json: &str, time: f64) -> Result<Vec<Message>> {
    let all: Map<String, Value> = serde_json::from_str(json).context("hyper-parameters")?;
    let mut experiment = Message::new().double(3, time);
    let mut session = Message::new();
    for (name, value) in &all {
        let (kind, value) = match value {
            Value::Number(number) => {
                (3, Message::new().double(2, number.as_f64().unwrap_or(f64::NAN)))
            }
            Value::Bool(flag) => (2, Message::new().integer(4, i64::from(*flag))),
            Value::String(text) => (1, Message::new().bytes(3, text)),
            other => (1, Message::new().bytes(3, other.to_string())),
        };
        experiment = experiment.message(4, Message::new().bytes(1, name).integer(4, kind));
        session = session.message(1, Message::new().bytes(1, name).message(2, value));
    }
    session = session.double(5, time);
    // `HParamsPluginData`: experiment 2, session_start_info 3.
    let summary = |tag: &str, field: u32, content: Message| {
        let content = Message::new().message(field, content).into_bytes();
        Message::new().bytes(1, tag).message(9, metadata("hparams", &content))
    };
    Ok(vec![
        summary("_hparams_/experiment", 2, experiment),
        summary("_hparams_/session_start_info", 3, session),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_tfrecord_files() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720).
        assert_eq!(
            masked_crc(b"123456789"),
            0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
        let framed = frame(b"abc");
        assert_eq!(
            (framed.len(), &framed[..8], &framed[12..15]),
            (19, &[3, 0, 0, 0, 0, 0, 0, 0][..], &b"abc"[..])
        );
    }

    /// Writes a file with every kind of record that needs no host, for the check by
    /// `tests/reference/tensorboard_events.py`.
    #[test]
    fn a_file_with_scalars_texts_and_hyper_parameters_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = std::env::var_os("FLUXBAY_TENSORBOARD_SAMPLE")
            .map_or(scratch.path().to_owned(), std::path::PathBuf::from);
        let mut logger = TensorBoard { file: LogFile::default() };
        logger.open(&dir).unwrap();
        for step in 1..=3 {
            let mut record = Record::scalar("step/training/metrics/loss", step, 1.0 / step as f64);
            record.time = 1000.0 + step as f64;
            logger.write(&record).unwrap();
        }
        logger.write(&Record::new("note", 1, RecordValue::Text("a *text*".into()))).unwrap();
        let parameters = r#"{"learning-rate": 0.001, "nesterov": true, "kind": "adamw"}"#;
        logger
            .write(&Record::new("hparams", 0, RecordValue::HyperParameters(parameters.into())))
            .unwrap();
        let values: Vec<f64> = (0..100).map(|value| f64::from(value) / 10.0).collect();
        let histo =
            Message::new().bytes(1, "histogram").message(5, histogram(&Histogram::of(&values)));
        logger.file.append(&frame(&event(1.0, 7, histo).into_bytes())).unwrap();
        let pixels: Vec<f32> = (0..48).map(|value| value as f32 / 47.0).collect();
        let image = Message::new()
            .bytes(1, "image")
            .message(4, image_proto(&Image::new(&pixels, &[3, 4, 4]).unwrap()).unwrap());
        logger.file.append(&frame(&event(1.0, 8, image).into_bytes())).unwrap();
        logger.close().unwrap();

        // Every frame is complete and its checksums match.
        let bytes = std::fs::read(dir.join(FILE)).unwrap();
        let (mut rest, mut frames) = (&bytes[..], 0);
        while !rest.is_empty() {
            let len = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked_crc(&rest[..8]).to_le_bytes());
            assert_eq!(rest[12 + len..16 + len], masked_crc(&rest[12..12 + len]).to_le_bytes());
            rest = &rest[16 + len..];
            frames += 1;
        }
        assert_eq!(frames, 9);
    }
}
