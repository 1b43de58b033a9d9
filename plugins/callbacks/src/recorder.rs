//! Counts the epochs, steps and samples of each phase in `cbstate.history.<phase>.epochs`, `.steps`,
//! `.epoch-steps` and `.samples`; all are 0 before the phase runs.

use std::collections::BTreeMap;

use fluxbay_plugin::{prelude::*, serde};

/// The callback `recorder`.
pub struct Recorder {
    history: Write<Node>,
    counts: BTreeMap<String, Counts>,
    /// By phase index.
    phases: Vec<PhaseSlots>,
}

/// The counts of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Counts {
    epochs: u64,
    steps: u64,
    epoch_steps: u64,
    samples: u64,
}

/// The state slots of one phase.
#[derive(Clone)]
struct PhaseSlots {
    phase: String,
    epochs: Write<u64>,
    steps: Write<u64>,
    epoch_steps: Write<u64>,
    samples: Write<u64>,
}

impl PhaseSlots {
    fn new(history: &Write<Node>, phase: String) -> Result<PhaseSlots> {
        let node: Write<Node> = history.child(&phase)?;
        Ok(PhaseSlots {
            epochs: node.child("epochs")?,
            steps: node.child("steps")?,
            epoch_steps: node.child("epoch-steps")?,
            samples: node.child("samples")?,
            phase,
        })
    }

    fn publish(&self, counts: Counts, learner: &Learner) -> Result<()> {
        learner.set(&self.epochs, counts.epochs)?;
        learner.set(&self.steps, counts.steps)?;
        learner.set(&self.epoch_steps, counts.epoch_steps)?;
        learner.set(&self.samples, counts.samples)
    }
}

impl Counts {
    /// Counts an event of the phase; `samples` is the size of the current batch.
    fn on(&mut self, event: EventKind, samples: u64) {
        match event {
            EpochBegin => self.epoch_steps = 0,
            StepEnd => {
                self.steps += 1;
                self.epoch_steps += 1;
                self.samples += samples;
            }
            EpochEnd => self.epochs += 1,
            _ => {}
        }
    }
}

impl Recorder {
    fn publish_all(&mut self, learner: &Learner) -> Result<()> {
        self.phases.clear();
        for phase in learner.phase_names()? {
            let slots = PhaseSlots::new(&self.history, phase)?;
            slots.publish(self.counts.get(&slots.phase).copied().unwrap_or_default(), learner)?;
            self.phases.push(slots);
        }
        Ok(())
    }
}

impl Component for Recorder {
    type Config = NoConfig;

    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Recorder {
            history: setup.write("cbstate.history")?,
            counts: BTreeMap::new(),
            phases: Vec::new(),
        })
    }

    state!(counts);
}

impl Callback for Recorder {
    fn init(&mut self, learner: &Learner) -> Result<()> {
        self.publish_all(learner)
    }

    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let Some(phase) = event.phase() else { return self.publish_all(learner) };
        let Some(slots) = self.phases.get(phase) else { return Ok(()) };
        let counts = match self.counts.get_mut(&slots.phase) {
            Some(counts) => counts,
            None => self.counts.entry(slots.phase.clone()).or_default(),
        };
        let samples = if event.kind() == StepEnd { learner.position()?.samples } else { 0 };
        counts.on(event.kind(), samples);
        slots.publish(*counts, learner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_steps_and_samples_are_counted() {
        let mut counts = Counts::default();
        for _ in 0..10 {
            counts.on(EpochBegin, 0);
            (0..16).for_each(|_| counts.on(StepEnd, 8));
            counts.on(EpochEnd, 0);
        }
        assert_eq!(counts, Counts { epochs: 10, steps: 160, epoch_steps: 16, samples: 1280 });
        counts.on(EpochBegin, 0);
        assert_eq!((counts.epochs, counts.epoch_steps), (10, 0));
    }
}
