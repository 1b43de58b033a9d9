//! What can go wrong between a data set and its batches.

use super::SampleError;

/// A loader that cannot be opened, or a batch that cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LoaderError {
    /// The data set has no fields.
    #[error("the data set has no fields: it must have at least `xs`")]
    NoFields,
    /// More fields than a batch has room for.
    #[error("the data set has {found} fields, a batch has room for {most}")]
    TooManyFields {
        /// Fields of the data set.
        found: usize,
        /// Room in a batch.
        most: usize,
    },
    /// Two fields of one name.
    #[error("the data set has two fields called `{0}`")]
    TwoFields(String),
    /// An element type that batches cannot have.
    #[error("field `{field}` has element type {dtype}: use u8, u32, i64, bf16, f16, f32 or f64")]
    ElementType {
        /// The field.
        field: String,
        /// Its type.
        dtype: &'static str,
    },
    /// A field whose samples are too large to be addressed.
    #[error(
        "a batch of {samples} samples of field `{field}` (shape {shape:?}) is larger than the memory can address"
    )]
    TooLarge {
        /// The field.
        field: String,
        /// Its shape per sample.
        shape: Vec<usize>,
        /// Samples of a batch.
        samples: usize,
    },
    /// Class labels that are not `u32`.
    #[error("field `{field}` holds class labels, but of type {dtype}: class labels are u32")]
    LabelType {
        /// The field.
        field: String,
        /// Its type.
        dtype: &'static str,
    },
    /// Two splits of one name.
    #[error("the data set has two splits called `{0}`")]
    TwoSplits(String),
    /// `all` beside `training` or `validation`.
    #[error(
        "the data set offers `all` beside `{0}`: it must offer either `all`, which is then divided, or its own division"
    )]
    AmbiguousSplits(String),
    /// Neither `training` nor `all`.
    #[error("the data set has no samples for training: it offers {}, and needs `training` or `all`", list(.0))]
    NoTraining(Vec<String>),
    /// A split that is not there.
    #[error("the data set has no split `{wanted}` (it has {}){}", list(.found), mend_split(.wanted, .found))]
    NoSplit {
        /// The split asked for.
        wanted: String,
        /// The splits there are.
        found: Vec<String>,
    },
    /// A split without samples.
    #[error("split `{0}` of the data set has no samples")]
    EmptySplit(String),
    /// A division that leaves one side empty.
    #[error(
        "`validation = {fraction}` of {samples} samples leaves {training} for training and {validation} for validation: \
         both need at least one"
    )]
    EmptyDivision {
        /// The fraction asked for.
        fraction: f64,
        /// Samples to divide.
        samples: u64,
        /// Samples that would be left for training.
        training: u64,
        /// Samples that would be left for validation.
        validation: u64,
    },
    /// A fraction outside of 0 to 1.
    #[error(
        "`[loader] validation` is {0}: it is the part of the samples kept for validation, at least 0 and below 1"
    )]
    Fraction(f64),
    /// Batches of no samples.
    #[error("`[loader] batch-size` is 0: it must be at least 1")]
    BatchSize,
    /// `drop-last` with a split that is smaller than one batch.
    #[error(
        "split `{split}` has {samples} samples, fewer than one batch of {batch_size}, and `drop-last` drops the only batch: \
         set `[loader] batch-size` to at most {samples}, or `drop-last = false`"
    )]
    NoBatch {
        /// The split.
        split: String,
        /// Its samples.
        samples: usize,
        /// Samples of a batch.
        batch_size: usize,
    },
    /// A class label out of range.
    #[error("{place}: label {label} in field `{field}` is out of range: the data set says that it has {classes} classes (0 to {})", .classes.saturating_sub(1))]
    Label {
        /// Split and sample.
        place: Place,
        /// The field.
        field: String,
        /// The label found.
        label: u32,
        /// Classes that the data set stated.
        classes: u32,
    },
    /// A data set that reported success without writing everything.
    #[error("{place}: the data set reported success but did not write field `{field}` to its end")]
    Unfilled {
        /// Split and sample.
        place: Place,
        /// The field.
        field: String,
    },
    /// The data set's own error.
    #[error("{place}: {error}")]
    Samples {
        /// Split and first sample of what was asked.
        place: Place,
        /// Its text.
        error: SampleError,
    },
    /// The data set could not prepare itself for the training samples.
    #[error("preparing the data set on split `{split}`: {error}")]
    Prepare {
        /// The split.
        split: String,
        /// Its text.
        error: SampleError,
    },
    /// The data set panicked.
    #[error("{place}: the data set panicked: {message}")]
    Panic {
        /// Split and first sample of what was asked.
        place: Place,
        /// The panic's message.
        message: String,
    },
    /// A batch's tensor could not be made.
    #[error("field `{field}`: {message}")]
    Tensor {
        /// The field.
        field: String,
        /// Candle's text.
        message: String,
    },
    /// A position beyond the epoch's end.
    #[error("position {position} is beyond the {batches} batches of an epoch of split `{split}`")]
    Position {
        /// The split.
        split: String,
        /// The position asked for.
        position: usize,
        /// Batches of an epoch.
        batches: usize,
    },
    /// The samples' order differs from the one that a position was saved with.
    #[error(
        "the order of split `{split}` in epoch {epoch} is not the one that was saved (fingerprint {saved:016x}, now {now:016x}): \
         seed, batch size, division or the data itself has changed"
    )]
    Order {
        /// The split.
        split: String,
        /// The epoch.
        epoch: u64,
        /// Fingerprint saved.
        saved: u64,
        /// Fingerprint now.
        now: u64,
    },
}

/// Where in a data set something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The data set's split.
    pub split: String,
    /// Index of the sample in it, or of the first of several.
    pub sample: u64,
    /// Samples that were asked for together; 1 where the sample itself is known.
    pub count: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { split, sample, count } = self;
        match count {
            0 | 1 => write!(f, "split `{split}`, sample {sample}"),
            _ => write!(f, "split `{split}`, {count} samples from {sample} on"),
        }
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        _ => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

fn mend_split(wanted: &str, found: &[String]) -> String {
    if wanted == "validation" && found.iter().any(|name| name == "training") {
        return ": where the data set offers `all`, set `[loader] validation` above 0; else remove the phases that read it".to_owned();
    }
    let nearest = found.iter().map(|name| (strsim::damerau_levenshtein(wanted, name), name)).min();
    nearest
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| format!(": did you mean `{name}`?"))
        .unwrap_or_default()
}
