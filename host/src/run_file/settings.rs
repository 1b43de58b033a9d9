//! The sections of the host, such as `[run]`, `[loader]` and `[checkpoints]`: schemas and types.
//!
//! The schemas state types, ranges, defaults and meanings. The typed form is read from a checked
//! value; the exported schema and the help pages show the same texts.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// `[run]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunSettings {
    /// Name of the run; the run file's name unless given.
    pub name: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Epochs of the fit.
    pub epochs: u64,
    /// Threads for tensor work; 0 means as many as there are processors.
    pub threads: usize,
    /// Where tensors live.
    pub device: Device,
    /// What operands of products are rounded to.
    #[serde(default)]
    pub precision: Precision,
    /// Seconds after which a plugin call that has not returned is reported; 0 for never.
    pub handler_warning: f64,
    /// Seconds after which a plugin call that has not returned ends the run; 0 for never.
    pub handler_limit: f64,
    /// Whether the default callbacks are added unless listed.
    pub default_callbacks: bool,
    /// Folder where relative paths start, absolute; the folder of the first run file unless given.
    pub base_dir: String,
    /// Seconds after which the fit stops; 0 for no limit.
    pub max_time: f64,
    /// How often validation phases run within an epoch of a training phase: a number of steps from
    /// 1, or a share of the epoch below 1; 0 for only where they are listed.
    #[serde(default)]
    pub validate_every: f64,
    /// Whether the report is written into the run's folder when the run ends.
    #[serde(default)]
    pub report: bool,
    /// Most bytes of tensors; blocks of the models are computed again in backward passes to stay
    /// below.
    #[serde(default)]
    pub memory: MemoryLimit,
    /// Number of blocks that forward and backward passes are divided into, a power of two; 0 for one
    /// block per process.
    #[serde(default)]
    pub gradient_blocks: usize,
    /// Seconds that a process of a run on several waits for the others.
    #[serde(default = "rank_timeout")]
    pub rank_timeout: f64,
    /// Whether each process of several keeps the optimizer state of a part of the parameters.
    #[serde(default)]
    pub shard_optimizer: bool,
    /// Whether batch normalisation uses the statistics of the samples of all processes.
    #[serde(default)]
    pub sync_batch_norm: bool,
}

/// Default of `run.rank-timeout`.
fn rank_timeout() -> f64 {
    60.0
}

/// Most bytes of tensors, as text such as `2GiB`; empty for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemoryLimit(pub Option<u64>);

/// Units of bytes, larger ones first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

impl TryFrom<String> for MemoryLimit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(MemoryLimit(None));
        }
        let bytes = UNITS.iter().find_map(|(unit, size)| {
            let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            let bytes = number * *size as f64;
            (bytes >= 1.0 && bytes < (1_u64 << 53) as f64).then_some(bytes as u64)
        });
        bytes
            .map(|bytes| MemoryLimit(Some(bytes)))
            .ok_or_else(|| format!("`{text}` is no amount of memory: a number with a unit"))
    }
}

impl From<MemoryLimit> for String {
    fn from(limit: MemoryLimit) -> String {
        let Some(bytes) = limit.0 else { return String::new() };
        let whole = UNITS.iter().find(|(_, size)| bytes.is_multiple_of(*size));
        whole.map_or_else(String::new, |(unit, size)| format!("{}{unit}", bytes / size))
    }
}

/// Where tensors live, as text `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The CPU.
    Cpu,
    /// The GPU with this number.
    Cuda(usize),
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda(0)),
            other => {
                let number =
                    other.strip_prefix("cuda:").filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
                let number = number.and_then(|n| n.parse().ok());
                number
                    .map(Device::Cuda)
                    .ok_or_else(|| format!("`{other}` is no device: `cpu`, `cuda` or `cuda:N`"))
            }
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> String {
        match device {
            Device::Cpu => "cpu".to_owned(),
            Device::Cuda(number) => format!("cuda:{number}"),
        }
    }
}

/// What the operands of matrix products, convolutions and attention are rounded to, as text `f32` or
/// `bf16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Precision {
    /// They are not rounded.
    #[default]
    F32,
    /// To bf16.
    Bf16,
}

