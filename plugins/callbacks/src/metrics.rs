//! Measures the loss and any metrics, for each step and over each epoch.
//!
//! Values are series over the steps of the phase in `cbstate.metrics-step.<phase>.<name>` and over
//! the epochs of the fit in `cbstate.metrics-epoch.<phase>.<name>`, and are written to the metrics
//! files of the run. A metric that has more than one number, such as `confusion-matrix`, leaves those of
//! the last epoch in `details/<phase>.<name>.json` of the run's folder.

use std::path::PathBuf;

use fluxbay_plugin::{ChildMetric, prelude::*, serde};
use serde_json::Value;

use crate::{
    details,
    nested::{Nested, bare, check_name},
    phases::kind_name,
};

config! {
    /// What is measured.
    pub struct Config {
        /// Metrics besides the loss: names, or tables with `component`, the metric's own keys, and
        /// optionally `name` (how it is reported) and `phase` (the only phase, or kind of phase,
        /// in which it is measured).
        metrics: Vec<Value> = [],
        /// Number of steps between step values in the files of the run; 0 omits step values.
        record_every: u64 = 1,
        /// Whether metrics with more than one number, such as a confusion matrix, leave them in the
        /// folder of the run after each epoch.
        record_details: bool = true,
    }
}

/// One entry of `metrics`.
#[derive(Debug, PartialEq)]
struct MetricEntry {
    component: String,
    name: String,
    phase: Option<String>,
    config: Value,
}

impl MetricEntry {
    fn from_value(value: &Value) -> Result<MetricEntry> {
        let Nested { component, mut config } = Nested::new(value, "metric")?;
        let mut text = |key: &str| match config.as_object_mut().and_then(|table| table.remove(key))
        {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                Err(Error::new(format!("`{key}` of a metric must be a text, not {other}")))
            }
        };
        let (name, phase) = (text("name")?, text("phase")?);
        let name = name.unwrap_or_else(|| bare(&component).to_owned());
        Ok(MetricEntry { component, name, phase, config })
    }

    fn all(values: &[Value]) -> Result<Vec<MetricEntry>> {
        let mut all: Vec<MetricEntry> = Vec::new();
        for value in values {
            let entry = MetricEntry::from_value(value)?;
            check_name(&entry.name, "metric")?;
            if entry.name == "loss" {
                bail!(
                    "the loss is always measured as the first metric: remove `loss` from `metrics`, or give the metric another `name`"
                );
            }
            if all.iter().any(|other| other.name == entry.name) {
                bail!("two metrics are called `{}`: give one of them another `name`", entry.name);
            }
            all.push(entry);
        }
        Ok(all)
    }
}

/// A metric and the name under which it is reported.
struct Measured {
    name: String,
    phase: Option<String>,
    metric: ChildMetric,
}

/// Mean loss over an epoch, each step weighted by its samples.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct LossSum {
    sum: f64,
    samples: u64,
}

impl LossSum {
    fn add(&mut self, loss: f64, samples: u64) {
        self.sum += loss * samples as f64;
        self.samples += samples;
    }

    fn mean(&self) -> f64 {
        self.sum / self.samples as f64
    }
}

/// The state slots of one phase.
struct PhaseSlots {
    loss: Slots,
    /// Index into the metrics, and the slots.
    metrics: Vec<(usize, Slots)>,
}

struct Slots {
    step: Write<Series>,
    epoch: Write<Series>,
}

/// The callback `metrics`.
pub struct Metrics {
    record_every: u64,
    loss: Read<f64>,
    yhats: Read<Tensor>,
    ys: Read<Tensor>,
    step_values: Write<Node>,
    epoch_values: Write<Node>,
    metrics: Vec<Measured>,
    /// By phase index; `None` for phases that have not run.
    phases: Vec<Option<PhaseSlots>>,
    epoch: EpochState,
    /// Folder of details; none if they are not kept.
    details: Option<PathBuf>,
}

/// The saved state. The host saves the state of the metrics themselves.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct EpochState {
    loss: LossSum,
    /// Whether any step of the epoch had predictions and targets.
    measured: bool,
    /// The phase whose epoch is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phase: Option<usize>,
    /// The epoch within which this one runs: validation within a training epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outer: Option<Box<EpochState>>,
}

