//! Keeps an exponential moving average of the parameters; validation phases run with it
//! (Polyak and Juditsky 1992).

use fluxbay_plugin::{prelude::*, serde};

use crate::saved_tensors::{SavedTensor, copy};

config! {
    /// How the average is computed and where it is used.
    pub struct Config {
        /// Weight of the old average in each update.
        decay: f64 = 0.999 => 0.0..=1.0,
        /// Whether the weight starts lower, as (1 + n) / (10 + n) after n updates, so that the
        /// initial values lose their influence quickly.
        warmup: bool = true,
        /// Whether validation phases use the average.
        validate: bool = true,
        /// Whether the model holds the average when the fit ends.
        keep: bool = true,
    }
}

/// The callback `ema`.
pub struct Ema {
    config: Config,
    decay: Read<f64>,
    params: Write<Tensors>,
    skipped: Read<bool>,
    updates: u64,
    averages: Vec<Tensor>,
    /// The trained values while the averages replace them in the model.
    trained: Vec<Tensor>,
    loaded: Option<Saved>,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Saved {
    updates: u64,
    averages: Vec<SavedTensor>,
    trained: Vec<SavedTensor>,
}

impl Component for Ema {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(Ema {
            decay: setup.hyper_parameter("decay", config.decay)?,
            config,
            params: setup.write("params")?,
            skipped: setup.read("step.update-skipped")?,
            updates: 0,
            averages: Vec::new(),
            trained: Vec::new(),
            loaded: None,
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        if let Some(loaded) = &self.loaded {
            return to_bytes(loaded);
        }
        let saved = |tensors: &[Tensor]| tensors.iter().map(SavedTensor::of).collect::<Result<_>>();
        to_bytes(&Saved {
            updates: self.updates,
            averages: saved(&self.averages)?,
            trained: saved(&self.trained)?,
        })
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.loaded = Some(from_bytes(bytes)?);
        Ok(())
    }
}

/// The weight of the old average in update `updates`, counted from 1.
fn weight(decay: f64, warmup: bool, updates: u64) -> f64 {
    let n = updates as f64;
    if warmup { decay.min((1.0 + n) / (10.0 + n)) } else { decay }
}

impl Ema {
    fn restore(&mut self) -> Result<()> {
        if let Some(Saved { updates, averages, trained }) = self.loaded.take() {
            let restored = |tensors: &[SavedTensor]| {
                tensors.iter().map(SavedTensor::restore).collect::<Result<_>>()
            };
            (self.updates, self.averages, self.trained) =
                (updates, restored(&averages)?, restored(&trained)?);
        }
        Ok(())
    }

    fn parameters(&self) -> Result<Vec<Tensor>> {
        let get = |index| {
            self.params
                .get(index)?
                .ok_or_else(|| Error::new(format!("parameter {index} has no value")))
        };
        (0..self.params.len()?).map(get).collect()
    }

    fn update(&mut self, decay: f64) -> Result<()> {
        let parameters = self.parameters()?;
        if self.averages.is_empty() {
            self.averages = parameters.iter().map(copy).collect::<Result<_>>()?;
            return Ok(());
        }
        if parameters.len() != self.averages.len() {
            bail!(
                "the run has {} parameters, but there are averages of {}",
                parameters.len(),
                self.averages.len()
            );
        }
        self.updates += 1;
        let weight = weight(decay, self.config.warmup, self.updates);
        for (average, parameter) in self.averages.iter_mut().zip(&parameters) {
            *average = average
                .affine(weight, 0.0)?
                .add(&parameter.detach()?.affine(1.0 - weight, 0.0)?)?;
        }
        Ok(())
    }

    /// Replaces the parameters by the averages.
    fn enter(&mut self) -> Result<()> {
        if self.averages.is_empty() || !self.trained.is_empty() {
            return Ok(());
        }
        self.trained = self.parameters()?.iter().map(copy).collect::<Result<_>>()?;
        self.averages
            .iter()
            .enumerate()
            .try_for_each(|(index, average)| self.params.set(index, average))
    }

    /// Restores the trained values.
    fn leave(&mut self) -> Result<()> {
        let trained = std::mem::take(&mut self.trained);
        trained.iter().enumerate().try_for_each(|(index, value)| self.params.set(index, value))
    }
}

impl Callback for Ema {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        self.restore()?;
        match event.kind() {
            StepEnd if event.is_training() && !learner.find(&self.skipped)?.unwrap_or(false) => {
                self.update(learner.get(&self.decay)?)
            }
            EpochBegin if event.is_validation() && self.config.validate => self.enter(),
            EpochEnd | EpochCancelled | Error => self.leave(),
            FitEnd => {
                self.leave()?;
                if self.config.keep {
                    self.averages
                        .iter()
                        .enumerate()
                        .try_for_each(|(index, average)| self.params.set(index, average))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_grows_up_to_the_decay() {
        assert_eq!(weight(0.999, false, 1), 0.999);
        assert_eq!(weight(0.999, true, 1), 2.0 / 11.0);
        assert_eq!(weight(0.999, true, 100_000), 0.999);
    }
}
