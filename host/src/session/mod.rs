//! From a run description to a session that trains: the library interface of a run.
//!
//! Each stage is a type, so that none can be left out. [`Composed::new`] loads the plugins, creates
//! the instances and decides their order; it reads no data and returns all problems together.
//! [`Composed::open`] opens the data, builds the models and returns a [`Session`], which runs fits,
//! epochs and steps, and whose callbacks can be changed in between.
//!
//! Used by the command line and by programs that embed fluxbay. It writes no files: the caller
//! provides the record and the display, see [`Surroundings`].
//!
//! A run from a file that is trained, inspected, and changed in between:
//!
//! ```no_run
//! use std::rc::Rc;
//!
//! use fluxbay::library::{Catalog, SearchOrigin, ScanOptions, SearchPath};
//! use fluxbay::run_file::{Colours, Diagnostics, Draft, Inputs, render, resolve};
//! use fluxbay::learner::ports::DataBatch;
//! use fluxbay::session::{Composed, DType, Device, Surroundings, Tensor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut problems = Diagnostics::new();
//! let draft = Draft::read(&Inputs { files: vec!["run.toml".into()], ..Inputs::default() }, &mut problems);
//! let mut path = SearchPath::new();
//! path.push("plugins", SearchOrigin::CommandLine);
//! let catalog = Catalog::scan(&path, &ScanOptions::default());
//! let run = resolve(draft, &catalog, &mut problems);
//!
//! let text = |problems: Diagnostics| render(&problems, Colours::Never);
//! let session = Composed::new(Rc::new(catalog), run, Surroundings::default()).and_then(Composed::open).map_err(text)?;
//! let report = session.fit_epochs(5);
//! println!("{:?} after {} epochs", report.ending, report.epochs);
//!
//! // Callbacks can be changed between fits. A change that does not compose has no effect.
//! session.add_callback("clip", "gradient-clipping", &serde_json::json!({ "norm": 1.0 }))?;
//! let old = session.replace_callback("clip", "gradient-clipping", &serde_json::json!({ "value": 0.5 }))?;
//! assert!(old.is_some() && session.callback("unknown").is_none());
//! session.run_epoch(0)?;
//! session.remove_callback("clip")?;
//! session.set_callbacks(&[("history", "recorder", serde_json::json!({}))])?;
//!
//! // One step of the first phase on a custom batch: 8 samples of 4 features, and their classes.
//! let xs = Tensor::zeros((8, 4), DType::F32, &Device::Cpu)?;
//! let ys = Tensor::zeros(8, DType::U32, &Device::Cpu)?;
//! session.run_step(0, DataBatch { fields: vec![xs, ys], samples: 8, index: 0 })?;
//!
//! println!("loss {:?}", session.number("step.loss"));
//! session.finish()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod callbacks;
pub mod checkpoint;
mod composed;
mod data_problems;
mod fine_tuning;
mod groups;
mod members;
mod opening;
mod places;
pub(crate) mod plugins;
mod preview;
mod published;
mod ranks;
mod recompute;
mod saved_data;
mod transforms;

use std::borrow::Borrow;
use std::rc::Rc;
use std::sync::Arc;

pub use candle_core::{DType, Device, Tensor};
pub use fluxbay_plugin::abi::state::Point;

use crate::learner::ports::{Data, DataBatch, Display, NoDisplay, NoSink, Sink};
use crate::learner::state::Value;
use crate::learner::{FitReport, Flow, Instance, Interrupt, Runtime, Stop};
use crate::loader::Loader;
use crate::run_file::RunDescription;

pub use callbacks::ChangeError;
pub use composed::Composed;
pub use fine_tuning::FineTuningReport;
pub use groups::GroupSummary;
pub use plugins::LoadedPlugins;
pub use preview::SchedulePreview;
pub use published::{CONFIG, WrittenModel, sizes_from};
pub use recompute::BlockSummary;
pub use saved_data::{DATA, DATA_STATE, DataState, Learnt, SavedData};
pub use transforms::Look;

/// What a session needs from its caller.
pub struct Surroundings {
    /// Receives metrics and events.
    pub sink: Rc<dyn Sink>,
    /// Receives text and progress.
    pub display: Rc<dyn Display>,
    /// Run folder, for instances that write files; empty if there is none.
    pub run_dir: String,
}

impl Default for Surroundings {
    /// Keeps nothing and shows nothing.
    fn default() -> Surroundings {
        Surroundings { sink: Rc::new(NoSink), display: Rc::new(NoDisplay), run_dir: String::new() }
    }
}

