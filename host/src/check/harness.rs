//! The environment of the checks: a catalog in which the plugin comes first, and small runs for each
//! kind of component.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::budget::{self, Budget, Measured, Size};
use super::endings::Untrained;
use super::file::{companions, example};
use super::task::Task;
use super::troublemaker;
use crate::learner::ports::{NoDisplay, NoSink};
use crate::learner::{Declared, Flow, Folders, Instance, NewInstance, Ports, Prepared, Runtime};
use crate::library::{Catalog, ComponentManifest, Kind, Sha256};
use crate::run_file::{
    Diagnostics, Draft, Inputs, InstanceSpec, RunDescription, Severity, check_json, resolve,
};
use crate::session::plugins::declared;
use crate::session::{Composed, LoadedPlugins, Session, Surroundings};
use crate::tensor::{Engine, EngineOptions};

/// Id of an instance that is created outside of any run.
const ID: &str = "checked";

/// The plugin, its components, and how they are run.
pub(super) struct Harness {
    pub(super) catalog: Rc<Catalog>,
    pub(super) shelf: Rc<LoadedPlugins>,
    pub(super) components: Vec<ComponentManifest>,
    pub(super) plugin: String,
    pub(super) seed: u64,
    pub(super) budget: Budget,
    /// The author's run files. A component in none of them is run in a generated run.
    runs: Vec<PathBuf>,
    /// Folder for generated files; removed with the child.
    dir: PathBuf,
    run_kinds: RefCell<BTreeMap<usize, Result<RunKind, Untrained>>>,
    configs: RefCell<BTreeMap<String, Result<Value, String>>>,
    /// Sizes of the trainings, by component.
    sizes: RefCell<BTreeMap<usize, Size>>,
    /// How long the creation of an instance takes, by component.
    creations: RefCell<BTreeMap<usize, Duration>>,
}

/// The run that a component is trained in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunKind {
    /// Generated run: handwritten digits, ten classes.
    Classification,
    /// Generated run: a generated table with a number to predict.
    Regression,
    /// Generated run: as the first, with the model, loss and optimizer of the component's example.
    Example,
    /// A run file of the author.
    Given,
}

/// Variation of a training.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trial {
    /// Number of epochs; 0 for two.
    pub(super) epochs: u64,
    /// Batch size; 0 for the one that fits the budget.
    pub(super) batch_size: u64,
    /// Batches in an epoch of each phase; 0 for as many as fit the budget.
    pub(super) batches: u64,
    /// What the [`troublemaker`](super::troublemaker) does.
    pub(super) trouble: Option<&'static str>,
    /// Adds a phase without steps.
    pub(super) empty: bool,
    /// Leaves the component out, for comparison.
    pub(super) without: bool,
}

impl Harness {
    pub(super) fn new(catalog: Catalog, sha256: Sha256, task: &Task) -> Result<Self, String> {
        let catalog = Rc::new(catalog);
        let found = catalog.plugins().iter().find(|plugin| plugin.sha256() == sha256);
        let found = found.ok_or("the copy of the plugin cannot be used: others can change the folder for temporary files")?;
        let (components, plugin) = (found.manifest().components.clone(), found.name().to_owned());
        let shelf = Rc::new(LoadedPlugins::new(Rc::clone(&catalog)));
        Ok(Self {
            catalog,
            shelf,
            components,
            plugin,
            seed: task.seed,
            budget: Budget::new(task.budget, task.left),
            runs: task.runs.clone(),
            dir: task.scratch.clone(),
            run_kinds: RefCell::default(),
            configs: RefCell::default(),
            sizes: RefCell::default(),
            creations: RefCell::default(),
        })
    }

