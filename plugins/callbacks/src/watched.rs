//! One metric of one phase, read after each epoch by early-stopping, reduce-on-plateau and
//! checkpointer.

use fluxbay_plugin::{PhaseKind, prelude::*};

use crate::phases::{KINDS, kind_name};

choice! {
    /// Which values of a metric are better.
    pub enum Better {
        /// Lower values, such as a loss.
        Lower,
        /// Higher values, such as an accuracy.
        Higher,
    }
}

impl From<Better> for fluxbay_plugin::Better {
    fn from(better: Better) -> Self {
        match better {
            Better::Lower => fluxbay_plugin::Better::Lower,
            Better::Higher => fluxbay_plugin::Better::Higher,
        }
    }
}

impl Better {
    /// The value with the sign changed where needed, so that lower is better.
    pub fn as_loss(self, value: f64) -> f64 {
        match self {
            Better::Lower => value,
            Better::Higher => -value,
        }
    }
}

/// A metric of a phase. Without a configured phase it is the validation phase if there is one, else
/// the training phase.
pub struct Watched {
    metrics: Read<Node>,
    metric: String,
    phase: Option<String>,
    candidate: Candidate,
}

/// Without a configured phase: what the phases of the running epoch have measured so far.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    epoch: u64,
    training: Option<f64>,
    validated: bool,
}

impl Candidate {
    /// Adds the value of a phase and returns the value to use, if it is known now: that of a
    /// validation phase at once, that of a training phase after the last phase of the epoch if
    /// none of them is a validation phase.
    fn choose(
        &mut self,
        epoch: u64,
        kind: Option<PhaseKind>,
        value: f64,
        last: bool,
    ) -> Option<f64> {
        if self.epoch != epoch {
            *self = Candidate { epoch, ..Candidate::default() };
        }
        match kind {
            Some(PhaseKind::Validation) => {
                self.validated = true;
                return Some(value);
            }
            Some(PhaseKind::Training) => self.training = Some(value),
            _ => {}
        }
        if last && !self.validated { self.training.take() } else { None }
    }
}

impl Watched {
    /// Declares read access to the metrics.
    pub fn new(metric: String, phase: Option<String>, setup: &mut Setup) -> Result<Watched> {
        Ok(Watched {
            metrics: setup.read("cbstate.metrics-epoch")?,
            metric,
            phase,
            candidate: Candidate::default(),
        })
    }

    /// Returns an error if the run has no such phase.
    pub fn check(&self, learner: &Learner) -> Result<()> {
        let names = learner.phase_names()?;
        match &self.phase {
            Some(phase) if !names.contains(phase) && !KINDS.contains(&phase.as_str()) => {
                bail!("there is no phase `{phase}`; this run has {}", names.join(", "))
            }
            _ => Ok(()),
        }
    }

    /// The value that the end of this epoch of a phase determines; `None` if it is not the watched
    /// phase.
    pub fn at_epoch_end(&mut self, event: &Event, learner: &Learner) -> Result<Option<f64>> {
        let name = event.phase_name()?;
        if let Some(phase) = &self.phase {
            let wanted =
                *phase == name || event.phase_kind().is_some_and(|kind| kind_name(kind) == phase);
            return if wanted { self.value(&name, event.epoch()).map(Some) } else { Ok(None) };
        }
        let last = event
            .phase()
            .is_some_and(|phase| learner.position().is_ok_and(|at| phase + 1 == at.phases));
        let measures =
            matches!(event.phase_kind(), Some(PhaseKind::Training | PhaseKind::Validation));
        let value = if measures { self.value(&name, event.epoch())? } else { f64::NAN };
        Ok(self.candidate.choose(event.epoch(), event.phase_kind(), value, last))
    }

    /// The value of a phase in `epoch`.
    pub fn value(&self, phase: &str, epoch: u64) -> Result<f64> {
        let node: Read<Node> = self.metrics.child(phase)?;
        if let Some(point) =
            node.child::<Series>(&self.metric)?.last()?.filter(|point| point.x == epoch as f64)
        {
            return Ok(point.y);
        }
        let names = node.names()?;
        let known = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        bail!("phase `{phase}` measured no `{}` in epoch {epoch}; it measures {known}", self.metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_counts_where_there_is_one() {
        let (training, validation) = (Some(PhaseKind::Training), Some(PhaseKind::Validation));
        let mut candidate = Candidate::default();
        assert_eq!(candidate.choose(1, training, 1.0, false), None);
        assert_eq!(candidate.choose(1, validation, 2.0, true), Some(2.0));
        assert_eq!(candidate.choose(2, validation, 3.0, false), Some(3.0));
        assert_eq!(candidate.choose(2, training, 4.0, true), None);
        assert_eq!(candidate.choose(3, training, 5.0, false), None);
        assert_eq!(candidate.choose(3, Some(PhaseKind::Other), f64::NAN, true), Some(5.0));
    }

    #[test]
    fn higher_is_better_turns_the_sign() {
        assert_eq!((Better::Lower.as_loss(2.0), Better::Higher.as_loss(2.0)), (2.0, -2.0));
    }
}
