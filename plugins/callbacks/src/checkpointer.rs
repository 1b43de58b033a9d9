//! Requests a checkpoint after each epoch and says which of them are kept: all, or the newest and
//! the best by some metric.
//!
//! The host writes, verifies and removes the files. Checkpoints requested here are kept in addition
//! to those of `[checkpoints]`.

use fluxbay_plugin::{PhaseKind, Ranking, prelude::*};

use crate::watched::{Better, Watched};

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
        /// Which values are better.
        better: Better = "lower",
    }
}

/// The callback `checkpointer`.
pub struct Checkpointer {
    config: Config,
    /// The ranking metric, read to make sure that it is measured.
    watched: Option<Watched>,
    phase: String,
    warned: bool,
}

impl Component for Checkpointer {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let watched = match config.keep_top_k {
            Some(_) => Some(Watched::new(config.metric.clone(), config.phase.clone(), setup)?),
            None => None,
        };
        Ok(Checkpointer { config, watched, phase: String::new(), warned: false })
    }
}

/// The instance id of the configured phase.
fn phase_id(wanted: Option<&str>, learner: &Learner) -> Result<String> {
    let names = learner.phase_names()?;
    if let Some(wanted) = wanted.filter(|wanted| names.iter().any(|name| name == wanted)) {
        return Ok(wanted.to_owned());
    }
    let kinds: &[PhaseKind] = match wanted {
        None => &[PhaseKind::Validation, PhaseKind::Training, PhaseKind::Other],
        Some("training") => &[PhaseKind::Training],
        Some("validation") => &[PhaseKind::Validation],
        Some("other") => &[PhaseKind::Other],
        Some(wanted) => bail!("there is no phase `{wanted}`; this run has {}", names.join(", ")),
    };
    for &kind in kinds {
        if let Some(index) = learner.first_phase(kind)? {
            return Ok(names[index].clone());
        }
    }
    bail!("this run has no such phase; it has {}", names.join(", "))
}

impl Callback for Checkpointer {
    fn init(&mut self, learner: &Learner) -> Result<()> {
        self.phase = phase_id(self.config.phase.as_deref(), learner)?;
        Ok(())
    }

    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.epoch().is_multiple_of(self.config.every) || event.phase_name()? != self.phase {
            return Ok(());
        }
        if let Some(watched) = &self.watched {
            watched.value(&self.phase, event.epoch())?;
        }
        let ranking = Ranking {
            metric: format!("{}/{}", self.phase, self.config.metric),
            keep: self.config.keep_top_k,
            better: self.config.better.into(),
        };
        if !learner.request_checkpoint(&ranking)? && !self.warned {
            self.warned = true;
            log::warn!("this run keeps no checkpoints, so `checkpointer` has no effect");
        }
        Ok(())
    }
}
