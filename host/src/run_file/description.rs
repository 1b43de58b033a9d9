//! A run as the rest of the host uses it: typed, checked, every default filled in.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::schema::Origin;
use super::settings::{
    CheckpointSettings, FineTuningSettings, LoaderSettings, PluginSettings, RunSettings,
};
use super::source::{Place, Sources};
use crate::library::Kind;

/// A whole run.
#[derive(Clone, Debug)]
pub struct RunDescription {
    /// The run itself.
    pub run: RunSettings,
    /// Where plugins are looked for.
    pub plugins: PluginSettings,
    /// The data set; none for runs whose phases make their own data.
    pub data: Option<InstanceSpec>,
    /// How samples become batches.
    pub loader: LoaderSettings,
    /// When the run is saved, and what is kept.
    pub checkpoints: CheckpointSettings,
    /// Where parameters start, and which stay as they are.
    pub fine_tuning: FineTuningSettings,
    /// The models in the order of the file; a single one has the name `model`.
    pub models: Vec<Named>,
    /// The losses in the order of the file; a single one has the name `loss`.
    pub losses: Vec<Named>,
    /// The optimizers in the order of the file; a single one has the name `optimizer`, one of
    /// several the name of the model that it updates.
    pub optimizers: Vec<Named>,
    /// What each epoch does, in order.
    pub phases: Vec<PhaseSpec>,
    /// The callbacks in the order of the file, default ones at the end.
    pub callbacks: Vec<InstanceSpec>,
    /// The loggers in the order of the file.
    pub loggers: Vec<InstanceSpec>,
    /// Where each value of `[run]`, `[loader]` and their like came from, by `section.key`.
    pub origins: BTreeMap<String, Origin>,
    /// The texts that all places point into.
    pub sources: Sources,
}

/// An instance with the name that its section gives it.
#[derive(Clone, Debug)]
pub struct Named {
    /// `generator` of `[model.generator]`, or the section's own name.
    pub name: String,
    /// The instance.
    pub spec: InstanceSpec,
}

/// A phase and what the host's keys say of it.
#[derive(Clone, Debug)]
pub struct PhaseSpec {
    /// The instance.
    pub spec: InstanceSpec,
    /// The split of the data that an epoch reads.
    pub data: PhaseData,
    /// Whether `data` was given or follows from the phase's kind.
    pub data_origin: Origin,
}

/// What data a phase reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseData {
    /// The training split.
    Training,
    /// The validation split.
    Validation,
    /// None.
    None,
}

impl PhaseData {
    /// All of them.
    pub const ALL: [PhaseData; 3] = [PhaseData::Training, PhaseData::Validation, PhaseData::None];

    /// The name in run files.
    pub fn name(self) -> &'static str {
        match self {
            PhaseData::Training => "training",
            PhaseData::Validation => "validation",
            PhaseData::None => "none",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<PhaseData> {
        PhaseData::ALL.into_iter().find(|data| data.name() == name)
    }
}

/// What happens when an instance fails at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The run ends with the error.
    Stop,
    /// The instance is left out from then on, with a warning.
    Disable,
}

impl OnError {
    /// What happens unless the run file says so: a logger that fails is left out, anything else
    /// ends the run.
    pub fn default_of(kind: Kind) -> OnError {
        if kind == Kind::Logger { OnError::Disable } else { OnError::Stop }
    }

    /// The name in run files.
    pub fn name(self) -> &'static str {
        match self {
            OnError::Stop => "stop",
            OnError::Disable => "disable",
        }
    }
}

/// One component with its configuration in this run.
#[derive(Clone, Debug)]
pub struct InstanceSpec {
    /// Unique in the run; state is saved under it.
    pub id: String,
    /// Kind of the component.
    pub kind: Kind,
    /// The plugin asked for, where several offer the component.
    pub plugin: Option<String>,
    /// Name of the component.
    pub component: String,
    /// Its configuration, checked against the component's schema, defaults filled in.
    pub config: Map<String, Json>,
    /// What happens when it fails.
    pub on_error: OnError,
    /// Where it was written: the table's header, or the override. None for default callbacks.
    pub place: Option<Place>,
    /// Where its component was named.
    pub component_place: Option<Place>,
    /// Where each value of the configuration came from, by keys joined with dots.
    pub origins: BTreeMap<String, Origin>,
    /// Where each key of the configuration was written, by keys joined with dots.
    pub keys: BTreeMap<String, Place>,
    /// Whether the id was given in the run file rather than made from the component's name or its
    /// section.
    pub id_given: bool,
}

impl InstanceSpec {
    /// `kind/name`.
    pub fn component_id(&self) -> String {
        format!("{}/{}", self.kind, self.component)
    }

    /// The name as it is written in a run file: with the plugin where one is asked for.
    pub fn component_text(&self) -> String {
        match &self.plugin {
            Some(plugin) => format!("{plugin}:{}", self.component),
            None => self.component.clone(),
        }
    }

    /// The name under which the catalog finds it: `name` or `plugin:kind/name`.
    pub fn lookup(&self) -> String {
        match &self.plugin {
            Some(plugin) => format!("{plugin}:{}/{}", self.kind, self.component),
            None => self.component.clone(),
        }
    }
}

impl RunDescription {
    /// All instances in the order of the sections.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceSpec> {
        let named =
            self.models.iter().chain(&self.losses).chain(&self.optimizers).map(|named| &named.spec);
        let listed =
            self.phases.iter().map(|phase| &phase.spec).chain(&self.callbacks).chain(&self.loggers);
        self.data.iter().chain(named).chain(listed)
    }

    /// The instance with that id.
    pub fn instance(&self, id: &str) -> Option<&InstanceSpec> {
        self.instances().find(|spec| spec.id == id)
    }

    /// The whole run as JSON without places, for `--json` and comparisons.
    pub fn to_json(&self) -> Json {
        super::resolved::to_json(self)
    }

    /// The whole run as a run file that describes the same run.
    pub fn to_toml(&self) -> String {
        super::resolved::to_toml(self)
    }
}
