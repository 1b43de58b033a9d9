//! Tables of data sets.

use std::{ffi::OsStr, mem::MaybeUninit, os::unix::ffi::OsStrExt as _, path::PathBuf};

use super::{
    guard::guard,
    instance::{self, Cell, cell},
};
use crate::{
    Dataset, Error, Result,
    abi::{
        dataset::{
            BufferRaw, DatasetFillRow, DatasetInputsRow, DatasetRaggedRow, DatasetStateRow,
            DatasetTable, DatasetTextRow, FieldSpec, FillRequest, NO_TOKEN, SplitSpec,
        },
        entry::{Component, Instance, kind},
        steps::DatasetStepsRow,
        text::Text,
    },
    dataset::{Buffers, Field, FillContext, Split},
    setup::Setup,
};

/// A data set with its fields and splits after `open`, the bytes of its last `learnt`, the text of its
/// last `key`, `class_name` or `decode`, and the ids of its last `encode`.
pub struct DatasetCell<D> {
    dataset: D,
    learnt: Vec<u8>,
    text: String,
    ids: Vec<u32>,
    fields: Vec<(Field, Vec<u64>)>,
    /// Number of dimensions that differ by sample, by field.
    differing: Vec<usize>,
    splits: Vec<Split>,
}

impl<D: Dataset> DatasetCell<D> {
    /// Takes the fields from the data set, and which of their dimensions differ.
    fn describe(&mut self) {
        self.fields = widened(self.dataset.fields());
        let differing = |field| self.dataset.ragged(field).map_or(0, |it| it.dimensions.len());
        self.differing = (0..self.fields.len()).map(differing).collect();
    }
}

impl<D: Dataset> Cell for DatasetCell<D> {
    type Inner = D;

    fn wrap(dataset: D, _: &mut Setup) -> Result<Self> {
        Ok(DatasetCell {
            dataset,
            learnt: Vec::new(),
            text: String::new(),
            ids: Vec::new(),
            fields: Vec::new(),
            differing: Vec::new(),
            splits: Vec::new(),
        })
    }

    fn inner(&self) -> &D {
        &self.dataset
    }

    fn inner_mut(&mut self) -> &mut D {
        &mut self.dataset
    }
}

unsafe extern "C" fn open<D: Dataset>(this: Instance) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned, and no other call runs meanwhile.
        let cell = unsafe { cell::<DatasetCell<D>>(this) };
        cell.dataset.open()?;
        cell.describe();
        cell.splits = cell.dataset.splits();
        Ok(())
    })
}

/// Fields with their shapes as the contract passes them.
fn widened(fields: Vec<Field>) -> Vec<(Field, Vec<u64>)> {
    let widen = |field: Field| {
        let shape = field.shape.iter().map(|size| *size as u64).collect();
        (field, shape)
    };
    fields.into_iter().map(widen).collect()
}

unsafe extern "C" fn field_count<D: Dataset>(this: Instance) -> usize {
    // SAFETY: as above.
    unsafe { cell::<DatasetCell<D>>(this) }.fields.len()
}

unsafe extern "C" fn field<D: Dataset>(this: Instance, index: usize, spec: *mut FieldSpec) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<DatasetCell<D>>(this) };
        let (field, shape) =
            cell.fields.get(index).ok_or_else(|| Error::new(format!("no field {index}")))?;
        let raw = FieldSpec {
            name: Text::new(&field.name),
            dtype: field.dtype.number(),
            reserved: 0,
            shape: shape.as_ptr(),
            rank: shape.len(),
            classes: field.classes.unwrap_or(0) as u64,
        };
        // SAFETY: the host gives a place for the result.
        unsafe { *spec = raw };
        Ok(())
    })
}

unsafe extern "C" fn split_count<D: Dataset>(this: Instance) -> usize {
    // SAFETY: as above.
    unsafe { cell::<DatasetCell<D>>(this) }.splits.len()
}

unsafe extern "C" fn split<D: Dataset>(this: Instance, index: usize, spec: *mut SplitSpec) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<DatasetCell<D>>(this) };
        let split =
            cell.splits.get(index).ok_or_else(|| Error::new(format!("no split {index}")))?;
        // SAFETY: the host gives a place for the result.
        unsafe {
            *spec = SplitSpec { name: Text::new(&split.name), samples: split.samples as u64 }
        };
        Ok(())
    })
}

unsafe extern "C" fn prepare<D: Dataset>(
    this: Instance,
    split: usize,
    indices: *const u64,
    count: usize,
) -> i32 {
    guard(|| {
        // SAFETY: as above; the indices are borrowed for the call.
        let (cell, indices) = unsafe { (cell::<DatasetCell<D>>(this), slice(indices, count)) };
        check_indices(&cell.splits, split, indices)?;
        cell.dataset.prepare(split, indices)
    })
}

