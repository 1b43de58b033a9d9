//! Ends the fit when a metric meets a stopping criterion.

use std::time::Instant;

use fluxbay_plugin::{prelude::*, serde};
use serde_json::Value;

use crate::{
    comparison::Better,
    criterion::{Criterion, State},
    watched::{Measurement, Watched},
};

config! {
    /// When the fit ends.
    pub struct Config {
        /// When to stop: a whole number n (n epochs without a new best value), a table such as
        /// `{ type = "patience", n = 5 }`, or a list of which any one suffices. Types: never,
        /// invalid-value, time-limit (seconds), gl (alpha), pq (alpha, k), patience (n consecutive
        /// increases), number-since-best (n), number-limit (n epochs), threshold (value), warmup
        /// (n, criterion), any-of (criteria).
        criterion: Value = 6,
        /// Short for `criterion = n`.
        patience: Option<u64> = null => 1..,
        /// The metric that is watched.
        metric: String = "loss",
        /// Its phase, by id or kind; by default the validation phase, or the training phase where
        /// there is none.
        phase: Option<String> = null,
        /// Which values are better; by default as the metric declares.
        better: Option<Better> = null,
    }
}

/// The callback `early-stopping`.
pub struct EarlyStopping {
    criterion: Criterion,
    metric: String,
    watched: Watched,
    state: Saved,
    since: Option<Instant>,
}

/// The saved state.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Saved {
    criterion: State,
    /// Seconds of training before this process.
    elapsed: f64,
}

impl EarlyStopping {
    fn elapsed(&self) -> f64 {
        self.state.elapsed + self.since.map_or(0.0, |since| since.elapsed().as_secs_f64())
    }
}

impl Component for EarlyStopping {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let value = config.patience.map_or(config.criterion, Value::from);
        let criterion = Criterion::from_value(&value).context("`criterion`")?;
        Ok(EarlyStopping {
            state: Saved { criterion: criterion.begin(), elapsed: 0.0 },
            criterion,
            watched: Watched::new(config.metric.clone(), config.phase, config.better, setup)?,
            metric: config.metric,
            since: None,
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&Saved { elapsed: self.elapsed(), ..self.state.clone() })
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        let state: Saved = from_bytes(bytes)?;
        if !self.criterion.fits(&state.criterion) {
            bail!("the saved state belongs to another criterion");
        }
        self.state = state;
        self.since = None;
        Ok(())
    }
}

impl Callback for EarlyStopping {
    fn init(&mut self, learner: &Learner) -> Result<()> {
        self.watched.resolve(learner)
    }

    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        self.since.get_or_insert_with(Instant::now);
        if event.kind() != EpochEnd {
            return Ok(());
        }
        let better = self.watched.better()?;
        if self.criterion.uses_training_losses() && event.is_training() {
            let name = event.phase_name()?;
            match self.watched.value(&name, event.epoch())? {
                Some(loss) => {
                    self.criterion.update_training(better.as_loss(loss), &mut self.state.criterion)
                }
                None if self.criterion.needs_training_losses() => bail!(
                    "phase `{name}` does not measure `{}`, which the criterion `pq` needs",
                    self.metric
                ),
                None => {}
            }
        }
        let Some(Measurement { value, .. }) = self.watched.at_epoch_end(event, learner)? else {
            return Ok(());
        };
        let elapsed = self.elapsed();
        self.criterion.update(better.as_loss(value), elapsed, &mut self.state.criterion);
        match self.criterion.done(better, &self.state.criterion) {
            Some(why) => Err(Error::cancel_fit(format!(
                "stopped early in epoch {}: {why} ({} is {value})",
                event.epoch(),
                self.metric
            ))),
            None => Ok(()),
        }
    }
}
