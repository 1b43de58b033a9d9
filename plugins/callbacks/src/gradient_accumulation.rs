//! Updates the parameters once for several steps, with the mean of their gradients: as if the
//! batches were one.

use fluxbay_plugin::{prelude::*, serde};

use crate::saved_tensors::SavedTensor;

config! {
    /// How many steps make one update.
    pub struct Config {
        /// How many steps make one update. The last update of an epoch takes what is left.
        steps: u64 => 1..,
    }
}

/// The callback `gradient-accumulation`.
pub struct GradientAccumulation {
    steps: u64,
    gradients: Write<Tensors>,
    skipped: Write<bool>,
    gathered: Gathered,
    /// Sums, each gradient times the samples of its step; none for parameters without a gradient so
    /// far.
    sums: Vec<Option<Tensor>>,
    loaded: Vec<Option<SavedTensor>>,
}

/// Steps and samples since the last update.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Gathered {
    steps: u64,
    samples: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Saved {
    gathered: Gathered,
    sums: Vec<Option<SavedTensor>>,
}

impl Gathered {
    /// Takes in a step; answers whether it brings the update. `step` counts within the epoch, whose
    /// length may be unknown.
    fn add(&mut self, samples: u64, every: u64, step: u64, steps_per_epoch: u64) -> bool {
        self.steps += 1;
        self.samples += samples;
        self.steps >= every || step == steps_per_epoch
    }
}

impl Component for GradientAccumulation {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(GradientAccumulation {
            steps: config.steps,
            gradients: setup.write("step.grads")?,
            skipped: setup.write("step.update-skipped")?,
            gathered: Gathered::default(),
            sums: Vec::new(),
            loaded: Vec::new(),
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        let mut sums = self.loaded.clone();
        if sums.is_empty() {
            sums = self
                .sums
                .iter()
                .map(|sum| sum.as_ref().map(SavedTensor::of).transpose())
                .collect::<Result<_>>()?;
        }
        to_bytes(&Saved { gathered: self.gathered, sums })
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        let saved: Saved = from_bytes(bytes)?;
        (self.gathered, self.loaded) = (saved.gathered, saved.sums);
        self.sums.clear();
        Ok(())
    }
}

impl GradientAccumulation {
    fn restore(&mut self) -> Result<()> {
        if !self.loaded.is_empty() {
            self.sums = self
                .loaded
                .iter()
                .map(|sum| sum.as_ref().map(SavedTensor::restore).transpose())
                .collect::<Result<_>>()?;
            self.loaded.clear();
        }
        Ok(())
    }

    /// Adds the step's gradients to the sums.
    fn gather(&mut self, samples: u64) -> Result<()> {
        let count = self.gradients.len()?;
        self.sums.resize_with(count, || None);
        for (index, sum) in self.sums.iter_mut().enumerate() {
            let Some(gradient) = self.gradients.get(index)? else { continue };
            let weighted = gradient.affine(samples as f64, 0.0)?;
            *sum = Some(match sum.take() {
                Some(sum) => sum.add(&weighted)?,
                None => weighted,
            });
        }
        Ok(())
    }

    /// Puts the mean in place of the step's gradients.
    fn deliver(&mut self) -> Result<()> {
        let share = 1.0 / self.gathered.samples as f64;
        for (index, sum) in self.sums.iter_mut().enumerate() {
            if let Some(sum) = sum.take() {
                self.gradients.set(index, &sum.affine(share, 0.0)?)?;
            }
        }
        self.gathered = Gathered::default();
        Ok(())
    }

    /// Takes the step's gradients away, so that its update changes nothing.
    fn withhold(&self) -> Result<()> {
        for index in 0..self.sums.len() {
            if self.gradients.get(index)?.is_some() {
                self.gradients.remove(index)?;
            }
        }
        Ok(())
    }
}

impl Callback for GradientAccumulation {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.is_training() {
            return Ok(());
        }
        self.restore()?;
        let at = learner.position()?;
        let update = self.gathered.add(at.samples, self.steps, at.step, at.steps_per_epoch);
        if update && self.gathered.steps == 1 {
            // One step alone: its gradients are the mean already.
            self.gathered = Gathered::default();
            return Ok(());
        }
        self.gather(at.samples)?;
        if update {
            return self.deliver();
        }
        self.withhold()?;
        learner.set(&self.skipped, true)
    }

    /// What changes gradients wants the accumulated ones.
    fn resolve(&self, _: &str, path: &str) -> Resolution {
        if path.starts_with("step.grads") { Resolution::RunFirst } else { Resolution::NotDefined }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_so_many_steps_and_the_tail_bring_an_update() {
        let mut gathered = Gathered::default();
        let updates: Vec<bool> = (1..=7)
            .map(|step| {
                let update = gathered.add(8, 3, step, 7);
                if update {
                    gathered = Gathered::default();
                }
                update
            })
            .collect();
        assert_eq!(updates, [false, false, true, false, false, true, true]);
        // An epoch of unknown length carries on into the next.
        assert!(!gathered.add(8, 3, 1, 0));
        assert_eq!(gathered, Gathered { steps: 1, samples: 8 });
    }
}
