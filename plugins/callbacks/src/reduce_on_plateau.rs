//! Lowers a hyper-parameter when a metric stops improving.

use fluxbay_plugin::{prelude::*, serde};

use crate::{
    comparison::{Better, improves_by},
    watched::{Measurement, Watched},
};

config! {
    /// When and by how much it is lowered.
    pub struct Config {
        /// The hyper-parameter.
        path: String = "optimizer.learning-rate",
        /// The metric that is watched.
        metric: String = "loss",
        /// Its phase, by id or kind; by default the validation phase, or the training phase where
        /// there is none.
        phase: Option<String> = null,
        /// Which values are better; by default as the metric declares.
        better: Option<Better> = null,
        /// Factor that it is multiplied by.
        factor: f64 = 0.1 => 0.0..1.0,
        /// Epochs without a better value before it is lowered.
        patience: u64 = 10,
        /// Relative improvement over the best value that counts as better.
        threshold: f64 = 1e-4 => 0.0..,
        /// Epochs after a reduction that are not counted.
        cooldown: u64 = 0,
        /// Lower limit.
        minimum: f64 = 0.0,
    }
}

/// The callback `reduce-on-plateau`.
pub struct ReduceOnPlateau {
    config: Config,
    slot: Write<f64>,
    watched: Watched,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct State {
    best: Option<f64>,
    /// Epochs without a better value.
    count: u64,
    cooldown: u64,
}

impl State {
    /// Adds a loss; returns whether to lower.
    fn update(&mut self, loss: f64, config: &Config) -> bool {
        let better = improves_by(loss, self.best.unwrap_or(f64::NAN), config.threshold);
        self.cooldown = self.cooldown.saturating_sub(1);
        if better {
            self.best = Some(loss);
            self.count = 0;
        } else if self.cooldown == 0 {
            self.count += 1;
        }
        if self.count <= config.patience {
            return false;
        }
        self.count = 0;
        // One more, because the next call counts down before it is checked.
        self.cooldown = config.cooldown + 1;
        true
    }
}

impl Component for ReduceOnPlateau {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let slot = setup.write(&config.path)?;
        let watched =
            Watched::new(config.metric.clone(), config.phase.clone(), config.better, setup)?;
        Ok(ReduceOnPlateau { config, slot, watched, state: State::default() })
    }

    state!(state);
}

impl Callback for ReduceOnPlateau {
    fn init(&mut self, learner: &Learner) -> Result<()> {
        if learner.find(&self.slot)?.is_none() {
            bail!("this run has no hyper-parameter `{}`", self.config.path);
        }
        self.watched.resolve(learner)
    }

    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let Some(Measurement { value, .. }) = self.watched.at_epoch_end(event, learner)? else {
            return Ok(());
        };
        if !self.state.update(self.watched.better()?.as_loss(value), &self.config) {
            return Ok(());
        }
        let old = learner.get(&self.slot)?;
        let new = (old * self.config.factor).max(self.config.minimum);
        if new < old {
            log::info!(
                "`{}` changes from {old} to {new}: `{}` has not improved",
                self.config.path,
                self.config.metric
            );
            learner.set(&self.slot, new)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluxbay_plugin::Config as _;

    fn reductions(config: &str, losses: &[f64]) -> Vec<usize> {
        let config = Config::from_json(config).unwrap();
        let mut state = State::default();
        let lowered = losses.iter().enumerate().filter(|(_, loss)| state.update(**loss, &config));
        lowered.map(|(index, _)| index + 1).collect()
    }

    #[test]
    fn it_lowers_after_more_than_patience_epochs_without_gain() {
        let flat = [1.0; 10];
        assert_eq!(reductions(r#"{"patience": 2}"#, &flat), [4, 7, 10]);
        assert_eq!(reductions(r#"{"patience": 2, "cooldown": 2}"#, &flat), [4, 9]);
        assert_eq!(reductions(r#"{"patience": 0}"#, &[1.0, 0.9, 0.8, 0.8]), [4]);
        assert_eq!(
            reductions(r#"{"patience": 1, "threshold": 0.1}"#, &[1.0, 0.95, 0.91, 0.8]),
            [3]
        );
    }

    #[test]
    fn a_nan_or_an_infinity_is_not_the_best_for_ever() {
        let falling = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.2];
        for first in [f64::NAN, f64::INFINITY] {
            let losses: Vec<f64> = [first].into_iter().chain(falling).collect();
            assert_eq!(reductions(r#"{"patience": 1}"#, &losses), [] as [usize; 0], "{first}");
        }
        let nan = f64::NAN;
        assert_eq!(reductions(r#"{"patience": 1}"#, &[nan, nan, nan, 1.0, nan]), [2]);
        assert_eq!(reductions(r#"{"patience": 1}"#, &[1.0, nan, nan, 0.5, 0.4]), [3]);
    }
}
