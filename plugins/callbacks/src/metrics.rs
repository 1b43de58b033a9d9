//! Measures: the loss and any metrics, per step and over each epoch.
//!
//! Values go to `cbstate.metrics-step.<phase>.<name>` and `cbstate.metrics-epoch.<phase>.<name>`,
//! series over the phase's steps and the fit's epochs, and into the run's metrics files.

use fluxbay_plugin::{ChildMetric, prelude::*, serde};
use serde_json::Value;

use crate::{
    nested::{Nested, bare, check_name},
    phases::kind_name,
};

config! {
    /// What is measured.
    pub struct Config {
        /// Metrics beside the loss: names, or tables with `component`, the metric's own keys, and
        /// where wanted `name` (how it is reported) and `phase` (the only phase, or kind of phases,
        /// that it is for).
        metrics: Vec<Value> = [],
        /// Every how many steps the step values go into the run's files; 0 keeps them out.
        record_every: u64 = 1,
    }
}

/// One metric as the configuration asks for it.
#[derive(Debug, PartialEq)]
struct Wanted {
    component: String,
    name: String,
    phase: Option<String>,
    config: Value,
}

impl Wanted {
    fn from_value(value: &Value) -> Result<Wanted> {
        let Nested { component, mut config } = Nested::new(value, "metric")?;
        let mut text = |key: &str| match config.as_object_mut().and_then(|table| table.remove(key))
        {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Error::new(format!("`{key}` of a metric is a text, not {other}"))),
        };
        let (name, phase) = (text("name")?, text("phase")?);
        let name = name.unwrap_or_else(|| bare(&component).to_owned());
        Ok(Wanted { component, name, phase, config })
    }

    fn all(values: &[Value]) -> Result<Vec<Wanted>> {
        let mut all: Vec<Wanted> = Vec::new();
        for value in values {
            let wanted = Wanted::from_value(value)?;
            check_name(&wanted.name, "metric")?;
            if wanted.name == "loss" {
                bail!(
                    "the loss is always measured and is the first metric; take `loss` out of `metrics`, or give the metric another `name`"
                );
            }
            if all.iter().any(|other| other.name == wanted.name) {
                bail!("two metrics are called `{}`: give one of them another `name`", wanted.name);
            }
            all.push(wanted);
        }
        Ok(all)
    }
}

/// A metric with what it is called.
struct Measured {
    name: String,
    phase: Option<String>,
    metric: ChildMetric,
}

/// Loss over an epoch, each step weighted by its samples.
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

/// What one phase measures, and where it goes.
struct Place {
    loss: Pair,
    /// Index into the metrics, and slots.
    metrics: Vec<(usize, Pair)>,
}

struct Pair {
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
    /// By phase index; none for phases that have not run.
    places: Vec<Option<Place>>,
    gathered: Gathered,
}

/// What a resumed run needs beside the metrics' own state, which the host keeps.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Gathered {
    loss: LossSum,
    /// Whether any step of the epoch had predictions and targets.
    measured: bool,
}

impl Component for Metrics {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let mut metrics = Vec::new();
        for wanted in Wanted::all(&config.metrics)? {
            let metric = setup
                .metric(&wanted.component, &wanted.config)
                .context(format!("metric `{}`", wanted.name))?;
            metrics.push(Measured { name: wanted.name, phase: wanted.phase, metric });
        }
        Ok(Metrics {
            record_every: config.record_every,
            loss: setup.read("step.loss")?,
            yhats: setup.read("step.yhats")?,
            ys: setup.read("step.ys")?,
            step_values: setup.write("cbstate.metrics-step")?,
            epoch_values: setup.write("cbstate.metrics-epoch")?,
            metrics,
            places: Vec::new(),
            gathered: Gathered::default(),
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&self.gathered)
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.gathered = from_bytes(bytes)?;
        Ok(())
    }
}

impl Metrics {
    /// Makes the slots of the running phase where they are missing; answers its index.
    fn arrange(&mut self, event: &Event) -> Result<Option<usize>> {
        let Some(phase) = event.phase() else { return Ok(None) };
        if self.places.len() <= phase {
            self.places.resize_with(phase + 1, || None);
        }
        if self.places[phase].is_none() {
            let name = event.phase_name()?;
            let kind = event.phase_kind().map_or("", kind_name);
            self.places[phase] = Some(self.place_of(&name, kind)?);
        }
        Ok(Some(phase))
    }

