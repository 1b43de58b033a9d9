//! Requests a checkpoint after each epoch and says which of them are kept: all, or the newest and
//! the best by some metric.
//!
//! The host writes, verifies and removes the files. Checkpoints requested here are kept in addition
//! to those of `[checkpoints]`.

use fluxbay_plugin::{Ranking, prelude::*};

use crate::{comparison::Better, phases::default_phase, watched::Watched};

config! {
    /// When checkpoints are saved, and which are kept.
    pub struct Config {
        /// Number of epochs between checkpoints.
        every: u64 = 1 => 1..,
        /// How many of the best are kept, beside the newest; by default all are kept.
        keep_top_k: Option<u64> = null => 1..,
        /// The metric that ranks them.
        metric: String = "loss",
        /// Its phase, by id or kind; by default the validation phase, or the training phase where
        /// there is none.
        phase: Option<String> = null,
        /// Which values are better; by default as the metric declares.
        better: Option<Better> = null,
    }
}

/// The callback `checkpointer`.
pub struct Checkpointer {
    config: Config,
    /// The ranking metric, if there is a ranking.
    watched: Option<Watched>,
    /// Without a ranking: the phase after which checkpoints are requested.
    phase: String,
    warned: bool,
}

impl Component for Checkpointer {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let watched = match config.keep_top_k {
            Some(_) => Some(Watched::new(
                config.metric.clone(),
                config.phase.clone(),
                config.better,
                setup,
            )?),
            None => None,
        };
        Ok(Checkpointer { config, watched, phase: String::new(), warned: false })
    }
}

impl Checkpointer {
    /// The phase whose checkpoint event is used, if it is that of `event`.
    fn phase(&self, event: &Event, learner: &Learner) -> Result<Option<String>> {
        match &self.watched {
            Some(watched) => Ok(watched.at_epoch_end(event, learner)?.map(|found| found.phase)),
            None => Ok(Some(event.phase_name()?).filter(|name| *name == self.phase)),
        }
    }
}

impl Callback for Checkpointer {
    fn init(&mut self, learner: &Learner) -> Result<()> {
        match &mut self.watched {
            Some(watched) => watched.resolve(learner),
            None => {
                self.phase = default_phase(self.config.phase.as_deref(), learner)?;
                Ok(())
            }
        }
    }

    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.epoch().is_multiple_of(self.config.every) {
            return Ok(());
        }
        let Some(phase) = self.phase(event, learner)? else { return Ok(()) };
        let better = match &self.watched {
            Some(watched) => watched.better()?,
            None => Better::Lower,
        };
        let ranking = Ranking {
            metric: format!("{phase}/{}", self.config.metric),
            keep: self.config.keep_top_k,
            better: better.into(),
        };
        if !learner.request_checkpoint(&ranking)? && !self.warned {
            self.warned = true;
            log::warn!("this run keeps no checkpoints, so `checkpointer` has no effect");
        }
        Ok(())
    }
}
