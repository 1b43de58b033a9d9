//! From a run description to a session: loads plugins, creates instances, composes them, and opens
//! data and models.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value as Json;

use super::members::{member, offers, set_watched, stand_in};
use super::places::{faulty_setting, given_at, placed};
use super::plugins::LoadedPlugins;
use super::{DataState, SavedData, Session, Surroundings};
use crate::compose::figures::Watched;
use crate::compose::{self, Composition, Input, Member, Ranking};
use crate::learner::intervals::Interval;
use crate::learner::ports::{Data, PhaseKind};
use crate::learner::{
    Folders, Group, GroupSettings, Instance, LossSlot, ModelSlot, NewInstance, OptimizerSlot,
    PhaseSlot, Ports, Roles, Runtime, Stop,
};
use crate::library::{Catalog, Kind, escape};
use crate::loader::Loader;
use crate::record::{Better, Directions};
use crate::run_file::{
    DEFAULT_CALLBACKS, Device, Diagnostic, Diagnostics, GroupSpec, InstanceSpec, Named, PhaseData,
    Precision, RunDescription,
};
use crate::tensor::{self, Engine, EngineOptions};

/// A run whose instances are created and composed; its data is not open yet.
pub struct Composed {
    pub(super) runtime: Rc<Runtime>,
    pub(super) plugins: Rc<LoadedPlugins>,
    pub(super) run: RunDescription,
    pub(super) composition: RefCell<Composition>,
    /// In the order of the run description's sections.
    instances: Vec<Rc<Instance>>,
    pub(super) phase_kinds: Vec<PhaseKind>,
}

impl std::fmt::Debug for Composed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Composed").field("composition", &self.composition).finish_non_exhaustive()
    }
}

/// Collects instances, members and problems while instances are created.
struct Builder<'a> {
    runtime: &'a Rc<Runtime>,
    plugins: &'a LoadedPlugins,
    run: &'a RunDescription,
    diagnostics: Diagnostics,
    instances: Vec<Option<Rc<Instance>>>,
    members: Vec<Member<'static>>,
}

impl Composed {
    /// Loads the plugins of a run, creates its instances and composes them.
    ///
    /// # Errors
    /// All problems, each with its place and help.
    pub fn new(
        catalog: Rc<Catalog>,
        mut run: RunDescription,
        surroundings: Surroundings,
    ) -> Result<Composed, Diagnostics> {
        let plugins = Rc::new(LoadedPlugins::new(catalog));
        let runtime = runtime(&run, &plugins, surroundings)?;
        let mut builder = Builder {
            runtime: &runtime,
            plugins: &plugins,
            run: &run,
            diagnostics: Diagnostics::new(),
            instances: Vec::new(),
            members: Vec::new(),
        };
        let wanted: Vec<(Kind, String)> =
            run.instances().map(|spec| (spec.kind, spec.lookup())).collect();
        plugins.prefetch(wanted.iter().map(|(kind, name)| (*kind, name.as_str())));
        for spec in run.instances() {
            builder.create(spec);
        }
        let phase_kinds = builder.phase_kinds();
        let Builder { mut diagnostics, mut instances, mut members, .. } = builder;
        remove_wrapped_defaults(&runtime, &mut run, &mut instances, &mut members);
        let input = Input { members, offers: offers(plugins.catalog()), ranking: ranking(&run) };
        let composition = match compose::compose(&input) {
            Ok(composition) => {
                let doubts = &composition.figures.doubts;
                let doubts = compose::diagnostics(doubts, &input.members, &run.sources);
                for doubt in doubts.iter() {
                    let help = doubt.help.as_deref().unwrap_or_default();
                    log::warn!("{}; {}", escape::text(&doubt.message), escape::text(help));
                }
                Some(composition)
            }
            Err(problems) => {
                diagnostics.append(compose::diagnostics(&problems, &input.members, &run.sources));
                None
            }
        };
        drop(input);
        let instances: Option<Vec<Rc<Instance>>> = instances.into_iter().collect();
        match (composition, instances) {
            (Some(composition), Some(instances)) if !diagnostics.has_errors() => {
                for (instance, resolved) in instances.iter().zip(&composition.figures.watched) {
                    set_watched(instance, resolved);
                }
                Ok(Composed {
                    runtime,
                    plugins,
                    run,
                    composition: RefCell::new(composition),
                    instances,
                    phase_kinds,
                })
            }
            _ => Err(diagnostics),
        }
    }

