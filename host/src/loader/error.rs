//! Errors between a data set and its batches.

use super::SampleError;

/// A loader that cannot be opened, or a batch that cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LoaderError {
    /// The data set has no fields.
    #[error("the data set has no fields: it must have at least `xs`")]
    NoFields,
    /// More fields than a batch can have.
    #[error("the data set has {found} fields, a batch has at most {most}")]
    TooManyFields {
        /// Fields of the data set.
        found: usize,
        /// Most fields of a batch.
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
        "a batch of {samples} samples of field `{field}` (shape {shape:?}) is larger than the address space"
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
    /// An unknown split.
    #[error("the data set has no split `{wanted}` (it has {}){}", list(.found), split_help(.wanted, .found))]
    NoSplit {
        /// The split asked for.
        wanted: String,
        /// The splits of the data set.
        found: Vec<String>,
    },
    /// Chains of transforms that end differently.
    #[error(
        "the transforms of training turn field `{field}` into {} of shape {:?}, those of evaluation into {} of shape {:?}: \
         a model takes one shape, so let both end alike, with `when = \"evaluation\"` for transforms of evaluation alone",
        .training.0, .training.1, .evaluation.0, .evaluation.1
    )]
    Chains {
        /// The field.
        field: String,
        /// Element type and shape after the transforms of training.
        training: (&'static str, Vec<usize>),
        /// Element type and shape after those of evaluation.
        evaluation: (&'static str, Vec<usize>),
    },
    /// Samples that differ in size, and settings or transforms that do not go with them.
    #[error("`[loader] ragged`: {0}")]
    Ragged(String),
    /// A sample that is longer than its field says.
    #[error(
        "{at}: the data set states {length} elements of field `{field}`, whose maximum is {most}"
    )]
    Length {
        /// Split and sample.
        at: SampleRange,
        /// The field.
        field: String,
        /// The length that was stated.
        length: u64,
        /// The most that the shape of the field allows.
        most: usize,
    },
    /// A sampler that failed.
    #[error("the sampler `{id}`: {text}")]
    Sampler {
        /// Id of its instance.
        id: String,
        /// Its text.
        text: String,
    },
    /// A split without samples.
    #[error("split `{0}` of the data set has no samples")]
    EmptySplit(String),
    /// A division that leaves a side empty.
    #[error(
        "`validation = {fraction}` of {samples} samples leaves {training} for training and {validation} for validation: \
         both need at least one"
    )]
    EmptyDivision {
        /// The fraction.
        fraction: f64,
        /// Samples to divide.
        samples: u64,
        /// Samples that would be left for training.
        training: u64,
        /// Samples that would be left for validation.
        validation: u64,
    },
    /// Folds or groups for data that is already divided.
    #[error(
        "`[loader] folds` and `groups` divide the samples of a split `all`, but the data set has the splits {}: use a data set \
         without splits of its own, such as one file",
        list(.0)
    )]
    Undivided(Vec<String>),
    /// A fold that does not exist.
    #[error(
        "there is no fold {fold} of {folds} of {samples} samples: `[loader] folds` is from 2 to the number of samples, and `fold` from 1 \
         to `folds`; `--fold 1/5` sets both"
    )]
    Fold {
        /// The fold.
        fold: usize,
        /// Number of folds.
        folds: usize,
        /// Samples to divide.
        samples: u64,
    },
    /// A split without samples after division by groups or folds.
    #[error(
        "no sample of {samples} would be left for {part}: there are too few groups for the folds, or for `[loader] validation`"
    )]
    EmptyPart {
        /// The split.
        part: &'static str,
        /// Samples to divide.
        samples: u64,
    },
    /// A file with a line per sample that cannot be used.
    #[error(
        "`[loader] {setting}`: {path} {reason}; it needs a line for each sample, in the order of the data"
    )]
    PerSample {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights that samples cannot be drawn by.
    #[error("`[loader] sampling`: {0}")]
    Sampling(String),
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
    #[error("{at}: label {label} in field `{field}` is out of range: the data set states {classes} classes (0 to {})", .classes.saturating_sub(1))]
    Label {
        /// Split and sample.
        at: SampleRange,
        /// The field.
        field: String,
        /// The label found.
        label: u32,
        /// Classes that the data set stated.
        classes: u32,
    },
    /// A data set that reported success without writing everything.
    #[error("{at}: the data set reported success but did not write field `{field}` to its end")]
    Unfilled {
        /// Split and sample.
        at: SampleRange,
        /// The field.
        field: String,
    },
    /// A data set that wrote beyond the end of a buffer.
    #[error("{at}: the data set wrote beyond the end of the buffer of field `{field}`")]
    Overrun {
        /// Split and samples.
        at: SampleRange,
        /// The field.
        field: String,
    },
    /// The data set's own error.
    #[error("{at}: {error}")]
    Samples {
        /// Split and first sample of the request.
        at: SampleRange,
        /// Its error text.
        error: SampleError,
    },
    /// The data set could not prepare itself for the training samples.
    #[error("preparing the data set on split `{split}`: {error}")]
    Prepare {
        /// The split.
        split: String,
        /// Its error text.
        error: SampleError,
    },
    /// The data set panicked.
    #[error("{at}: the data set panicked: {message}")]
    Panic {
        /// Split and first sample of the request.
        at: SampleRange,
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
    /// The samples' order differs from the saved one.
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

/// The samples that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleRange {
    /// The data set's split.
    pub split: String,
    /// Index of the sample in it, or of the first of several.
    pub sample: u64,
    /// Number of samples in the request; 1 if the sample itself is known.
    pub count: usize,
}

impl std::fmt::Display for SampleRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let SampleRange { split, sample, count } = self;
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

fn split_help(wanted: &str, found: &[String]) -> String {
    if wanted == "validation" && found.iter().any(|name| name == "training") {
        return ": where the data set offers `all`, set `[loader] validation` above 0; else remove the phases that read it".to_owned();
    }
    let nearest = found.iter().map(|name| (strsim::damerau_levenshtein(wanted, name), name)).min();
    nearest
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| format!(": did you mean `{name}`?"))
        .unwrap_or_default()
}

/// The message of a panic. The payload is leaked, since dropping it may panic again.
pub(super) fn panic_message(payload: Box<dyn std::any::Any + Send>) -> String {
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned());
    std::mem::forget(payload);
    message
}
