//! A composition as data: instances, order, events, edges. [`super::listing`] and [`super::draw`]
//! print it; `fluxbay compose --json` serialises it.

use std::collections::{BTreeMap, HashMap};

use fluxbay_plugin::abi::event;
use serde::Serialize;
use serde_json::Value as Json;

use super::graph::Edge;
use super::{Composition, Member};
use crate::library::{Catalog, Kind};
use crate::run_file::{INPUTS, InstanceSpec, RunDescription, TransformSpec, When};

/// What the composition was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The created instances.
    Instances,
    /// Their manifests; no plugin was loaded.
    Manifests,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its component.
    pub component: String,
    /// Plugin and version.
    pub plugin: String,
    /// Where the run file lists it.
    pub origin: String,
    /// Paths that it reads.
    pub reads: Vec<String>,
    /// Paths that it writes.
    pub writes: Vec<String>,
    /// Its configuration.
    pub config: Json,
}

/// The parameters of an optimizer, or of one of its groups.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupRow {
    /// Id of the instance.
    pub id: String,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values in them.
    pub parameters: u64,
    /// The settings that differ from the optimizer's.
    pub settings: serde_json::Map<String, Json>,
    /// Hyper-parameters as multiples of the optimizer's.
    pub scale: serde_json::Map<String, Json>,
}

/// A block of a model that backward passes compute again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlockRow {
    /// Name of the model.
    pub model: String,
    /// Beginning of the paths of its parameters.
    pub path: String,
    /// Number of its parameters and buffers.
    pub tensors: usize,
    /// `always`, or `memory-short` if only a shortage of memory causes it.
    pub when: &'static str,
}

/// One edge of the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// Id of the callback that runs first.
    pub before: String,
    /// Id of the callback that runs second.
    pub after: String,
    /// The reasons, as sentences.
    pub reasons: Vec<String>,
    /// The reasons, in a few words each.
    #[serde(skip)]
    pub short: Vec<String>,
}

/// The transforms of one kind of samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Chain {
    /// `training` or `evaluation`.
    pub samples: String,
    /// Ids of the transforms, each with the field that it changes unless that is the inputs.
    pub transforms: Vec<String>,
}

/// One phase and its callbacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PhaseRow {
    /// Its id.
    pub id: String,
    /// `training`, `validation` or `other`.
    pub kind: String,
    /// The split that it reads.
    pub data: String,
    /// Custom events that it dispatches.
    pub emits: Vec<String>,
    /// Ids of the callbacks at each event that has any.
    pub callbacks: BTreeMap<String, Vec<String>>,
}

/// One event and its callbacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EventRow {
    /// Its name.
    pub name: String,
    /// Its number in this run.
    pub number: u32,
    /// Ids of the callbacks that handle it, in execution order.
    pub callbacks: Vec<String>,
}

/// The whole composition.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overview {
    /// Format; increases when the meaning of a field changes.
    pub schema: u32,
    /// What it was made from.
    pub basis: Basis,
    /// Name of the run.
    pub name: String,
    /// Epochs of the run.
    pub epochs: u64,
    /// All instances in the order of the run file.
    pub instances: Vec<Row>,
    /// The parameters of each optimizer and parameter group, if the run has groups and its models
    /// could be built.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupRow>,
    /// The blocks that backward passes compute again, if the run asks for that and its models could be
    /// built.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recomputed: Vec<BlockRow>,
    /// Ids of the transforms that samples pass through for training and for anything else, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<Chain>,
    /// Ids of the callbacks, in execution order.
    pub order: Vec<String>,
    /// The phases in their order.
    pub phases: Vec<PhaseRow>,
    /// The events that a callback handles, and all custom events.
    pub events: Vec<EventRow>,
    /// The reasons of the order.
    pub edges: Vec<Link>,
    /// The resolved run.
    pub run: Json,
}

