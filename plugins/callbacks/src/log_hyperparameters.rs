//! Logs the hyper-parameters: all of them at the beginning of the fit, and their values at each
//! step.
//!
//! Tags omit the common prefix: `optimizer.learning-rate` becomes `step/hparams/learning-rate`.

use fluxbay_plugin::prelude::*;
use serde_json::{Map, Value};

config! {
    /// How often hyper-parameters are logged.
    pub struct Config {
        /// Number of training steps between records.
        every: u64 = 1 => 1..,
    }
}

/// The callback `log-hyperparameters`.
pub struct LogHyperparameters {
    every: u64,
    optimizer: Read<Node>,
    hyper: Read<Node>,
}

impl Component for LogHyperparameters {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(LogHyperparameters {
            every: config.every,
            optimizer: setup.read("optimizer")?,
            hyper: setup.read("hyper")?,
        })
    }
}

/// Appends the names and values of all numbers below a node, ordered by name.
fn numbers(
    node: &Read<Node>,
    prefix: &str,
    learner: &Learner,
    found: &mut Vec<(String, f64)>,
) -> Result<()> {
    for name in node.names()? {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let child: Read<Node> = node.child(&name)?;
        if !child.names()?.is_empty() {
            numbers(&child, &path, learner, found)?;
        } else if let Some(value) = learner.find(&child.typed::<f64>())? {
            found.push((path, value));
        }
    }
    Ok(())
}

impl Callback for LogHyperparameters {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let due = match event.kind() {
            FitBegin => true,
            _ => event.is_training() && (event.total_steps() - 1).is_multiple_of(self.every),
        };
        if !due || learner.loggers()? == 0 {
            return Ok(());
        }
        let mut found = Vec::new();
        numbers(&self.optimizer, "", learner, &mut found)?;
        numbers(&self.hyper, "", learner, &mut found)?;
        if event.kind() == FitBegin {
            let all: Map<String, Value> =
                found.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
            return learner.log(&Record::new(
                "hparams",
                0,
                RecordValue::HyperParameters(Value::Object(all).to_string().into()),
            ));
        }
        for (name, value) in found {
            learner.log(&Record::scalar(
                format!("step/hparams/{name}"),
                event.total_steps(),
                value,
            ))?;
        }
        Ok(())
    }
}