impl TryFrom<String> for Precision {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            "f16" => {
                Err("the precision `f16` cannot be used: its numbers end at 65504 and at 6e-8, so \
                          gradients must be scaled, and no processor that this host is built for \
                          multiplies it faster"
                    .to_owned())
            }
            other => Err(format!("`{other}` is no precision: `f32` or `bf16`")),
        }
    }
}

impl From<Precision> for String {
    fn from(precision: Precision) -> String {
        match precision {
            Precision::F32 => "f32".to_owned(),
            Precision::Bf16 => "bf16".to_owned(),
        }
    }
}

/// `[plugins]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PluginSettings {
    /// Plugin directories of the project, absolute; the first one wins.
    pub dirs: Vec<String>,
    /// Names of plugins that are not used.
    pub disable: Vec<String>,
}

/// `[loader]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LoaderSettings {
    /// Samples in a batch.
    pub batch_size: usize,
    /// Whether training samples are read in a new order each epoch.
    pub shuffle: bool,
    /// Whether the training phase leaves out a last batch with fewer samples.
    pub drop_last: bool,
    /// Share of the samples that is held out for validation if the data has no validation split.
    pub validation: f64,
    /// Batches prepared ahead; 0 prepares each when it is needed.
    pub prefetch: usize,
    /// Threads that prepare batches ahead; 0 for a number by the processors.
    #[serde(default)]
    pub threads: usize,
    /// Most batches that an epoch of any phase reads; 0 reads all.
    pub limit_batches: usize,
    /// Number of training batches that all phases read in every epoch, unshuffled; 0 for the whole
    /// data.
    pub overfit_batches: usize,
    /// Whether every class keeps its share in each split or fold.
    #[serde(default = "yes")]
    pub stratify: bool,
    /// What tells which samples belong together and are never divided: a field of whole numbers, or
    /// a file with a line per sample; empty for nothing.
    #[serde(default)]
    pub groups: String,
    /// Number of folds of a cross-validation; 0 for none.
    #[serde(default)]
    pub folds: usize,
    /// The fold that is the validation data, from 1; 0 without folds.
    #[serde(default)]
    pub fold: usize,
    /// Which training samples an epoch reads.
    #[serde(default)]
    pub sampling: Sampling,
    /// Weight of each class for `sampling = "weighted"`.
    #[serde(default)]
    pub class_weights: Vec<f64>,
    /// File with the weight of each sample for `sampling = "weighted"`, a line each; empty for none.
    #[serde(default)]
    pub sample_weights: String,
    /// What is done with samples that differ in size.
    #[serde(default)]
    pub ragged: RaggedRule,
    /// Batches are as long as their longest sample, rounded up to a multiple of this.
    #[serde(default = "one")]
    pub pad_multiple: usize,
    /// Length of the rows of `ragged = "pack"`; 0 for the longest that a sample can be.
    #[serde(default)]
    pub pack_length: usize,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

/// Which training samples an epoch reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Each once.
    #[default]
    Once,
    /// As many as there are, drawn with replacement so that all classes are equally likely.
    Balanced,
    /// As many as there are, drawn with replacement by weight.
    Weighted,
}

/// What the loader does with samples that differ in size, such as texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RaggedRule {
    /// A batch is as long as its longest sample.
    #[default]
    Pad,
    /// As `pad`, and training batches hold samples of similar lengths.
    Bucket,
    /// Several samples share a row.
    Pack,
}

