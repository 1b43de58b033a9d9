//! The samples of a plugin's data set.

use std::sync::Arc;

use super::{Field, Ragged, Remarks, Request, SampleError, Samples, Split};
use crate::calls::dataset::{OpenDataset, Wanted};
use crate::calls::{CallError, CallResult, DataField, PluginInstance};
use crate::tensor::dtype_of;

/// Most classes of a field that are accepted.
const MOST_CLASSES: u32 = 1 << 24;
/// Bytes of memory that the order of an epoch takes per sample.
const ORDER_BYTES: u64 = 8;

/// A plugin's data set, opened.
#[derive(Debug)]
pub struct PluginSamples {
    dataset: OpenDataset,
    fields: Vec<Field>,
    splits: Vec<Split>,
}

impl PluginSamples {
    /// Opens the data set within a call into `instance`, and checks its fields.
    pub fn open(instance: Arc<PluginInstance>) -> CallResult<PluginSamples> {
        PluginSamples::of(OpenDataset::open(instance)?)
    }

    /// The samples that a data set reads from files to predict from, within a call into `instance`.
    /// Its only split holds those that were read last.
    pub fn of_inputs(instance: Arc<PluginInstance>) -> CallResult<PluginSamples> {
        PluginSamples::of(OpenDataset::of_inputs(instance)?)
    }

    fn of(dataset: OpenDataset) -> CallResult<PluginSamples> {
        let memory = memory();
        let field = |stated| field(stated, memory);
        let fields = dataset.fields.iter().map(field).collect::<CallResult<Vec<Field>>>()?;
        let split = |(name, samples): &(String, u64)| split(name, *samples, memory);
        let splits = dataset.splits.iter().map(split).collect::<CallResult<Vec<Split>>>()?;
        Ok(PluginSamples { dataset, fields, splits })
    }
}

/// Bytes of memory of this machine; no limit if the system does not report them.
fn memory() -> u64 {
    let report = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = report.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|total| total.trim().strip_suffix("kB")?.trim().parse().ok());
    kilobytes.map_or(u64::MAX, |kilobytes: u64| kilobytes.saturating_mul(1024))
}

/// A split, if the order of its samples fits into `memory` bytes.
fn split(name: &str, samples: u64, memory: u64) -> CallResult<Split> {
    if samples.checked_mul(ORDER_BYTES).is_none_or(|bytes| bytes > memory) {
        return Err(CallError::new(format!(
            "its split `{name}` announces {samples} samples: the order of so many does not fit into \
             the memory of this machine ({memory} bytes)"
        )));
    }
    Ok(Split { name: name.to_owned(), samples })
}

/// A field as a transform describes it, if one of its samples fits into the memory of this machine.
pub(super) fn transformed(stated: &DataField) -> CallResult<Field> {
    field(stated, memory())
}

/// A field, if one of its samples fits into `memory` bytes.
fn field(stated: &DataField, memory: u64) -> CallResult<Field> {
    let DataField { name, dtype, shape, classes } = stated;
    let element_type = dtype_of(*dtype).ok_or_else(|| {
        CallError::new(format!("field `{name}` has element type {dtype}, which is none"))
    })?;
    let bytes = shape
        .iter()
        .try_fold(element_type.size_in_bytes() as u64, |all, &size| all.checked_mul(size as u64));
    if bytes.is_none_or(|bytes| bytes > memory) {
        return Err(CallError::new(format!(
            "a sample of field `{name}` has shape {shape:?}, which does not fit into the memory of \
             this machine ({memory} bytes)"
        )));
    }
    let classes = match *classes {
        0 => None,
        classes => match u32::try_from(classes) {
            Ok(classes) if classes <= MOST_CLASSES => Some(classes),
            _ => {
                return Err(CallError::new(format!(
                    "field `{name}` has {classes} classes; at most {MOST_CLASSES} are possible"
                )));
            }
        },
    };
    Ok(Field { name: name.clone(), dtype: element_type, shape: shape.clone(), classes })
}

fn sample_result(result: CallResult) -> Result<(), SampleError> {
    result.map_err(|error| SampleError(error.reason().to_owned()))
}

impl Samples for PluginSamples {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn ragged(&self) -> &[Ragged] {
        &self.dataset.ragged
    }

    fn prepare(&self, split: usize, indices: &[u64]) -> Result<(), SampleError> {
        sample_result(self.dataset.prepare(split, indices))
    }

    fn fill(
        &self,
        request: &Request<'_>,
        buffers: &mut [&mut [u8]],
        remarks: &mut Remarks<'_>,
    ) -> Result<(), SampleError> {
        let Request { occasion, split, indices } = *request;
        let wanted = Wanted {
            seed: occasion.seed,
            epoch: occasion.epoch,
            training: occasion.training,
            split,
            indices,
        };
        sample_result(self.dataset.fill(&wanted, buffers, remarks.left_out, remarks.lengths))
    }

    fn labels(
        &self,
        split: usize,
        field: usize,
        indices: &[u64],
    ) -> Option<Result<Vec<u32>, SampleError>> {
        if !self.dataset.reads_single_fields() {
            return None;
        }
        let mut labels = vec![0_u32; indices.len() * self.fields[field].elements()];
        let mut buffers: Vec<&mut [u8]> = self.fields.iter().map(|_| &mut [][..]).collect();
        buffers[field] = bytemuck::cast_slice_mut(&mut labels);
        let wanted = Wanted { seed: 0, epoch: 0, training: false, split, indices };
        let mut left_out = vec![0; indices.len()];
        let filled = self.dataset.fill(&wanted, &mut buffers, &mut left_out, &mut []);
        Some(sample_result(filled).map(|()| labels))
    }

    fn key(&self, split: usize, index: u64) -> Option<String> {
        self.dataset.key(split, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluxbay_plugin::abi::handle::dtype;

    fn stated(shape: &[usize], classes: u64) -> DataField {
        DataField { name: "ys".into(), dtype: dtype::U32, shape: shape.to_vec(), classes }
    }

    #[test]
    fn sizes_that_no_machine_has_room_for_are_refused_with_the_name_of_field_or_split() {
        let memory = 1 << 30;
        assert!(split("all", 60_000, memory).is_ok());
        for samples in [u64::MAX, 1 << 61, 1_000_000_000_000] {
            let error = split("all", samples, memory).unwrap_err().text;
            assert!(error.contains("`all`") && error.contains("samples"), "{error}");
        }
        assert!(field(&stated(&[28, 28], 10), memory).is_ok());
        for shape in [&[1 << 40][..], &[1 << 40, 1 << 40], &[usize::MAX, 2]] {
            let error = field(&stated(shape, 0), memory).unwrap_err().text;
            assert!(error.contains("`ys`") && error.contains("memory"), "{error}");
        }
        for classes in [1 << 25, u64::from(u32::MAX), u64::MAX] {
            let error = field(&stated(&[], classes), memory).unwrap_err().text;
            assert!(error.contains(&classes.to_string()), "{error}");
        }
    }
}
