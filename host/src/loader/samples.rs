//! A data set as a safe trait: fields, splits, and samples by index.
//!
//! The bridge implements it for a plugin's table, tests implement it for vectors.

use bytemuck::{Pod, cast_slice, cast_slice_mut};
use candle_core::{CpuStorage, DType, Device, Tensor, WithDType};
use half::{bf16, f16};

pub use crate::calls::dataset::Ragged;

/// One field of a sample, such as `xs` or `ys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name; its state path is `step.NAME`.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions of one sample, without the batch's.
    pub shape: Vec<usize>,
    /// Number of classes where the field holds class labels (`u32`, below this number).
    pub classes: Option<u32>,
}

impl Field {
    /// Elements of one sample.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of one sample.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size_in_bytes()
    }
}

/// The field with the class of each sample: the first with one label per sample, or else the first with
/// several. Ids of tokens have classes, too, and come before the target.
pub fn label_field(fields: &[Field]) -> Option<usize> {
    let has_classes = |field: &Field| field.classes.is_some();
    let single = fields.iter().position(|field| has_classes(field) && field.shape.is_empty());
    single.or_else(|| fields.iter().position(has_classes))
}

/// One split of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// `training`, `validation`, `all`, or another name such as `test`.
    pub name: String,
    /// Number of samples.
    pub samples: u64,
}

/// An error of a data set: its own text, with file and line where it knows them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SampleError(pub String);

/// The circumstances in which samples are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occasion {
    /// The run's seed.
    pub seed: u64,
    /// Epoch, counted from 1; 0 outside of an epoch.
    pub epoch: u64,
    /// Whether the samples are read for training.
    pub training: bool,
}

/// Samples that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The circumstances.
    pub occasion: Occasion,
    /// Index of the split.
    pub split: usize,
    /// Indices of the samples within the split.
    pub indices: &'a [u64],
}

/// What a data set says of the samples that it writes.
#[derive(Debug)]
pub struct Remarks<'a> {
    /// One byte per sample, 0 at the call: 1 for a sample that cannot be read.
    pub left_out: &'a mut [u8],
    /// For each sample one number per dimension that [`Samples::ragged`] names, field by field. They are
    /// the maxima at the call.
    pub lengths: &'a mut [u64],
}

/// A data set: samples by index. `fill` is called by several threads at a time, also for parts of
/// one batch; all other methods are called on the training thread.
pub trait Samples: Send + Sync {
    /// The fields of a sample: field 0 is the model's input, field 1 the target.
    fn fields(&self) -> &[Field];

    /// The splits.
    fn splits(&self) -> &[Split];

    /// The fields whose samples differ in size, in their order.
    fn ragged(&self) -> &[Ragged] {
        &[]
    }

    /// Computes what depends on the training samples, such as means. Called before `fill`; a later
    /// call replaces an earlier one.
    ///
    /// # Errors
    /// If the data set cannot use these samples.
    fn prepare(&self, split: usize, indices: &[u64]) -> Result<(), SampleError>;

    /// Writes the requested samples, one after the other, into one buffer per field, and what there is to
    /// say of them into `remarks`. Elements behind the end of a sample need not be written. If all buffers
    /// are empty, the lengths alone are asked for.
    ///
    /// # Errors
    /// If a sample cannot be read.
    fn fill(
        &self,
        request: &Request<'_>,
        buffers: &mut [&mut [u8]],
        remarks: &mut Remarks<'_>,
    ) -> Result<(), SampleError>;

    /// The class labels of samples, read without their other fields: all of field `field`, one sample
    /// after the other. `None` if the data set reads only whole samples.
    fn labels(
        &self,
        split: usize,
        field: usize,
        indices: &[u64],
    ) -> Option<Result<Vec<u32>, SampleError>> {
        let _ = (split, field, indices);
        None
    }

    /// The key of a sample, if it has one: a text that stays the same if other samples are added.
    fn key(&self, split: usize, index: u64) -> Option<String> {
        let _ = (split, index);
        None
    }
}

/// The elements of one field of a batch. Becomes a tensor without a copy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Column {
    U8(Vec<u8>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    BF16(Vec<bf16>),
    F16(Vec<f16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

macro_rules! each {
    ($column:expr, $items:ident => $body:expr) => {
        match $column {
            Column::U8($items) => $body,
            Column::U32($items) => $body,
            Column::I64($items) => $body,
            Column::BF16($items) => $body,
            Column::F16($items) => $body,
            Column::F32($items) => $body,
            Column::F64($items) => $body,
        }
    };
}

fn dtype_of<T: WithDType>(_: &[T]) -> DType {
    T::DTYPE
}

fn zeros<T: Pod>(len: usize) -> Vec<T> {
    vec![T::zeroed(); len]
}

impl Column {
    /// `len` zeros; `None` for an element type that fields cannot have.
    pub(super) fn zeros(dtype: DType, len: usize) -> Option<Column> {
        Some(match dtype {
            DType::U8 => Column::U8(zeros(len)),
            DType::U32 => Column::U32(zeros(len)),
            DType::I64 => Column::I64(zeros(len)),
            DType::BF16 => Column::BF16(zeros(len)),
            DType::F16 => Column::F16(zeros(len)),
            DType::F32 => Column::F32(zeros(len)),
            DType::F64 => Column::F64(zeros(len)),
            _ => return None,
        })
    }

    /// The elements of a tensor's storage; `None` for an element type that fields cannot have.
    pub(super) fn from_storage(storage: CpuStorage) -> Option<Column> {
        Some(match storage {
            CpuStorage::U8(items) => Column::U8(items),
            CpuStorage::U32(items) => Column::U32(items),
            CpuStorage::I64(items) => Column::I64(items),
            CpuStorage::BF16(items) => Column::BF16(items),
            CpuStorage::F16(items) => Column::F16(items),
            CpuStorage::F32(items) => Column::F32(items),
            CpuStorage::F64(items) => Column::F64(items),
            _ => return None,
        })
    }

    pub(super) fn dtype(&self) -> DType {
        each!(self, items => dtype_of(items))
    }

    pub(super) fn capacity(&self) -> usize {
        each!(self, items => items.capacity())
    }

    /// Changes the length; new elements are 0.
    pub(super) fn resize(&mut self, len: usize) {
        each!(self, items => items.resize(len, Default::default()));
    }

    pub(super) fn bytes(&self) -> &[u8] {
        each!(self, items => cast_slice(items))
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        each!(self, items => cast_slice_mut(items))
    }

    /// The elements as class labels, if they are `u32`.
    pub(super) fn labels(&self) -> Option<&[u32]> {
        match self {
            Column::U32(labels) => Some(labels),
            _ => None,
        }
    }

    /// Makes a CPU tensor of the elements.
    pub(super) fn into_tensor(self, shape: Vec<usize>) -> candle_core::Result<Tensor> {
        each!(self, items => Tensor::from_vec(items, shape, &Device::Cpu))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_a_sample_is_its_label_and_not_its_first_token() {
        let field = |shape: &[usize], classes| Field {
            name: String::new(),
            dtype: DType::U32,
            shape: shape.to_vec(),
            classes,
        };
        let (tokens, label) = (field(&[8], Some(100)), field(&[], Some(3)));
        let count = field(&[], None);
        assert_eq!(label_field(&[tokens.clone(), count.clone(), label.clone()]), Some(2));
        assert_eq!(label_field(&[label, tokens.clone()]), Some(0));
        assert_eq!(label_field(&[count.clone(), tokens.clone(), tokens]), Some(1));
        assert_eq!(label_field(&[count]), None);
    }
}