/// `[checkpoints]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckpointSettings {
    /// Epochs between two checkpoints; 0 for none after epochs.
    pub every_epochs: u64,
    /// Steps of all phases between two checkpoints; 0 for none between steps.
    pub every_steps: u64,
    /// Minutes between two checkpoints; 0 for none by the clock.
    pub every_minutes: f64,
    /// Whether one is written when the run ends.
    pub at_end: bool,
    /// Whether one is written when a signal ends the run.
    pub on_signal: bool,
    /// Number of newest checkpoints that are kept; 0 keeps all.
    pub keep_last: usize,
    /// Number of best checkpoints that are kept in addition.
    pub keep_best: usize,
    /// Epoch metric that ranks the checkpoints, as `PHASE/NAME`.
    pub metric: String,
    /// Which of its values are better: `lower`, `higher`, or `auto` for the declared one.
    pub better: String,
    /// Whether the final model is that of the best checkpoint; keeps at least one best.
    pub restore_best: bool,
    /// Most MiB of state that one instance may save; 0 for no limit.
    #[serde(default = "default_instance_state")]
    pub instance_state: u64,
}

/// For runs that were resolved before the setting existed.
fn default_instance_state() -> u64 {
    256
}

/// `[fine-tuning]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FineTuningSettings {
    /// Safetensors file with initial parameters; empty for none.
    pub from: String,
    /// Renames, `OLD=NEW` each: the prefix OLD of a name in the file becomes NEW. The first match
    /// wins.
    pub map: Vec<String>,
    /// Whether parameters that are missing in the file, or have another shape there, are an error.
    pub strict: bool,
    /// Frozen parameters: patterns over `MODEL.PATH`, in which `*` matches any text.
    pub freeze: Vec<String>,
    /// Whether the data set learns from the present data, instead of using what that of the file's
    /// run learnt.
    #[serde(default)]
    pub refit: bool,
}