    /// The plugins of the run.
    pub fn plugins(&self) -> &LoadedPlugins {
        &self.plugins
    }

    /// The run's description.
    pub fn run(&self) -> &RunDescription {
        &self.run
    }

    /// Order, reasons and dispatch lists; indices are those of [`Composed::instances`].
    pub fn composition(&self) -> std::cell::Ref<'_, Composition> {
        self.composition.borrow()
    }

    /// The figure that checkpoints are ranked by, as `PHASE/NAME`, and its direction; none if
    /// `[checkpoints]` keeps no best ones.
    pub fn ranking(&self) -> Option<(String, Better)> {
        let resolved = self.composition.borrow().figures.ranking.clone()?;
        let metric = &self.run.checkpoints.metric;
        let name = metric.split_once('/').map_or(metric.as_str(), |(_, name)| name);
        Some((format!("{}/{name}", resolved.phase), resolved.better))
    }

    /// Which values of each declared figure are better.
    pub fn directions(&self) -> Directions {
        self.composition.borrow().figures.directions()
    }

    /// The instances in the order of the run description's sections: data, transforms,
    /// sampler, models, losses, optimizers, phases, callbacks, loggers.
    pub fn instances(&self) -> &[Rc<Instance>] {
        &self.instances
    }

    /// The members that the composition was made from.
    pub fn members(&self) -> Vec<Member<'static>> {
        let kinds = self
            .run
            .phases
            .iter()
            .zip(&self.phase_kinds)
            .map(|(phase, kind)| (phase.spec.id.as_str(), kind.name()));
        let kinds: std::collections::BTreeMap<&str, &str> = kinds.collect();
        let specs = self.run.instances().zip(&self.instances);
        specs
            .map(|(spec, instance)| {
                member(
                    &self.runtime,
                    instance,
                    Some(spec),
                    kinds.get(spec.id.as_str()).copied().unwrap_or(""),
                )
            })
            .collect()
    }

    pub(super) fn instance(&self, id: &str) -> Option<Rc<Instance>> {
        self.instances.iter().find(|instance| instance.id == id).cloned()
    }

    /// Opens the data, builds the models and initialises phases and callbacks.
    ///
    /// # Errors
    /// An error of a plugin, or a problem of the data or of `[fine-tuning]`.
    pub fn open(self) -> Result<Session, Diagnostics> {
        self.open_with(&DataState::New)
    }

    /// As [`Composed::open`], with what the data set learnt earlier.
    ///
    /// # Errors
    /// As [`Composed::open`], or if what it learnt does not fit.
    pub fn open_with(self, data: &DataState) -> Result<Session, Diagnostics> {
        self.connect()?;
        let begin = std::time::Instant::now();
        let (loader, saved) = self.open_data(data)?.unzip();
        log::info!("data opened in {:.0?}", begin.elapsed());
        let loader = loader.map(Rc::new);
        let source = loader.clone().map(|loader| loader as Rc<dyn Data>);
        self.assemble(source, loader, saved)
    }

    /// Builds the models for data of a given form, without opening any: for a model that is applied.
    ///
    /// # Errors
    /// An error of a plugin.
    pub fn open_for(self, data: Rc<dyn Data>) -> Result<Session, Diagnostics> {
        self.assemble(Some(data), None, None)
    }

    fn assemble(
        self,
        data: Option<Rc<dyn Data>>,
        loader: Option<Rc<Loader>>,
        saved: Option<SavedData>,
    ) -> Result<Session, Diagnostics> {
        let begin = std::time::Instant::now();
        let order: Vec<Rc<Instance>> = self
            .composition
            .borrow()
            .order
            .iter()
            .filter_map(|&index| self.instances.get(index).cloned())
            .collect();
        let assembled = self.roles().and_then(|roles| self.runtime.assemble(roles, order, data));
        match assembled {
            Ok(()) => {
                log::info!("models built and instances initialised in {:.0?}", begin.elapsed());
                let session = Session { composed: self, loader, data: saved };
                let roles =
                    session.runtime().roles().map_err(|stop| session.composed.refused(stop))?;
                session.composed.check_groups(roles)?;
                match session.freeze() {
                    Ok(frozen) if frozen.is_empty() => {}
                    Ok(frozen) => log::info!("frozen: {}", frozen.join(", ")),
                    Err(text) => {
                        return Err(faulty_setting(
                            session.run(),
                            "fine-tuning.freeze",
                            text.into(),
                        ));
                    }
                }
                session.composed.recompute()?;
                Ok(session)
            }
            Err(stop) => Err(self.refused(stop)),
        }
    }

    /// An error of an instance, with the place of the instance.
    pub(super) fn refused(&self, stop: Stop) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        diagnostics.push(instance_refused(&self.run, self.run.instance(&stop.0.by), &stop));
        diagnostics
    }

    /// That the data of `spec` cannot be used.
    pub(super) fn unusable(
        &self,
        spec: &InstanceSpec,
        error: &dyn std::fmt::Display,
    ) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        let text = format!("the data of `{}` cannot be used: {error}", spec.id);
        diagnostics.push(placed(Diagnostic::error("data", text), &self.run, Some(spec)));
        diagnostics
    }

    pub(super) fn roles(&self) -> Result<Roles, Stop> {
        let find = |spec: &InstanceSpec| {
            self.instance(&spec.id)
                .ok_or_else(|| Stop::host(format!("instance `{}` was not created", spec.id)))
        };
        let mut roles = Roles::default();
        for (index, model) in self.run.models.iter().enumerate() {
            let mut optimizers = Vec::new();
            if let Some(optimizer) = optimizer_of(&self.run, model) {
                for group in self.run.groups_of(&optimizer.name) {
                    let instance = find(&group.spec)?;
                    let group = group_of_parameters(&self.run, group);
                    optimizers.push(OptimizerSlot::of_group(instance, index, group));
                }
                optimizers.push(OptimizerSlot::new(find(&optimizer.spec)?, index));
            }
            roles.models.push(ModelSlot {
                name: model.name.clone(),
                instance: find(&model.spec)?,
                optimizers,
            });
        }
        for loss in &self.run.losses {
            roles.losses.push(LossSlot { name: loss.name.clone(), instance: find(&loss.spec)? });
        }
        for (phase, &kind) in self.run.phases.iter().zip(&self.phase_kinds) {
            let split = match phase.data {
                PhaseData::None => None,
                data => Some(data.name().to_owned()),
            };
            roles.phases.push(PhaseSlot {
                instance: find(&phase.spec)?,
                kind,
                split,
                total_steps: Default::default(),
            });
        }
        roles.dataset = self.run.data.as_ref().and_then(|spec| self.instance(&spec.id));
        // What is logged is the same on every rank.
        if self.runtime.ranks().is_none_or(|ranks| ranks.rank() == 0) {
            roles.loggers = self.run.loggers.iter().map(&find).collect::<Result<_, _>>()?;
        }
        Ok(roles)
    }
}

