//! Asks for a checkpoint after each epoch, and says which of them stay: all, or the best by some
//! metric and the newest.
//!
//! The host writes, verifies and removes the files; what is asked for here stays beside those that
//! it keeps for resuming.

use fluxbay_plugin::{PhaseKind, Ranking, prelude::*};

use crate::watched::{Better, Watched};

config! {
    /// When checkpoints are kept, and which stay.
    pub struct Config {
        /// After every how many epochs.
        every: u64 = 1 => 1..,
        /// How many of the best stay; the newest stays whatever its value is. By default all stay.
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
    /// Where they are ranked: to be sure that the metric is measured.
    watched: Option<Watched>,
    phase: String,
    told: bool,
}

impl Component for Checkpointer {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let watched = match config.keep_top_k {
            Some(_) => Some(Watched::new(config.metric.clone(), config.phase.clone(), setup)?),
            None => None,
        };
        Ok(Checkpointer { config, watched, phase: String::new(), told: false })
    }
}

/// The instance id of the phase that is meant.
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
        if !learner.request_checkpoint(&ranking)? && !self.told {
            self.told = true;
            log::warn!(
                "this run keeps no checkpoints, so none is kept of those that are asked for"
            );
        }
        Ok(())
    }
}
