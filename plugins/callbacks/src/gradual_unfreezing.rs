//! Trains more and more of a model: parts are frozen at first and join one after the other (Howard and
//! Ruder 2018, arXiv:1801.06146).

use fluxbay_plugin::prelude::*;

config! {
    /// Which parts, and when.
    pub struct Config {
        /// Patterns over paths of parameters, `PATH` or `MODEL.PATH`, `*` for any text: the first one joins
        /// first. All other parameters are trained from the beginning.
        parts: Vec<String>,
        /// Epoch in which the first part joins.
        first: u64 = 2 => 1..,
        /// Epochs from one part to the next.
        every: u64 = 1 => 1..,
    }
}

/// The callback `gradual-unfreezing`.
pub struct GradualUnfreezing {
    config: Config,
    /// Number of parts that are trained, once it was set.
    joined: Option<usize>,
}

impl Component for GradualUnfreezing {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        if config.parts.is_empty() {
            bail!("parts is empty: name the parameters that are frozen at first");
        }
        Ok(GradualUnfreezing { config, joined: None })
    }
}

/// Number of parts that are trained in an epoch.
fn joined(config: &Config, epoch: u64) -> usize {
    let number = (epoch + config.every).saturating_sub(config.first) / config.every;
    config.parts.len().min(number as usize)
}

impl Callback for GradualUnfreezing {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let now = joined(&self.config, event.epoch());
        if !event.is_training() || self.joined == Some(now) {
            return Ok(());
        }
        // What several patterns match joins with the last of them.
        let (trained, frozen) = self.config.parts.split_at(now);
        for (parts, freeze) in [(trained, false), (frozen, true)] {
            for pattern in parts {
                if learner.freeze(pattern, freeze)? == 0 {
                    bail!("no parameter matches {pattern:?} of `parts`");
                }
            }
        }
        if self.joined.is_some() {
            log::info!("epoch {}: {} now trained, too", event.epoch(), trained[now - 1]);
        }
        self.joined = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_join_one_after_the_other() {
        let config = |first, every| Config { parts: vec![String::new(); 3], first, every };
        let of = |config: &Config| (1..=8).map(|epoch| joined(config, epoch)).collect::<Vec<_>>();
        assert_eq!(of(&config(2, 1)), [0, 1, 2, 3, 3, 3, 3, 3]);
        assert_eq!(of(&config(3, 2)), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(of(&config(1, 1)), [1, 2, 3, 3, 3, 3, 3, 3]);
    }
}
