//! The plugin's side of an instance: created, called, destroyed.

use std::rc::Weak;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fluxbay_plugin::abi::{
    callback::{CallbackTable, resolution},
    communicator::CommunicatorTable,
    dataset::DatasetTable,
    entry::{self, Component, kind},
    logger::LoggerTable,
    loss::LossTable,
    metric::MetricTable,
    model::ModelTable,
    optimizer::OptimizerTable,
    phase::PhaseTable,
    sampler::SamplerTable,
    schedule::ScheduleTable,
    text::Text,
    transform::TransformTable,
};

use super::context::{self, Host};
use super::error::{CallError, CallResult, check};
use super::event_round::EventHandler;
use crate::breadcrumb::{self, Activity};
use crate::library::ComponentRows;
use crate::surroundings::{self, float, process};

/// The table of a component's kind. Plugins are never unloaded, so the reference stays valid.
#[derive(Clone, Copy, Debug)]
pub(super) enum Table {
    Phase(&'static PhaseTable),
    Callback(&'static CallbackTable),
    Model(&'static ModelTable),
    Loss(&'static LossTable),
    Dataset(&'static DatasetTable),
    Metric(&'static MetricTable),
    Schedule(&'static ScheduleTable),
    Logger(&'static LoggerTable),
    Optimizer(&'static OptimizerTable),
    Transform(&'static TransformTable),
    Sampler(&'static SamplerTable),
    Communicator(&'static CommunicatorTable),
}

/// The plugin's side of an instance. Dropping it destroys the instance.
#[derive(Debug)]
pub struct PluginInstance {
    host: Weak<dyn Host>,
    number: u32,
    /// Id, component and plugin, for messages.
    label: String,
    pub(super) raw: entry::Instance,
    pub(super) component: &'static Component,
    pub(super) table: Table,
    pub(super) rows: ComponentRows,
    /// Whether a change of the floating-point control was reported.
    warned: AtomicBool,
}

/// A call into an instance that is in progress: host functions on this thread serve the instance.
/// Its methods are the functions of the component's kind.
#[derive(Clone, Copy)]
pub struct Call<'a>(pub(super) &'a PluginInstance);

impl PluginInstance {
    /// Creates instance `number` of a component with a complete configuration. `label` names it in
    /// messages.
    pub fn create<H: Host>(
        host: &H,
        number: u32,
        label: String,
        component: &'static Component,
        rows: ComponentRows,
        config: &str,
    ) -> CallResult<PluginInstance> {
        let table = table_of(component, &rows)?;
        let mut raw = entry::Instance(std::ptr::null_mut());
        let guard = breadcrumb::call(number, Activity::Creating);
        let created = {
            let _entered = context::enter(host, number);
            surroundings::guarded(
                || format!("{label}, while it was created"),
                || {
                    // SAFETY: the component was checked when its plugin was loaded; config and
                    // place are lent for the call.
                    check(unsafe { (component.create)(Text::new(config), &mut raw) })
                },
            )
        };
        guard.end();
        created?;
        Ok(PluginInstance {
            host: host.weak(),
            number,
            label,
            raw,
            component,
            table,
            rows,
            warned: AtomicBool::new(false),
        })
    }

    /// The component's kind, a number of the contract's `kind`.
    pub fn kind(&self) -> u32 {
        self.component.kind
    }

    /// Its number in the run.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Version of the state that [`Call::save`] returns.
    pub fn state_version(&self) -> u32 {
        self.component.state_version
    }

    /// Whether the data set keeps what it learns.
    pub fn keeps_learnt(&self) -> bool {
        self.rows.dataset_state.is_some()
    }

    /// Whether the data set reads files to predict from.
    pub fn reads_inputs(&self) -> bool {
        self.rows.dataset_inputs.is_some()
    }

    /// Whether it turns texts into token ids and back.
    pub fn has_texts(&self) -> bool {
        self.rows.dataset_text.is_some()
    }

    /// Whether the phase has an `epoch` function of its own.
    pub fn has_epoch(&self) -> bool {
        matches!(self.table, Table::Phase(PhaseTable { epoch: Some(_), .. }))
    }

    /// Runs `f` as a call into this instance, with breadcrumb and context set.
    #[inline]
    pub fn call<H: Host, T>(
        &self,
        host: &H,
        activity: Activity,
        f: impl FnOnce(Call<'_>) -> CallResult<T>,
    ) -> CallResult<T> {
        let guard = breadcrumb::call(self.number, activity);
        let result = {
            let _entered = context::enter(host, self.number);
            if activity.is_rare() {
                surroundings::guarded(
                    || format!("{}, {}", self.label, activity.standard_phrase()),
                    || f(Call(self)),
                )
            } else {
                f(Call(self))
            }
        };
        if !float::Control::STANDARD.holds() || process::is_copy() {
            self.restore_after(activity);
        }
        guard.end();
        result
    }

    /// Restores floating-point control after a call that changed it, and ends a forked copy.
    #[cold]
    #[inline(never)]
    pub fn restore_after(&self, activity: Activity) {
        let whose = format!("{}, {}", self.label, activity.standard_phrase());
        if process::is_copy() {
            surroundings::end_copy(&whose);
        }
        let change = float::restore_standard();
        if !self.warned.swap(true, Ordering::Relaxed) {
            log::warn!(
                "{whose}: the floating-point control was changed ({change}); restored, and not reported again for this instance"
            );
        }
    }

    /// A callback's function for events, for the dispatch lists; `None` for other kinds.
    pub fn event_handler(self: &Arc<PluginInstance>) -> Option<EventHandler> {
        let Table::Callback(table) = self.table else { return None };
        Some(EventHandler {
            on: table.on,
            raw: self.raw,
            number: self.number,
            _instance: Arc::clone(self),
        })
    }

    /// The callback's answer to a conflict, a number of the contract's `resolution`. Host functions
    /// do not serve it.
    pub fn callback_resolve(&self, other: &str, path: &str) -> u32 {
        let Table::Callback(table) = self.table else { return resolution::NOT_DEFINED };
        let guard = breadcrumb::call(self.number, Activity::Resolving);
        // SAFETY: `raw` belongs to the table's component; the texts are lent for the call.
        let answer = unsafe { (table.resolve)(self.raw, Text::new(other), Text::new(path)) };
        guard.end();
        answer
    }

    #[cold]
    pub(super) fn wrong_kind(&self, wanted: &str) -> CallError {
        CallError::new(format!(
            "a {wanted} was called, but the instance is a {}",
            kind::NAMES[self.kind() as usize]
        ))
    }
}

impl Drop for PluginInstance {
    fn drop(&mut self) {
        // While the host lives, the instance can release its tensors.
        let host = self.host.upgrade();
        let guard = breadcrumb::call(self.number, Activity::Destroying);
        let result = {
            let _entered = host.as_deref().map(|host| context::enter_dyn(host, self.number));
            // SAFETY: `raw` came from `create` of this component, and this is the one call that
            // destroys it.
            check(unsafe { (self.component.destroy)(self.raw) })
        };
        guard.end();
        if let Err(error) = result {
            log::warn!("{} failed while it was destroyed: {}", self.label, error.reason());
        }
    }
}

/// The table that belongs to the component's kind.
fn table_of(component: &'static Component, rows: &ComponentRows) -> CallResult<Table> {
    let later = rows.kind.map_or(std::ptr::null(), |row| row.table);
    // SAFETY: the pointers of a component and of its row are null or point at static tables of the
    // plugin, which is never unloaded; the table of a row is that of its kind, and has at least the
    // functions that the host knows.
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
            kind::TRANSFORM => later.cast::<TransformTable>().as_ref().map(Table::Transform),
            kind::SAMPLER => later.cast::<SamplerTable>().as_ref().map(Table::Sampler),
            kind::COMMUNICATOR => {
                later.cast::<CommunicatorTable>().as_ref().map(Table::Communicator)
            }
            _ => None,
        }
    };
    table.ok_or_else(|| {
        CallError::new(format!("the component has kind {}, but no table of it", component.kind))
    })
}
