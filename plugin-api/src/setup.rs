//! What a new instance declares while it is created.

use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
};

use crate::{
    Result,
    abi::entry::kind,
    children::{ChildCallback, ChildMetric, ChildSchedule},
    event::EventKind,
    state::{Read, Write},
    trampoline::calls,
};

/// Declares what a new instance reads and writes, its order, its hyper-parameters and its children.
/// Passed to [`Component::new`](crate::Component::new). `[training thread]`
///
/// The component's lines in [`plugin!`](crate::plugin!) are the upper bound: a path or event that
/// they do not list is an error that names the line to add.
#[derive(Debug)]
pub struct Setup {
    marker: PhantomData<*const ()>,
}

impl Setup {
    pub(crate) fn new() -> Setup {
        Setup { marker: PhantomData }
    }

    /// Requests read access to a state path, such as `step.loss`.
    ///
    /// # Errors
    /// If `reads` and `writes` in `plugin!` do not list the path.
    pub fn read<T>(&mut self, path: &str) -> Result<Read<T>> {
        calls::setup_read(path).map(Read::new)
    }

    /// Requests write access to a state path. It includes reading.
    ///
    /// # Errors
    /// If `writes` in `plugin!` does not list the path.
    pub fn write<T>(&mut self, path: &str) -> Result<Write<T>> {
        calls::setup_write(path).map(Write::new)
    }

    /// Makes this instance run after instance `name`, or after the instances of component `name`, in
    /// addition to `run_after` in `plugin!`.
    ///
    /// # Errors
    /// If `name` is no name.
    pub fn run_after(&mut self, name: &str) -> Result<()> {
        calls::setup_run_after(name)
    }

    /// Makes this instance run before instance `name`, or before the instances of component `name`,
    /// in addition to `run_before` in `plugin!`.
    ///
    /// # Errors
    /// If `name` is no name.
    pub fn run_before(&mut self, name: &str) -> Result<()> {
        calls::setup_run_before(name)
    }

    /// Narrows the subscription: once called, only the events named in such calls are handled.
    ///
    /// # Errors
    /// If `on` and `on_custom` in `plugin!` do not list the event.
    pub fn subscribe(&mut self, event: &str) -> Result<()> {
        calls::setup_subscribe(event)
    }

    /// An event by its name: a standard one, or a custom one that this instance emits or handles. The
    /// number of a custom event differs from run to run.
    ///
    /// # Errors
    /// If `emits` and `on_custom` in `plugin!` do not list a custom event.
    pub fn event(&mut self, name: &str) -> Result<EventKind> {
        calls::setup_event(name).map(EventKind::from_raw)
    }

    /// Declares a hyper-parameter with its initial value. Read it through the slot whenever it is
    /// used, since schedules may change it.
    ///
    /// # Errors
    /// If `hyper_parameters` in `plugin!` does not list it.
    pub fn hyper_parameter(&mut self, name: &str, initial: f64) -> Result<Read<f64>> {
        calls::setup_hyper_parameter(name, initial).map(Read::new)
    }

    /// Declares a state tensor that this optimizer keeps for each parameter: of the parameter's
    /// shape, zeros at first. Tensors are numbered in the order of these calls.
    ///
    /// # Errors
    /// If this is no optimizer.
    pub fn optimizer_state(&mut self, name: &str) -> Result<()> {
        calls::setup_optimizer_state(name)
    }

    /// Creates a metric that belongs to this instance, from any plugin. `config` is its
    /// configuration, such as `json!({})`.
    ///
    /// # Errors
    /// If there is no such metric, or its configuration is wrong.
    pub fn metric(&mut self, component: &str, config: &serde_json::Value) -> Result<ChildMetric> {
        calls::setup_child(kind::METRIC, component, &config.to_string()).map(ChildMetric::new)
    }

    /// Creates a schedule that belongs to this instance, from any plugin.
    ///
    /// # Errors
    /// If there is no such schedule, or its configuration is wrong.
    pub fn schedule(
        &mut self,
        component: &str,
        config: &serde_json::Value,
    ) -> Result<ChildSchedule> {
        calls::setup_child(kind::SCHEDULE, component, &config.to_string()).map(ChildSchedule::new)
    }

    /// Creates a callback that belongs to this instance, from any plugin. The lines of this instance
    /// in `plugin!` must include the other's access to the state.
    ///
    /// # Errors
    /// If there is no such callback, its configuration is wrong, or it needs more access.
    pub fn callback(
        &mut self,
        component: &str,
        config: &serde_json::Value,
    ) -> Result<ChildCallback> {
        calls::setup_child(kind::CALLBACK, component, &config.to_string()).map(ChildCallback::new)
    }

    /// The id of this instance in the run.
    ///
    /// # Errors
    /// Outside [`Component::new`](crate::Component::new).
    pub fn instance_id(&self) -> Result<String> {
        calls::setup_instance_id()
    }

    /// A path of the configuration, made absolute: relative paths start from the run file's folder.
    ///
    /// # Errors
    /// Outside [`Component::new`](crate::Component::new).
    pub fn resolve_path(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        Ok(PathBuf::from(calls::setup_base_dir()?).join(path))
    }

    /// The run's folder; none if the run keeps no files.
    ///
    /// # Errors
    /// Outside [`Component::new`](crate::Component::new).
    pub fn run_dir(&self) -> Result<Option<PathBuf>> {
        let path = calls::setup_run_dir()?;
        Ok((!path.is_empty()).then(|| PathBuf::from(path)))
    }
}
