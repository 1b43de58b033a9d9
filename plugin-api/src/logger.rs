//! Loggers, and the records they write.

use std::{borrow::Cow, path::Path};

use crate::{
    Component, Error, Result, Tensor,
    abi::{
        handle::Handle,
        logger::{RecordRaw, record},
        text::Text,
    },
};

/// A backend that records what callbacks log. `[training thread]`
pub trait Logger: Component {
    /// Opens the backend; `dir` is a folder of the run that belongs to this instance. Called once
    /// before the first record.
    fn open(&mut self, dir: &Path) -> Result<()>;

    /// Writes one record.
    fn write(&mut self, record: &Record<'_>) -> Result<()>;

    /// Everything written so far is on its way to the disk.
    fn flush(&mut self) -> Result<()>;

    /// The last call: flushes and closes.
    fn close(&mut self) -> Result<()> {
        self.flush()
    }
}

/// One record: what, where on its axis, when.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Tag such as `step/training/metrics/loss`.
    pub tag: Cow<'a, str>,
    /// Position on the tag's axis: steps or epochs.
    pub step: u64,
    /// Unix time in seconds; the host fills it in.
    pub time: f64,
    /// The thing itself.
    pub value: RecordValue<'a>,
}

/// What a record holds.
#[derive(Clone, Debug)]
pub enum RecordValue<'a> {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Values whose distribution is wanted.
    Histogram(Tensor),
    /// `[height, width]` or `[channels, height, width]`, values from 0 to 1.
    Image(Tensor),
    /// Hyper-parameters, a JSON object.
    HyperParameters(Cow<'a, str>),
}

impl<'a> Record<'a> {
    /// A record; the host adds the time.
    pub fn new(tag: impl Into<Cow<'a, str>>, step: u64, value: RecordValue<'a>) -> Record<'a> {
        Record { tag: tag.into(), step, time: 0.0, value }
    }

    /// A number.
    pub fn scalar(tag: impl Into<Cow<'a, str>>, step: u64, value: f64) -> Record<'a> {
        Record::new(tag, step, RecordValue::Scalar(value))
    }

    pub(crate) fn with_raw<T>(&self, body: impl FnOnce(&RecordRaw) -> T) -> T {
        let (mut value, mut text, mut tensor) = (0.0, Text::EMPTY, Handle::NONE);
        let kind = match &self.value {
            RecordValue::Scalar(number) => {
                value = *number;
                record::SCALAR
            }
            RecordValue::Text(content) => {
                text = Text::new(content);
                record::TEXT
            }
            RecordValue::Histogram(values) => {
                tensor = values.handle();
                record::HISTOGRAM
            }
            RecordValue::Image(pixels) => {
                tensor = pixels.handle();
                record::IMAGE
            }
            RecordValue::HyperParameters(content) => {
                text = Text::new(content);
                record::HYPER_PARAMETERS
            }
        };
        body(&RecordRaw {
            kind,
            reserved: 0,
            tag: Text::new(&self.tag),
            step: self.step,
            time: self.time,
            value,
            text,
            tensor,
        })
    }

    pub(crate) fn from_parts(
        raw: &RecordRaw,
        tag: Cow<'a, str>,
        text: Cow<'a, str>,
    ) -> Result<Record<'a>> {
        let value = match raw.kind {
            record::SCALAR => RecordValue::Scalar(raw.value),
            record::TEXT => RecordValue::Text(text),
            record::HISTOGRAM => RecordValue::Histogram(Tensor::from_borrowed(raw.tensor)?),
            record::IMAGE => RecordValue::Image(Tensor::from_borrowed(raw.tensor)?),
            record::HYPER_PARAMETERS => RecordValue::HyperParameters(text),
            other => {
                return Err(Error::new(format!(
                    "records of kind {other} are newer than this plugin"
                )));
            }
        };
        Ok(Record { tag, step: raw.step, time: raw.time, value })
    }
}