/// Removes default callbacks that another callback already wraps, such as a throttled recorder:
/// both would write the same state.
fn remove_wrapped_defaults(
    runtime: &Runtime,
    run: &mut RunDescription,
    instances: &mut Vec<Option<Rc<Instance>>>,
    members: &mut Vec<Member<'static>>,
) {
    fn wraps(instance: &Instance, component: &str) -> bool {
        instance
            .children
            .iter()
            .any(|child| child.component == component || wraps(child, component))
    }
    let is_default = |spec: &InstanceSpec| {
        spec.place.is_none()
            && spec.component_place.is_none()
            && DEFAULT_CALLBACKS.contains(&spec.component.as_str())
    };
    let wrapped = |spec: &InstanceSpec| {
        is_default(spec)
            && instances
                .iter()
                .flatten()
                .any(|instance| instance.id != spec.id && wraps(instance, &spec.component_id()))
    };
    let left_out: Vec<String> =
        run.callbacks.iter().filter(|spec| wrapped(spec)).map(|spec| spec.id.clone()).collect();
    for id in left_out {
        log::info!("the default callback `{id}` is left out: another callback wraps one");
        run.callbacks.retain(|spec| spec.id != id);
        members.retain(|member| member.id != id);
        if let Some(place) =
            instances.iter().position(|one| one.as_ref().is_some_and(|instance| instance.id == id))
            && let Some(instance) = instances.remove(place)
        {
            runtime.remove(&instance);
        }
    }
}

