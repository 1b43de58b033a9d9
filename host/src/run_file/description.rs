//! The description of a run that the rest of the host uses: typed, checked, with all defaults.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::schema::Origin;
use super::selection::Selection;
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
    /// The data set; `None` for runs whose phases create their own data.
    pub data: Option<InstanceSpec>,
    /// What changes the samples before they become batches, in order.
    pub transforms: Vec<TransformSpec>,
    /// Which training samples an epoch reads; `None` for all of them.
    pub sampler: Option<InstanceSpec>,
    /// How samples become batches.
    pub loader: LoaderSettings,
    /// What connects the processes of a run on several; `None` for a run of one process.
    pub communicator: Option<InstanceSpec>,
    /// When checkpoints are written, and which are kept.
    pub checkpoints: CheckpointSettings,
    /// Initial parameters from a file, and frozen parameters.
    pub fine_tuning: FineTuningSettings,
    /// The models in the order of the file; a single one has the name `model`.
    pub models: Vec<Named>,
    /// Blocks that backward passes compute again, as patterns by the name of the model.
    pub recompute: BTreeMap<String, Vec<String>>,
    /// The losses in the order of the file; a single one has the name `loss`.
    pub losses: Vec<Named>,
    /// The optimizers in the order of the file. A single one has the name `optimizer`; several have
    /// the names of the models that they update.
    pub optimizers: Vec<Named>,
    /// Parameters without weight decay, by the name of the optimizer.
    pub decay_exempt: BTreeMap<String, Selection>,
    /// The parameter groups of all optimizers: those of the file, then those that `decay-exempt`
    /// splits off.
    pub groups: Vec<GroupSpec>,
    /// The phases of each epoch, in order.
    pub phases: Vec<PhaseSpec>,
    /// The callbacks in the order of the file, default ones at the end.
    pub callbacks: Vec<InstanceSpec>,
    /// The loggers in the order of the file.
    pub loggers: Vec<InstanceSpec>,
    /// Origin of each value of the host's sections, by `section.key`.
    pub origins: BTreeMap<String, Origin>,
    /// The texts that places refer to.
    pub sources: Sources,
}

/// An instance of a section that may hold several by name.
#[derive(Clone, Debug)]
pub struct Named {
    /// `generator` of `[model.generator]`, or the section's own name.
    pub name: String,
    /// The instance.
    pub spec: InstanceSpec,
}

/// A phase with the host's keys.
#[derive(Clone, Debug)]
pub struct PhaseSpec {
    /// The instance.
    pub spec: InstanceSpec,
    /// The split of the data that an epoch reads.
    pub data: PhaseData,
    /// Whether `data` was given or comes from the phase's kind.
    pub data_origin: Origin,
}

/// A transform with the host's keys.
#[derive(Clone, Debug)]
pub struct TransformSpec {
    /// The instance.
    pub spec: InstanceSpec,
    /// The samples that it is applied to.
    pub when: When,
    /// Whether `when` was given or comes from the component.
    pub when_origin: Origin,
    /// The field of the samples that it changes.
    pub field: String,
    /// Whether `field` was given.
    pub field_origin: Origin,
}

/// The samples that a transform is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Those that are read for training.
    Training,
    /// Those that are read for anything else.
    Evaluation,
    /// All.
    Always,
}

impl When {
    /// All values.
    pub const ALL: [When; 3] = [When::Training, When::Evaluation, When::Always];

    /// The name in run files.
    pub fn name(self) -> &'static str {
        match self {
            When::Training => "training",
            When::Evaluation => "evaluation",
            When::Always => "always",
        }
    }

    /// The value with this name.
    pub fn named(name: &str) -> Option<When> {
        When::ALL.into_iter().find(|when| when.name() == name)
    }
}

/// The split that a phase reads.
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
    /// All values.
    pub const ALL: [PhaseData; 3] = [PhaseData::Training, PhaseData::Validation, PhaseData::None];

    /// The name in run files.
    pub fn name(self) -> &'static str {
        match self {
            PhaseData::Training => "training",
            PhaseData::Validation => "validation",
            PhaseData::None => "none",
        }
    }

    /// The value with this name.
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
    /// The instance is disabled for the rest of the run, with a warning.
    Disable,
}

