//! Looks whether a run can work, once, before its first update: data, batches, model, loss.
//!
//! The data is checked at fit-begin. Batches, model and loss are checked as the first training step goes through them, before
//! its update, since only a phase runs models; whatever fails there is told with its own reason.

use fluxbay_plugin::prelude::*;

/// The callback `sanity-check`.
pub struct SanityCheck {
    data: Read<Node>,
    xs: Read<Tensor>,
    ys: Read<Tensor>,
    yhats: Read<Tensor>,
    loss: Read<Tensor>,
    done: Vec<Outcome>,
    finished: bool,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    what: &'static str,
    fault: Option<Fault>,
}

#[derive(Clone, Debug, PartialEq)]
enum Fault {
    Warning(String),
    Error(String),
}

impl Outcome {
    fn good(what: &'static str) -> Outcome {
        Outcome { what, fault: None }
    }

    fn bad(what: &'static str, why: impl Into<String>) -> Outcome {
        Outcome { what, fault: Some(Fault::Error(why.into())) }
    }

    fn doubtful(what: &'static str, why: impl Into<String>) -> Outcome {
        Outcome { what, fault: Some(Fault::Warning(why.into())) }
    }
}

const TRAINING_DATA: &str = "there is training data";
const VALIDATION_DATA: &str = "there is validation data";
const PAIRS: &str = "batches are pairs of inputs and targets";
const MODEL: &str = "the model runs on a batch";
const LOSS: &str = "the loss is one finite number";

impl Component for SanityCheck {
    type Config = NoConfig;

    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(SanityCheck {
            data: setup.read("data")?,
            xs: setup.read("step.xs")?,
            ys: setup.read("step.ys")?,
            yhats: setup.read("step.yhats")?,
            loss: setup.read("step.loss")?,
            done: Vec::new(),
            finished: false,
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&self.finished)
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.finished = from_bytes(bytes)?;
        Ok(())
    }
}

/// How the checks of the data went, from the samples of each split.
fn data_outcomes(training: Option<f64>, validation: Option<f64>) -> [Outcome; 2] {
    let has = |samples: Option<f64>| samples.is_some_and(|samples| samples > 0.0);
    let none = "the data set gives no samples for it";
    [
        if has(training) { Outcome::good(TRAINING_DATA) } else { Outcome::bad(TRAINING_DATA, none) },
        if has(validation) { Outcome::good(VALIDATION_DATA) } else { Outcome::doubtful(VALIDATION_DATA, none) },
    ]
}

/// The report that is printed, and the error that stops the run.
fn report(done: &[Outcome]) -> (String, Option<String>) {
    let failed = done.iter().filter(|outcome| outcome.fault.is_some()).count();
    let mut text = format!("sanity check: {failed}/{} failed", done.len());
    let mut error = None;
    for outcome in done {
        let (kind, why) = match &outcome.fault {
            None => continue,
            Some(Fault::Warning(why)) => ("warning", why),
            Some(Fault::Error(why)) => {
                error.get_or_insert_with(|| format!("the sanity check failed: not true that {}: {why}", outcome.what));
                ("error", why)
            }
        };
        text.push_str(&format!("\n  {kind}: not true that {}: {why}", outcome.what));
    }
    (text, error)
}

impl SanityCheck {
    fn samples(&self, split: &str, learner: &Learner) -> Result<Option<f64>> {
        let node: Read<Node> = self.data.child(split)?;
        learner.find(&node.child::<f64>("samples")?)
    }

    fn pairs(&self, learner: &Learner) -> Result<Outcome> {
        let (xs, ys) = match (learner.find(&self.xs)?, learner.find(&self.ys)?) {
            (Some(xs), Some(ys)) => (xs.dims()?, ys.dims()?),
            (_, None) => return Ok(Outcome::bad(PAIRS, "the batch has no targets (`step.ys`)")),
            (None, _) => return Ok(Outcome::bad(PAIRS, "the batch has no inputs (`step.xs`)")),
        };
        Ok(match xs.first() == ys.first() {
            true => Outcome::good(PAIRS),
            false => Outcome::bad(PAIRS, format!("inputs of shape {xs:?} and targets of shape {ys:?} have different numbers of samples")),
        })
    }

    fn loss(&self, learner: &Learner) -> Result<Outcome> {
        let Some(loss) = learner.find(&self.loss)? else { return Ok(Outcome::bad(LOSS, "the phase left no `step.loss`")) };
        let count = loss.elem_count()?;
        if count != 1 {
            return Ok(Outcome::bad(LOSS, format!("it has shape {:?}", loss.dims()?)));
        }
        let value: f64 = loss.to_scalar()?;
        Ok(if value.is_finite() { Outcome::good(LOSS) } else { Outcome::bad(LOSS, format!("it is {value}")) })
    }

    /// Prints what was found, and stops the run where something is wrong.
    fn finish(&mut self, learner: &Learner) -> Result<()> {
        self.finished = true;
        let (text, error) = report(&self.done);
        learner.print(&text)?;
        match error {
            Some(error) => Err(Error::new(error)),
            None => Ok(()),
        }
    }

    /// Ends at the first error: what comes after it cannot be judged.
    fn add(&mut self, outcome: Outcome, learner: &Learner) -> Result<()> {
        let wrong = matches!(outcome.fault, Some(Fault::Error(_)));
        self.done.push(outcome);
        if wrong { self.finish(learner) } else { Ok(()) }
    }
}

impl Callback for SanityCheck {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        match event.kind() {
            FitBegin => {
                self.done.clear();
                let outcomes = data_outcomes(self.samples("training", learner)?, self.samples("validation", learner)?);
                self.done.extend(outcomes);
                let wrong = self.done.iter().any(|outcome| matches!(outcome.fault, Some(Fault::Error(_))));
                if wrong { self.finish(learner) } else { Ok(()) }
            }
            StepBegin if event.is_training() => {
                let pairs = self.pairs(learner)?;
                self.add(pairs, learner)
            }
            LossBegin if event.is_training() => {
                let outcome = match learner.find(&self.yhats)? {
                    Some(_) => Outcome::good(MODEL),
                    None => Outcome::bad(MODEL, "the phase left no `step.yhats`"),
                };
                self.add(outcome, learner)
            }
            BackwardBegin if event.is_training() => {
                let loss = self.loss(learner)?;
                self.add(loss, learner)?;
                if self.finished { Ok(()) } else { self.finish(learner) }
            }
            EventKind::Error => {
                // The first step failed on its way: the run ends with the reason, this says how far it came.
                self.finished = true;
                let passed = self.done.iter().filter(|outcome| outcome.fault.is_none()).count();
                learner.print(&format!("sanity check: {passed} of 5 passed; the first step failed after that, the error says why"))
            }
            _ => Ok(()),
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
        assert!(text.starts_with("sanity check: 1/2 failed\n  warning: not true that there is validation data"), "{text}");
        let (text, error) = report(&data_outcomes(None, Some(0.0)));
        assert!(text.starts_with("sanity check: 2/2 failed"), "{text}");
        assert!(error.unwrap().contains("training data"));
        assert_eq!(report(&data_outcomes(Some(1.0), Some(1.0))), ("sanity check: 0/2 failed".into(), None));
    }
}