/// The optimizer of a model: the one of its name, or the only one.
fn optimizer_of<'a>(run: &'a RunDescription, model: &Named) -> Option<&'a Named> {
    let named = run.optimizers.iter().find(|optimizer| optimizer.name == model.name);
    let only = match &run.optimizers[..] {
        [only] if only.name == "optimizer" => Some(only),
        _ => None,
    };
    named.or(only)
}

/// What the learner needs of a parameter group.
fn group_of_parameters(run: &RunDescription, group: &GroupSpec) -> Group {
    let above = hyper_prefix(run, &group.spec);
    let from = optimizer_prefix(run, &group.optimizer);
    let scaled = group
        .scale
        .iter()
        .map(|(name, factor)| (format!("{above}.{name}"), format!("{from}.{name}"), *factor));
    Group {
        name: group.name.clone(),
        selections: group.selections.clone(),
        scaled: scaled.collect(),
    }
}

fn runtime(
    run: &RunDescription,
    plugins: &Rc<LoadedPlugins>,
    surroundings: Surroundings,
) -> Result<Rc<Runtime>, Diagnostics> {
    let fail = |code, text: String| {
        let mut diagnostics = Diagnostics::new();
        diagnostics.push(Diagnostic::error(code, text));
        diagnostics
    };
    if let Device::Cuda(number) = run.run.device {
        return Err(fail(
            "device",
            format!(
                "the device `cuda:{number}` cannot be used: this host was built without CUDA; use `device = \"cpu\"`"
            ),
        ));
    }
    let precision = match run.run.precision {
        Precision::F32 => tensor::Precision::F32,
        Precision::Bf16 => tensor::Precision::Bf16,
    };
    let options = EngineOptions {
        seed: run.run.seed,
        threads: run.run.threads,
        precision,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options).map_err(|error| fail("device", error.to_string()))?;
    let ports = Ports {
        sink: surroundings.sink,
        display: surroundings.display,
        components: Rc::clone(plugins) as Rc<_>,
    };
    let folders = Folders { base: run.run.base_dir.clone(), run: surroundings.run_dir };
    let runtime = Runtime::new(engine, ports, folders);
    let runtime = runtime.map_err(|stop| fail("internal", stop.to_string()))?;
    runtime.set_state_limit(run.checkpoints.instance_state << 20);
    let every = run.run.validate_every;
    runtime.validate_every(match every {
        ..=0.0 => None,
        ..1.0 => Some(Interval::Share(every)),
        _ => Some(Interval::Steps(every as u64)),
    });
    Ok(runtime)
}

/// The figure that `[checkpoints]` ranks by.
pub(super) fn ranking(run: &RunDescription) -> Option<Ranking> {
    let settings = &run.checkpoints;
    let (phase, metric) = settings.metric.split_once('/').unwrap_or(("", &settings.metric));
    let watched = Watched {
        metric: metric.to_owned(),
        phase: phase.to_owned(),
        better: Better::named(&settings.better),
    };
    let place = given_at(run, "checkpoints.metric");
    let ranks = settings.keep_best > 0 || settings.restore_best;
    ranks.then_some(Ranking { watched, place })
}