/// Schema of a section of settings; `None` for sections of instances.
pub fn schema(section: &str) -> Option<Json> {
    let properties = match section {
        "run" => json!({
            "name": { "type": "string", "description": "Name of the run; the run file's name unless given." },
            "seed": { "type": "integer", "minimum": 0, "default": 42, "description": "Seed of all random numbers." },
            "epochs": { "type": "integer", "minimum": 1, "default": 10, "description": "Number of epochs; each runs all phases." },
            "threads": { "type": "integer", "minimum": 0, "maximum": 1024, "default": 0,
                "description": "Threads for tensor work; 0 means as many as there are processors. The result does not depend on the number." },
            "device": { "type": "string", "default": "cpu", "description": "Where tensors live: cpu, cuda or cuda:N." },
            "precision": { "type": "string", "default": "f32",
                "description": "What operands of matrix products, convolutions and attention are rounded to: f32 (not at all) or bf16. Sums, parameters, gradients and the optimizer's state are f32 in either case." },
            "handler-warning": { "type": "number", "minimum": 0, "default": 60,
                "description": "Seconds after which a plugin call that has not returned is reported; 0 for never." },
            "handler-limit": { "type": "number", "minimum": 0, "default": 0,
                "description": "Seconds after which a plugin call that has not returned ends the run; 0 for never." },
            "default-callbacks": { "type": "boolean", "default": true,
                "description": "Whether progress, metrics-printer, stop-on-nan, recorder and metrics are added unless listed." },
            "base-dir": { "type": "string",
                "description": "Folder where relative paths start; the folder of the first run file unless given." },
            "max-time": { "type": "number", "minimum": 0, "default": 0.0,
                "description": "Seconds after which the fit stops; 0 for no limit." },
            "validate-every": { "type": "number", "minimum": 0, "default": 0,
                "description": "Training steps, or share of an epoch below 1, between two validations within a training epoch; 0 for validation only where its phase is listed." },
            "report": { "type": "boolean", "default": false,
                "description": "Whether report.html, as fluxbay report writes it, is written into the run's folder when the run ends." },
            "memory": { "type": "string", "default": "",
                "description": "Most memory of tensors, such as 2GiB: blocks of the models are computed again in backward passes to stay below. The result is the same. Empty for no limit." },
            "gradient-blocks": { "type": "integer", "enum": [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], "default": 0,
                "description": "Blocks that forward and backward passes are divided into, for the same bits on every number of processes that divides it; 0 for one block per process." },
            "rank-timeout": { "type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000, "default": 60,
                "description": "Seconds that a process of a run on several waits for the others." },
            "shard-optimizer": { "type": "boolean", "default": false,
                "description": "Whether each process of a run on several keeps the optimizer state of a part of the parameters only. The result is the same." },
            "sync-batch-norm": { "type": "boolean", "default": false,
                "description": "Whether batch normalisation uses the statistics of all samples of a batch, not of those of each block alone." }
        }),
        "plugins" => json!({
            "dirs": { "type": "array", "items": { "type": "string" }, "default": [],
                "description": "Directories of the project to search for plugins; relative ones start at the file that names them. The first one wins." },
            "disable": { "type": "array", "items": { "type": "string" }, "default": [], "description": "Names of plugins that are not used." }
        }),
        "loader" => json!({
            "batch-size": { "type": "integer", "minimum": 1, "default": 32, "description": "Samples in a batch." },
            "shuffle": { "type": "boolean", "default": true, "description": "Whether training samples are read in a new order each epoch." },
            "drop-last": { "type": "boolean", "default": false,
                "description": "Whether the training phase leaves out a last batch with fewer samples." },
            "validation": { "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.2,
                "description": "Share of the samples that is held out for validation if the data has no validation split." },
            "prefetch": { "type": "integer", "minimum": 0, "maximum": 1024, "default": 2,
                "description": "Batches prepared ahead; 0 prepares each when it is needed." },
            "threads": { "type": "integer", "minimum": 0, "maximum": 256, "default": 0,
                "description": "Threads that prepare batches ahead, if a batch takes long enough; 0 for a number by the processors. Batches are the same with any number." },
            "limit-batches": { "type": "integer", "minimum": 0, "default": 0,
                "description": "Most batches that an epoch of any phase reads; 0 reads all." },
            "overfit-batches": { "type": "integer", "minimum": 0, "default": 0,
                "description": "Number of training batches that all phases read in every epoch, to see whether a model can learn them; 0 for the whole data." },
            "stratify": { "type": "boolean", "default": true,
                "description": "Whether every class keeps its share when samples are divided." },
            "groups": { "type": "string", "default": "",
                "description": "What tells which samples belong together and are never divided: a field of whole numbers, or a file with a line per sample." },
            "folds": { "type": "integer", "minimum": 0, "maximum": 1_000_000, "default": 0,
                "description": "Number of folds of a cross-validation, in place of validation; 0 for none." },
            "fold": { "type": "integer", "minimum": 0, "maximum": 1_000_000, "default": 0,
                "description": "The fold that is the validation data, from 1." },
            "sampling": { "type": "string", "enum": ["once", "balanced", "weighted"], "default": "once",
                "description": "Which training samples an epoch reads: each once, or as many drawn with replacement, with equal classes or by weight." },
            "class-weights": { "type": "array", "items": { "type": "number", "minimum": 0 }, "default": [],
                "description": "Weight of each class for sampling = weighted." },
            "sample-weights": { "type": "string", "default": "",
                "description": "File with the weight of each sample for sampling = weighted, a line per sample." },
            "ragged": { "type": "string", "enum": ["pad", "bucket", "pack"], "default": "pad",
                "description": "What is done with samples that differ in size: pad to the longest of the batch, bucket those of similar lengths, or pack several into a row." },
            "pad-multiple": { "type": "integer", "minimum": 1, "maximum": 65536, "default": 1,
                "description": "Batches of samples that differ in size are as long as their longest, rounded up to a multiple of this." },
            "pack-length": { "type": "integer", "minimum": 0, "default": 0,
                "description": "Length of the rows of ragged = pack; 0 for the longest that a sample can be." }
        }),
        "checkpoints" => json!({
            "every-epochs": { "type": "integer", "minimum": 0, "default": 1, "description": "Epochs between two checkpoints; 0 for none after epochs." },
            "every-steps": { "type": "integer", "minimum": 0, "default": 0,
                "description": "Steps of all phases between two checkpoints; 0 for none between steps." },
            "every-minutes": { "type": "number", "minimum": 0, "maximum": 1_000_000, "default": 0, "description": "Minutes between two checkpoints; 0 for none by the clock." },
            "at-end": { "type": "boolean", "default": true, "description": "Whether one is written when the run ends." },
            "on-signal": { "type": "boolean", "default": true, "description": "Whether one is written when SIGINT or SIGTERM ends the run." },
            "keep-last": { "type": "integer", "minimum": 0, "default": 2, "description": "Number of newest checkpoints that are kept; 0 keeps all." },
            "keep-best": { "type": "integer", "minimum": 0, "default": 0, "description": "Number of best checkpoints that are kept in addition." },
            "metric": { "type": "string", "default": "validation/loss", "description": "Epoch metric that ranks the checkpoints, as PHASE/NAME." },
            "better": { "type": "string", "enum": ["auto", "lower", "higher"], "default": "auto",
                "description": "Which of its values are better; auto takes the direction that the metric declares, and a metric without one is an error." },
            "restore-best": { "type": "boolean", "default": false,
                "description": "Whether the model of the best checkpoint becomes the final model when the fit ends; keeps at least one best." },
            "instance-state": { "type": "integer", "minimum": 0, "maximum": 1_048_576, "default": 256,
                "description": "Most MiB of state that one instance may save; 0 for no limit." }
        }),
        "fine-tuning" => json!({
            "from": { "type": "string", "default": "",
                "description": "Safetensors file with initial parameters, of fluxbay or another library; relative to base-dir; empty for none." },
            "map": { "type": "array", "items": { "type": "string" }, "default": [],
                "description": "Renames, OLD=NEW each: the prefix OLD of a name in the file becomes NEW. The first match wins." },
            "strict": { "type": "boolean", "default": false,
                "description": "Whether parameters that are missing in the file, or have another shape there, are an error." },
            "freeze": { "type": "array", "items": { "type": "string" }, "default": [],
                "description": "Frozen parameters: patterns over MODEL.PATH, in which * matches any text." },
            "refit": { "type": "boolean", "default": false,
                "description": "Whether the data set learns from the present data, instead of using what that of the file's run learnt." }
        }),
        _ => return None,
    };
    Some(json!({ "type": "object", "additionalProperties": false, "properties": properties }))
}

