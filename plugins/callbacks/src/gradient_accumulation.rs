//! Updates the parameters once for several steps, with the mean of their gradients, as if the
//! batches were one batch.

use fluxbay_plugin::{prelude::*, serde};

use crate::saved_tensors::SavedTensor;

config! {
    /// How many steps form one update.
    pub struct Config {
        /// How many steps form one update. The last update of an epoch uses the steps that are left.
        steps: u64 => 1..,
    }
}

/// The callback `gradient-accumulation`.
pub struct GradientAccumulation {
    steps: u64,
    gradients: Write<Tensors>,
    skipped: Write<bool>,
    pending: Pending,
    /// Sums of gradients, each times the samples of its step; `None` for parameters without a
    /// gradient so far.
    sums: Vec<Option<Tensor>>,
    loaded: Vec<Option<SavedTensor>>,
}

/// Steps and samples since the last update.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Pending {
    steps: u64,
    samples: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Saved {
    #[serde(rename = "gathered")]
    pending: Pending,
    sums: Vec<Option<SavedTensor>>,
}

impl Pending {
    /// Adds a step; returns whether it updates the parameters. `step` counts within the epoch;
    /// `steps_per_epoch` is 0 if unknown.
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
            pending: Pending::default(),
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
        to_bytes(&Saved { pending: self.pending, sums })
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        let saved: Saved = from_bytes(bytes)?;
        (self.pending, self.loaded) = (saved.pending, saved.sums);
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

    /// Adds the gradients of the step to the sums.
    fn add(&mut self, samples: u64) -> Result<()> {
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

    /// Replaces the gradients of the step by the mean.
    fn deliver(&mut self) -> Result<()> {
        let share = 1.0 / self.pending.samples as f64;
        for (index, sum) in self.sums.iter_mut().enumerate() {
            if let Some(sum) = sum.take() {
                self.gradients.set(index, &sum.affine(share, 0.0)?)?;
            }
        }
        self.pending = Pending::default();
        Ok(())
    }

    /// Removes the gradients of the step, so that its update changes nothing.
    fn remove(&self) -> Result<()> {
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
        let update = self.pending.add(at.samples, self.steps, at.step, at.steps_per_epoch);
        if update && self.pending.steps == 1 {
            // The gradients of a single step are the mean already.
            self.pending = Pending::default();
            return Ok(());
        }
        self.add(at.samples)?;
        if update {
            return self.deliver();
        }
        self.remove()?;
        learner.set(&self.skipped, true)
    }

    /// Runs before other writers of gradients, which get the accumulated ones.
    fn resolve(&self, _: &str, path: &str) -> Resolution {
        if path.starts_with("step.grads") { Resolution::RunFirst } else { Resolution::NotDefined }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_step_and_the_last_of_an_epoch_update() {
        let mut pending = Pending::default();
        let updates: Vec<bool> = (1..=7)
            .map(|step| {
                let update = pending.add(8, 3, step, 7);
                if update {
                    pending = Pending::default();
                }
                update
            })
            .collect();
        assert_eq!(updates, [false, false, true, false, false, true, true]);
        // Steps of an epoch of unknown length are added to those of the next.
        assert!(!pending.add(8, 3, 1, 0));
        assert_eq!(pending, Pending { steps: 1, samples: 8 });
    }
}
