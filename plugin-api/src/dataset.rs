//! Data sets.

use std::path::PathBuf;

use crate::{
    Component, Error, Result,
    abi::dataset::{BufferRaw, FieldSpec},
    tensor::DType,
    trampoline::memory,
};

/// Samples by index, written into buffers of the host.
///
/// The host shuffles, divides and batches; a data set returns samples by their index. `open` and
/// `prepare` are called on the training thread before the first batch, `fill` on several loader
/// threads at a time, also for parts of one batch, but never while another function of the instance
/// runs. A data set that learns from its samples keeps what it learned with
/// [`learns!`](crate::learns!).
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// /// Points on the line `y = 2 x`.
/// struct Line;
///
/// impl Component for Line {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(Line)
///     }
/// }
///
/// impl Dataset for Line {
///     fn open(&mut self) -> Result<()> {
///         Ok(())
///     }
///
///     fn fields(&self) -> Vec<Field> {
///         vec![Field::new("xs", DType::F32, &[1]), Field::new("ys", DType::F32, &[1])]
///     }
///
///     fn splits(&self) -> Vec<Split> {
///         vec![Split::new("all", 100)]
///     }
///
///     fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
///         for (x, index) in buffers.f32(0)?.iter_mut().zip(indices) {
///             *x = *index as f32;
///         }
///         for (y, index) in buffers.f32(1)?.iter_mut().zip(indices) {
///             *y = 2.0 * *index as f32;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Dataset: Component + Send + Sync {
    /// Opens and checks the files and determines fields and splits. Called once, after the
    /// composition was accepted and before any other function here. `[training thread]`
    ///
    /// # Errors
    /// The run does not start. Name the file, and the line where there is one.
    fn open(&mut self) -> Result<()>;

    /// The fields of a sample: by convention `xs`, then `ys`. `[training thread]`
    fn fields(&self) -> Vec<Field>;

    /// The splits: either `training` and `validation`, or `all`, which the host then divides.
    /// `[training thread]`
    fn splits(&self) -> Vec<Split>;

    /// Receives the indices of the samples of `split` that are used for training, so that statistics
    /// (means, medians, categories) are computed from them alone. Called before the first `fill`; if
    /// called again, the last call counts. `[training thread]`
    ///
    /// # Errors
    /// The run does not start.
    fn prepare(&mut self, split: usize, indices: &[u64]) -> Result<()> {
        let _ = (split, indices);
        Ok(())
    }

    /// Writes the samples of `split` at `indices`, one after the other, into the buffer of each
    /// field. The indices are below the split's number of samples. Every element of every buffer
    /// must be written: a buffer still holds an earlier batch. `[loader threads, several at a time]`
    ///
    /// # Errors
    /// The step that needs the batch ends with the error, which names the split and the samples.
    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()>;

    /// As [`Dataset::fill`], which it calls by default, with more of the circumstances: the epoch, the
    /// fields that are wanted ([`Buffers::wants`]), and a way to leave out samples that cannot be read
    /// ([`FillContext::leave_out`]). Called instead of `fill` if `plugin!` has `context: true`.
    /// `[loader threads, several at a time]`
    ///
    /// # Errors
    /// As [`Dataset::fill`].
    fn fill_with(
        &self,
        context: &mut FillContext<'_>,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        self.fill(context.split, indices, buffers)
    }

    /// The key of a sample, such as the path of its file: a text that stays the same if other samples
    /// are added or the data is stored in another way. Random transforms draw by it. None by default;
    /// draws then depend on the index. Used if `plugin!` has `context: true`.
    /// `[loader threads, several at a time]`
    fn key(&self, split: usize, index: u64) -> Option<String> {
        let _ = (split, index);
        None
    }

    /// Which dimensions of a field differ by sample, such as the number of tokens of a text; none by
    /// default. Called after `open` and `open_inputs`, if `plugin!` has `ragged: true` and
    /// `context: true`. The shape of the field states the maximum along such a dimension, samples lie in
    /// the buffers as if all had it, and `fill_with` states the sizes with
    /// [`FillContext::set_lengths`]. The loader cuts batches to their longest sample.
    /// `[training thread]`
    fn ragged(&self, field: usize) -> Option<Ragged> {
        let _ = field;
        None
    }

    /// What `open` and `prepare` learned from the data: statistics, categories, class order, a
    /// vocabulary. Saved with the run and the model. Called after `prepare`, if `plugin!` has
    /// `learns: true`; normally written by [`learns!`](crate::learns!). `[training thread]`
    ///
    /// # Errors
    /// The run does not start.
    fn learnt(&self) -> Result<Vec<u8>> {
        Err(Error::new("this data set has `learns: true` in `plugin!`, but no function `learnt`"))
    }

    /// Takes what another instance learned, in the format of the component's state version
    /// `version`. Called before `open`, where a model is used again: when a run is resumed, evaluated
    /// or fine-tuned. `open` and `prepare` then learn nothing; they refuse data that does not fit,
    /// such as a class that was not there. `[training thread]`
    ///
    /// # Errors
    /// If the bytes cannot be read.
    fn restore(&mut self, version: u32, bytes: &[u8]) -> Result<()> {
        let _ = (version, bytes);
        Err(Error::new("this data set has `learns: true` in `plugin!`, but no function `restore`"))
    }

    /// Begins to read files to predict from, in this order, in place of those of the configuration.
    /// Called instead of `open` and `prepare`, after `restore`, and again for other files, if
    /// `plugin!` has `predicts: true`. `fields` then returns what it returned in training.
    /// `[training thread]`
    ///
    /// # Errors
    /// Nothing is predicted. Name the file, and what it lacks.
    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        let _ = files;
        Err(Error::new(
            "this data set has `predicts: true` in `plugin!`, but no function `open_inputs`",
        ))
    }

    /// Reads the next samples of the files, at most `most`, and returns their number; 0 at the end.
    /// `fill` then writes these samples, as split 0 with indices from 0. Targets that the files do
    /// not have are 0. `[training thread]`
    ///
    /// # Errors
    /// Nothing more is predicted. Name the file and the line.
    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        let _ = most;
        Err(Error::new(
            "this data set has `predicts: true` in `plugin!`, but no function `read_inputs`",
        ))
    }

    /// What identifies sample `index` of the last `read_inputs` to the user: its line, its file.
    /// `[training thread]`
    fn input_key(&self, index: usize) -> String {
        index.to_string()
    }

    /// The ids of a text, without special tokens around it. Called after `restore`, also without
    /// `open`, if `plugin!` has `texts: true`. `[training thread]`
    ///
    /// # Errors
    /// A text that has no ids, such as a character outside the vocabulary.
    fn encode(&mut self, text: &str) -> Result<Vec<u32>> {
        let _ = text;
        Err(Error::new("this data set has `texts: true` in `plugin!`, but no function `encode`"))
    }

    /// The text of ids, without special tokens; U+FFFD where the ids end within a character. Called as
    /// [`Dataset::encode`]. `[training thread]`
    ///
    /// # Errors
    /// An id outside the vocabulary.
    fn decode(&mut self, ids: &[u32]) -> Result<String> {
        let _ = ids;
        Err(Error::new("this data set has `texts: true` in `plugin!`, but no function `decode`"))
    }

    /// Id of the token that ends a text, if there is one. Called as [`Dataset::encode`].
    /// `[training thread]`
    ///
    /// # Errors
    /// The ids are not known.
    fn end_token(&mut self) -> Result<Option<u32>> {
        Ok(None)
    }

    /// How raw values become the field of inputs, for exported models that do it themselves; none, the default, if
    /// [`ValueStep`](crate::steps::ValueStep)s cannot say it. `size` is the size of raw samples that the user names, such as height
    /// and width of images; empty for the data set's own. Called after `restore`. `[training thread]`
    ///
    /// # Errors
    /// A size that does not fit, or a setting that no step can express; name it.
    fn steps(&self, size: &[usize]) -> Result<Option<crate::steps::DatasetSteps>> {
        let _ = size;
        Ok(None)
    }

    /// Name of a class of a field, if it has one: the word that labels it in the training data.
    /// Called after `open` or `open_inputs`, if `plugin!` has `predicts: true`. `[training thread]`
    fn class_name(&self, field: usize, class: usize) -> Option<String> {
        let _ = (field, class);
        None
    }
}

