//! Functions of a component beyond contract 1.0, for components that have them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use fluxbay_plugin::abi::{
    dataset::{FieldSpec, NO_TOKEN},
    metric::direction,
    text::Text,
};

use super::error::{CallError, CallResult, check};
use super::fields::DataField;
use super::plugin_instance::Call;

impl Call<'_> {
    /// Which values of the metric are better, a number of the contract's `direction`; unknown for a
    /// metric that does not say.
    pub fn metric_direction(self) -> CallResult<u32> {
        let mut answer = direction::UNKNOWN;
        if let Some(row) = self.0.rows.metric {
            // SAFETY: `raw` belongs to the row's component; the place is lent for the call.
            check(unsafe { (row.direction)(self.0.raw, &mut answer) })?;
        }
        match answer {
            direction::UNKNOWN | direction::LOWER | direction::HIGHER => Ok(answer),
            other => Err(CallError::new(format!("it returned {other}, which is no direction"))),
        }
    }

    /// What the data set has learned, in its own format; none for a data set that does not keep it.
    /// An error if it has more than `limit` bytes, 0 for no limit.
    pub fn dataset_learnt(self, limit: u64) -> CallResult<Option<Vec<u8>>> {
        let Some(row) = self.0.rows.dataset_state else { return Ok(None) };
        let mut bytes = Text::EMPTY;
        // SAFETY: `raw` belongs to the row's component; the place is lent for the call.
        check(unsafe { (row.learnt)(self.0.raw, &mut bytes) })?;
        if limit > 0 && bytes.len as u64 > limit {
            return Err(CallError::new(format!(
                "what it learned has {} bytes, more than the {limit} that are allowed",
                bytes.len
            )));
        }
        // SAFETY: the contract keeps the bytes valid until the next call of this instance.
        Ok(Some(unsafe { bytes.as_bytes() }.to_vec()))
    }

    /// Restores what another instance of the data set learned. Only before `open`.
    pub fn dataset_restore(self, version: u32, bytes: &[u8]) -> CallResult {
        let Some(row) = self.0.rows.dataset_state else {
            return Err(CallError::new(
                "it does not keep what it learns, so nothing can be restored",
            ));
        };
        // SAFETY: `raw` belongs to the row's component; the bytes are lent for the call.
        check(unsafe { (row.restore)(self.0.raw, version, Text::bytes(bytes)) })
    }

    /// What the model says of published weights, as JSON; none for a model of no published family.
    pub fn model_names(self) -> CallResult<Option<String>> {
        let Some(row) = self.0.rows.model_names else { return Ok(None) };
        let mut json = Text::EMPTY;
        // SAFETY: `raw` belongs to the row's component; the place is lent for the call.
        check(unsafe { (row.names)(self.0.raw, &mut json) })?;
        // SAFETY: the contract keeps the text valid until the next call of this instance.
        let json = unsafe { json.as_bytes() };
        if json.is_empty() {
            return Ok(None);
        }
        match std::str::from_utf8(json) {
            Ok(json) => Ok(Some(json.to_owned())),
            Err(error) => Err(CallError::new(format!("its names are no UTF-8: {error}"))),
        }
    }

    /// How raw values of a size become the field of inputs, as the JSON of the contract; none if the data set does not
    /// say it.
    pub fn dataset_steps(self, size: &[u64]) -> CallResult<Option<String>> {
        let Some(row) = self.0.rows.dataset_steps else { return Ok(None) };
        let mut json = Text::EMPTY;
        // SAFETY: `raw` belongs to the row's component; sizes and place are lent for the call.
        check(unsafe { (row.steps)(self.0.raw, size.as_ptr(), size.len(), &mut json) })?;
        // SAFETY: the contract keeps the text valid until the next call of this instance.
        let json = unsafe { json.to_text() }.into_owned();
        Ok((!json.is_empty()).then_some(json))
    }

    /// What the transform does with a field, as the JSON of the contract; none if it does not say it.
    pub fn transform_steps(self, input: &DataField) -> CallResult<Option<String>> {
        let Some(row) = self.0.rows.transform_steps else { return Ok(None) };
        let shape: Vec<u64> = input.shape.iter().map(|size| *size as u64).collect();
        let spec = FieldSpec {
            name: Text::new(&input.name),
            dtype: input.dtype,
            reserved: 0,
            shape: shape.as_ptr(),
            rank: shape.len(),
            classes: input.classes,
        };
        let mut json = Text::EMPTY;
        // SAFETY: `raw` belongs to the row's component; field and place are lent for the call.
        check(unsafe { (row.steps)(self.0.raw, &spec, &mut json) })?;
        // SAFETY: the contract keeps the text valid until the next call of this instance.
        let json = unsafe { json.to_text() }.into_owned();
        Ok((!json.is_empty()).then_some(json))
    }

    /// Lets the data set read files to predict from. Only after its state was restored.
    pub fn dataset_begin_inputs(self, files: &[PathBuf]) -> CallResult {
        let Some(row) = self.0.rows.dataset_inputs else { return Err(reads_no_inputs()) };
        let paths: Vec<Text> =
            files.iter().map(|file| Text::bytes(file.as_os_str().as_bytes())).collect();
        // SAFETY: `raw` belongs to the row's component; the paths are lent for the call.
        check(unsafe { (row.begin)(self.0.raw, paths.as_ptr(), paths.len()) })
    }

    /// Lets the data set read the next samples of the files, at most `most`; returns their number.
    pub fn dataset_read_inputs(self, most: usize) -> CallResult<usize> {
        let Some(row) = self.0.rows.dataset_inputs else { return Err(reads_no_inputs()) };
        let mut count = 0;
        // SAFETY: `raw` belongs to the row's component; the place is lent for the call.
        check(unsafe { (row.read)(self.0.raw, most, &mut count) })?;
        if count > most {
            return Err(CallError::new(format!(
                "it read {count} samples where it was asked for at most {most}"
            )));
        }
        Ok(count)
    }

    /// What identifies sample `index` of those that were read last.
    pub fn dataset_input_key(self, index: usize) -> CallResult<String> {
        let Some(row) = self.0.rows.dataset_inputs else { return Err(reads_no_inputs()) };
        let mut key = Text::EMPTY;
        // SAFETY: `raw` belongs to the row's component; the place is lent for the call.
        check(unsafe { (row.key)(self.0.raw, index, &mut key) })?;
        // SAFETY: the contract keeps the text valid until the next call of this instance.
        Ok(unsafe { key.to_text() }.into_owned())
    }

    /// Name of a class of a field; none if the data set does not name it.
    pub fn dataset_class_name(self, field: usize, class: u64) -> CallResult<Option<String>> {
        let Some(row) = self.0.rows.dataset_inputs else { return Ok(None) };
        let mut name = Text::EMPTY;
        // SAFETY: `raw` belongs to the row's component; the place is lent for the call.
        check(unsafe { (row.class_name)(self.0.raw, field, class, &mut name) })?;
        // SAFETY: the contract keeps the text valid until the next call of this instance.
        let name = unsafe { name.to_text() }.into_owned();
        Ok((!name.is_empty()).then_some(name))
    }

    /// The token ids of a text. Only after the data set's state was restored.
    pub fn dataset_encode(self, text: &str) -> CallResult<Vec<u32>> {
        let Some(row) = self.0.rows.dataset_text else { return Err(has_no_texts()) };
        let (mut ids, mut count) = (std::ptr::null(), 0);
        // SAFETY: `raw` belongs to the row's component; text and places are lent for the call.
        check(unsafe { (row.encode)(self.0.raw, Text::new(text), &mut ids, &mut count) })?;
        if count == 0 {
            return Ok(Vec::new());
        }
        if ids.is_null() {
            return Err(CallError::new("it returned token ids without a place"));
        }
        // SAFETY: the contract keeps the ids valid until the next call of this instance.
        Ok(unsafe { std::slice::from_raw_parts(ids, count) }.to_vec())
    }

    /// The text of token ids.
    pub fn dataset_decode(self, ids: &[u32]) -> CallResult<String> {
        let Some(row) = self.0.rows.dataset_text else { return Err(has_no_texts()) };
        let mut text = Text::EMPTY;
        // SAFETY: `raw` belongs to the row's component; ids and place are lent for the call.
        check(unsafe { (row.decode)(self.0.raw, ids.as_ptr(), ids.len(), &mut text) })?;
        // SAFETY: the contract keeps the text valid until the next call of this instance.
        Ok(unsafe { text.to_text() }.into_owned())
    }

    /// The token that ends a text, if there is one.
    pub fn dataset_end_token(self) -> CallResult<Option<u32>> {
        let Some(row) = self.0.rows.dataset_text else { return Err(has_no_texts()) };
        let mut id = NO_TOKEN;
        // SAFETY: `raw` belongs to the row's component; the place is lent for the call.
        check(unsafe { (row.end)(self.0.raw, &mut id) })?;
        Ok(u32::try_from(id).ok())
    }
}

#[cold]
fn has_no_texts() -> CallError {
    CallError::new("it does not turn texts into token ids (`texts: true` in its `plugin!`)")
}

#[cold]
fn reads_no_inputs() -> CallError {
    CallError::new("it does not read files to predict from (`predicts: true` in its `plugin!`)")
}
