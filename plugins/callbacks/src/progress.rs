//! Shows the progress of the running phase with its loss and metrics. The host draws the bar.

use std::time::{Duration, Instant};

use fluxbay_plugin::prelude::*;

use crate::table::{duration, number};

/// Shortest time between two updates of the bar.
const EVERY: Duration = Duration::from_millis(100);

/// The callback `progress`.
pub struct Progress {
    metrics: Read<Node>,
    bar: Option<Bar>,
    /// The bar of the training epoch within which a validation phase runs.
    outer: Option<Bar>,
}

/// The bar of one epoch of a phase.
struct Bar {
    phase: Option<usize>,
    total: u64,
    label: String,
    metrics: Read<Node>,
    began: Instant,
    shown: Option<Instant>,
    samples: u64,
    steps: u64,
}

impl Component for Progress {
    type Config = NoConfig;

    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Progress { metrics: setup.read("cbstate.metrics-step")?, bar: None, outer: None })
    }
}

impl Progress {
    fn begin(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let phase = event.phase_name()?;
        let at = learner.position()?;
        let label = format!("epoch {}/{} {phase}", at.epoch, at.epochs);
        learner.progress_begin(&label, at.steps_per_epoch)?;
        let metrics = self.metrics.child(&phase)?;
        let bar = Bar {
            phase: event.phase(),
            total: at.steps_per_epoch,
            label,
            metrics,
            began: Instant::now(),
            shown: None,
            samples: 0,
            steps: 0,
        };
        self.outer = self.bar.replace(bar).filter(|outer| outer.phase != event.phase());
        Ok(())
    }

    fn step(&mut self, learner: &Learner) -> Result<()> {
        let Some(bar) = &mut self.bar else { return Ok(()) };
        let at = learner.position()?;
        bar.samples += at.samples;
        bar.steps = at.step;
        if learner.is_interactive() && bar.shown.is_none_or(|shown| shown.elapsed() >= EVERY) {
            bar.shown = Some(Instant::now());
            learner.progress_set(bar.steps, &bar.message()?)?;
        }
        Ok(())
    }

    fn end(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let ends = |bar: &mut Bar| event.phase().is_none() || bar.phase == event.phase();
        let Some(bar) = self.bar.take_if(ends) else { return Ok(()) };
        // On a terminal the bar is removed; elsewhere a summary line is printed.
        let message = if learner.is_interactive() { String::new() } else { bar.summary() };
        learner.progress_end(&message)?;
        if let Some(mut outer) = self.outer.take() {
            outer.began += bar.began.elapsed();
            learner.progress_begin(&outer.label, outer.total)?;
            self.bar = Some(outer);
        }
        Ok(())
    }
}

impl Bar {
    /// The last value of each metric, the loss first, and the rate.
    fn message(&self) -> Result<String> {
        let mut names = self.metrics.names()?;
        names.sort_by_key(|name| name != "loss");
        let mut text = String::new();
        for name in names {
            if let Some(point) = self.metrics.child::<Series>(&name)?.last()? {
                text.push_str(&format!("{name} {}  ", number(point.y)));
            }
        }
        // Shortened, because there is little space beside the bar.
        text.push_str(&rate(self.samples, self.began.elapsed()).replace(" samples/s", "/s"));
        Ok(text)
    }

    fn summary(&self) -> String {
        let elapsed = self.began.elapsed();
        let steps = if self.steps == 1 { "step" } else { "steps" };
        format!(
            "{}: {} {steps} in {}, {}",
            self.label,
            self.steps,
            duration(elapsed),
            rate(self.samples, elapsed)
        )
    }
}

/// Samples per second.
fn rate(samples: u64, elapsed: Duration) -> String {
    let rate = samples as f64 / elapsed.as_secs_f64().max(1e-9);
    match rate {
        0.0..10.0 => format!("{rate:.2} samples/s"),
        10.0..10_000.0 => format!("{rate:.0} samples/s"),
        _ => format!("{:.1}k samples/s", rate / 1000.0),
    }
}

impl Callback for Progress {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        match event.kind() {
            EpochBegin => self.begin(event, learner),
            StepEnd => {
                if self.bar.is_none() {
                    // The run was resumed within the epoch.
                    self.begin(event, learner)?;
                }
                self.step(learner)
            }
            // A cancelled epoch may or may not get epoch-end; `end` does nothing the second time.
            _ => self.end(event, learner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_readable() {
        assert_eq!(rate(15, Duration::from_secs(10)), "1.50 samples/s");
        assert_eq!(rate(5000, Duration::from_secs(10)), "500 samples/s");
        assert_eq!(rate(1_234_567, Duration::from_secs(10)), "123.5k samples/s");
    }
}
