//! A data set of a plugin: opened on the training thread, read by several threads.

use std::sync::Arc;

use fluxbay_plugin::abi::dataset::{BufferRaw, DatasetTable, FieldSpec, FillRequest, SplitSpec};
use fluxbay_plugin::abi::{entry, text::Text};

use super::context;
use super::error::{CallError, CallResult, check};
use super::fields::DataField;
use super::plugin_instance::{PluginInstance, Table};
use crate::breadcrumb::{self, Activity};

/// Most fields, splits and dimensions that are accepted.
const MOST: usize = 64;

/// An opened data set, with the fields and splits that it states.
#[derive(Debug)]
pub struct OpenDataset {
    instance: Arc<PluginInstance>,
    table: &'static DatasetTable,
    /// Fields of every sample.
    pub fields: Vec<DataField>,
    /// Name and number of samples of each split.
    pub splits: Vec<(String, u64)>,
    /// What differs by sample, by field.
    pub ragged: Vec<Ragged>,
}

/// A field whose samples differ in size.
#[derive(Clone, Debug, PartialEq)]
pub struct Ragged {
    /// Index of the field.
    pub field: usize,
    /// The dimensions of one sample that differ, ascending, at least one.
    pub dimensions: Vec<usize>,
    /// What shorter samples are filled up with.
    pub padding: f64,
}

// SAFETY: on other threads than the training thread only `fill` is called, which the contract
// allows there; the last owner is the loader or the runtime, both on the training thread, and the
// loader's threads have ended by then.
unsafe impl Send for OpenDataset {}
// SAFETY: as above; `fill` may be called by several threads at a time.
unsafe impl Sync for OpenDataset {}

impl OpenDataset {
    /// Opens a data set within a call into `instance`, and reads its fields and splits.
    pub fn open(instance: Arc<PluginInstance>) -> CallResult<OpenDataset> {
        let Table::Dataset(table) = instance.table else {
            return Err(instance.wrong_kind("data set"));
        };
        let raw = instance.raw;
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { (table.open)(raw) })?;
        let fields = fields(table, raw)?;
        // SAFETY: as above.
        let count = unsafe { (table.split_count)(raw) };
        let splits = (0..accepted(count, "splits")?).map(|index| {
            let mut spec = SplitSpec { name: Text::EMPTY, samples: 0 };
            // SAFETY: as above; the place is lent for the call.
            check(unsafe { (table.split)(raw, index, &mut spec) })?;
            // SAFETY: the contract keeps the name valid as long as the instance.
            Ok((unsafe { spec.name.to_text() }.into_owned(), spec.samples))
        });
        let splits = splits.collect::<CallResult<Vec<_>>>()?;
        let ragged = ragged(&instance, &fields)?;
        Ok(OpenDataset { instance, table, fields, splits, ragged })
    }

    /// The data set within a call into `instance` that reads files to predict from: its fields, and
    /// one split for the samples that it read last.
    pub fn of_inputs(instance: Arc<PluginInstance>) -> CallResult<OpenDataset> {
        let Table::Dataset(table) = instance.table else {
            return Err(instance.wrong_kind("data set"));
        };
        let fields = fields(table, instance.raw)?;
        let ragged = ragged(&instance, &fields)?;
        let splits = vec![("inputs".to_owned(), 0)];
        Ok(OpenDataset { instance, table, fields, splits, ragged })
    }

    /// States which samples are for training. Called on the training thread.
    pub fn prepare(&self, split: usize, indices: &[u64]) -> CallResult {
        let guard = breadcrumb::call(self.instance.number(), Activity::PreparingData);
        // SAFETY: `raw` belongs to the table's component; the indices are lent for the call, which
        // the loader makes on the training thread, before its own threads begin.
        let code = unsafe {
            (self.table.prepare)(self.instance.raw, split, indices.as_ptr(), indices.len())
        };
        guard.end();
        check(code)
    }

    /// Whether it can be asked for single fields: the buffers of other fields are empty.
    pub fn reads_single_fields(&self) -> bool {
        self.instance.rows.dataset_fill.is_some()
    }

    /// Writes samples into one buffer per field, marks those that it leaves out with 1 in `left_out`, and
    /// writes their lengths along the dimensions of `ragged` into `lengths`, which holds the maxima.
    /// Called on any thread.
    pub fn fill(
        &self,
        wanted: &Wanted<'_>,
        buffers: &mut [&mut [u8]],
        left_out: &mut [u8],
        lengths: &mut [u64],
    ) -> CallResult {
        let raw_buffers: Vec<BufferRaw> = buffers
            .iter_mut()
            .map(|buffer| match buffer.len() {
                0 if self.reads_single_fields() => BufferRaw { ptr: std::ptr::null_mut(), len: 0 },
                len => BufferRaw { ptr: buffer.as_mut_ptr(), len },
            })
            .collect();
        let Wanted { seed, epoch, training, split, indices } = *wanted;
        // Batches are made on the training thread or on another; host functions answer as on
        // another in either case.
        let _entered = context::enter_without_host();
        let guard = breadcrumb::side_call(self.instance.number(), Activity::Filling);
        let code = match self.instance.rows.dataset_fill {
            Some(row) => {
                let request = FillRequest {
                    size: size_of::<FillRequest>() as u64,
                    seed,
                    epoch,
                    split,
                    training: u32::from(training),
                    reserved: 0,
                    indices: indices.as_ptr(),
                    count: indices.len(),
                    buffers: raw_buffers.as_ptr(),
                    buffer_count: raw_buffers.len(),
                    left_out: left_out.as_mut_ptr(),
                    lengths: lengths.as_mut_ptr(),
                    length_count: lengths.len() / indices.len().max(1),
                };
                debug_assert_eq!(left_out.len(), indices.len());
                // SAFETY: `raw` belongs to the row's component, whose `fill` any thread may call; the
                // request and what it points at are lent for the call.
                unsafe { (row.fill)(self.instance.raw, &request) }
            }
            // SAFETY: `raw` belongs to the table's component, whose `fill` any thread may call; indices
            // and buffers are lent for the call.
            None => unsafe {
                (self.table.fill)(
                    self.instance.raw,
                    split,
                    indices.as_ptr(),
                    indices.len(),
                    raw_buffers.as_ptr(),
                    raw_buffers.len(),
                )
            },
        };
        guard.end();
        check(code)
    }

    /// The key of a sample; `None` if it has none. Called on any thread.
    pub fn key(&self, split: usize, index: u64) -> Option<String> {
        let row = self.instance.rows.dataset_fill?;
        let mut key = [0_u8; KEY];
        let mut length = 0;
        let _entered = context::enter_without_host();
        let guard = breadcrumb::side_call(self.instance.number(), Activity::Filling);
        // SAFETY: `raw` belongs to the row's component, whose `key` any thread may call; the places
        // are lent for the call.
        let code = unsafe {
            (row.key)(self.instance.raw, split, index, key.as_mut_ptr(), key.len(), &mut length)
        };
        guard.end();
        let written = &key[..length.min(KEY)];
        (check(code).is_ok() && length > 0).then(|| String::from_utf8_lossy(written).into_owned())
    }
}