impl Overview {
    /// The overview of a composition.
    pub fn new(
        run: &RunDescription,
        catalog: &Catalog,
        members: &[Member<'_>],
        composition: &Composition,
        basis: Basis,
    ) -> Self {
        let id = |at: &usize| members[*at].id.clone();
        let rows = members
            .iter()
            .filter_map(|member| Some(row(run, catalog, member, run.instance(&member.id)?)));
        let mut handling: HashMap<&str, Vec<String>> = HashMap::new();
        for at in &composition.order {
            for event in &members[*at].events {
                handling.entry(event).or_default().push(id(at));
            }
        }
        let events = composition.events.numbers().filter_map(|number| {
            let name = composition.events.name(number)?.to_owned();
            let callbacks = handling.remove(name.as_str()).unwrap_or_default();
            (!callbacks.is_empty() || number >= event::CUSTOM).then_some(EventRow {
                name,
                number,
                callbacks,
            })
        });
        Self {
            schema: 1,
            basis,
            name: run.run.name.clone(),
            epochs: run.run.epochs,
            instances: rows.collect(),
            groups: Vec::new(),
            recomputed: Vec::new(),
            transforms: chains(run),
            order: composition.order.iter().map(id).collect(),
            phases: phases(run, members, composition),
            events: events.collect(),
            edges: composition.graph.edges().map(|edge| link(members, &edge)).collect(),
            run: run.to_json(),
        }
    }

    /// The callbacks of an event that is dispatched outside phases.
    pub fn callbacks_of(&self, event: &str) -> &[String] {
        self.events.iter().find(|row| row.name == event).map_or(&[], |row| &row.callbacks)
    }
}

fn row(run: &RunDescription, catalog: &Catalog, member: &Member<'_>, spec: &InstanceSpec) -> Row {
    let plugin = catalog
        .find(spec.kind, &spec.lookup())
        .map(|found| format!("{} {}", found.plugin.name(), found.plugin.version()));
    Row {
        id: member.id.clone(),
        component: member.component.clone(),
        plugin: plugin.unwrap_or_default(),
        origin: spec
            .component_place
            .or(spec.place)
            .map_or("default".to_owned(), |place| run.sources.describe(place)),
        reads: member.access.reads.clone(),
        writes: member.access.writes.clone(),
        config: Json::Object(spec.config.clone()),
    }
}

/// The chains of transforms; none for a run without transforms.
fn chains(run: &RunDescription) -> Vec<Chain> {
    if run.transforms.is_empty() {
        return Vec::new();
    }
    let chain = |samples: When| {
        let applied =
            run.transforms.iter().filter(|one| [samples, When::Always].contains(&one.when));
        let name = |one: &TransformSpec| match one.field.as_str() {
            INPUTS => one.spec.id.clone(),
            field => format!("{} ({field})", one.spec.id),
        };
        Chain { samples: samples.name().to_owned(), transforms: applied.map(name).collect() }
    };
    [When::Training, When::Evaluation].map(chain).into()
}

/// An edge with its reasons as text.
pub fn link(members: &[Member<'_>], edge: &Edge) -> Link {
    let (before, after) = (&members[edge.before], &members[edge.after]);
    Link {
        before: before.id.clone(),
        after: after.id.clone(),
        reasons: edge.reasons.iter().map(|reason| reason.sentence(before, after)).collect(),
        short: edge.reasons.iter().map(super::Reason::short).collect(),
    }
}

fn phases(
    run: &RunDescription,
    members: &[Member<'_>],
    composition: &Composition,
) -> Vec<PhaseRow> {
    let all = members.iter().filter(|member| member.kind == Kind::Phase).enumerate();
    all.map(|(at, phase)| {
        let spec = run.phases.iter().find(|spec| spec.spec.id == phase.id);
        let mut callbacks = BTreeMap::new();
        for number in composition.events.numbers() {
            let called = composition.dispatch.of(Some(at), number, &composition.events);
            if let Some(name) = composition.events.name(number).filter(|_| !called.is_empty()) {
                callbacks.insert(
                    name.to_owned(),
                    called.iter().map(|at| members[*at].id.clone()).collect(),
                );
            }
        }
        PhaseRow {
            id: phase.id.clone(),
            kind: if phase.phase_kind.is_empty() {
                "other".to_owned()
            } else {
                phase.phase_kind.clone()
            },
            data: spec.map_or("none", |spec| spec.data.name()).to_owned(),
            emits: phase.emits.clone(),
            callbacks,
        }
    })
    .collect()
}