impl EpochState {
    /// An epoch of `phase` begins.
    fn begin(&mut self, phase: usize) {
        let before = std::mem::take(self);
        self.phase = Some(phase);
        // An epoch of the same phase was cancelled.
        self.outer = match before.phase {
            Some(open) if open != phase => Some(Box::new(before)),
            _ => None,
        };
    }

    /// The epoch ended: goes back to the one around it.
    fn end(&mut self) {
        *self = self.outer.take().map(|outer| *outer).unwrap_or_default();
    }
}

impl Component for Metrics {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        setup.declare_figure(None, "loss", Direction::Lower)?;
        let mut metrics = Vec::new();
        for entry in MetricEntry::all(&config.metrics)? {
            let metric = setup
                .metric(&entry.component, &entry.config)
                .context(format!("metric `{}`", entry.name))?;
            setup.declare_metric(entry.phase.as_deref(), &entry.name, &metric)?;
            metrics.push(Measured { name: entry.name, phase: entry.phase, metric });
        }
        let has_metrics = !metrics.is_empty();
        Ok(Metrics {
            record_every: config.record_every,
            loss: setup.read("step.loss")?,
            yhats: setup.read("step.yhats")?,
            ys: setup.read("step.ys")?,
            step_values: setup.write("cbstate.metrics-step")?,
            epoch_values: setup.write("cbstate.metrics-epoch")?,
            metrics,
            phases: Vec::new(),
            epoch: EpochState::default(),
            details: if config.record_details && has_metrics {
                setup.run_dir()?.map(|dir| dir.join(details::FOLDER))
            } else {
                None
            },
        })
    }

    state!(epoch);
}

impl Metrics {
    /// Creates the slots of the running phase if they are missing; returns the index of the phase.
    fn prepare(&mut self, event: &Event) -> Result<Option<usize>> {
        let Some(phase) = event.phase() else { return Ok(None) };
        if self.phases.len() <= phase {
            self.phases.resize_with(phase + 1, || None);
        }
        if self.phases[phase].is_none() {
            let name = event.phase_name()?;
            let kind = event.phase_kind().map_or("", kind_name);
            self.phases[phase] = Some(self.slots_of(&name, kind)?);
        }
        Ok(Some(phase))
    }

    fn slots_of(&self, phase: &str, kind: &str) -> Result<PhaseSlots> {
        let (steps, epochs): (Write<Node>, Write<Node>) =
            (self.step_values.child(phase)?, self.epoch_values.child(phase)?);
        let slots = |name: &str| -> Result<Slots> {
            Ok(Slots { step: steps.child(name)?, epoch: epochs.child(name)? })
        };
        let for_this = |measured: &Measured| {
            measured.phase.as_ref().is_none_or(|wanted| wanted == phase || wanted == kind)
        };
        let metrics = self.metrics.iter().enumerate().filter(|(_, measured)| for_this(measured));
        let metrics = metrics
            .map(|(index, measured)| Ok((index, slots(&measured.name)?)))
            .collect::<Result<_>>()?;
        Ok(PhaseSlots { loss: slots("loss")?, metrics })
    }

    fn reset(&mut self, phase: usize) -> Result<()> {
        self.epoch.begin(phase);
        let Some(Some(slots)) = self.phases.get(phase) else { return Ok(()) };
        slots.metrics.iter().try_for_each(|(index, _)| self.metrics[*index].metric.reset())
    }

    fn step(&mut self, phase: usize, learner: &Learner) -> Result<()> {
        let Some(Some(slots)) = self.phases.get(phase) else { return Ok(()) };
        let Some(loss) = learner.find(&self.loss)? else { return Ok(()) };
        let at = learner.position()?;
        let x = at.total_steps as f64;
        let record =
            self.record_every > 0 && (at.total_steps - 1).is_multiple_of(self.record_every);
        self.epoch.phase = Some(phase);
        self.epoch.loss.add(loss, at.samples);
        slots.loss.step.push(x, loss)?;
        if record {
            learner.record_step("loss", loss)?;
        }
        if slots.metrics.is_empty() {
            return Ok(());
        }
        let (Some(yhats), Some(ys)) = (learner.find(&self.yhats)?, learner.find(&self.ys)?) else {
            return Ok(());
        };
        let input = MetricInput::new(yhats, ys, loss, at.samples);
        self.epoch.measured = true;
        for (index, slots) in &slots.metrics {
            let measured = &self.metrics[*index];
            let value = measured
                .metric
                .update(&input)
                .context(format_args!("metric `{}`", measured.name))?;
            slots.step.push(x, value)?;
            if record {
                learner.record_step(&measured.name, value)?;
            }
        }
        Ok(())
    }