    fn place_of(&self, phase: &str, kind: &str) -> Result<Place> {
        let (steps, epochs): (Write<Node>, Write<Node>) =
            (self.step_values.child(phase)?, self.epoch_values.child(phase)?);
        let pair = |name: &str| -> Result<Pair> {
            Ok(Pair { step: steps.child(name)?, epoch: epochs.child(name)? })
        };
        let for_this = |measured: &Measured| {
            measured.phase.as_ref().is_none_or(|wanted| wanted == phase || wanted == kind)
        };
        let metrics = self.metrics.iter().enumerate().filter(|(_, measured)| for_this(measured));
        let metrics = metrics
            .map(|(index, measured)| Ok((index, pair(&measured.name)?)))
            .collect::<Result<_>>()?;
        Ok(Place { loss: pair("loss")?, metrics })
    }

    fn reset(&mut self, phase: usize) -> Result<()> {
        self.gathered = Gathered::default();
        let Some(Some(place)) = self.places.get(phase) else { return Ok(()) };
        place.metrics.iter().try_for_each(|(index, _)| self.metrics[*index].metric.reset())
    }

    fn step(&mut self, phase: usize, learner: &Learner) -> Result<()> {
        let Some(Some(place)) = self.places.get(phase) else { return Ok(()) };
        let Some(loss) = learner.find(&self.loss)? else { return Ok(()) };
        let at = learner.position()?;
        let x = at.total_steps as f64;
        let record =
            self.record_every > 0 && (at.total_steps - 1).is_multiple_of(self.record_every);
        self.gathered.loss.add(loss, at.samples);
        place.loss.step.push(x, loss)?;
        if record {
            learner.record_step("loss", loss)?;
        }
        if place.metrics.is_empty() {
            return Ok(());
        }
        let (Some(yhats), Some(ys)) = (learner.find(&self.yhats)?, learner.find(&self.ys)?) else {
            return Ok(());
        };
        let input = MetricInput::new(yhats, ys, loss, at.samples);
        self.gathered.measured = true;
        for (index, pair) in &place.metrics {
            let measured = &self.metrics[*index];
            let value = measured
                .metric
                .update(&input)
                .context(format_args!("metric `{}`", measured.name))?;
            pair.step.push(x, value)?;
            if record {
                learner.record_step(&measured.name, value)?;
            }
        }
        Ok(())
    }

    fn epoch_end(&self, phase: usize, epoch: u64, learner: &Learner) -> Result<()> {
        let Some(Some(place)) = self.places.get(phase) else { return Ok(()) };
        if self.gathered.loss.samples == 0 {
            return Ok(());
        }
        let loss = self.gathered.loss.mean();
        place.loss.epoch.push(epoch as f64, loss)?;
        learner.record_epoch("loss", loss)?;
        for (index, pair) in place.metrics.iter().filter(|_| self.gathered.measured) {
            let measured = &self.metrics[*index];
            let value =
                measured.metric.compute().context(format_args!("metric `{}`", measured.name))?;
            pair.epoch.push(epoch as f64, value)?;
            learner.record_epoch(&measured.name, value)?;
        }
        Ok(())
    }
}

impl Callback for Metrics {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let Some(phase) = self.arrange(event)? else { return Ok(()) };
        match event.kind() {
            EpochBegin => self.reset(phase),
            StepEnd => self.step(phase, learner),
            EpochEnd => self.epoch_end(phase, event.epoch(), learner),
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
        let wanted = Wanted::all(&[
            json!("accuracy"),
            json!({"component": "own:metric/top-k", "k": 3, "phase": "validation"}),
        ])
        .unwrap();
        assert_eq!(
            wanted[0],
            Wanted {
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
        let refused = |values: &[Value]| Wanted::all(values).unwrap_err().to_string();
        assert!(
            refused(&[json!("accuracy"), json!("accuracy")])
                .contains("two metrics are called `accuracy`")
        );
        let named = [
            json!({"component": "top-k", "k": 1, "name": "top-1"}),
            json!({"component": "top-k", "k": 5}),
        ];
        assert_eq!(Wanted::all(&named).unwrap().len(), 2);
        assert!(refused(&[json!("loss")]).contains("always measured"));
        assert!(refused(&[json!({"k": 3})]).contains("needs `component`"));
        assert!(refused(&[json!({"component": "a", "name": "b.c"})]).contains("'.'"));
    }

    #[test]
    fn behaviour_21_a_short_batch_weighs_less() {
        let mut sum = LossSum::default();
        sum.add(1.0, 32);
        sum.add(3.0, 8);
        assert_eq!(sum.mean(), 56.0 / 40.0);
    }
}