/// Asks a data set, within a call into `instance`, what differs by sample.
fn ragged(instance: &PluginInstance, fields: &[DataField]) -> CallResult<Vec<Ragged>> {
    let Some(row) = instance.rows.dataset_ragged else { return Ok(Vec::new()) };
    if instance.rows.dataset_fill.is_none() {
        let text = "its samples differ in size, but it has no row in fluxbay.dataset-fill/1, whose \
                    `fill` states the lengths";
        return Err(CallError::new(text.to_owned()));
    }
    let mut found = Vec::new();
    for (field, stated) in fields.iter().enumerate() {
        let (mut differs, mut padding) = (vec![0_u8; stated.shape.len()], 0.0);
        // SAFETY: `raw` belongs to the row's component; the places are lent for the call.
        check(unsafe {
            (row.ragged)(instance.raw, field, differs.as_mut_ptr(), differs.len(), &mut padding)
        })?;
        let dimensions: Vec<usize> =
            (0..differs.len()).filter(|dimension| differs[*dimension] != 0).collect();
        if !dimensions.is_empty() {
            found.push(Ragged { field, dimensions, padding });
        }
    }
    Ok(found)
}

/// Most bytes of a key that are used.
const KEY: usize = 1024;

/// Samples that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The run's seed.
    pub seed: u64,
    /// Epoch, counted from 1; 0 outside of an epoch.
    pub epoch: u64,
    /// Whether the samples are read for training.
    pub training: bool,
    /// Index of the split.
    pub split: usize,
    /// Indices of the samples within the split.
    pub indices: &'a [u64],
}

fn accepted(count: usize, what: &str) -> CallResult<usize> {
    if count > MOST {
        Err(CallError::new(format!("it announces {count} {what}; at most {MOST} are possible")))
    } else {
        Ok(count)
    }
}

/// The fields that an opened data set states.
fn fields(table: &DatasetTable, raw: entry::Instance) -> CallResult<Vec<DataField>> {
    // SAFETY: `raw` belongs to the table's component.
    let count = unsafe { (table.field_count)(raw) };
    (0..accepted(count, "fields")?).map(|index| field(table, raw, index)).collect()
}

fn field(table: &DatasetTable, raw: entry::Instance, index: usize) -> CallResult<DataField> {
    let mut spec = FieldSpec {
        name: Text::EMPTY,
        dtype: 0,
        reserved: 0,
        shape: std::ptr::null(),
        rank: 0,
        classes: 0,
    };
    // SAFETY: `raw` belongs to the table's component; the place is lent for the call.
    check(unsafe { (table.field)(raw, index, &mut spec) })?;
    // SAFETY: the contract keeps name and shape valid as long as the instance.
    unsafe { stated(&spec) }
}

/// A field as a plugin states it.
///
/// # Safety
/// The name and the shape of `spec` must be valid.
pub(super) unsafe fn stated(spec: &FieldSpec) -> CallResult<DataField> {
    // SAFETY: promised by the caller.
    let name = unsafe { spec.name.to_text() }.into_owned();
    let rank = accepted(spec.rank, "dimensions")?;
    if rank > 0 && spec.shape.is_null() {
        return Err(CallError::new(format!("the shape of field `{name}` is missing")));
    }
    let shape: &[u64] = if rank == 0 {
        &[]
    } else {
        // SAFETY: not null, and valid as the caller promises.
        unsafe { std::slice::from_raw_parts(spec.shape, rank) }
    };
    let shape = shape.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<_>, _>>();
    let shape =
        shape.map_err(|_| CallError::new(format!("a dimension of field `{name}` is too large")))?;
    Ok(DataField { name, dtype: spec.dtype, shape, classes: spec.classes })
}
