//! Finds the operation that first produced a NaN or an infinity.

use fluxbay_plugin::{Anomaly, prelude::*};

use crate::phases::Chosen;

config! {
    /// What is detected.
    pub struct Config {
        /// Whether infinities are detected, too; otherwise only NaN.
        infinities: bool = true,
        /// Whether the fit ends at the first anomaly; otherwise it is only printed, once.
        stop: bool = true,
        /// The phase, by id or kind; by default all.
        phase: Option<String> = null,
    }
}

/// The callback `anomaly-detection`.
pub struct AnomalyDetection {
    config: Config,
    phase: Chosen,
    report: Write<String>,
    /// Whether detection is on in the current step.
    on: bool,
    /// Whether an anomaly was reported.
    reported: bool,
}

impl Component for AnomalyDetection {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        // The value is not used: callbacks that write the loss run first, so that a NaN of theirs is
        // found at the event that they handled.
        setup.read::<f64>("step.loss")?;
        Ok(AnomalyDetection {
            phase: Chosen::new(config.phase.clone()),
            config,
            report: setup.write("cbstate.anomaly")?,
            on: false,
            reported: false,
        })
    }
}

/// What is known about an anomaly, in one sentence.
fn describe(anomaly: &Anomaly) -> String {
    let Anomaly { operation, backward, nan, from_input, parameter, direct, .. } = anomaly;
    let value = if *nan { "NaN" } else { "an infinity" };
    let mut text = match backward {
        true => format!("the gradient of `{operation}` has {value} in the backward pass"),
        false => format!("`{operation}` returned {value}"),
    };
    match parameter {
        Some(path) if *direct => text.push_str(&format!(", in the layer of `{path}`")),
        Some(path) => text.push_str(&format!(", after the layer of `{path}`")),
        None => text.push_str(", before any parameter was used"),
    }
    text.push_str(match (backward, from_input) {
        (true, _) => "",
        (false, true) => "; an input of it was not finite already",
        (false, false) => "; all inputs of it were finite",
    });
    text
}

impl AnomalyDetection {
    fn check(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let Some(anomaly) = learner.first_anomaly()? else { return Ok(()) };
        self.end(learner)?;
        self.reported = true;
        let text = format!(
            "anomaly in phase `{}`, epoch {}, step {}: {} (operation {} of the step)",
            event.phase_name()?,
            event.epoch(),
            event.step(),
            describe(&anomaly),
            anomaly.number + 1
        );
        learner.set(&self.report, text.clone())?;
        if self.config.stop {
            Err(fluxbay_plugin::Error::cancel_fit(text))
        } else {
            learner.print(&text)
        }
    }

    fn end(&mut self, learner: &Learner) -> Result<()> {
        if std::mem::take(&mut self.on) { learner.end_detection() } else { Ok(()) }
    }
}

impl Callback for AnomalyDetection {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if event.kind() == StepBegin {
            if !self.reported && self.phase.includes(event)? {
                learner.detect_anomalies(self.config.infinities)?;
                self.on = true;
            }
            return Ok(());
        }
        if self.on {
            self.check(event, learner)?;
        }
        match event.kind() {
            StepEnd | StepCancelled | Error => self.end(learner),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_operation_layer_and_cause() {
        let anomaly = Anomaly {
            operation: "log".into(),
            backward: false,
            nan: false,
            from_input: false,
            parameter: Some("model.hidden.0.bias".into()),
            direct: false,
            number: 4,
        };
        assert_eq!(
            describe(&anomaly),
            "`log` returned an infinity, after the layer of `model.hidden.0.bias`; all inputs of it were finite"
        );
        let anomaly = Anomaly { backward: true, nan: true, direct: true, ..anomaly };
        assert_eq!(
            describe(&anomaly),
            "the gradient of `log` has NaN in the backward pass, in the layer of `model.hidden.0.bias`"
        );
        let anomaly = Anomaly { backward: false, from_input: true, parameter: None, ..anomaly };
        assert!(describe(&anomaly).ends_with("an input of it was not finite already"));
    }
}