unsafe extern "C" fn learnt<D: Dataset>(this: Instance, bytes: *mut Text) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<DatasetCell<D>>(this) };
        cell.learnt = cell.dataset.learnt()?;
        // SAFETY: the host gives a place for the result; the buffer lives until the next call of
        // this instance.
        unsafe { *bytes = Text::bytes(&cell.learnt) };
        Ok(())
    })
}

unsafe extern "C" fn restore<D: Dataset>(this: Instance, version: u32, bytes: Text) -> i32 {
    guard(|| {
        // SAFETY: as above; the bytes are borrowed for the call.
        let (cell, bytes) = unsafe { (cell::<DatasetCell<D>>(this), bytes.as_bytes()) };
        cell.dataset.restore(version, bytes)
    })
}

/// The row of data set `D` in the extension `fluxbay.dataset-state/1`.
pub const fn state_row<D: Dataset>(name: &'static str) -> DatasetStateRow {
    DatasetStateRow {
        kind: kind::DATASET,
        reserved: 0,
        component: Text::new(name),
        learnt: learnt::<D>,
        restore: restore::<D>,
    }
}

/// Name of the split that holds the samples of the last `read`.
const INPUTS: &str = "inputs";

unsafe extern "C" fn begin_inputs<D: Dataset>(
    this: Instance,
    paths: *const Text,
    count: usize,
) -> i32 {
    guard(|| {
        // SAFETY: as above; the paths are borrowed for the call.
        let (cell, paths) = unsafe { (cell::<DatasetCell<D>>(this), slice(paths, count)) };
        let path = |path: &Text| {
            // SAFETY: as above.
            PathBuf::from(OsStr::from_bytes(unsafe { path.as_bytes() }))
        };
        let paths: Vec<PathBuf> = paths.iter().map(path).collect();
        cell.dataset.open_inputs(&paths)?;
        cell.describe();
        cell.splits = vec![Split::new(INPUTS, 0)];
        Ok(())
    })
}

unsafe extern "C" fn read_inputs<D: Dataset>(
    this: Instance,
    most: usize,
    count: *mut usize,
) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<DatasetCell<D>>(this) };
        let read = cell.dataset.read_inputs(most)?;
        cell.splits = vec![Split::new(INPUTS, read)];
        // SAFETY: the host gives a place for the result.
        unsafe { *count = read };
        Ok(())
    })
}

unsafe extern "C" fn input_key<D: Dataset>(this: Instance, index: usize, key: *mut Text) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<DatasetCell<D>>(this) };
        check_indices(&cell.splits, 0, &[index as u64])?;
        cell.text = cell.dataset.input_key(index);
        // SAFETY: the host gives a place for the result; the text lives until the next call of this
        // instance.
        unsafe { *key = Text::new(&cell.text) };
        Ok(())
    })
}

unsafe extern "C" fn class_name<D: Dataset>(
    this: Instance,
    field: usize,
    class: u64,
    name: *mut Text,
) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<DatasetCell<D>>(this) };
        cell.text = cell.dataset.class_name(field, class as usize).unwrap_or_default();
        // SAFETY: as above.
        unsafe { *name = Text::new(&cell.text) };
        Ok(())
    })
}

/// The row of data set `D` in the extension `fluxbay.dataset-inputs/1`.
pub const fn inputs_row<D: Dataset>(name: &'static str) -> DatasetInputsRow {
    DatasetInputsRow {
        kind: kind::DATASET,
        reserved: 0,
        component: Text::new(name),
        begin: begin_inputs::<D>,
        read: read_inputs::<D>,
        key: input_key::<D>,
        class_name: class_name::<D>,
    }
}

unsafe extern "C" fn steps<D: Dataset>(
    this: Instance,
    size: *const u64,
    rank: usize,
    json: *mut Text,
) -> i32 {
    guard(|| {
        // SAFETY: as above; the sizes are borrowed for the call.
        let (cell, size) = unsafe { (cell::<DatasetCell<D>>(this), slice(size, rank)) };
        let size: Vec<usize> = size.iter().map(|size| *size as usize).collect();
        cell.text = match cell.dataset.steps(&size)? {
            Some(steps) => {
                serde_json::to_string(&steps).map_err(|error| Error::new(error.to_string()))?
            }
            None => String::new(),
        };
        // SAFETY: the host gives a place for the result; the text lives until the next call of this
        // instance.
        unsafe { *json = Text::new(&cell.text) };
        Ok(())
    })
}

