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

/// Writes the records that callbacks log: to a file, a service, a terminal. `[training thread]`
///
/// An error disables the logger, and the run continues, unless its `on-error` is `stop`. After a
/// resume, records that were written after the checkpoint come again: save the length of a file and
/// cut it in `open`.
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// /// Prints every number to standard error.
/// struct Stderr;
///
/// impl Component for Stderr {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(Stderr)
///     }
/// }
///
/// impl Logger for Stderr {
///     fn open(&mut self, _: &std::path::Path) -> Result<()> {
///         Ok(())
///     }
///
///     fn write(&mut self, record: &Record<'_>) -> Result<()> {
///         if let RecordValue::Scalar(value) = record.value {
///             eprintln!("{} {} {value}", record.step, record.tag);
///         }
///         Ok(())
///     }
///
///     fn flush(&mut self) -> Result<()> {
///         Ok(())
///     }
/// }
/// ```
pub trait Logger: Component {
    /// Opens the backend. `dir` is this instance's folder in the run; it may not exist yet. Called
    /// once, before the first record.
    ///
    /// # Errors
    /// If the backend cannot be opened: name the file or address.
    fn open(&mut self, dir: &Path) -> Result<()>;

    /// Writes one record. Records of kinds that the backend cannot hold are skipped.
    ///
    /// # Errors
    /// If writing fails.
    fn write(&mut self, record: &Record<'_>) -> Result<()>;

    /// Writes out what is buffered. Called before a checkpoint.
    ///
    /// # Errors
    /// If writing fails.
    fn flush(&mut self) -> Result<()>;

    /// Flushes and closes. The last call of a run.
    ///
    /// # Errors
    /// If writing fails.
    fn close(&mut self) -> Result<()> {
        self.flush()
    }
}

/// One record: a value under a tag, with its position on the tag's axis and its time.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Tag such as `step/training/metrics/loss`.
    pub tag: Cow<'a, str>,
    /// Position on the tag's axis: steps or epochs.
    pub step: u64,
    /// Unix time in seconds; set by the host.
    pub time: f64,
    /// The value.
    pub value: RecordValue<'a>,
}

/// What a record holds.
#[derive(Clone, Debug)]
pub enum RecordValue<'a> {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A tensor of any shape whose distribution is recorded.
    Histogram(Tensor),
    /// `[height, width]` or `[channels, height, width]`, values from 0 to 1.
    Image(Tensor),
    /// Hyper-parameters, as the text of a JSON object.
    HyperParameters(Cow<'a, str>),
}

impl<'a> Record<'a> {
    /// A record of any value. The host sets the time.
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