    /// Writes what a metric has besides its value.
    fn write_details(&self, phase: &str, measured: &Measured, epoch: u64) -> Result<()> {
        let Some(folder) = &self.details else { return Ok(()) };
        let text = measured.metric.details()?;
        if text.is_empty() {
            return Ok(());
        }
        let details: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        details::write(folder, phase, &measured.name, epoch, details);
        Ok(())
    }

    fn epoch_end(&self, event: &Event, phase: usize, learner: &Learner) -> Result<()> {
        let epoch = event.epoch();
        let Some(Some(slots)) = self.phases.get(phase) else { return Ok(()) };
        if self.epoch.loss.samples == 0 {
            return Ok(());
        }
        let loss = self.epoch.loss.mean();
        slots.loss.epoch.push(epoch as f64, loss)?;
        learner.record_epoch("loss", loss)?;
        for (index, slots) in slots.metrics.iter().filter(|_| self.epoch.measured) {
            let measured = &self.metrics[*index];
            let value =
                measured.metric.compute().context(format_args!("metric `{}`", measured.name))?;
            slots.epoch.push(epoch as f64, value)?;
            learner.record_epoch(&measured.name, value)?;
            self.write_details(&event.phase_name()?, measured, epoch)
                .context(format_args!("metric `{}`", measured.name))?;
        }
        Ok(())
    }
}

impl Callback for Metrics {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let Some(phase) = self.prepare(event)? else { return Ok(()) };
        match event.kind() {
            EpochBegin => self.reset(phase),
            StepEnd => self.step(phase, learner),
            EpochEnd => {
                let flow = self.epoch_end(event, phase, learner);
                self.epoch.end();
                flow
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_metric_is_a_name_or_a_table() {
        let wanted = MetricEntry::all(&[
            json!("accuracy"),
            json!({"component": "own:metric/top-k", "k": 3, "phase": "validation"}),
        ])
        .unwrap();
        assert_eq!(
            wanted[0],
            MetricEntry {
                component: "accuracy".into(),
                name: "accuracy".into(),
                phase: None,
                config: json!({})
            }
        );
        assert_eq!((&*wanted[1].name, wanted[1].phase.as_deref()), ("top-k", Some("validation")));
        assert_eq!(wanted[1].config, json!({"k": 3}));
    }

    #[test]
    fn behaviour_21_two_metrics_of_one_name_are_refused() {
        let refused = |values: &[Value]| MetricEntry::all(values).unwrap_err().to_string();
        assert!(
            refused(&[json!("accuracy"), json!("accuracy")])
                .contains("two metrics are called `accuracy`")
        );
        let named = [
            json!({"component": "top-k", "k": 1, "name": "top-1"}),
            json!({"component": "top-k", "k": 5}),
        ];
        assert_eq!(MetricEntry::all(&named).unwrap().len(), 2);
        assert!(refused(&[json!("loss")]).contains("always measured"));
        assert!(refused(&[json!({"k": 3})]).contains("needs `component`"));
        assert!(refused(&[json!({"component": "a", "name": "b.c"})]).contains("'.'"));
    }

    #[test]
    fn an_epoch_within_another_leaves_its_sums_alone() {
        let mut epoch = EpochState::default();
        epoch.begin(0);
        epoch.loss.add(1.0, 8);
        epoch.begin(1);
        epoch.loss.add(5.0, 8);
        assert_eq!((epoch.loss.mean(), epoch.phase), (5.0, Some(1)));
        epoch.end();
        assert_eq!((epoch.loss.mean(), epoch.phase), (1.0, Some(0)));
        // Cancelled, without an end.
        epoch.begin(0);
        assert!(epoch.outer.is_none() && epoch.loss.samples == 0);
        epoch.end();
        assert_eq!(epoch.phase, None);
    }

    #[test]
    fn behaviour_21_a_short_batch_weighs_less() {
        let mut sum = LossSum::default();
        sum.add(1.0, 32);
        sum.add(3.0, 8);
        assert_eq!(sum.mean(), 56.0 / 40.0);
    }
}