/// Keeps what a data set learns from its training samples: a line in its `impl Dataset` that expands
/// to [`Dataset::learnt`] and [`Dataset::restore`].
///
/// `learns!(statistics);` names a field that holds an `Option`: `open` or `prepare` fills it if it
/// is none, and uses it as it is otherwise. `plugin!` needs the line `learns: true`.
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// struct Centred {
///     values: Vec<f32>,
///     /// Mean of the training samples.
///     mean: Option<f32>,
/// }
///
/// # impl Component for Centred {
/// #     type Config = NoConfig;
/// #     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
/// #         Ok(Centred { values: vec![1.0, 2.0, 6.0], mean: None })
/// #     }
/// # }
/// impl Dataset for Centred {
///     learns!(mean);
///
///     fn prepare(&mut self, _: usize, indices: &[u64]) -> Result<()> {
///         if self.mean.is_none() {
///             let sum: f32 = indices.iter().map(|index| self.values[*index as usize]).sum();
///             self.mean = Some(sum / indices.len() as f32);
///         }
///         Ok(())
///     }
/// #     fn open(&mut self) -> Result<()> { Ok(()) }
/// #     fn fields(&self) -> Vec<Field> { vec![Field::new("xs", DType::F32, &[])] }
/// #     fn splits(&self) -> Vec<Split> { vec![Split::new("all", self.values.len())] }
///
///     fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
///         let mean = self.mean.unwrap_or(0.0);
///         for (x, index) in buffers.f32(0)?.iter_mut().zip(indices) {
///             *x = self.values[*index as usize] - mean;
///         }
///         Ok(())
///     }
/// }
///
/// plugin! {
///     summary: "Numbers around 0.",
///     dataset "centred" => Centred { summary: "Numbers minus their mean.", learns: true },
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! learns {
    ($field:ident) => {
        fn learnt(&self) -> $crate::Result<::std::vec::Vec<u8>> {
            $crate::to_bytes(&self.$field)
        }

        fn restore(&mut self, _version: u32, bytes: &[u8]) -> $crate::Result<()> {
            self.$field = $crate::from_bytes(bytes)?;
            ::core::result::Result::Ok(())
        }
    };
}