fn instance_refused(run: &RunDescription, spec: Option<&InstanceSpec>, stop: &Stop) -> Diagnostic {
    let mut diagnostic = Diagnostic::error("instance-refused", stop.to_string());
    diagnostic.help = spec.map(|spec| {
        format!("`fluxbay inspect {}/{}` shows its settings, an example, and what it may read and write", spec.kind, spec.component)
    });
    placed(diagnostic, run, spec)
}

/// State path above the hyper-parameters of an instance.
pub(super) fn hyper_prefix(run: &RunDescription, spec: &InstanceSpec) -> String {
    let optimizer = run.optimizers.iter().find(|optimizer| optimizer.spec.id == spec.id);
    let group = run.groups.iter().find(|group| group.spec.id == spec.id);
    match (optimizer, group) {
        (Some(optimizer), _) => optimizer_prefix(run, &optimizer.name),
        (None, Some(group)) => {
            format!("{}.{}", optimizer_prefix(run, &group.optimizer), group.name)
        }
        (None, None) => format!("hyper.{}", spec.id),
    }
}

/// State path above the hyper-parameters of the optimizer with a name.
fn optimizer_prefix(run: &RunDescription, name: &str) -> String {
    match run.optimizers.len() {
        1 => "optimizer".to_owned(),
        _ => format!("optimizer.{name}"),
    }
}

/// What a parameter group shares with its optimizer.
fn group_settings(run: &RunDescription, spec: &InstanceSpec) -> Option<GroupSettings> {
    let group = run.groups.iter().find(|group| group.spec.id == spec.id)?;
    let base = optimizer_prefix(run, &group.optimizer);
    let parent = group.parent.iter().map(|parent| format!("{base}.{parent}"));
    Some(GroupSettings {
        own: group.own.iter().chain(group.scale.keys()).cloned().collect(),
        from: parent.chain([base.clone()]).collect(),
    })
}

/// Id, hyper-parameter prefix and error policy of a new instance.
pub(super) fn new_instance(run: &RunDescription, spec: &InstanceSpec) -> NewInstance {
    NewInstance {
        id: spec.id.clone(),
        hyper_prefix: hyper_prefix(run, spec),
        group: group_settings(run, spec),
        on_error: spec.on_error,
    }
}

impl Builder<'_> {
    /// Creates one instance, or adds a problem and a stand-in.
    fn create(&mut self, spec: &InstanceSpec) {
        let prepared = match self.plugins.take(
            spec.kind,
            &spec.lookup(),
            &Json::Object(spec.config.clone()),
        ) {
            Ok(prepared) => prepared,
            Err(error) => {
                let diagnostic = Diagnostic::error(
                    "plugin-refused",
                    format!("`{}` cannot be used: {error}", spec.id),
                );
                self.diagnostics.push(placed(diagnostic, self.run, Some(spec)));
                return self.stand_in(spec);
            }
        };
        match self.runtime.create(new_instance(self.run, spec), prepared) {
            Ok(instance) => {
                self.members.push(member(
                    self.runtime,
                    &instance,
                    Some(spec),
                    self.phase_kind(spec).unwrap_or_default().as_str(),
                ));
                self.instances.push(Some(instance));
            }
            Err(stop) => {
                self.diagnostics.push(instance_refused(self.run, Some(spec), &stop));
                self.stand_in(spec);
            }
        }
    }

    fn stand_in(&mut self, spec: &InstanceSpec) {
        if let Ok(found) = self.plugins.catalog().find(spec.kind, &spec.lookup()) {
            self.members.push(stand_in(spec, found.manifest));
        }
        self.instances.push(None);
    }

    fn phase_kind(&self, spec: &InstanceSpec) -> Option<String> {
        let found = self.plugins.catalog().find(spec.kind, &spec.lookup()).ok()?;
        (spec.kind == Kind::Phase).then(|| found.manifest.phase_kind.clone())
    }

    fn phase_kinds(&self) -> Vec<PhaseKind> {
        let kind = |spec: &InstanceSpec| {
            self.phase_kind(spec)
                .and_then(|name| PhaseKind::named(&name))
                .unwrap_or(PhaseKind::Other)
        };
        self.run.phases.iter().map(|phase| kind(&phase.spec)).collect()
    }
}