    /// A complete configuration of a component: from the author's run, its defaults, or its example.
    ///
    /// # Errors
    /// The settings that are required.
    pub(super) fn config(&self, component: &ComponentManifest) -> Result<Value, String> {
        if let Some(config) = self.given(component) {
            return Ok(config);
        }
        if let Some(known) = self.configs.borrow().get(&component.id()) {
            return known.clone();
        }
        let candidates = [Some(json!({})), example(component)?];
        let mut problems = String::new();
        let mut fitting = Vec::new();
        for candidate in candidates.into_iter().flatten() {
            let mut diagnostics = Diagnostics::new();
            let complete = check_json(
                &component.config,
                &candidate,
                &format!("`{}`", component.name),
                &mut diagnostics,
            );
            if diagnostics.has_errors() {
                problems = first_error(&diagnostics);
            } else {
                fitting.push(Value::Object(complete));
            }
        }
        // Some components fail with their defaults, such as a missing file name.
        let created = if fitting.len() > 1 {
            fitting.iter().position(|config| self.is_created(component, config))
        } else {
            None
        };
        let found = match fitting.into_iter().nth(created.unwrap_or(0)) {
            Some(config) => Ok(config),
            None => Err(format!(
                "{problems}; give a run file that uses it with --run, or an example in its manifest"
            )),
        };
        self.configs.borrow_mut().insert(component.id(), found.clone());
        found
    }

    fn is_created(&self, component: &ComponentManifest, config: &Value) -> bool {
        let created = self.empty().and_then(|runtime| {
            let prepared = self.prepared(component, &config.to_string())?;
            let instance = self.instance(&runtime, prepared).map_err(|stop| stop.to_string())?;
            runtime.remove(&instance);
            Ok(())
        });
        created.is_ok()
    }

    fn given(&self, component: &ComponentManifest) -> Option<Value> {
        let (run, _) = self.given_run(component, &Trial::default())?;
        let spec = run.instances().find(|spec| self.is_of(spec, component))?;
        Some(Value::Object(spec.config.clone()))
    }

    fn is_of(&self, spec: &InstanceSpec, component: &ComponentManifest) -> bool {
        let of_plugin = spec.plugin.as_ref().is_none_or(|plugin| *plugin == self.plugin);
        spec.kind == component.kind && spec.component == component.name && of_plugin
    }

    /// The first of the author's runs that uses a component.
    fn given_run(
        &self,
        component: &ComponentManifest,
        trial: &Trial,
    ) -> Option<(RunDescription, Diagnostics)> {
        let mut runs = self.runs.iter().map(|file| self.read_run(file, trial));
        runs.find(|(run, diagnostics)| {
            diagnostics.has_errors() || run.instances().any(|spec| self.is_of(spec, component))
        })
    }

    fn read_run(&self, file: &Path, trial: &Trial) -> (RunDescription, Diagnostics) {
        let mut set = vec![format!("run.epochs={}", trial.epochs.max(2))];
        if trial.batch_size > 0 {
            set.push(format!("loader.batch-size={}", trial.batch_size));
        }
        if trial.batches > 0 {
            set.push(format!("loader.limit-batches={}", trial.batches));
        }
        let mut diagnostics = Diagnostics::new();
        let draft = Draft::read(
            &Inputs { files: vec![file.to_owned()], set, ..Inputs::default() },
            &mut diagnostics,
        );
        let run = resolve(draft, &self.catalog, &mut diagnostics);
        (run, diagnostics)
    }

    /// A runtime without instances.
    pub(super) fn empty(&self) -> Result<Rc<Runtime>, String> {
        let engine =
            Engine::new(EngineOptions { seed: self.seed, threads: 1, ..EngineOptions::default() })
                .map_err(|error| error.to_string())?;
        let ports = Ports {
            sink: Rc::new(NoSink),
            display: Rc::new(NoDisplay),
            components: Rc::clone(&self.shelf) as Rc<_>,
        };
        let folders = Folders { base: self.dir.to_string_lossy().into_owned(), run: String::new() };
        Runtime::new(engine, ports, folders).map_err(|stop| stop.to_string())
    }

    /// A component with a configuration, given as text.
    pub(super) fn prepared(
        &self,
        component: &ComponentManifest,
        config: &str,
    ) -> Result<Prepared, String> {
        let prepared = self
            .shelf
            .take(component.kind, &component.name, &Value::Null)
            .map_err(|error| error.to_string())?;
        Ok(Prepared { config: config.to_owned(), declared: declared(component), ..prepared })
    }

    /// An instance outside of any run.
    pub(super) fn instance(&self, runtime: &Runtime, prepared: Prepared) -> Flow<Rc<Instance>> {
        runtime.create(NewInstance::named(ID), prepared)
    }

    /// The same component without any access rights.
    pub(super) fn without_access(prepared: Prepared) -> Prepared {
        let Declared { events, emits, .. } = prepared.declared;
        Prepared { declared: Declared { events, emits, ..Declared::default() }, ..prepared }
    }