/// One field of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// `xs`, `ys`, or another name; its state path is `step.NAME`.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions of one sample, without the batch's; empty for a scalar.
    pub shape: Vec<usize>,
    /// Number of classes if the field holds class labels (`u32`, below this number).
    pub classes: Option<usize>,
}

impl Field {
    /// A field of numbers, with the shape of one sample: `&[]` for a scalar.
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

    /// Number of elements of one sample.
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

/// The dimensions of a field along which samples differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Ragged {
    /// The dimensions of one sample, counted from 0, ascending.
    pub dimensions: Vec<usize>,
    /// What is written behind the end of a shorter sample. For class labels it is a class.
    pub padding: f64,
}

impl Ragged {
    /// Samples that differ along their first dimension.
    pub fn first(padding: f64) -> Ragged {
        Ragged { dimensions: vec![0], padding }
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
    /// A split called `training`, `validation` or `all`.
    pub fn new(name: &str, samples: usize) -> Split {
        Split { name: name.to_owned(), samples }
    }
}

/// The fields of the run's data, which a model is built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSpec {
    /// Fields of a batch; shapes are per sample.
    pub fields: Vec<Field>,
}

impl DataSpec {
    /// The field of inputs: `xs`, or the first.
    ///
    /// # Errors
    /// If the data set has no fields.
    pub fn xs(&self) -> Result<&Field> {
        self.named("xs", 0)
    }

    /// The field of targets: `ys`, or the second.
    ///
    /// # Errors
    /// If the data set has one field only.
    pub fn ys(&self) -> Result<&Field> {
        self.named("ys", 1)
    }

