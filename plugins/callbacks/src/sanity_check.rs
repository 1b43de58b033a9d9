//! Checks data, batches, model and loss once, before the first epoch.
//!
//! Batches, model and loss are tried in rehearsed steps of the training and the validation phase,
//! which are undone afterwards. A failure is reported with its original reason.

use fluxbay_plugin::{PhaseKind, Reason, Rehearsal, prelude::*};

config! {
    /// How much is checked.
    pub struct Config {
        /// How many batches of each phase are tried.
        steps: u64 = 1 => 1..,
    }
}

/// The callback `sanity-check`.
pub struct SanityCheck {
    steps: u64,
    data: Read<Node>,
    xs: Read<Tensor>,
    ys: Read<Tensor>,
    loss: Read<Tensor>,
    finished: bool,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    check: &'static str,
    fault: Option<Fault>,
}

#[derive(Clone, Debug, PartialEq)]
enum Fault {
    Warning(String),
    Error(String),
}

impl Outcome {
    fn new(check: &'static str, fault: Option<String>) -> Outcome {
        Outcome { check, fault: fault.map(Fault::Error) }
    }

    fn warning(check: &'static str, fault: Option<String>) -> Outcome {
        Outcome { check, fault: fault.map(Fault::Warning) }
    }
}

/// Names of the checks of a phase.
struct Names {
    pairs: &'static str,
    model: &'static str,
    loss: &'static str,
}

const TRAINING: Names = Names {
    pairs: "inputs and targets of a training batch",
    model: "model and loss on a training batch",
    loss: "training loss",
};
const VALIDATION: Names = Names {
    pairs: "inputs and targets of a validation batch",
    model: "model and loss on a validation batch",
    loss: "validation loss",
};

impl Component for SanityCheck {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(SanityCheck {
            steps: config.steps,
            data: setup.read("data")?,
            xs: setup.read("step.xs")?,
            ys: setup.read("step.ys")?,
            loss: setup.read("step.loss")?,
            finished: false,
        })
    }

    state!(finished);
}

/// The checks of the data, given the number of samples of each split.
fn data_outcomes(training: Option<f64>, validation: Option<f64>) -> Vec<Outcome> {
    let lacks = |samples: Option<f64>| {
        let has = samples.is_some_and(|samples| samples > 0.0);
        (!has).then(|| "there are no samples".to_owned())
    };
    vec![
        Outcome::new("training data", lacks(training)),
        Outcome::warning("validation data", lacks(validation)),
    ]
}

/// The report that is printed, and the error that stops the run.
fn report(done: &[Outcome]) -> (String, Option<String>) {
    let failed = done.iter().filter(|outcome| outcome.fault.is_some()).count();
    let mut text = format!("sanity check: {failed} of {} checks failed", done.len());
    let mut error = None;
    for outcome in done {
        let (kind, why) = match &outcome.fault {
            None => continue,
            Some(Fault::Warning(why)) => ("warning", why),
            Some(Fault::Error(why)) => {
                error.get_or_insert_with(|| {
                    format!("the sanity check failed: {}: {why}", outcome.check)
                });
                ("error", why)
            }
        };
        text.push_str(&format!("\n  {kind}: {}: {why}", outcome.check));
    }
    (text, error)
}

/// The problem of a batch with inputs and targets of these shapes, if there is one.
fn pairs_fault(xs: Option<Vec<usize>>, ys: Option<Vec<usize>>) -> Option<String> {
    match (xs, ys) {
        (Some(xs), Some(ys)) if xs.first() == ys.first() => None,
        (Some(xs), Some(ys)) => Some(format!(
            "inputs of shape {xs:?} and targets of shape {ys:?} have different numbers of samples"
        )),
        (_, None) => Some("the batch has no targets (`step.ys`)".into()),
        (None, _) => Some("the batch has no inputs (`step.xs`)".into()),
    }
}

impl SanityCheck {
    fn samples(&self, split: &str, learner: &Learner) -> Result<Option<f64>> {
        let node: Read<Node> = self.data.child(split)?;
        learner.find(&node.child::<f64>("samples")?)
    }

