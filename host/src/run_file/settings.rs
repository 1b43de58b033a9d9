//! The host's own sections, such as `[run]`, `[loader]` and `[checkpoints]`: their schemas and
//! their typed form.
//!
//! The schemas are the one place that states types, ranges, defaults and meanings; the typed form
//! is read from the checked value, the exported schema and the help pages show the same text.

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
    /// Seconds after which it is said that a plugin's function has not returned; 0 for never.
    pub handler_warning: f64,
    /// Seconds after which a run whose plugin's function has not returned is ended; 0 for never.
    pub handler_limit: f64,
    /// Whether the standard callbacks are added where they are not listed.
    pub default_callbacks: bool,
    /// Folder that relative paths of configurations start from, absolute; the first run file's
    /// unless given.
    pub base_dir: String,
    /// Seconds after which the fit ends in an orderly way; 0 for no limit.
    pub max_time: f64,
}

/// Where tensors live, as text `cpu`, `cuda` or `cuda:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The processor.
    Cpu,
    /// The graphics card with that number.
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

/// `[plugins]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PluginSettings {
    /// Directories of the project to search, absolute, first wins.
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
    /// Whether training samples come in a new order each epoch.
    pub shuffle: bool,
    /// Whether a last batch with fewer samples is left out in training.
    pub drop_last: bool,
    /// Share of the training samples held out for validation where the data has no validation split
    /// of its own.
    pub validation: f64,
    /// Batches prepared ahead; 0 prepares each when it is asked for.
    pub prefetch: usize,
    /// Most batches that an epoch of any phase reads; 0 reads all.
    pub limit_batches: usize,
    /// The same few batches for all phases in every epoch, unshuffled; 0 for the whole data.
    pub overfit_batches: usize,
}

/// `[checkpoints]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckpointSettings {
    /// Epochs between two checkpoints; 0 for none after epochs.
    pub every_epochs: u64,
    /// Steps between two checkpoints, those of all phases counted; 0 for none between steps.
    pub every_steps: u64,
    /// Minutes between two checkpoints; 0 for none by the clock.
    pub every_minutes: f64,
    /// Whether one is kept when the run ends.
    pub at_end: bool,
    /// Whether one is kept when a signal ends the run.
    pub on_signal: bool,
    /// The newest that are kept; 0 keeps all.
    pub keep_last: usize,
    /// The best that are kept beyond that.
    pub keep_best: usize,
    /// Epoch metric that tells the best, as `PHASE/NAME`.
    pub metric: String,
    /// Which of its values are better: `lower`, `higher`, or `auto` by its name.
    pub better: String,
}

/// `[fine-tuning]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FineTuningSettings {
    /// Safetensors file that parameters start from; empty for none.
    pub from: String,
    /// Changes of names, `OLD=NEW` each: a name in the file that begins with OLD begins with NEW in
    /// the run. First wins.
    pub map: Vec<String>,
    /// Whether parameters that the file does not have, or has in another shape, are an error.
    pub strict: bool,
    /// Parameters that are not trained: patterns over `MODEL.PATH`, in which `*` stands for any
    /// text.
    pub freeze: Vec<String>,
}