impl Default for LoaderSettings {
    /// The defaults of the schema.
    fn default() -> Self {
        let schema = schema("loader").unwrap_or_default();
        let properties = schema["properties"].as_object().into_iter().flatten();
        let defaults = properties.map(|(key, property)| (key.clone(), property["default"].clone()));
        serde_json::from_value(Json::Object(defaults.collect()))
            .expect("every key of the section has a default of its type")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory_are_read_and_written_as_text() {
        for (text, bytes, written) in [
            ("2GiB", 2 << 30, "2GiB"),
            ("1.5 GiB", 3 << 29, "1536MiB"),
            ("300MB", 300_000_000, "300MB"),
            ("77B", 77, "77B"),
        ] {
            let limit = MemoryLimit::try_from(text.to_owned()).unwrap();
            assert_eq!(limit, MemoryLimit(Some(bytes)));
            assert_eq!(String::from(limit), written);
        }
        assert_eq!(MemoryLimit::try_from(String::new()), Ok(MemoryLimit(None)));
        assert_eq!(String::from(MemoryLimit(None)), "");
        for wrong in ["2", "GiB", "-1GiB", "0B", "2 gigabytes", "1e30GiB"] {
            assert!(MemoryLimit::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices_are_read_and_written_as_text() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda:3", Device::Cuda(3))] {
            assert_eq!(Device::try_from(text.to_owned()), Ok(device));
            assert_eq!(String::from(device), text);
        }
        assert_eq!(Device::try_from("cuda".to_owned()), Ok(Device::Cuda(0)));
        for (text, precision) in [("f32", Precision::F32), ("bf16", Precision::Bf16)] {
            assert_eq!(Precision::try_from(text.to_owned()), Ok(precision));
            assert_eq!(String::from(precision), text);
        }
        assert!(Precision::try_from("f16".to_owned()).unwrap_err().contains("65504"));
        assert!(Precision::try_from("half".to_owned()).is_err());
        assert!(Device::try_from("cuda:".to_owned()).is_err());
        assert!(Device::try_from("gpu".to_owned()).is_err());
    }
}