/// One parameter or buffer, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSummary {
    /// Name of its model.
    pub model: String,
    /// Dotted path within the model.
    pub path: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether an optimizer updates it.
    pub trainable: bool,
}

/// A run that is ready to train.
pub struct Session {
    composed: Composed,
    loader: Option<Rc<Loader>>,
    data: Option<SavedData>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("runtime", &self.composed.runtime).finish_non_exhaustive()
    }
}

impl Session {
    /// What is kept of the run's data; `None` for a run without data.
    pub fn saved_data(&self) -> Option<&SavedData> {
        self.data.as_ref()
    }

    /// Runs the epochs of the run description.
    pub fn fit(&self) -> FitReport {
        self.fit_epochs(self.composed.run.run.epochs)
    }

    /// Runs `epochs` more epochs of every phase.
    pub fn fit_epochs(&self, epochs: u64) -> FitReport {
        self.runtime().fit(epochs)
    }

    /// Runs one epoch of one phase, given by its index.
    ///
    /// # Errors
    /// The stop or failure that ended the fit.
    pub fn run_epoch(&self, phase: usize) -> Flow {
        self.runtime().run_epoch(phase)
    }

    /// Runs one step of one phase on a batch.
    ///
    /// # Errors
    /// A failure, or a stop of more than the step.
    pub fn run_step(&self, phase: usize, batch: DataBatch) -> Flow {
        self.runtime().run_step(phase, batch)
    }

    /// Runs steps of one phase on batches, without leaving the learner between them.
    ///
    /// # Errors
    /// A failure, or a stop of more than the step; the remaining batches are not used.
    pub fn run_steps(
        &self,
        phase: usize,
        batches: impl IntoIterator<Item = impl Borrow<DataBatch>>,
    ) -> Flow {
        self.runtime().run_steps(phase, batches)
    }

    /// Runs the first steps of the first epoch of a phase on its data; returns how many.
    ///
    /// # Errors
    /// The phase reads no data, the data cannot be read, or a step failed.
    pub fn run_first_steps(&self, phase: usize, most: usize) -> Flow<usize> {
        let roles = self.runtime().roles()?;
        let split = roles.phases.get(phase).and_then(|phase| phase.split.as_deref());
        let (Some(split), Some(loader)) = (split, self.loader()) else {
            return Err(Stop::host("the phase reads no data, so it has no steps"));
        };
        let mut batches = Data::epoch(loader, split, 1).map_err(Stop::host)?;
        for count in 0..most {
            let next = batches.next_batch(&*self.runtime().engine.borrow()).map_err(Stop::host)?;
            match next {
                Some(batch) => self.run_step(phase, batch)?,
                None => return Ok(count),
            }
        }
        Ok(most)
    }

    /// Flushes and closes the loggers. Call it last.
    /// Flushes and closes the loggers, and leaves the other processes of the run. Call it last.
    ///
    /// # Errors
    /// A logger that cannot write.
    pub fn finish(&self) -> Flow {
        let closed = self.runtime().close_loggers();
        if let Some(ranks) = self.runtime().ranks()
            && let Err(text) = ranks.close()
        {
            log::warn!("the communicator was not closed: {text}");
        }
        closed
    }

    /// A flag that ends the fit after the current step; set it to the number of a signal.
    pub fn interrupt(&self) -> Arc<Interrupt> {
        self.runtime().interrupt()
    }

    /// The learner.
    pub fn runtime(&self) -> &Runtime {
        &self.composed.runtime
    }

    /// The run's description.
    pub fn run(&self) -> &RunDescription {
        &self.composed.run
    }

    /// How the run was composed.
    pub fn composed(&self) -> &Composed {
        &self.composed
    }

    /// The data, if the run has any.
    pub fn loader(&self) -> Option<&Loader> {
        self.loader.as_deref()
    }

    /// Instance ids of the phases, in their order.
    pub fn phases(&self) -> Vec<String> {
        let roles = self.runtime().roles();
        roles
            .map(|roles| roles.phases.iter().map(|phase| phase.instance.id.clone()).collect())
            .unwrap_or_default()
    }

    /// The callback with an id.
    pub fn callback(&self, id: &str) -> Option<Rc<Instance>> {
        self.runtime().callback(id)
    }

    /// The parameters of each optimizer and parameter group.
    pub fn parameter_groups(&self) -> Vec<GroupSummary> {
        self.runtime().roles().map(|roles| self.composed.summaries(roles)).unwrap_or_default()
    }

