//! The values of a schedule without training.

use serde_json::{Map, Value as Json};

use super::Composed;
use crate::breadcrumb::Activity;
use crate::learner::{Components as _, NewInstance};
use crate::library::Kind;

/// The values of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulePreview {
    /// Time from which on the value is constant, if the schedule declares it.
    pub length: Option<u64>,
    /// Its values at the times 1, 2, 3, ...
    pub values: Vec<f64>,
}

/// Number of values of a schedule without a length.
const TIMES: u64 = 100;

impl Composed {
    /// The values of a schedule, given as in a run file: a number, a component's name, or a table
    /// with `component` and its settings. Without `times`, up to the schedule's own length.
    ///
    /// # Errors
    /// What is wrong with the schedule, as a text.
    pub fn preview_schedule(
        &self,
        schedule: &Json,
        times: Option<u64>,
    ) -> Result<SchedulePreview, String> {
        let (component, config) = match schedule {
            Json::Number(number) => {
                let value = number.as_f64().unwrap_or(f64::NAN);
                return Ok(SchedulePreview {
                    length: Some(1),
                    values: vec![value; times.unwrap_or(1) as usize],
                });
            }
            Json::String(component) => (component.clone(), Map::new()),
            Json::Object(table) => {
                let mut config = table.clone();
                match config.remove("component") {
                    Some(Json::String(component)) => (component, config),
                    _ => return Err("a schedule's table needs `component`, a text".to_owned()),
                }
            }
            other => {
                return Err(format!(
                    "a schedule is a number, a name, or a table with `component`, not {other}"
                ));
            }
        };
        let kind =
            Kind::ALL.iter().position(|kind| *kind == Kind::Schedule).unwrap_or_default() as u32;
        let prepared = self.plugins.prepare(kind, &component, &Json::Object(config).to_string())?;
        let instance = self
            .runtime
            .create(NewInstance::named("schedule-preview"), prepared)
            .map_err(|stop| stop.0.text.clone())?;
        let runtime = &self.runtime;
        let length = instance
            .call(runtime, Activity::Length, |call| call.schedule_length())
            .map_err(|stop| stop.to_string())?;
        let length = (length > 0).then_some(length);
        let value =
            |t: u64| instance.call(runtime, Activity::Value, |call| call.schedule_value(t as f64));
        let values = (1..=times.or(length).unwrap_or(TIMES))
            .map(value)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|stop| stop.to_string());
        runtime.remove(&instance);
        Ok(SchedulePreview { length, values: values? })
    }
}