/// The row of data set `D` in the extension `fluxbay.dataset-steps/1`.
pub const fn steps_row<D: Dataset>(name: &'static str) -> DatasetStepsRow {
    DatasetStepsRow {
        kind: kind::DATASET,
        reserved: 0,
        component: Text::new(name),
        steps: steps::<D>,
    }
}

unsafe extern "C" fn encode<D: Dataset>(
    this: Instance,
    text: Text,
    ids: *mut *const u32,
    count: *mut usize,
) -> i32 {
    guard(|| {
        // SAFETY: as above; the text is borrowed for the call.
        let (cell, text) = unsafe { (cell::<DatasetCell<D>>(this), text.to_text()) };
        cell.ids = cell.dataset.encode(&text)?;
        // SAFETY: the host gives places for the results; the ids live until the next call of this
        // instance.
        unsafe {
            *ids = cell.ids.as_ptr();
            *count = cell.ids.len();
        }
        Ok(())
    })
}

unsafe extern "C" fn decode<D: Dataset>(
    this: Instance,
    ids: *const u32,
    count: usize,
    text: *mut Text,
) -> i32 {
    guard(|| {
        // SAFETY: as above; the ids are borrowed for the call.
        let (cell, ids) = unsafe { (cell::<DatasetCell<D>>(this), slice(ids, count)) };
        cell.text = cell.dataset.decode(ids)?;
        // SAFETY: the host gives a place for the result; the text lives until the next call of this
        // instance.
        unsafe { *text = Text::new(&cell.text) };
        Ok(())
    })
}

unsafe extern "C" fn end_token<D: Dataset>(this: Instance, id: *mut u64) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<DatasetCell<D>>(this) };
        let end = cell.dataset.end_token()?.map_or(NO_TOKEN, u64::from);
        // SAFETY: the host gives a place for the result.
        unsafe { *id = end };
        Ok(())
    })
}

/// The row of data set `D` in the extension `fluxbay.dataset-text/1`.
pub const fn text_row<D: Dataset>(name: &'static str) -> DatasetTextRow {
    DatasetTextRow {
        kind: kind::DATASET,
        reserved: 0,
        component: Text::new(name),
        encode: encode::<D>,
        decode: decode::<D>,
        end: end_token::<D>,
    }
}

unsafe extern "C" fn fill_with<D: Dataset>(this: Instance, request: *const FillRequest) -> i32 {
    guard(|| {
        // SAFETY: as in `fill`.
        let cell = unsafe { &(*this.0.cast::<instance::Boxed<DatasetCell<D>>>()).cell };
        // SAFETY: the request and what it points at are borrowed for the call.
        let request = unsafe { known(request) };
        // SAFETY: the host lends these arrays for the call; nothing else uses `left_out` and `lengths`
        // meanwhile.
        let (indices, buffers, left_out, lengths) = unsafe {
            let count = if request.left_out.is_null() { 0 } else { request.count };
            let left_out = if count == 0 {
                &mut [][..]
            } else {
                std::slice::from_raw_parts_mut(request.left_out, count)
            };
            (
                slice(request.indices, request.count),
                slice(request.buffers, request.buffer_count),
                left_out,
                lengths(&request, cell.differing.iter().sum()),
            )
        };
        check_indices(&cell.splits, request.split, indices)?;
        let mut buffers = Buffers::from_parts(&cell.fields, buffers, indices.len())?;
        let mut context = FillContext {
            seed: request.seed,
            epoch: request.epoch,
            training: request.training != 0,
            split: request.split,
            left_out,
            differing: if lengths.is_empty() { &[] } else { &cell.differing },
            lengths,
        };
        cell.dataset.fill_with(&mut context, indices, &mut buffers)
    })
}

/// A request of any host: fields that it was built without are 0.
///
/// # Safety
/// As many bytes as the size of the request says can be read.
unsafe fn known(request: *const FillRequest) -> FillRequest {
    let mut known = MaybeUninit::<FillRequest>::zeroed();
    // SAFETY: the size is the first field of every request; all bytes that are copied can be read; zeros
    // are numbers and null pointers.
    unsafe {
        let size = (&raw const (*request).size).read() as usize;
        let bytes = size.min(size_of::<FillRequest>());
        std::ptr::copy_nonoverlapping(request.cast::<u8>(), known.as_mut_ptr().cast(), bytes);
        known.assume_init()
    }
}

/// The lengths that the host asks for, `differing` per sample; empty if it asks for none.
///
/// # Safety
/// The arrays of the request are lent during `'a`.
unsafe fn lengths<'a>(request: &FillRequest, differing: usize) -> &'a mut [u64] {
    if differing == 0 || request.lengths.is_null() || request.length_count != differing {
        return &mut [];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts_mut(request.lengths, request.count * differing) }
}