    /// All parameters and buffers, by model and path.
    pub fn parameters(&self) -> Vec<ParameterSummary> {
        let engine = self.runtime().engine.borrow();
        let summary = |p: crate::tensor::ParameterInfo<'_>| ParameterSummary {
            model: engine.model_name(p.model).unwrap_or_default().to_owned(),
            path: p.path.to_owned(),
            shape: engine.shape(p.handle).map(<[usize]>::to_vec).unwrap_or_default(),
            trainable: p.kind == crate::tensor::Kind::Trainable && !p.frozen,
        };
        engine.parameters().map(summary).collect()
    }

    /// The number at a state path, such as `step.loss` or `optimizer.learning-rate`; a tensor with
    /// one element counts as one.
    pub fn number(&self, path: &str) -> Option<f64> {
        match self.runtime().state.borrow().value_at(path)? {
            Value::Number(number) => Some(*number),
            Value::Flag(flag) => Some(f64::from(u8::from(*flag))),
            Value::Tensor(handle) => self.runtime().engine.borrow().scalar(*handle).ok(),
            _ => None,
        }
    }

    /// The text at a state path.
    pub fn text(&self, path: &str) -> Option<String> {
        match self.runtime().state.borrow().value_at(path)? {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The points of the series at a state path, such as `cbstate.metrics-epoch.validation.loss`.
    pub fn series(&self, path: &str) -> Option<Vec<Point>> {
        match self.runtime().state.borrow().value_at(path)? {
            Value::Series(points) => Some(points.clone()),
            _ => None,
        }
    }

    /// Names of the children of a state path that have a value, sorted.
    pub fn names(&self, path: &str) -> Vec<String> {
        let state = self.runtime().state.borrow();
        let Some(node) = state.find(path) else { return Vec::new() };
        state
            .children(node)
            .filter(|(_, child)| state.has_value(*child))
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// The tensor at a state path, such as `step.yhats`; it shares its elements with the run's.
    pub fn tensor(&self, path: &str) -> Option<Tensor> {
        match self.runtime().state.borrow().value_at(path)? {
            Value::Tensor(handle) => self.runtime().engine.borrow().value(*handle).ok(),
            _ => None,
        }
    }

    /// The gradient of a parameter after the last step, if it has one.
    pub fn gradient(&self, model: &str, path: &str) -> Option<Tensor> {
        let mut engine = self.runtime().engine.borrow_mut();
        let found = engine
            .parameters()
            .find(|p| p.path == path && engine.model_name(p.model) == Some(model))
            .map(|p| p.index)?;
        let handle = engine.gradient(found).ok().flatten()?;
        let tensor = engine.value(handle).ok();
        engine.release(handle).ok()?;
        tensor
    }

    /// Sets all parameters and buffers, from [`Session::model_tensors`] or
    /// [`Session::written_model`] of the same run.
    ///
    /// # Errors
    /// A tensor that is missing, unknown or has another shape; the ones before it are set then.
    pub fn set_model_tensors(&self, tensors: &[(String, Tensor)]) -> Result<(), String> {
        let paths: Vec<String> = self
            .parameters()
            .iter()
            .map(|parameter| format!("{}.{}", parameter.model, parameter.path))
            .collect();
        let as_in_run = tensors.iter().all(|(name, _)| paths.iter().any(|path| path == name));
        let written = if as_in_run { None } else { self.of_written_model(tensors)? };
        let tensors = written.as_deref().unwrap_or(tensors);
        let mut engine = self.runtime().engine.borrow_mut();
        let known: Vec<(String, usize)> = engine
            .parameters()
            .map(|p| {
                (format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path), p.index)
            })
            .collect();
        if let Some((name, _)) =
            tensors.iter().find(|(name, _)| !known.iter().any(|(of_run, _)| of_run == name))
        {
            return Err(format!("the run has no parameter `{name}`"));
        }
        for (name, index) in &known {
            let (_, value) = tensors
                .iter()
                .find(|(given, _)| given == name)
                .ok_or_else(|| format!("it has no parameter `{name}`"))?;
            engine
                .set_parameter(*index, value)
                .map_err(|error| format!("parameter `{name}`: {error}"))?;
        }
        Ok(())
    }

    /// All parameters and buffers with their values, as `MODEL.PATH`; the tensors are copies.
    ///
    /// # Errors
    /// A tensor cannot be copied.
    pub fn model_tensors(&self) -> Result<Vec<(String, Tensor)>, candle_core::Error> {
        let engine = self.runtime().engine.borrow();
        let named = |p: crate::tensor::ParameterInfo<'_>| {
            let value = engine.value(p.handle).map_err(candle_core::Error::wrap)?;
            Ok((
                format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path),
                value.copy()?,
            ))
        };
        engine.parameters().map(named).collect()
    }
}
