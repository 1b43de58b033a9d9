//! The functions of each kind of component, as methods of [`Call`].

use fluxbay_plugin::abi::{
    event::EventRaw, handle::Handle, learner::BatchRaw, logger::RecordRaw, metric::MetricInput,
    optimizer::UpdateRaw, phase::PhaseTable, text::Text,
};

use super::error::{CallError, CallResult, check};
use super::fields::FieldSpecs;
use super::plugin_instance::{Call, Table};

/// One method per function of a table. Arguments are lent for the call; `-> T = first` adds a place
/// for a result, which holds `first` before the call.
macro_rules! methods {
    ($($(#[$doc:meta])* $kind:ident($wanted:literal).$function:ident as $name:ident(
        $($argument:ident: $type:ty),*
    ) $(-> $result:ty = $first:expr)?;)+) => {
        impl Call<'_> {
            $(
                $(#[$doc])*
                #[inline]
                pub fn $name(self $(, $argument: $type)*) -> CallResult$(<$result>)? {
                    let Table::$kind(table) = self.0.table else {
                        return Err(self.0.wrong_kind($wanted));
                    };
                    methods!(@call table, $function, self.0.raw, ($($argument),*) $(, $first)?)
                }
            )+
        }
    };
    (@call $table:ident, $function:ident, $raw:expr, ($($argument:ident),*)) => {
        // SAFETY: `raw` belongs to the table's component; the arguments and what they point at are
        // lent for the call.
        check(unsafe { ($table.$function)($raw $(, $argument)*) })
    };
    (@call $table:ident, $function:ident, $raw:expr, ($($argument:ident),*), $first:expr) => {{
        let mut result = $first;
        // SAFETY: `raw` belongs to the table's component; the arguments, what they point at, and
        // the place for the result are lent for the call.
        check(unsafe { ($table.$function)($raw $(, $argument)*, &mut result) })?;
        Ok(result)
    }};
}

methods! {
    /// The phase's init.
    Phase("phase").init as phase_init();
    /// The phase's step.
    Phase("phase").step as phase_step(batch: &BatchRaw);
    /// The callback's init.
    Callback("callback").init as callback_init();
    /// The loss of predictions and targets.
    Loss("loss").forward as loss_forward(yhats: Handle, ys: Handle) -> Handle = Handle::NONE;
    /// The optimizer's preparation of a round of updates.
    Optimizer("optimizer").begin as optimizer_begin();
    /// The optimizer's update of one parameter.
    Optimizer("optimizer").update as optimizer_update(update: &UpdateRaw);
    /// The metric's reset.
    Metric("metric").reset as metric_reset();
    /// The metric's value for one step.
    Metric("metric").update as metric_update(input: &MetricInput) -> f64 = f64::NAN;
    /// The metric's value over everything gathered.
    Metric("metric").compute as metric_compute() -> f64 = f64::NAN;
    /// The schedule's value at a time.
    Schedule("schedule").value as schedule_value(t: f64) -> f64 = f64::NAN;
    /// The schedule's length; 0 for none.
    Schedule("schedule").length as schedule_length() -> u64 = 0;
    /// Writes one record.
    Logger("logger").write as logger_write(record: &RecordRaw);
}

impl Call<'_> {
    /// The instance's state, in its own format; an error if it has more than `limit` bytes, 0 for no
    /// limit.
    pub fn save(self, limit: u64) -> CallResult<Vec<u8>> {
        let mut bytes = Text::EMPTY;
        // SAFETY: `raw` came from `create` of this component; the place is lent for the call.
        check(unsafe { (self.0.component.save)(self.0.raw, &mut bytes) })?;
        if limit > 0 && bytes.len as u64 > limit {
            return Err(CallError::new(format!(
                "its state has {} bytes, more than the {limit} that `instance-state` of \
                 `[checkpoints]` allows",
                bytes.len
            )));
        }
        // SAFETY: the contract keeps the bytes valid until the next call of this instance.
        Ok(unsafe { bytes.as_bytes() }.to_vec())
    }

    /// Restores a saved state.
    pub fn load(self, state_version: u32, bytes: &[u8]) -> CallResult {
        // SAFETY: `raw` came from `create` of this component; the bytes are lent for the call.
        check(unsafe { (self.0.component.load)(self.0.raw, state_version, Text::bytes(bytes)) })
    }

    /// The callback's handling of an event. The callback gets a copy of the event.
    #[inline]
    pub fn callback_on(self, event: &EventRaw) -> CallResult {
        let Table::Callback(table) = self.0.table else {
            return Err(self.0.wrong_kind("callback"));
        };
        let mut copy = *event;
        // SAFETY: `raw` belongs to the table's component; the copy is lent for the call.
        check(unsafe { (table.on)(self.0.raw, &raw mut copy) })
    }

    /// The phase's own epoch.
    pub fn phase_epoch(self) -> CallResult {
        let Table::Phase(PhaseTable { epoch: Some(epoch), .. }) = self.0.table else {
            return Err(self.0.wrong_kind("phase"));
        };
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { epoch(self.0.raw) })
    }

    /// The model's build, for data with these fields.
    pub fn model_build(self, fields: &FieldSpecs<'_>) -> CallResult {
        let Table::Model(table) = self.0.table else { return Err(self.0.wrong_kind("model")) };
        let spec = fields.raw();
        // SAFETY: `raw` belongs to the table's component; the spec and what it points at are lent
        // for the call.
        check(unsafe { (table.build)(self.0.raw, &spec) })
    }

    /// The model's forward pass; returns the number of outputs.
    pub fn model_forward(self, inputs: &[Handle], outputs: &mut [Handle]) -> CallResult<usize> {
        let Table::Model(table) = self.0.table else { return Err(self.0.wrong_kind("model")) };
        let mut count = 0;
        // SAFETY: `raw` belongs to the table's component; inputs and places are lent for the call.
        let code = unsafe {
            (table.forward)(
                self.0.raw,
                inputs.as_ptr(),
                inputs.len(),
                outputs.as_mut_ptr(),
                outputs.len(),
                &mut count,
            )
        };
        check(code)?;
        if count > outputs.len() {
            return Err(CallError::new(format!(
                "it announced {count} outputs where there was room for {}",
                outputs.len()
            )));
        }
        Ok(count)
    }

    /// The metric's details, JSON.
    pub fn metric_details(self) -> CallResult<String> {
        let Table::Metric(table) = self.0.table else { return Err(self.0.wrong_kind("metric")) };
        let mut json = Text::EMPTY;
        // SAFETY: `raw` belongs to the table's component; the place is lent for the call.
        check(unsafe { (table.details)(self.0.raw, &mut json) })?;
        // SAFETY: the contract keeps the text valid until the next call of this instance.
        Ok(unsafe { json.to_text() }.into_owned())
    }

    /// Opens a logger with a folder of its own.
    pub fn logger_open(self, dir: &str) -> CallResult {
        let Table::Logger(table) = self.0.table else { return Err(self.0.wrong_kind("logger")) };
        // SAFETY: `raw` belongs to the table's component; the text is lent for the call.
        check(unsafe { (table.open)(self.0.raw, Text::new(dir)) })
    }

    /// Flushes and closes a logger.
    pub fn logger_close(self) -> CallResult {
        let Table::Logger(table) = self.0.table else { return Err(self.0.wrong_kind("logger")) };
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { (table.flush)(self.0.raw) })?;
        // SAFETY: as above.
        check(unsafe { (table.close)(self.0.raw) })
    }
}
