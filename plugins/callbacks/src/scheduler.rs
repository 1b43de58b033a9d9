//! Sets hyper-parameters of optimizers, callbacks and other components from schedules.

use std::collections::BTreeMap;

use fluxbay_plugin::{ChildSchedule, prelude::*, serde};
use serde_json::Value;

use crate::{nested::Nested, phases::Chosen};

choice! {
    /// The time of the schedules.
    pub enum Unit {
        /// Updates of the parameters: steps of training phases except cancelled ones and those that
        /// only accumulate gradients.
        Updates,
        /// Epochs of training phases.
        Epochs,
    }
}

config! {
    /// The scheduled hyper-parameters.
    pub struct Config {
        /// For each path of a hyper-parameter (`optimizer.learning-rate`, `optimizer.MODEL.NAME`,
        /// `hyper.INSTANCE.NAME`) a number, the name of a schedule, or a table with `component`
        /// and its keys.
        schedules: BTreeMap<String, Value> = {},
        /// The time of the schedules.
        unit: Unit = "updates",
        /// The training phase whose updates or epochs are counted, by id; by default all of them.
        phase: Option<String> = null,
    }
}

/// The callback `scheduler`.
pub struct Scheduler {
    bound: Vec<Bound>,
    unit: Unit,
    phase: Chosen,
    skipped: Read<bool>,
    counted: Counted,
}

/// One scheduled hyper-parameter.
struct Bound {
    path: String,
    slot: Write<f64>,
    source: Source,
}

enum Source {
    Constant(f64),
    Schedule(ChildSchedule),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Counted {
    updates: u64,
    epochs: u64,
}

impl Counted {
    /// Counts an event of a training phase; returns the time for which to set values now, if any.
    fn on(&mut self, event: EventKind, unit: Unit, skipped: bool) -> Option<f64> {
        match (event, unit) {
            (StepBegin, Unit::Updates) => return Some((self.updates + 1) as f64),
            (EpochBegin, Unit::Epochs) => return Some((self.epochs + 1) as f64),
            (StepEnd, _) if !skipped => self.updates += 1,
            (EpochEnd, _) => self.epochs += 1,
            _ => {}
        }
        None
    }
}

impl Bound {
    fn new(path: String, value: &Value, setup: &mut Setup) -> Result<Bound> {
        let source = match value.as_f64() {
            Some(value) => Source::Constant(value),
            None => {
                let nested = Nested::new(value, "schedule")?;
                Source::Schedule(setup.schedule(&nested.component, &nested.config)?)
            }
        };
        Ok(Bound { slot: setup.write(&path)?, path, source })
    }

    fn value(&self, t: f64) -> Result<f64> {
        match &self.source {
            Source::Constant(value) => Ok(*value),
            Source::Schedule(schedule) => schedule.value(t),
        }
    }
}

impl Component for Scheduler {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let mut bound = Vec::new();
        for (path, value) in config.schedules {
            if !path.starts_with("optimizer.") && !path.starts_with("hyper.") {
                bail!(
                    "`{path}` is not the path of a hyper-parameter; such paths are optimizer.NAME, optimizer.MODEL.NAME and hyper.INSTANCE.NAME"
                );
            }
            let context = format!("schedule of `{path}`");
            bound.push(Bound::new(path, &value, setup).context(context)?);
        }
        Ok(Scheduler {
            bound,
            unit: config.unit,
            phase: Chosen::new(config.phase),
            skipped: setup.read("step.update-skipped")?,
            counted: Counted::default(),
        })
    }

    state!(counted);
}

impl Callback for Scheduler {
    fn init(&mut self, learner: &Learner) -> Result<()> {
        for bound in &self.bound {
            if learner.find(&bound.slot)?.is_none() {
                bail!(
                    "this run has no hyper-parameter `{}`; paths are optimizer.NAME with one optimizer, optimizer.MODEL.NAME with one \
                     per model, and hyper.INSTANCE.NAME for other instances",
                    bound.path
                );
            }
        }
        Ok(())
    }

    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.is_training() || !self.phase.includes(event)? {
            return Ok(());
        }
        let skipped = event.kind() == StepEnd && learner.find(&self.skipped)?.unwrap_or(false);
        if let Some(t) = self.counted.on(event.kind(), self.unit, skipped) {
            for bound in &self.bound {
                let value =
                    bound.value(t).context(format_args!("schedule of `{}` at {t}", bound.path))?;
                learner.set(&bound.slot, value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviour_28_the_first_step_is_time_1_and_only_updates_count() {
        let mut counted = Counted::default();
        assert_eq!(counted.on(StepBegin, Unit::Updates, false), Some(1.0));
        // The step was cancelled: no step-end, and the next one asks for the same time.
        assert_eq!(counted.on(StepBegin, Unit::Updates, false), Some(1.0));
        counted.on(StepEnd, Unit::Updates, false);
        counted.on(StepEnd, Unit::Updates, true);
        assert_eq!(counted.on(StepBegin, Unit::Updates, false), Some(2.0));
    }

    #[test]
    fn epochs_count_where_asked_for() {
        let mut counted = Counted::default();
        assert_eq!(counted.on(EpochBegin, Unit::Epochs, false), Some(1.0));
        assert_eq!(counted.on(StepBegin, Unit::Epochs, false), None);
        counted.on(EpochEnd, Unit::Epochs, false);
        assert_eq!(counted.on(EpochBegin, Unit::Epochs, false), Some(2.0));
    }
}