/// Schema of a settings section; none for sections that hold instances.
pub fn schema(section: &str) -> Option<Json> {
    let properties = match section {
        "run" => json!({
            "name": { "type": "string", "description": "Name of the run; the run file's name unless given." },
            "seed": { "type": "integer", "minimum": 0, "default": 42, "description": "Seed of all random numbers." },
            "epochs": { "type": "integer", "minimum": 1, "default": 10, "description": "How often all phases are run." },
            "threads": { "type": "integer", "minimum": 0, "maximum": 1024, "default": 0,
                "description": "Threads for tensor work; 0 means as many as there are processors. The result depends on the number in its last bits." },
            "device": { "type": "string", "default": "cpu", "description": "Where tensors live: cpu, cuda or cuda:N." },
            "handler-warning": { "type": "number", "minimum": 0, "default": 60,
                "description": "Seconds after which it is said that a plugin's function has not returned; 0 for never." },
            "handler-limit": { "type": "number", "minimum": 0, "default": 0,
                "description": "Seconds after which a run whose plugin's function has not returned is ended; 0 for never." },
            "default-callbacks": { "type": "boolean", "default": true,
                "description": "Whether progress, metrics-printer, stop-on-nan, recorder and metrics are added where they are not listed." },
            "base-dir": { "type": "string",
                "description": "Folder that relative paths start from; the folder of the first run file unless given." },
            "max-time": { "type": "number", "minimum": 0, "default": 0.0,
                "description": "Seconds after which the fit ends in an orderly way; 0 for no limit." }
        }),
        "plugins" => json!({
            "dirs": { "type": "array", "items": { "type": "string" }, "default": [],
                "description": "Directories of the project to search for plugins; relative ones start at the file that names them. First wins." },
            "disable": { "type": "array", "items": { "type": "string" }, "default": [], "description": "Names of plugins that are not used." }
        }),
        "loader" => json!({
            "batch-size": { "type": "integer", "minimum": 1, "default": 32, "description": "Samples in a batch." },
            "shuffle": { "type": "boolean", "default": true, "description": "Whether training samples come in a new order each epoch." },
            "drop-last": { "type": "boolean", "default": false,
                "description": "Whether a last batch with fewer samples is left out in training." },
            "validation": { "type": "number", "minimum": 0, "exclusiveMaximum": 1, "default": 0.2,
                "description": "Share of the training samples held out for validation where the data has no validation split of its own." },
            "prefetch": { "type": "integer", "minimum": 0, "maximum": 1024, "default": 2,
                "description": "Batches prepared ahead; 0 prepares each when it is asked for." },
            "limit-batches": { "type": "integer", "minimum": 0, "default": 0,
                "description": "Most batches that an epoch of any phase reads; 0 reads all." },
            "overfit-batches": { "type": "integer", "minimum": 0, "default": 0,
                "description": "So many batches of training data, the same ones for all phases in every epoch, to see whether a model can learn them; 0 for the whole data." }
        }),
        "checkpoints" => json!({
            "every-epochs": { "type": "integer", "minimum": 0, "default": 1, "description": "Epochs between two checkpoints; 0 for none after epochs." },
            "every-steps": { "type": "integer", "minimum": 0, "default": 0,
                "description": "Steps between two checkpoints, those of all phases counted; 0 for none between steps." },
            "every-minutes": { "type": "number", "minimum": 0, "maximum": 1_000_000, "default": 0, "description": "Minutes between two checkpoints; 0 for none by the clock." },
            "at-end": { "type": "boolean", "default": true, "description": "Whether one is kept when the run ends." },
            "on-signal": { "type": "boolean", "default": true, "description": "Whether one is kept when SIGINT or SIGTERM ends the run." },
            "keep-last": { "type": "integer", "minimum": 0, "default": 2, "description": "The newest that are kept; 0 keeps all." },
            "keep-best": { "type": "integer", "minimum": 0, "default": 0, "description": "The best that are kept beyond that." },
            "metric": { "type": "string", "default": "validation/loss", "description": "Epoch metric that tells the best, as PHASE/NAME." },
            "better": { "type": "string", "enum": ["auto", "lower", "higher"], "default": "auto",
                "description": "Which of its values are better; auto goes by its name: losses and errors are better low, all others high." }
        }),
        "fine-tuning" => json!({
            "from": { "type": "string", "default": "",
                "description": "Safetensors file that parameters start from, of fluxbay or another library; relative to base-dir; empty for none." },
            "map": { "type": "array", "items": { "type": "string" }, "default": [],
                "description": "Changes of names, OLD=NEW each: a name in the file that begins with OLD begins with NEW in the run. First wins." },
            "strict": { "type": "boolean", "default": false,
                "description": "Whether parameters that the file does not have, or has in another shape, are an error." },
            "freeze": { "type": "array", "items": { "type": "string" }, "default": [],
                "description": "Parameters that are not trained: patterns over MODEL.PATH, in which * stands for any text." }
        }),
        _ => return None,
    };
    Some(json!({ "type": "object", "additionalProperties": false, "properties": properties }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written_as_text() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda:3", Device::Cuda(3))] {
            assert_eq!(Device::try_from(text.to_owned()), Ok(device));
            assert_eq!(String::from(device), text);
        }
        assert_eq!(Device::try_from("cuda".to_owned()), Ok(Device::Cuda(0)));
        assert!(Device::try_from("cuda:".to_owned()).is_err());
        assert!(Device::try_from("gpu".to_owned()).is_err());
    }
}
