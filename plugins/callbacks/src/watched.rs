//! One metric of one phase, read after each epoch by early-stopping, reduce-on-plateau and
//! checkpointer.

use fluxbay_plugin::{PhaseKind, WatchedFigure, prelude::*};

use crate::{
    comparison::Better,
    phases::{default_phase, kind_name},
};

/// A metric of a phase, and its direction.
///
/// The host resolves phase and direction from what the callbacks of the run declare. For a metric
/// that no callback declares, the phase is found while the run trains: in each epoch a validation
/// phase if it measured the metric, else a training phase, else another phase.
pub struct Watched {
    metrics: Read<Node>,
    metric: String,
    phase: Option<String>,
    better: Option<Better>,
    /// `None` in a host that does not resolve metrics.
    figure: Option<WatchedFigure>,
}

/// A value of a watched metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Id of the phase that measured it.
    pub phase: String,
    pub value: f64,
}

/// What a phase of the running epoch measured.
#[derive(Clone, Debug)]
struct Measured {
    kind: PhaseKind,
    phase: String,
    value: Option<f64>,
}

/// Selects the measurement to report when phase `current` ends its epoch: that of a validation phase
/// at once; after the last phase, if no validation phase measured the metric, that of the last
/// training phase, else that of the last other phase. The error is that no phase measured it.
fn choose(phases: &[Measured], current: usize) -> std::result::Result<Option<Measurement>, ()> {
    let measurement = |measured: &Measured| {
        measured.value.map(|value| Measurement { phase: measured.phase.clone(), value })
    };
    let of_kind =
        |kind| phases.iter().rev().filter(move |one| one.kind == kind).find_map(measurement);
    let now = phases.get(current).filter(|one| one.kind == PhaseKind::Validation);
    if let Some(found) = now.and_then(measurement) {
        return Ok(Some(found));
    }
    if current + 1 < phases.len() || of_kind(PhaseKind::Validation).is_some() {
        return Ok(None);
    }
    of_kind(PhaseKind::Training).or_else(|| of_kind(PhaseKind::Other)).map(Some).ok_or(())
}

impl Watched {
    /// Watches `metric`; `phase` and `better` are the settings of these names.
    pub fn new(
        metric: String,
        phase: Option<String>,
        better: Option<Better>,
        setup: &mut Setup,
    ) -> Result<Watched> {
        let metrics = setup.read("cbstate.metrics-epoch")?;
        let figure = setup.watch_figure(&metric, phase.as_deref(), better.map(Into::into)).ok();
        Ok(Watched { metrics, metric, phase, better, figure })
    }

    /// Finds the phase and the direction; called in `init`.
    ///
    /// # Errors
    /// The run has no such phase, or the direction is neither declared nor set.
    pub fn resolve(&mut self, learner: &Learner) -> Result<()> {
        if let Some(figure) = &self.figure {
            let figure = figure.resolve().context("set `better` to \"lower\" or \"higher\"")?;
            self.better = Some(figure.better.into());
            if !figure.phase.is_empty() {
                self.phase = Some(figure.phase);
            }
        }
        default_phase(self.phase.as_deref(), learner)?;
        self.better().map(|_| ())
    }

    /// The direction of the metric.
    pub fn better(&self) -> Result<Better> {
        match self.better {
            Some(better) => Ok(better),
            None if self.metric == "loss" => Ok(Better::Lower),
            None => bail!(
                "it is not known which values of `{}` are better: set `better` to \"lower\" or \"higher\"",
                self.metric
            ),
        }
    }

    /// The measurement that the end of this epoch of a phase determines; `None` if a different phase
    /// determines it.
    ///
    /// # Errors
    /// The watched phase, or every phase of the epoch, ended without measuring the metric.
    pub fn at_epoch_end(&self, event: &Event, learner: &Learner) -> Result<Option<Measurement>> {
        let name = event.phase_name()?;
        let epoch = event.epoch();
        if let Some(phase) = &self.phase {
            let wanted =
                *phase == name || event.phase_kind().is_some_and(|kind| kind_name(kind) == phase);
            if !wanted {
                return Ok(None);
            }
            let value = self
                .value(&name, epoch)?
                .ok_or_else(|| self.missing(std::slice::from_ref(&name), epoch))?;
            return Ok(Some(Measurement { phase: name, value }));
        }
        let names = learner.phase_names()?;
        let measured = |(index, name): (usize, &String)| {
            Ok(Measured {
                kind: learner.phase_kind(index)?,
                phase: name.clone(),
                value: self.value(name, epoch)?,
            })
        };
        let phases: Vec<Measured> =
            names.iter().enumerate().map(measured).collect::<Result<_>>()?;
        let Some(current) = event.phase() else { return Ok(None) };
        choose(&phases, current).map_err(|()| self.missing(&names, epoch))
    }

    /// The value of a phase in `epoch`, if it measured the metric.
    pub fn value(&self, phase: &str, epoch: u64) -> Result<Option<f64>> {
        let node: Read<Node> = self.metrics.child(phase)?;
        let last = node.child::<Series>(&self.metric)?.last()?;
        Ok(last.filter(|point| point.x == epoch as f64).map(|point| point.y))
    }

    /// The error that none of the phases measured the metric, with what they measure.
    fn missing(&self, phases: &[String], epoch: u64) -> Error {
        let measures = |phase: &String| {
            let node: Result<Read<Node>> = self.metrics.child(phase);
            let names = node.and_then(|node| node.names()).unwrap_or_default();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            format!("phase `{phase}` measures {names}")
        };
        let measured: Vec<String> = phases.iter().map(measures).collect();
        Error::new(format!(
            "`{}` was not measured in epoch {epoch}: {}",
            self.metric,
            measured.join("; ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(values: &[(PhaseKind, Option<f64>)]) -> Vec<Measured> {
        let one = |(index, (kind, value)): (usize, &(PhaseKind, Option<f64>))| Measured {
            kind: *kind,
            phase: format!("p{index}"),
            value: *value,
        };
        values.iter().enumerate().map(one).collect()
    }

    /// The phase reported at the end of each phase.
    fn chosen(values: &[(PhaseKind, Option<f64>)]) -> Vec<Option<String>> {
        (0..values.len())
            .map(|current| {
                // Later phases have not run yet.
                let mut so_far = phases(values);
                so_far[current + 1..].iter_mut().for_each(|one| one.value = None);
                choose(&so_far, current).unwrap().map(|found| found.phase)
            })
            .collect()
    }

    #[test]
    fn the_validation_phase_is_watched_if_it_measures_the_metric() {
        let (training, validation, other) =
            (PhaseKind::Training, PhaseKind::Validation, PhaseKind::Other);
        let p = |index: usize| Some(format!("p{index}"));
        assert_eq!(chosen(&[(training, Some(1.0)), (validation, Some(2.0))]), [None, p(1)]);
        assert_eq!(chosen(&[(validation, Some(1.0)), (training, Some(2.0))]), [p(0), None]);
        assert_eq!(chosen(&[(training, None), (validation, Some(2.0))]), [None, p(1)]);
        assert_eq!(chosen(&[(validation, None), (training, Some(2.0))]), [None, p(1)]);
        assert_eq!(chosen(&[(training, Some(1.0)), (validation, None)]), [None, p(0)]);
        assert_eq!(chosen(&[(training, Some(1.0)), (other, Some(2.0))]), [None, p(0)]);
        assert_eq!(chosen(&[(training, None), (other, Some(f64::NAN))]), [None, p(1)]);
        assert!(choose(&phases(&[(training, None), (validation, None)]), 1).is_err());
    }
}