impl OnError {
    /// The default: a failing logger is disabled, any other instance ends the run.
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
    /// Place of the table's header or of the override; `None` for default callbacks.
    pub place: Option<Place>,
    /// Place of the component's name.
    pub component_place: Option<Place>,
    /// Origin of each value of the configuration, by keys joined with dots.
    pub origins: BTreeMap<String, Origin>,
    /// Place of each key of the configuration, by keys joined with dots.
    pub keys: BTreeMap<String, Place>,
    /// Whether the run file gives the id; otherwise it comes from the component or the section.
    pub id_given: bool,
}

impl InstanceSpec {
    /// `kind/name`.
    pub fn component_id(&self) -> String {
        format!("{}/{}", self.kind, self.component)
    }

    /// The component as a run file names it: `name` or `plugin:name`.
    pub fn component_text(&self) -> String {
        match &self.plugin {
            Some(plugin) => format!("{plugin}:{}", self.component),
            None => self.component.clone(),
        }
    }

    /// The component as the catalog looks it up: `name` or `plugin:kind/name`.
    pub fn lookup(&self) -> String {
        match &self.plugin {
            Some(plugin) => format!("{plugin}:{}/{}", self.kind, self.component),
            None => self.component.clone(),
        }
    }
}

/// One parameter group of an optimizer.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Name of the optimizer, as in [`super::Named`].
    pub optimizer: String,
    /// Name of the group.
    pub name: String,
    /// A parameter belongs to the group if all of them match and no earlier group has it.
    pub selections: Vec<Selection>,
    /// Settings that the group has itself; the others are the optimizer's.
    pub own: Vec<String>,
    /// Hyper-parameters as multiples of the optimizer's.
    pub scale: BTreeMap<String, f64>,
    /// The group that this one was split from by `decay-exempt`, by name.
    pub parent: Option<String>,
    /// Whether it comes from `decay-exempt` and not from a table of its own.
    pub implied: bool,
    /// The optimizer's component with the group's settings.
    pub spec: InstanceSpec,
}

impl RunDescription {
    /// All instances in the order of the sections.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceSpec> {
        let named =
            self.models.iter().chain(&self.losses).chain(&self.optimizers).map(|named| &named.spec);
        let listed =
            self.phases.iter().map(|phase| &phase.spec).chain(&self.callbacks).chain(&self.loggers);
        let groups = self.groups.iter().map(|group| &group.spec);
        let transforms = self.transforms.iter().map(|transform| &transform.spec);
        let data = self.data.iter().chain(transforms).chain(&self.sampler);
        data.chain(&self.communicator).chain(named).chain(groups).chain(listed)
    }

    /// The groups of an optimizer in the order in which they are tried: the first that matches a
    /// parameter has it.
    pub fn groups_of(&self, optimizer: &str) -> Vec<&GroupSpec> {
        let all = || self.groups.iter().filter(|group| group.optimizer == optimizer);
        let mut groups = Vec::new();
        for group in all().filter(|group| !group.implied) {
            let is_split =
                |one: &&GroupSpec| one.implied && one.parent.as_ref() == Some(&group.name);
            groups.extend(all().filter(is_split));
            groups.push(group);
        }
        groups.extend(all().filter(|one| one.implied && one.parent.is_none()));
        groups
    }

    /// The groups of an optimizer that the run file lists.
    pub(super) fn written_groups<'a>(
        &'a self,
        optimizer: &'a str,
    ) -> impl Iterator<Item = &'a GroupSpec> {
        self.groups.iter().filter(move |group| group.optimizer == optimizer && !group.implied)
    }

    /// The instance with this id.
    pub fn instance(&self, id: &str) -> Option<&InstanceSpec> {
        self.instances().find(|spec| spec.id == id)
    }
}