unsafe extern "C" fn ragged<D: Dataset>(
    this: Instance,
    field: usize,
    differs: *mut u8,
    rank: usize,
    padding: *mut f64,
) -> i32 {
    guard(|| {
        // SAFETY: as in `open`.
        let cell = unsafe { cell::<DatasetCell<D>>(this) };
        let Some(ragged) = cell.dataset.ragged(field) else { return Ok(()) };
        for dimension in ragged.dimensions {
            if dimension >= rank {
                return Err(Error::new(format!(
                    "field {field} has {rank} dimensions: its dimension {dimension} cannot differ"
                )));
            }
            // SAFETY: the host lends `rank` bytes, all 0 at the call.
            unsafe { *differs.add(dimension) = 1 };
        }
        // SAFETY: the host gives a place for the number.
        unsafe { *padding = ragged.padding };
        Ok(())
    })
}

/// The row of data set `D` in the extension `fluxbay.dataset-ragged/1`.
pub const fn ragged_row<D: Dataset>(name: &'static str) -> DatasetRaggedRow {
    DatasetRaggedRow {
        kind: kind::DATASET,
        reserved: 0,
        component: Text::new(name),
        ragged: ragged::<D>,
    }
}

unsafe extern "C" fn key<D: Dataset>(
    this: Instance,
    split: usize,
    index: u64,
    key: *mut u8,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    guard(|| {
        // SAFETY: as in `fill`.
        let cell = unsafe { &(*this.0.cast::<instance::Boxed<DatasetCell<D>>>()).cell };
        check_indices(&cell.splits, split, &[index])?;
        let text = cell.dataset.key(split, index).unwrap_or_default();
        // SAFETY: the host lends `capacity` bytes for the key and a place for its length.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), key, text.len().min(capacity));
            *length = text.len();
        }
        Ok(())
    })
}

/// The row of data set `D` in the extension `fluxbay.dataset-fill/1`.
pub const fn fill_row<D: Dataset>(name: &'static str) -> DatasetFillRow {
    DatasetFillRow {
        kind: kind::DATASET,
        reserved: 0,
        component: Text::new(name),
        fill: fill_with::<D>,
        key: key::<D>,
    }
}

unsafe extern "C" fn fill<D: Dataset>(
    this: Instance,
    split: usize,
    indices: *const u64,
    count: usize,
    buffers: *const BufferRaw,
    buffer_count: usize,
) -> i32 {
    guard(|| {
        // SAFETY: several loader threads may be here at once, so the instance is only shared; `D`
        // is `Sync`. No function that changes it runs meanwhile (the host's promise for `[loader]`
        // functions).
        let cell = unsafe { &(*this.0.cast::<instance::Boxed<DatasetCell<D>>>()).cell };
        // SAFETY: indices and buffers are borrowed for the call.
        let (indices, buffers) = unsafe { (slice(indices, count), slice(buffers, buffer_count)) };
        check_indices(&cell.splits, split, indices)?;
        let mut buffers = Buffers::from_parts(&cell.fields, buffers, indices.len())?;
        cell.dataset.fill(split, indices, &mut buffers)
    })
}

/// Checks that the indices are below the number of samples of the split, so that data sets need not.
fn check_indices(splits: &[Split], split: usize, indices: &[u64]) -> Result<()> {
    let split = splits.get(split).ok_or_else(|| Error::new(format!("no split {split}")))?;
    match indices.iter().find(|&&index| index >= split.samples as u64) {
        None => Ok(()),
        Some(index) => Err(Error::new(format!(
            "there is no sample {index}: `{}` has {}, counted from 0",
            split.name, split.samples
        ))),
    }
}

/// A field as the host describes it.
///
/// # Safety
/// The name and shape of `raw` must be valid for the call.
pub(super) unsafe fn field_from(raw: &FieldSpec) -> Field {
    // SAFETY: promised by the caller.
    let (name, shape) = unsafe { (raw.name.to_text(), slice(raw.shape, raw.rank)) };
    Field::from_parts(raw, &name, shape)
}

/// A slice that may be empty with any pointer.
///
/// # Safety
/// `count` values must be at `ptr` during `'a`.
pub(super) unsafe fn slice<'a, T>(ptr: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(ptr, count) }
}

struct Table<D>(std::marker::PhantomData<D>);

impl<D: Dataset> Table<D> {
    const TABLE: &'static DatasetTable = &DatasetTable {
        open: open::<D>,
        field_count: field_count::<D>,
        field: field::<D>,
        split_count: split_count::<D>,
        split: split::<D>,
        prepare: prepare::<D>,
        fill: fill::<D>,
    };
}

/// The component that offers data set `D`.
pub const fn component<D: Dataset>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<DatasetCell<D>>(kind::DATASET, name, state_version);
    component.dataset = Table::<D>::TABLE;
    component
}
