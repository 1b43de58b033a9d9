//! Values of schedules, and which schedule gave a value that a hyper-parameter cannot have.

use super::control::Flow;
use super::instance::Instance;
use super::refusal::Refusal;
use super::runtime::Runtime;
use crate::breadcrumb::Activity;
use crate::calls::CallError;

impl Runtime {
    /// The value of a schedule at a time: a finite number.
    pub(crate) fn schedule_value(&self, schedule: &Instance, t: f64) -> Flow<f64> {
        let value = schedule.call(self, Activity::Value, |call| {
            let value = call.schedule_value(t)?;
            if value.is_finite() {
                return Ok(value);
            }
            Err(CallError::new(format!("its value at {t} is {value}, not a finite number")))
        })?;
        self.step.scheduled.set(Some((schedule.number, t, value)));
        Ok(value)
    }

    /// Adds the schedule to the refusal of a number that `caller` wrote, if the number is the last
    /// value of one of its schedules.
    #[cold]
    #[inline(never)]
    pub(crate) fn name_schedule(&self, caller: u32, number: f64, refusal: Refusal) -> Refusal {
        let schedule = self.step.scheduled.get().and_then(|(schedule, t, value)| {
            let schedule = self.members.get(schedule)?;
            (value == number && schedule.owner == Some(caller)).then_some((schedule, t))
        });
        match (refusal, schedule) {
            (Refusal::Text(text), Some((schedule, t))) => Refusal::Text(format!(
                "{text}; it is the value of `{}` ({} of {}) at {t}",
                schedule.id, schedule.component, schedule.plugin
            )),
            (refusal, _) => refusal,
        }
    }
}