    /// Number of values per sample that a model has to predict: the classes of the targets, or their
    /// elements.
    ///
    /// # Errors
    /// As [`DataSpec::ys`].
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

/// The circumstances in which samples are read, for [`Dataset::fill_with`].
#[derive(Debug)]
pub struct FillContext<'a> {
    /// The run's seed.
    pub seed: u64,
    /// Epoch, counted from 1; 0 outside of an epoch.
    pub epoch: u64,
    /// Whether the samples are read for training.
    pub training: bool,
    /// Index of the split.
    pub split: usize,
    pub(crate) left_out: &'a mut [u8],
    /// Number of dimensions that differ, by field; empty if no lengths are asked for.
    pub(crate) differing: &'a [usize],
    pub(crate) lengths: &'a mut [u64],
}

impl FillContext<'_> {
    /// Leaves the sample at `place` of the requested ones out of its batch, which then has one sample
    /// fewer. For samples that cannot be read: whether a sample is left out must depend on nothing
    /// but the data and the configuration. The sample's part of the buffers need not be written.
    pub fn leave_out(&mut self, place: usize) {
        if let Some(mark) = self.left_out.get_mut(place) {
            *mark = 1;
        }
    }

    /// Whether the host asks for the lengths of the samples. If it wants no field at all
    /// ([`Buffers::wants`]), the lengths are all that it asks for.
    pub fn wants_lengths(&self) -> bool {
        !self.lengths.is_empty()
    }

    /// States how long the sample at `place` of the requested ones is along each dimension of `field`
    /// that [`Dataset::ragged`] names. Elements behind that need not be written. Without a call, the
    /// sample has the maximum.
    ///
    /// # Errors
    /// The field has not as many such dimensions.
    pub fn set_lengths(&mut self, place: usize, field: usize, lengths: &[usize]) -> Result<()> {
        let all: usize = self.differing.iter().sum();
        if all == 0 {
            return Ok(());
        }
        let count = self.differing.get(field).copied().unwrap_or(0);
        let start = place * all + self.differing.iter().take(field).sum::<usize>();
        let places = self.lengths.get_mut(start..start + count);
        let Some(places) = places.filter(|_| count == lengths.len()) else {
            return Err(Error::new(format!(
                "field {field} of sample {place} has {count} dimensions that differ, not {}",
                lengths.len()
            )));
        };
        for (place, length) in places.iter_mut().zip(lengths) {
            *place = *length as u64;
        }
        Ok(())
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
        #[doc = concat!("The `", stringify!($type), "` elements of field `index`, `[samples, ...]` in row-major order.")]
        ///
        /// # Errors
        /// If there is no such field, or it has another element type.
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

    /// Whether the host wants field `index`. A buffer of an unwanted field is empty. Only a data set
    /// with `context: true` in `plugin!` is asked for single fields.
    pub fn wants(&self, index: usize) -> bool {
        self.buffers.get(index).is_some_and(|buffer| !buffer.ptr.is_null())
    }

    /// Number of samples to write.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The bytes of field `index`, whatever its element type, for a data set that copies whole samples.
    ///
    /// # Errors
    /// If there is no such field.
    pub fn bytes(&mut self, index: usize) -> Result<&mut [u8]> {
        let Some(raw) = self.buffers.get(index) else {
            return Err(Error::new(format!(
                "the data set has {} fields, there is no field {index}",
                self.fields.len()
            )));
        };
        let count = if raw.ptr.is_null() { 0 } else { raw.len };
        Ok(memory::buffer_elements(self, raw, count))
    }

    buffers! { u8: u8 = U8, u32: u32 = U32, i64: i64 = I64, f32: f32 = F32, f64: f64 = F64 }

    fn elements<T: memory::Number>(&mut self, index: usize, dtype: DType) -> Result<&mut [T]> {
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
        let raw = &self.buffers[index];
        let count = if raw.ptr.is_null() { 0 } else { self.samples * field.elements() };
        if raw.len != count * size_of::<T>() || !raw.ptr.cast::<T>().is_aligned() {
            return Err(Error::new(format!(
                "the host's buffer for field `{}` has {} bytes, {count} elements are due",
                field.name, raw.len
            )));
        }
        Ok(memory::buffer_elements(self, raw, count))
    }
}
