//! Calls into a plugin: each sets who is being called, and turns a status into a result.

use std::rc::Weak;
use std::sync::Arc;

use fluxbay_plugin::abi::{
    callback::CallbackTable,
    dataset::DatasetTable,
    entry::{self, Component, kind},
    event::EventRaw,
    handle::Handle,
    learner::BatchRaw,
    logger::{LoggerTable, RecordRaw},
    loss::LossTable,
    metric::{MetricInput, MetricTable},
    model::{ModelSpec, ModelTable},
    optimizer::{OptimizerTable, UpdateRaw},
    phase::PhaseTable,
    schedule::ScheduleTable,
    status,
    text::Text,
};

use super::ambient::{self, Entered, NOBODY};
use crate::learner::instances::Doing;
use crate::learner::{FieldSpecs, Runtime};
use crate::supervisor::crumb;

/// A status that is not OK, and the text that was left with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The contract's number.
    pub status: i32,
    /// What the plugin said; may be empty.
    pub text: String,
}

impl Failure {
    /// A status that is not OK, with the text that was left since the call began.
    #[cold]
    #[inline(never)]
    pub fn of(status: i32) -> Failure {
        Failure { status, text: ambient::take_error() }
    }

    fn new(text: impl Into<String>) -> Failure {
        Failure { status: status::ERROR, text: text.into() }
    }
}

/// What a call gives.
pub type Called<T = ()> = Result<T, Failure>;