    fn shape(&self, slot: &Read<Tensor>, learner: &Learner) -> Result<Option<Vec<usize>>> {
        learner.find(slot)?.map(|tensor| tensor.dims()).transpose()
    }

    fn loss_fault(&self, learner: &Learner) -> Result<Option<String>> {
        let Some(loss) = learner.find(&self.loss)? else {
            return Ok(Some("the phase left no `step.loss`".into()));
        };
        if loss.elem_count()? != 1 {
            return Ok(Some(format!("it has shape {:?} instead of one element", loss.dims()?)));
        }
        let value: f64 = loss.to_scalar()?;
        Ok((!value.is_finite()).then(|| format!("it is {value}")))
    }

    /// Checks one rehearsed step; stops at the first fault.
    fn try_step(&self, names: &Names, rehearsal: &Rehearsal<'_>) -> Result<Vec<Outcome>> {
        let ran = rehearsal.step();
        // A request to end the fit, such as a signal, is not a fault of the run.
        if let Some(ended) = ran.as_ref().err().filter(|error| error.reason() == Reason::CancelFit)
        {
            return Err(ended.clone());
        }
        let pairs = pairs_fault(self.shape(&self.xs, rehearsal)?, self.shape(&self.ys, rehearsal)?);
        let mut done = vec![Outcome::new(names.pairs, pairs)];
        if done[0].fault.is_none() {
            let model = ran.err().map(|error| error.message().to_owned());
            done.push(Outcome::new(names.model, model));
        }
        if done.iter().all(|outcome| outcome.fault.is_none()) {
            done.push(Outcome::new(names.loss, self.loss_fault(rehearsal)?));
        }
        Ok(done)
    }

    fn phase(&self, kind: PhaseKind, names: &Names, learner: &Learner) -> Result<Vec<Outcome>> {
        let Some(phase) = learner.first_phase(kind)? else { return Ok(Vec::new()) };
        learner.rehearse(phase, |rehearsal| {
            let mut done = Vec::new();
            for step in 1..=self.steps {
                done = self.try_step(names, rehearsal)?;
                if let Some(Fault::Error(why)) =
                    done.last_mut().and_then(|outcome| outcome.fault.as_mut())
                {
                    why.push_str(&format!(" (batch {step})"));
                    break;
                }
            }
            Ok(done)
        })
    }

    fn check(&self, learner: &Learner) -> Result<Vec<Outcome>> {
        let (training, validation) =
            (self.samples("training", learner)?, self.samples("validation", learner)?);
        let mut done = data_outcomes(training, validation);
        for (samples, kind, names) in [
            (training, PhaseKind::Training, &TRAINING),
            (validation, PhaseKind::Validation, &VALIDATION),
        ] {
            if samples.is_some_and(|samples| samples > 0.0) {
                done.extend(self.phase(kind, names, learner)?);
            }
        }
        Ok(done)
    }
}

impl Callback for SanityCheck {
    fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        let done = self.check(learner)?;
        self.finished = true;
        let (text, error) = report(&done);
        learner.print(&text)?;
        match error {
            Some(error) => Err(fluxbay_plugin::Error::new(error)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviour_30_no_training_data_is_an_error_no_validation_data_a_warning() {
        let (text, error) = report(&data_outcomes(Some(10.0), None));
        assert_eq!(error, None);
        assert!(
            text.starts_with(
                "sanity check: 1 of 2 checks failed\n  warning: validation data: there are no samples"
            ),
            "{text}"
        );
        let (text, error) = report(&data_outcomes(None, Some(0.0)));
        assert!(text.starts_with("sanity check: 2 of 2 checks failed"), "{text}");
        assert!(error.unwrap().contains("training data"));
        assert_eq!(
            report(&data_outcomes(Some(1.0), Some(1.0))),
            ("sanity check: 0 of 2 checks failed".into(), None)
        );
    }

    #[test]
    fn behaviour_30_pairs_have_as_many_targets_as_inputs() {
        assert_eq!(pairs_fault(Some(vec![8, 2]), Some(vec![8])), None);
        assert!(pairs_fault(Some(vec![8]), None).unwrap().contains("targets"));
        assert!(pairs_fault(Some(vec![8]), Some(vec![7])).unwrap().contains("[7]"));
    }
}
