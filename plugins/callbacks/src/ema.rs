//! Keeps an exponential moving average of the parameters; validation phases run with it
//! (Polyak and Juditsky 1992).

use fluxbay_plugin::{prelude::*, serde};

use crate::{averages::Averages, saved_tensors::SavedTensor};

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
    averages: Averages,
    skipped: Read<bool>,
    updates: u64,
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
            averages: Averages::new(setup.write("params")?),
            skipped: setup.read("step.update-skipped")?,
            updates: 0,
            loaded: None,
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        if let Some(loaded) = &self.loaded {
            return to_bytes(loaded);
        }
        let (averages, trained) = self.averages.save()?;
        to_bytes(&Saved { updates: self.updates, averages, trained })
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
            self.updates = updates;
            self.averages.restore(&averages, &trained)?;
        }
        Ok(())
    }

    fn update(&mut self, decay: f64) -> Result<()> {
        if self.averages.is_empty() {
            return self.averages.begin();
        }
        self.updates += 1;
        let weight = weight(decay, self.config.warmup, self.updates);
        self.averages.update(|average, parameter| {
            average.affine(weight, 0.0)?.add(&parameter.affine(1.0 - weight, 0.0)?)
        })
    }
}

impl Callback for Ema {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        self.restore()?;
        match event.kind() {
            StepEnd if event.is_training() && !learner.find(&self.skipped)?.unwrap_or(false) => {
                self.update(learner.get(&self.decay)?)
            }
            EpochBegin if event.is_validation() && self.config.validate => self.averages.enter(),
            EpochEnd | EpochCancelled | Error => self.averages.leave(),
            FitEnd => {
                self.averages.leave()?;
                if self.config.keep { self.averages.apply() } else { Ok(()) }
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