    /// The run in which a component trains; found by trying.
    ///
    /// # Errors
    /// Why it trains in none.
    pub(super) fn run_kind(&self, place: usize) -> Result<RunKind, Untrained> {
        if let Some(known) = self.run_kinds.borrow().get(&place) {
            return known.clone();
        }
        let found = self.find_run_kind(place);
        self.run_kinds.borrow_mut().insert(place, found.clone());
        found
    }

    fn find_run_kind(&self, place: usize) -> Result<RunKind, Untrained> {
        let component = &self.components[place];
        if self.given_run(component, &Trial::default()).is_some() {
            // What is wrong with the run is found by `trains`.
            let _ = self.measure(place, RunKind::Given);
            return Ok(RunKind::Given);
        }
        let mut kinds = vec![
            (RunKind::Classification, "with ten classes"),
            (RunKind::Regression, "with one number to predict"),
        ];
        if component.kind == Kind::Callback {
            kinds.truncate(1);
        }
        if !companions(component).is_empty() {
            kinds.push((RunKind::Example, "with the components of its example"));
        }
        let mut problems = Vec::new();
        let mut needs = true;
        for (run_kind, what) in kinds {
            let problem = match self.measure(place, run_kind) {
                Ok(()) => return Ok(run_kind),
                // A panic would recur: stop trying.
                Err(Untrained::Fails(problem)) if problem.contains("panicked") => {
                    return Err(Untrained::Fails(problem));
                }
                Err(Untrained::Fails(problem)) => {
                    needs = false;
                    problem
                }
                Err(Untrained::Needs(problem)) => problem,
            };
            problems.push(format!("{what}: {problem}"));
        }
        let problems = problems.join("\n");
        match needs {
            true => Err(Untrained::Needs(problems)),
            false => Err(Untrained::Fails(problems)),
        }
    }

    /// Trains for a few steps, and chooses the size of further trainings.
    ///
    /// # Errors
    /// Why it does not train.
    fn measure(&self, place: usize, run_kind: RunKind) -> Result<(), Untrained> {
        let time = self.budget.training(self.components.len() - place);
        let few = Trial { epochs: 1, batch_size: 4, batches: 4, ..Trial::default() };
        let (mut measured, batch, steps) = self.measure_with(place, run_kind, &few)?;
        if measured.step < budget::CHEAP {
            let few = Trial { batch_size: batch, ..few };
            if let Ok((again, _, _)) = self.measure_with(place, run_kind, &few) {
                measured = again;
            }
        }
        let size = budget::size(&measured, batch, steps, time);
        log::debug!("{}: {measured:?}, {size:?}", self.components[place].id());
        self.sizes.borrow_mut().insert(place, size);
        Ok(())
    }

    /// Durations of a training, the batch size of the run, and its steps in an epoch of all phases.
    fn measure_with(
        &self,
        place: usize,
        run_kind: RunKind,
        trial: &Trial,
    ) -> Result<(Measured, u64, u64), Untrained> {
        let kind = self.components[place].kind;
        let begin = Instant::now();
        let session = self.open(place, run_kind, trial);
        let session = session.map_err(|problem| Untrained::unopened(kind, problem))?;
        let opening = begin.elapsed();
        let begin = Instant::now();
        if let Some(untrained) = Untrained::ended(kind, &session.fit_epochs(1)) {
            return Err(untrained);
        }
        let done = u32::try_from(session.runtime().steps_begun()).unwrap_or(u32::MAX).max(1);
        let step = begin.elapsed() / done;
        let batch = match run_kind {
            RunKind::Classification | RunKind::Example => 128,
            RunKind::Regression => 16,
            RunKind::Given => self
                .given_run(&self.components[place], &Trial::default())
                .map_or(1, |(run, _)| run.loader.batch_size as u64),
        };
        let samples = session.loader().map_or(0, |loader| {
            loader.parts().iter().map(|part| part.samples() as u64).sum::<u64>()
        });
        let measured = Measured { opening, step, batch: trial.batch_size };
        Ok((measured, batch, samples.div_ceil(batch.max(1)) + 1))
    }

    /// Records how long the creation of an instance took.
    pub(super) fn set_creation(&self, place: usize, took: Duration) {
        self.creations.borrow_mut().insert(place, took);
    }

