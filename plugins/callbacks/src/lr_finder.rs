//! Searches for a learning rate before training: steps with a growing rate until the loss explodes (Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186),
//! in the manner of fastai's `lr_find`.
//!
//! The steps are rehearsed: afterwards parameters, optimizer, random numbers and counters are
//! restored.

use fluxbay_plugin::{PhaseKind, prelude::*};

config! {
    /// How the rate is searched for.
    pub struct Config {
        /// The hyper-parameter.
        path: String = "optimizer.learning-rate",
        /// First value.
        start: f64 = 1e-7,
        /// Last value.
        end: f64 = 10.0,
        /// Steps from the first value to the last; each is the one before times the same factor.
        steps: u64 = 100 => 5..,
        /// Weight of the old average in the moving average of the losses.
        smoothing: f64 = 0.98 => 0.0..1.0,
        /// The search ends when the averaged loss is this many times the lowest one.
        diverged: f64 = 4.0 => 1.0..,
        /// The training phase, by id; by default the first.
        phase: Option<String> = null,
        /// Whether training begins with the suggested rate; otherwise it is only reported.
        apply: bool = false,
    }
}

/// The callback `lr-finder`.
pub struct LrFinder {
    config: Config,
    slot: Write<f64>,
    loss: Read<f64>,
    found: Write<Node>,
    done: bool,
}

/// The points of a search.
#[derive(Debug, Default)]
struct Curve {
    /// Rate and averaged loss.
    points: Vec<(f64, f64)>,
    average: f64,
    lowest: f64,
}

impl Curve {
    /// Adds the loss at a rate; returns whether to continue.
    fn add(&mut self, rate: f64, loss: f64, config: &Config) -> bool {
        let count = self.points.len() as i32 + 1;
        self.average = config.smoothing * self.average + (1.0 - config.smoothing) * loss;
        let smooth = self.average / (1.0 - config.smoothing.powi(count));
        if !smooth.is_finite() || (count > 1 && smooth > config.diverged * self.lowest) {
            return false;
        }
        self.lowest = if count == 1 { smooth } else { self.lowest.min(smooth) };
        self.points.push((rate, smooth));
        true
    }

    /// The rate at which the loss falls fastest over the logarithm of the rate.
    fn steepest(&self) -> Option<f64> {
        let slope =
            |pair: &[(f64, f64)]| (pair[1].1 - pair[0].1) / (pair[1].0.ln() - pair[0].0.ln());
        let steepest = self.points.windows(2).min_by(|a, b| slope(a).total_cmp(&slope(b)))?;
        (slope(steepest) < 0.0).then(|| (steepest[0].0 * steepest[1].0).sqrt())
    }

    /// The rate with the lowest loss.
    fn lowest_at(&self) -> Option<f64> {
        self.points.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map(|point| point.0)
    }
}

impl Component for LrFinder {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        if !(config.start > 0.0 && config.end > config.start) {
            bail!("`start` ({}) must be above 0 and below `end` ({})", config.start, config.end);
        }
        let slot = setup.write(&config.path).context("`path`")?;
        let (loss, found) = (setup.read("step.loss")?, setup.write("cbstate.lr-finder")?);
        Ok(LrFinder { config, slot, loss, found, done: false })
    }

    fn save(&self) -> Result<Vec<u8>> {
        to_bytes(&self.done)
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.done = from_bytes(bytes)?;
        Ok(())
    }
}

impl LrFinder {
    fn search(&self, phase: usize, learner: &Learner) -> Result<Curve> {
        let Config { start, end, steps, .. } = self.config;
        let factor = (end / start).powf(1.0 / (steps - 1) as f64);
        let mut curve = Curve::default();
        learner.rehearse(phase, |rehearsal| {
            let mut rate = start;
            for _ in 0..steps {
                rehearsal.set(&self.slot, rate)?;
                rehearsal.step()?;
                let Some(loss) = rehearsal.find(&self.loss)? else {
                    bail!("the phase leaves no `step.loss`")
                };
                if !curve.add(rate, loss, &self.config) {
                    break;
                }
                rate *= factor;
            }
            Ok(())
        })?;
        Ok(curve)
    }

    fn report(&self, curve: &Curve, learner: &Learner) -> Result<()> {
        let losses: Write<Series> = self.found.child("loss")?;
        for (step, (rate, loss)) in curve.points.iter().enumerate() {
            losses.push(*rate, *loss)?;
            if learner.loggers()? > 0 {
                learner.log(&Record::scalar("lr-finder/loss", step as u64 + 1, *loss))?;
                learner.log(&Record::scalar("lr-finder/rate", step as u64 + 1, *rate))?;
            }
        }
        let path = &self.config.path;
        let (Some(rate), Some(lowest)) = (curve.steepest(), curve.lowest_at()) else {
            return learner.print(&format!(
                "lr-finder: the loss does not fall at any {path} from {} to {}",
                self.config.start, self.config.end
            ));
        };
        learner.set(&self.found.child("suggestion")?, rate)?;
        let last = curve.points.last().map_or(rate, |point| point.0);
        learner.print(&format!(
            "lr-finder: the loss falls fastest at {path} = {rate:.3e}, is lowest at {lowest:.3e}; looked at {} values up to {last:.3e}{}",
            curve.points.len(),
            if self.config.apply { "; training begins with the first" } else { "" }
        ))?;
        if self.config.apply { learner.set(&self.slot, rate) } else { Ok(()) }
    }
}

impl Callback for LrFinder {
    fn init(&mut self, learner: &Learner) -> Result<()> {
        match learner.find(&self.slot)? {
            Some(_) => Ok(()),
            None => bail!("this run has no hyper-parameter `{}`", self.config.path),
        }
    }

    fn on(&mut self, _: &Event, learner: &Learner) -> Result<()> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(());
        }
        let names = learner.phase_names()?;
        let phase = match &self.config.phase {
            Some(wanted) => names.iter().position(|name| name == wanted),
            None => learner.first_phase(PhaseKind::Training)?,
        };
        match phase {
            Some(phase) => self.report(&self.search(phase, learner)?, learner),
            None => bail!("there is no training phase; this run has {}", names.join(", ")),
        }
    }

    /// Writes during the search are undone before any other callback runs.
    fn resolve(&self, _: &str, path: &str) -> Resolution {
        match path.starts_with("cbstate") {
            true => Resolution::NotDefined,
            false => Resolution::RunFirst,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fluxbay_plugin::Config as _;

    #[test]
    fn the_steepest_fall_is_found_and_an_explosion_ends_the_search() {
        let config = Config::from_json(r#"{"smoothing": 0.0}"#).unwrap();
        let mut curve = Curve::default();
        let losses = [1.0, 0.99, 0.9, 0.4, 0.3, 0.29, 0.5, 1.3, 9.0];
        let taken = losses
            .iter()
            .enumerate()
            .take_while(|(step, loss)| curve.add(10f64.powi(*step as i32 - 6), **loss, &config))
            .count();
        assert_eq!(taken, 7, "1.3 is more than 4 times 0.29");
        assert!((curve.steepest().unwrap() / 10f64.powf(-3.5) - 1.0).abs() < 1e-12);
        assert!((curve.lowest_at().unwrap() / 1e-1 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_loss_that_only_grows_suggests_nothing() {
        let config = Config::from_json("{}").unwrap();
        let mut curve = Curve::default();
        assert!((0..5).all(|step| curve.add(10f64.powi(step), 1.0 + f64::from(step), &config)));
        assert_eq!(curve.steepest(), None);
        assert!(!curve.add(1e9, f64::NAN, &config));
    }
}