/// The table of a component's kind. Plugins are never unloaded, so it is there for ever.
#[derive(Clone, Copy, Debug)]
enum Table {
    Phase(&'static PhaseTable),
    Callback(&'static CallbackTable),
    Model(&'static ModelTable),
    Loss(&'static LossTable),
    Dataset(&'static DatasetTable),
    Metric(&'static MetricTable),
    Schedule(&'static ScheduleTable),
    Logger(&'static LoggerTable),
    Optimizer(&'static OptimizerTable),
}

/// The plugin's side of an instance. Ends it when dropped.
#[derive(Debug)]
pub struct PluginInstance {
    runtime: Weak<Runtime>,
    number: u32,
    raw: entry::Instance,
    component: &'static Component,
    table: Table,
}

#[inline]
fn check(code: i32) -> Called {
    if code == status::OK { Ok(()) } else { Err(Failure::of(code)) }
}

/// The handling of events by one callback, ready to be called: nothing is looked up any more.
#[derive(Clone, Debug)]
pub struct Handler {
    on: unsafe extern "C" fn(entry::Instance, *const EventRaw) -> i32,
    raw: entry::Instance,
    number: u32,
    /// Keeps `raw` alive.
    _instance: Arc<PluginInstance>,
}

impl Handler {
    /// Number of the instance.
    #[inline]
    pub fn number(&self) -> u32 {
        self.number
    }
}

/// Calls of several callbacks in a row, for one runtime.
pub struct Round(Entered);

impl Round {
    /// Begins it; it ends when dropped.
    #[inline]
    pub fn begin(runtime: &Runtime) -> Round {
        Round(ambient::enter(runtime, NOBODY))
    }

    /// Lets a callback handle an event, and answers the status.
    #[inline(always)]
    pub fn call(&self, handler: &Handler, event: &EventRaw) -> i32 {
        self.0.serve(handler.number);
        // SAFETY: `raw` belongs to the component of `on`, and the handler keeps it alive; the event
        // is lent for the call.
        unsafe { (handler.on)(handler.raw, event) }
    }

    /// Whether the call left the text of an error, which is forgotten, or a stop, although it went
    /// well.
    #[inline]
    pub fn take_left(&self) -> bool {
        self.0.take_left()
    }
}

/// Text that a plugin lends, as our own.
///
/// # Safety
/// As [`Text::as_bytes`].
unsafe fn own(text: Text) -> String {
    // SAFETY: promised by the caller.
    unsafe { text.to_text() }.into_owned()
}

macro_rules! wrong_kind {
    ($self:ident, $name:literal) => {
        Err(Failure::new(format!(
            concat!("a ", $name, " was called, but the instance is a {}"),
            kind::NAMES[$self.kind() as usize]
        )))
    };
}

impl PluginInstance {
    /// Creates instance `number` of a component with a complete configuration.
    pub fn create(
        runtime: &Runtime,
        number: u32,
        component: &'static Component,
        config: &str,
    ) -> Called<PluginInstance> {
        let table = table_of(component)?;
        let mut raw = entry::Instance(std::ptr::null_mut());
        let _entered = ambient::enter(runtime, number);
        // SAFETY: the component was checked when its plugin was loaded; config and place are lent
        // for the call.
        check(unsafe { (component.create)(Text::new(config), &mut raw) })?;
        Ok(PluginInstance { runtime: runtime.weak(), number, raw, component, table })
    }

    /// The component's kind, a number of the contract's `kind`.
    pub fn kind(&self) -> u32 {
        self.component.kind
    }

    /// Its number in the run.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Version of the state that [`PluginInstance::save`] gives.
    pub fn state_version(&self) -> u32 {
        self.component.state_version
    }

    /// The state of the instance, in its own form.
    pub fn save(&self, runtime: &Runtime, number: u32) -> Called<Vec<u8>> {
        let mut bytes = Text::EMPTY;
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` came from `create` of this component; the place is lent for the call.
        check(unsafe { (self.component.save)(self.raw, &mut bytes) })?;
        // SAFETY: the contract keeps the bytes valid until the next call of this instance.
        Ok(unsafe { bytes.as_bytes() }.to_vec())
    }

    /// Takes a saved state in.
    pub fn load(&self, runtime: &Runtime, number: u32, state_version: u32, bytes: &[u8]) -> Called {
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` came from `create` of this component; the bytes are lent for the call.
        check(unsafe { (self.component.load)(self.raw, state_version, Text::bytes(bytes)) })
    }

    /// Whether the phase drives its own epoch.
    pub fn has_epoch(&self) -> bool {
        matches!(self.table, Table::Phase(PhaseTable { epoch: Some(_), .. }))
    }

    /// Table and instance of a data set.
    pub(super) fn dataset(&self) -> Called<(&'static DatasetTable, entry::Instance)> {
        let Table::Dataset(table) = self.table else { return wrong_kind!(self, "data set") };
        Ok((table, self.raw))
    }

    /// The phase's init.
    pub fn phase_init(&self, runtime: &Runtime, number: u32) -> Called {
        let Table::Phase(table) = self.table else { return wrong_kind!(self, "phase") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { (table.init)(self.raw) })
    }

    /// The phase's step.
    pub fn phase_step(&self, runtime: &Runtime, number: u32, batch: &BatchRaw) -> Called {
        let Table::Phase(table) = self.table else { return wrong_kind!(self, "phase") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the batch is lent for the call.
        check(unsafe { (table.step)(self.raw, batch) })
    }

    /// The phase's own epoch.
    pub fn phase_epoch(&self, runtime: &Runtime, number: u32) -> Called {
        let Table::Phase(PhaseTable { epoch: Some(epoch), .. }) = self.table else {
            return wrong_kind!(self, "phase");
        };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { epoch(self.raw) })
    }

    /// The callback's init.
    pub fn callback_init(&self, runtime: &Runtime, number: u32) -> Called {
        let Table::Callback(table) = self.table else { return wrong_kind!(self, "callback") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { (table.init)(self.raw) })
    }

    /// The callback's handling of an event.
    #[inline]
    pub fn callback_on(&self, runtime: &Runtime, number: u32, event: &EventRaw) -> Called {
        let Table::Callback(table) = self.table else { return wrong_kind!(self, "callback") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the event is lent for the call.
        check(unsafe { (table.on)(self.raw, event) })
    }

    /// A callback's handling of events, for the dispatch lists.
    pub fn handler(self: &Arc<PluginInstance>) -> Option<Handler> {
        let Table::Callback(table) = self.table else { return None };
        Some(Handler {
            on: table.on,
            raw: self.raw,
            number: self.number,
            _instance: Arc::clone(self),
        })
    }

    /// The callback's answer to a conflict, a number of the contract's `resolution`.
    pub fn callback_resolve(&self, other: &str, path: &str) -> u32 {
        let Table::Callback(table) = self.table else {
            return fluxbay_plugin::abi::callback::resolution::NOT_DEFINED;
        };
        let trail = crumb::call(self.number, Doing::Resolving);
        // SAFETY: `raw` belongs to the table's component; the texts are lent for the call.
        let answer = unsafe { (table.resolve)(self.raw, Text::new(other), Text::new(path)) };
        trail.end();
        answer
    }

    /// The model's build, for data with these fields.
    pub fn model_build(&self, runtime: &Runtime, number: u32, fields: &FieldSpecs<'_>) -> Called {
        let Table::Model(table) = self.table else { return wrong_kind!(self, "model") };
        let spec = ModelSpec { fields: fields.specs.as_ptr(), field_count: fields.specs.len() };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the spec and what it points at are lent
        // for the call.
        check(unsafe { (table.build)(self.raw, &spec) })
    }

    /// The model's forward pass; answers how many outputs there are.
    pub fn model_forward(
        &self,
        runtime: &Runtime,
        number: u32,
        inputs: &[Handle],
        outputs: &mut [Handle],
    ) -> Called<usize> {
        let Table::Model(table) = self.table else { return wrong_kind!(self, "model") };
        let mut count = 0;
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; inputs and places are lent for the call.
        let code = unsafe {
            (table.forward)(
                self.raw,
                inputs.as_ptr(),
                inputs.len(),
                outputs.as_mut_ptr(),
                outputs.len(),
                &mut count,
            )
        };
        check(code)?;
        if count > outputs.len() {
            return Err(Failure::new(format!(
                "it announced {count} outputs where there was room for {}",
                outputs.len()
            )));
        }
        Ok(count)
    }

    /// The loss of predictions and targets.
    pub fn loss_forward(
        &self,
        runtime: &Runtime,
        number: u32,
        yhats: Handle,
        ys: Handle,
    ) -> Called<Handle> {
        let Table::Loss(table) = self.table else { return wrong_kind!(self, "loss") };
        let mut value = Handle::NONE;
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the place is lent for the call.
        check(unsafe { (table.forward)(self.raw, yhats, ys, &mut value) })?;
        Ok(value)
    }

    /// The optimizer's preparation of a round of updates.
    pub fn optimizer_begin(&self, runtime: &Runtime, number: u32) -> Called {
        let Table::Optimizer(table) = self.table else { return wrong_kind!(self, "optimizer") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { (table.begin)(self.raw) })
    }

    /// The optimizer's update of one parameter.
    pub fn optimizer_update(&self, runtime: &Runtime, number: u32, request: &UpdateRaw) -> Called {
        let Table::Optimizer(table) = self.table else { return wrong_kind!(self, "optimizer") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the request and what it points at are
        // lent for the call.
        check(unsafe { (table.update)(self.raw, request) })
    }

    /// The metric's reset.
    pub fn metric_reset(&self, runtime: &Runtime, number: u32) -> Called {
        let Table::Metric(table) = self.table else { return wrong_kind!(self, "metric") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { (table.reset)(self.raw) })
    }

    /// The metric's value for one step.
    pub fn metric_update(
        &self,
        runtime: &Runtime,
        number: u32,
        input: &MetricInput,
    ) -> Called<f64> {
        let Table::Metric(table) = self.table else { return wrong_kind!(self, "metric") };
        let mut value = f64::NAN;
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; input and place are lent for the call.
        check(unsafe { (table.update)(self.raw, input, &mut value) })?;
        Ok(value)
    }

    /// The metric's value over everything gathered.
    pub fn metric_compute(&self, runtime: &Runtime, number: u32) -> Called<f64> {
        let Table::Metric(table) = self.table else { return wrong_kind!(self, "metric") };
        let mut value = f64::NAN;
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the place is lent for the call.
        check(unsafe { (table.compute)(self.raw, &mut value) })?;
        Ok(value)
    }

    /// The metric's details, JSON.
    pub fn metric_details(&self, runtime: &Runtime, number: u32) -> Called<String> {
        let Table::Metric(table) = self.table else { return wrong_kind!(self, "metric") };
        let mut json = Text::EMPTY;
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the place is lent for the call.
        check(unsafe { (table.details)(self.raw, &mut json) })?;
        // SAFETY: the contract keeps the text valid until the next call of this instance.
        Ok(unsafe { own(json) })
    }

    /// The schedule's value at a time.
    pub fn schedule_value(&self, runtime: &Runtime, number: u32, t: f64) -> Called<f64> {
        let Table::Schedule(table) = self.table else { return wrong_kind!(self, "schedule") };
        let mut value = f64::NAN;
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the place is lent for the call.
        check(unsafe { (table.value)(self.raw, t, &mut value) })?;
        Ok(value)
    }

    /// The schedule's length.
    pub fn schedule_length(&self, runtime: &Runtime, number: u32) -> Called<u64> {
        let Table::Schedule(table) = self.table else { return wrong_kind!(self, "schedule") };
        let mut length = 0;
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the place is lent for the call.
        check(unsafe { (table.length)(self.raw, &mut length) })?;
        Ok(length)
    }

    /// Opens a logger with a folder of its own.
    pub fn logger_open(&self, runtime: &Runtime, number: u32, dir: &str) -> Called {
        let Table::Logger(table) = self.table else { return wrong_kind!(self, "logger") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the text is lent for the call.
        check(unsafe { (table.open)(self.raw, Text::new(dir)) })
    }

    /// Writes one record.
    pub fn logger_write(&self, runtime: &Runtime, number: u32, record: &RecordRaw) -> Called {
        let Table::Logger(table) = self.table else { return wrong_kind!(self, "logger") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component; the record is lent for the call.
        check(unsafe { (table.write)(self.raw, record) })
    }

    /// Flushes and closes a logger.
    pub fn logger_close(&self, runtime: &Runtime, number: u32) -> Called {
        let Table::Logger(table) = self.table else { return wrong_kind!(self, "logger") };
        let _entered = ambient::enter(runtime, number);
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { (table.flush)(self.raw) })?;
        // SAFETY: as above.
        check(unsafe { (table.close)(self.raw) })
    }
}

impl Drop for PluginInstance {
    fn drop(&mut self) {
        // While the runtime lives, the instance can give its tensors back.
        let runtime = self.runtime.upgrade();
        let _entered = runtime.as_deref().map(|runtime| ambient::enter(runtime, self.number));
        let trail = crumb::call(self.number, Doing::Destroying);
        // SAFETY: `raw` came from `create` of this component, and this is the one call that ends
        // it.
        let code = unsafe { (self.component.destroy)(self.raw) };
        trail.end();
        if code != status::OK {
            log::warn!(
                "an instance of a {} did not end well: {}",
                kind::NAMES[self.kind() as usize],
                ambient::take_error()
            );
        }
    }
}

/// The table that goes with the component's kind.
fn table_of(component: &'static Component) -> Called<Table> {
    // SAFETY: the pointers of a component are null or point at static tables of the plugin, which
    // is never unloaded.
    let table = unsafe {
        match component.kind {
            kind::PHASE => component.phase.as_ref().map(Table::Phase),
            kind::CALLBACK => component.callback.as_ref().map(Table::Callback),
            kind::MODEL => component.model.as_ref().map(Table::Model),
            kind::LOSS => component.loss.as_ref().map(Table::Loss),
            kind::DATASET => component.dataset.as_ref().map(Table::Dataset),
            kind::METRIC => component.metric.as_ref().map(Table::Metric),
            kind::SCHEDULE => component.schedule.as_ref().map(Table::Schedule),
            kind::LOGGER => component.logger.as_ref().map(Table::Logger),
            kind::OPTIMIZER => component.optimizer.as_ref().map(Table::Optimizer),
            _ => None,
        }
    };
    table.ok_or_else(|| {
        Failure::new(format!("the component has kind {}, but no table of it", component.kind))
    })
}
