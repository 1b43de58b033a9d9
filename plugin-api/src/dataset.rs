//! Data sets.

use crate::{
    Component, Error, Result,
    abi::dataset::{BufferRaw, FieldSpec},
    tensor::DType,
};

/// Samples by index, written into the host's buffers.
///
/// `open` and `prepare` run on the training thread before the first batch; `fill` runs on several
/// threads at a time, also for parts of one batch. Shuffling, splitting and batching are the
/// host's.
pub trait Dataset: Component + Send + Sync {
    /// Opens files, checks them and learns shapes; called once.
    fn open(&mut self) -> Result<()>;

    /// The fields of a sample: by custom `xs` first and `ys` second.
    fn fields(&self) -> Vec<Field>;

    /// The parts: either `training` and `validation`, or `all`, which the host then divides.
    fn splits(&self) -> Vec<Split>;

    /// Tells which samples of `split` are for training, so that statistics (means, medians) come
    /// from them alone.
    fn prepare(&mut self, split: usize, indices: &[u64]) -> Result<()> {
        let _ = (split, indices);
        Ok(())
    }

    /// Writes the samples of `split` at `indices`, one after the other, into each field's buffer.
    /// The indices are below the split's number of samples. All of each buffer has to be written:
    /// it holds what an earlier batch left there.
    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()>;
}

/// One field of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// `xs`, `ys`, or a name of its own.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions of one sample, without the batch's; empty for a scalar.
    pub shape: Vec<usize>,
    /// Number of classes where the field holds class labels (`u32`, below this number).
    pub classes: Option<usize>,
}

impl Field {
    /// A field of numbers.
    pub fn new(name: &str, dtype: DType, shape: &[usize]) -> Field {
        Field { name: name.to_owned(), dtype, shape: shape.to_vec(), classes: None }
    }

    /// A field of class labels: one `u32` below `classes` per sample.
    pub fn labels(name: &str, classes: usize) -> Field {
        Field {
            name: name.to_owned(),
            dtype: DType::U32,
            shape: Vec::new(),
            classes: Some(classes),
        }
    }

    /// Elements of one sample.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn from_parts(raw: &FieldSpec, name: &str, shape: &[u64]) -> Field {
        Field {
            name: name.to_owned(),
            dtype: DType::from_number(raw.dtype).unwrap_or(DType::F32),
            shape: shape.iter().map(|size| *size as usize).collect(),
            classes: (raw.classes > 0).then_some(raw.classes as usize),
        }
    }
}

/// One part of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// `training`, `validation` or `all`.
    pub name: String,
    /// Number of samples.
    pub samples: usize,
}

impl Split {
    /// A split.
    pub fn new(name: &str, samples: usize) -> Split {
        Split { name: name.to_owned(), samples }
    }
}

/// The fields of the run's data: what a model has to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSpec {
    /// Fields of a batch; shapes are per sample.
    pub fields: Vec<Field>,
}

impl DataSpec {
    /// The field of inputs: `xs`, or the first.
    pub fn xs(&self) -> Result<&Field> {
        self.named("xs", 0)
    }

    /// The field of targets: `ys`, or the second.
    pub fn ys(&self) -> Result<&Field> {
        self.named("ys", 1)
    }

    /// Values per sample that the model has to predict: the classes of the targets, or their
    /// elements.
    pub fn outputs(&self) -> Result<usize> {
        let ys = self.ys()?;
        Ok(ys.classes.unwrap_or_else(|| ys.elements()))
    }

    fn named(&self, name: &str, position: usize) -> Result<&Field> {
        self.fields
            .iter()
            .find(|field| field.name == name)
            .or_else(|| self.fields.get(position))
            .ok_or_else(|| Error::new(format!("the data set has no field `{name}`")))
    }
}

/// The host's buffers for one batch, one per field.
#[derive(Debug)]
pub struct Buffers<'a> {
    buffers: &'a [BufferRaw],
    fields: &'a [(Field, Vec<u64>)],
    samples: usize,
}

macro_rules! buffers {
    ($($name:ident: $type:ty = $dtype:ident),+ $(,)?) => { $(
        #[doc = concat!("The `", stringify!($type), "` elements of field `index`: samples one after the other.")]
        pub fn $name(&mut self, index: usize) -> Result<&mut [$type]> {
            self.elements(index, DType::$dtype)
        }
    )+ };
}

impl<'a> Buffers<'a> {
    pub(crate) fn from_parts(
        fields: &'a [(Field, Vec<u64>)],
        buffers: &'a [BufferRaw],
        samples: usize,
    ) -> Result<Buffers<'a>> {
        if fields.len() != buffers.len() {
            return Err(Error::new(format!(
                "the data set has {} fields, the host brought {} buffers",
                fields.len(),
                buffers.len()
            )));
        }
        Ok(Buffers { buffers, fields, samples })
    }

    /// Number of samples to write.
    pub fn samples(&self) -> usize {
        self.samples
    }

    buffers! { u8: u8 = U8, u32: u32 = U32, i64: i64 = I64, f32: f32 = F32, f64: f64 = F64 }

    fn elements<T>(&mut self, index: usize, dtype: DType) -> Result<&mut [T]> {
        let Some((field, _)) = self.fields.get(index) else {
            return Err(Error::new(format!(
                "the data set has {} fields, there is no field {index}",
                self.fields.len()
            )));
        };
        if field.dtype != dtype {
            return Err(Error::new(format!(
                "field `{}` holds {}, not {dtype}",
                field.name, field.dtype
            )));
        }
        let count = self.samples * field.elements();
        let raw = &self.buffers[index];
        if raw.len != count * size_of::<T>() || !raw.ptr.cast::<T>().is_aligned() {
            return Err(Error::new(format!(
                "the host's buffer for field `{}` has {} bytes, {count} elements are due",
                field.name, raw.len
            )));
        }
        Ok(crate::trampoline::dataset::elements(self, raw, count))
    }
}
