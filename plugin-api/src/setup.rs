//! What an instance says of itself while it is created.

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

/// Collects what a new instance reads and writes, when it runs, and what belongs to it.
///
/// The manifest is the upper bound: asking for a path that it does not list is an error that says
/// which line to add.
#[derive(Debug)]
pub struct Setup {
    marker: PhantomData<*const ()>,
}

impl Setup {
    pub(crate) fn new() -> Setup {
        Setup { marker: PhantomData }
    }

    /// Asks to read a state path, such as `step.loss`.
    pub fn read<T>(&mut self, path: &str) -> Result<Read<T>> {
        calls::setup_read(path).map(Read::new)
    }

    /// Asks to write (and read) a state path.
    pub fn write<T>(&mut self, path: &str) -> Result<Write<T>> {
        calls::setup_write(path).map(Write::new)
    }

    /// This instance runs after those of the component or instance named, beyond what the manifest
    /// says.
    pub fn run_after(&mut self, name: &str) -> Result<()> {
        calls::setup_run_after(name)
    }

    /// This instance runs before those of the component or instance named, beyond what the manifest
    /// says.
    pub fn run_before(&mut self, name: &str) -> Result<()> {
        calls::setup_run_before(name)
    }

    /// Narrows the subscription: once called, only the events named here are handled.
    pub fn subscribe(&mut self, event: &str) -> Result<()> {
        calls::setup_subscribe(event)
    }

    /// An event by name: a standard one, or one of a phase's own, which has no number until a run
    /// is composed.
    pub fn event(&mut self, name: &str) -> Result<EventKind> {
        calls::setup_event(name).map(EventKind::from_raw)
    }

    /// Declares a hyper-parameter: read it through the slot when it is used, since schedules may
    /// change it.
    pub fn hyper_parameter(&mut self, name: &str, initial: f64) -> Result<Read<f64>> {
        calls::setup_hyper_parameter(name, initial).map(Read::new)
    }

    /// Names a tensor of state that this optimizer keeps for each parameter, zeros at first.
    pub fn optimizer_state(&mut self, name: &str) -> Result<()> {
        calls::setup_optimizer_state(name)
    }

    /// A metric of this instance's own, from any plugin. `config` is its configuration, such as
    /// `json!({})`.
    pub fn metric(&mut self, component: &str, config: &serde_json::Value) -> Result<ChildMetric> {
        calls::setup_child(kind::METRIC, component, &config.to_string()).map(ChildMetric::new)
    }

    /// A schedule of this instance's own, from any plugin.
    pub fn schedule(
        &mut self,
        component: &str,
        config: &serde_json::Value,
    ) -> Result<ChildSchedule> {
        calls::setup_child(kind::SCHEDULE, component, &config.to_string()).map(ChildSchedule::new)
    }

    /// A callback of this instance's own, from any plugin. This instance must have declared at
    /// least the other's access.
    pub fn callback(
        &mut self,
        component: &str,
        config: &serde_json::Value,
    ) -> Result<ChildCallback> {
        calls::setup_child(kind::CALLBACK, component, &config.to_string()).map(ChildCallback::new)
    }

    /// The id of this instance in the run.
    pub fn instance_id(&self) -> Result<String> {
        calls::setup_instance_id()
    }

    /// A path from the configuration: relative ones start from the run file's folder.
    pub fn resolve_path(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        Ok(PathBuf::from(calls::setup_base_dir()?).join(path))
    }

    /// The run's folder; none where the run keeps no files.
    pub fn run_dir(&self) -> Result<Option<PathBuf>> {
        let path = calls::setup_run_dir()?;
        Ok((!path.is_empty()).then(|| PathBuf::from(path)))
    }
}