    /// Number of instances to create in a check that creates `full` of them if there is time.
    pub(super) fn count(&self, place: usize, full: usize) -> usize {
        let each = self.creations.borrow().get(&place).copied().unwrap_or_default();
        let time = self.budget.training(self.components.len() - place);
        let fitting = time.as_nanos() / each.as_nanos().max(1);
        usize::try_from(fitting).unwrap_or(full).clamp(4.min(full), full)
    }

    /// A session with the component, before its first step.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(super) fn session(&self, place: usize, trial: &Trial) -> Result<Session, String> {
        let run_kind = self.run_kind(place)?;
        let size = self.sizes.borrow().get(&place).copied().unwrap_or_default();
        let or = |given: u64, fitting: u64| if given == 0 { fitting } else { given };
        let trial = Trial {
            batch_size: or(trial.batch_size, size.batch),
            batches: or(trial.batches, size.batches),
            ..*trial
        };
        self.open(place, run_kind, &trial)
    }

    fn open(&self, place: usize, run_kind: RunKind, trial: &Trial) -> Result<Session, String> {
        let (run, diagnostics) = match self.given_run(&self.components[place], trial) {
            Some(read) => read,
            None => {
                let text = self.run_text(place, run_kind, trial)?;
                let path = self.dir.join("run.toml");
                std::fs::write(&path, text).map_err(|error| error.to_string())?;
                let mut diagnostics = Diagnostics::new();
                let draft = Draft::read(
                    &Inputs { files: vec![path], ..Inputs::default() },
                    &mut diagnostics,
                );
                let run = resolve(draft, &self.catalog, &mut diagnostics);
                (run, diagnostics)
            }
        };
        if diagnostics.has_errors() {
            return Err(first_error(&diagnostics));
        }
        let surroundings = Surroundings {
            run_dir: self.dir.to_string_lossy().into_owned(),
            ..Surroundings::default()
        };
        let session =
            Composed::new(Rc::clone(&self.catalog), run, surroundings).and_then(Composed::open);
        let session = session.map_err(|diagnostics| first_error(&diagnostics))?;
        if let Some(what) = trial.trouble {
            make_trouble(&session, what).map_err(|stop| stop.to_string())?;
        }
        Ok(session)
    }

    fn run_text(&self, place: usize, run_kind: RunKind, trial: &Trial) -> Result<String, String> {
        let component = &self.components[place];
        let mut run = self.base(run_kind, trial)?;
        if run_kind == RunKind::Example {
            for (section, table) in companions(component) {
                run[section] = table;
            }
        }
        if !trial.without {
            let own = self.config(component)?;
            self.put(&mut run, component, own)?;
        }
        let table: toml::Table =
            serde_json::from_value(without_nulls(run)).map_err(|error| error.to_string())?;
        Ok(table.to_string())
    }

    /// A run without the component.
    fn base(&self, run_kind: RunKind, trial: &Trial) -> Result<Value, String> {
        let (data, loss, batch) = match run_kind {
            RunKind::Regression => {
                (json!({ "component": "csv", "path": self.table()?, "target": "y" }), "mse", 16)
            }
            _ => (json!({ "component": "digits" }), "cross-entropy", 128),
        };
        let mut phases =
            vec![json!({ "component": "training" }), json!({ "component": "validation" })];
        if trial.empty {
            phases.push(json!({ "component": "validation", "id": "empty", "data": "none" }));
        }
        Ok(json!({
            "run": { "epochs": if trial.epochs == 0 { 2 } else { trial.epochs }, "seed": self.seed & 0xffff_ffff, "threads": 1, "default-callbacks": false,
                     "base-dir": self.dir.to_string_lossy() },
            "data": data,
            "loader": {
                "batch-size": if trial.batch_size == 0 { batch } else { trial.batch_size },
                "limit-batches": trial.batches,
            },
            "model": { "component": "mlp", "hidden": [8] },
            "loss": { "component": loss },
            "optimizer": { "component": "sgd", "learning-rate": 0.05 },
            "phase": phases,
            "callback": [{ "component": "recorder" }, { "component": "metrics" }],
        }))
    }

    /// Puts the component into a run.
    fn put(
        &self,
        run: &mut Value,
        component: &ComponentManifest,
        config: Value,
    ) -> Result<(), String> {
        let mut own: Map<String, Value> = match config {
            Value::Object(own) => own,
            _ => Map::new(),
        };
        let mut named = Map::from_iter([("component".to_owned(), json!(component.name))]);
        named.append(&mut own);
        let named = Value::Object(named);
        let replace = |list: &mut Value, name: &str, new: Value| {
            let list = list.as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
            match list.iter_mut().find(|one| one["component"] == name) {
                Some(place) => *place = new,
                None => log::debug!("no {name} to replace"),
            }
        };
        match component.kind {
            Kind::Dataset => run["data"] = named,
            Kind::Model => run["model"] = named,
            Kind::Loss => run["loss"] = named,
            Kind::Optimizer => {
                // A second instance, which must not disturb the first.
                run["optimizer"] = named;
                run["optimizer"]["group"] = json!([{ "id": "biases", "match": "*.bias" }]);
            }
            Kind::Phase => match component.phase_kind.as_str() {
                "training" => replace(&mut run["phase"], "training", named),
                "validation" => replace(&mut run["phase"], "validation", named),
                _ => push(&mut run["phase"], named),
            },
            Kind::Callback => {
                let known = ["recorder", "metrics"].contains(&component.name.as_str());
                if known {
                    replace(&mut run["callback"], &component.name, named)
                } else {
                    push(&mut run["callback"], named)
                }
            }
            Kind::Logger => {
                // In a run a logger that fails is left out; a check has to see the failure.
                let mut logger = named;
                logger["on-error"] = json!("stop");
                run["logger"] = json!([logger]);
            }
            Kind::Metric => replace(
                &mut run["callback"],
                "metrics",
                json!({ "component": "metrics", "metrics": [component.name] }),
            ),
            Kind::Transform => {
                // A model takes one shape, in training and evaluation.
                let mut transform = named;
                transform["when"] = json!("always");
                run["transform"] = json!([transform]);
            }
            Kind::Sampler => run["sampler"] = named,
            Kind::Communicator => run["communicator"] = named,
            Kind::Schedule => push(
                &mut run["callback"],
                json!({ "component": "scheduler", "schedules": { "optimizer.learning-rate": named } }),
            ),
        }
        Ok(())
    }

    /// A table of 96 rows: `y` is a sum of two columns.
    fn table(&self) -> Result<String, String> {
        let path = self.dir.join("numbers.csv");
        let mut text = String::from("a,b,y\n");
        for row in 0..96u32 {
            let (a, b) = (f64::from(row * 37 % 96) / 96.0, f64::from(row * 53 % 96) / 96.0);
            text.push_str(&format!("{a:.4},{b:.4},{:.4}\n", 2.0 * a - b));
        }
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// The instance of a component in a session.
    pub(super) fn find(&self, session: &Session, place: usize) -> Option<Rc<Instance>> {
        let component = &self.components[place];
        let all = session
            .composed()
            .instances()
            .iter()
            .chain(session.composed().instances().iter().flat_map(|one| &one.children));
        all.into_iter()
            .find(|one| one.component == component.id() && one.plugin == self.plugin)
            .cloned()
    }
}

fn push(list: &mut Value, new: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(new);
    }
}

/// Removes nulls, which TOML does not have.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

pub(super) fn first_error(diagnostics: &Diagnostics) -> String {
    let errors = diagnostics.iter().filter(|one| one.severity == Severity::Error);
    errors
        .map(|one| one.message.clone())
        .next()
        .unwrap_or_else(|| "it cannot be composed".to_owned())
}

fn make_trouble(session: &Session, what: &str) -> Flow {
    let runtime = session.runtime();
    let troublemaker =
        runtime.create(NewInstance::named("troublemaker"), troublemaker::prepared(what))?;
    let mut callbacks = runtime.callbacks();
    callbacks.insert(0, troublemaker);
    runtime.set_callback_order(callbacks);
    Ok(())
}

/// All parameters of a session as bits.
pub(super) fn bits(session: &Session) -> Result<Vec<(String, Vec<u32>)>, String> {
    let tensors = session.model_tensors().map_err(|error| error.to_string())?;
    let bits = tensors.into_iter().map(|(name, tensor)| {
        let values = tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        Ok((name, values.into_iter().map(f32::to_bits).collect()))
    });
    bits.collect::<Result<_, candle_core::Error>>().map_err(|error| error.to_string())
}
