//! Searches for a learning rate before training: steps with a growing rate until the loss explodes (Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186),
//! in the manner of fastai's `lr_find`.
//!
//! The steps are rehearsed: afterwards parameters, optimizer, random numbers and counters are
//! restored.

use fluxbay_plugin::{PhaseKind, Rehearsal, prelude::*};

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
        /// Number of steps with which the rate of the steepest fall, smaller ones and the current
        /// rate are compared, so that no rate is suggested that trains worse than the current one; by
        /// default those of an epoch, from 100 to 1000. 0 disables the comparison.
        compare: Option<u64> = null,
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
    points: Vec<Point>,
    average: f64,
    lowest: f64,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    rate: f64,
    loss: f64,
    /// Moving average of the losses so far.
    average: f64,
}

impl Curve {
    /// Adds the loss at a rate; returns whether to continue.
    fn add(&mut self, rate: f64, loss: f64, config: &Config) -> bool {
        let count = self.points.len() as i32 + 1;
        self.average = config.smoothing * self.average + (1.0 - config.smoothing) * loss;
        let average = self.average / (1.0 - config.smoothing.powi(count));
        if !average.is_finite() || (count > 1 && average > config.diverged * self.lowest) {
            return false;
        }
        self.lowest = if count == 1 { average } else { self.lowest.min(average) };
        self.points.push(Point { rate, loss, average });
        true
    }

    /// The rate at which the loss falls fastest over the logarithm of the rate. The slope is that of
    /// a line fitted to the losses in a window of a fifth of the steps, so that the noise of single
    /// batches does not count; a fall that is not larger than twice its standard error is ignored.
    fn steepest(&self, steps: u64) -> Option<f64> {
        let window = (steps as usize / 5).max(3);
        let fits = self.points.windows(window).filter_map(|points| {
            let (slope, error) = fit(points);
            let clear = slope < 0.0 && -slope > 2.0 * error;
            clear.then(|| (slope, points[window / 2].rate))
        });
        fits.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, rate)| rate)
    }

    /// The rate with the lowest average.
    fn lowest_at(&self) -> Option<f64> {
        self.points.iter().min_by(|a, b| a.average.total_cmp(&b.average)).map(|point| point.rate)
    }
}

/// Slope of the least-squares line through losses over the logarithm of the rate, and its standard
/// error.
fn fit(points: &[Point]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.rate.ln()), mean(|point| point.loss));
    let x = |point: &Point| point.rate.ln() - x_mean;
    let squares: f64 = points.iter().map(|point| x(point).powi(2)).sum();
    let slope = points.iter().map(|point| x(point) * (point.loss - y_mean)).sum::<f64>() / squares;
    let rest = |point: &Point| (point.loss - y_mean - slope * x(point)).powi(2);
    let variance = points.iter().map(rest).sum::<f64>() / (count - 2.0);
    (slope, (variance / squares).sqrt())
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

    state!(done);
}

impl LrFinder {
    /// Rehearses steps with growing rates.
    fn search(&self, phase: usize, learner: &Learner) -> Result<Curve> {
        let Config { start, end, steps, .. } = self.config;
        let factor = (end / start).powf(1.0 / (steps - 1) as f64);
        let mut curve = Curve::default();
        learner.rehearse(phase, |rehearsal| {
            let mut rate = start;
            for _ in 0..steps {
                let loss = self.step(rate, rehearsal)?;
                if !curve.add(rate, loss, &self.config) {
                    break;
                }
                rate *= factor;
            }
            Ok(())
        })?;
        Ok(curve)
    }

    fn step(&self, rate: f64, rehearsal: &Rehearsal<'_>) -> Result<f64> {
        rehearsal.set(&self.slot, rate)?;
        rehearsal.step()?;
        match rehearsal.find(&self.loss)? {
            Some(loss) => Ok(loss),
            None => bail!("the phase leaves no `step.loss`"),
        }
    }

    /// Rehearses training with one rate; returns the mean loss of the last half of the steps,
    /// infinite if it is not a number.
    fn trained(&self, rate: f64, phase: usize, learner: &Learner) -> Result<f64> {
        learner.rehearse(phase, |rehearsal| {
            let epoch = rehearsal.position()?.steps_per_epoch;
            let steps = self.config.compare.unwrap_or(epoch.clamp(100, 1000));
            let half = (steps / 2).max(1);
            let mut sum = 0.0;
            for step in 1..=steps {
                let loss = self.step(rate, rehearsal)?;
                sum += if step > steps - half { loss } else { 0.0 };
            }
            let mean = sum / half as f64;
            Ok(if mean.is_nan() { f64::INFINITY } else { mean })
        })
    }

    /// The candidate that trains best; `None` if the current rate trains better than all of them.
    fn compared(&self, candidates: &[f64], phase: usize, learner: &Learner) -> Result<Option<f64>> {
        if self.config.compare == Some(0) {
            return Ok(candidates.first().copied());
        }
        let mut best = (self.trained(learner.get(&self.slot)?, phase, learner)?, None);
        for &candidate in candidates {
            let loss = self.trained(candidate, phase, learner)?;
            if loss < best.0 {
                best = (loss, Some(candidate));
            }
        }
        Ok(best.1)
    }

    fn record(&self, curve: &Curve, learner: &Learner) -> Result<()> {
        let losses: Write<Series> = self.found.child("loss")?;
        for (step, point) in curve.points.iter().enumerate() {
            losses.push(point.rate, point.average)?;
            if learner.loggers()? > 0 {
                let step = step as u64 + 1;
                learner.log(&Record::scalar("lr-finder/loss", step, point.average))?;
                learner.log(&Record::scalar("lr-finder/rate", step, point.rate))?;
            }
        }
        Ok(())
    }

    /// Searches, reports the suggestion and applies it.
    fn find(&self, phase: usize, learner: &Learner) -> Result<()> {
        let Config { path, start, end, steps, apply, .. } = &self.config;
        let curve = self.search(phase, learner)?;
        self.record(&curve, learner)?;
        let (Some(steepest), Some(lowest)) = (curve.steepest(*steps), curve.lowest_at()) else {
            return learner.print(&format!(
                "lr-finder: the loss does not fall clearly at any {path} from {start} to {end}"
            ));
        };
        let last = curve.points.last().map_or(steepest, |point| point.rate);
        let found = format!(
            "lr-finder: the loss falls fastest at {path} = {steepest:.3e}, is lowest at {lowest:.3e}; tried {} values up to {last:.3e}",
            curve.points.len()
        );
        let current = learner.get(&self.slot)?;
        let candidates = [steepest, steepest / 3.0, steepest / 10.0];
        let Some(rate) = self.compared(&candidates, phase, learner)? else {
            return learner.print(&format!(
                "{found}; the current value {current:.3e} trains better and is kept"
            ));
        };
        learner.set(&self.found.child("suggestion")?, rate)?;
        let applied = if *apply { "training starts with it" } else { "not applied" };
        learner.print(&format!("{found}; suggested: {rate:.3e}, {applied}"))?;
        if *apply { learner.set(&self.slot, rate) } else { Ok(()) }
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
            Some(phase) => self.find(phase, learner),
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

    /// A curve over `steps` rates from 1e-7 to 10.
    fn curve(steps: u64, loss: impl Fn(f64, u64) -> f64) -> Curve {
        let config = Config::from_json("{}").unwrap();
        let factor = (config.end / config.start).powf(1.0 / (steps - 1) as f64);
        let mut curve = Curve::default();
        let mut rate = config.start;
        for step in 0..steps {
            if !curve.add(rate, loss(rate, step), &config) {
                break;
            }
            rate *= factor;
        }
        curve
    }

    /// Falls from 2.3 to 0.3 around a rate of 1e-2 and explodes above 1.
    fn typical(rate: f64) -> f64 {
        2.3 - 2.0 / (1.0 + (-2.0 * (rate.log10() + 2.0)).exp()) + rate.powi(3)
    }

    #[test]
    fn an_explosion_ends_the_search() {
        let config = Config::from_json(r#"{"smoothing": 0.0}"#).unwrap();
        let mut curve = Curve::default();
        let losses = [1.0, 0.99, 0.9, 0.4, 0.3, 0.29, 0.5, 1.3, 9.0];
        let taken = losses
            .iter()
            .enumerate()
            .take_while(|(step, loss)| curve.add(10f64.powi(*step as i32 - 6), **loss, &config))
            .count();
        assert_eq!(taken, 7, "1.3 is more than 4 times 0.29");
        assert!((curve.lowest_at().unwrap() / 1e-1 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_steepest_fall_is_found() {
        let steepest = curve(100, |rate, _| typical(rate)).steepest(100).unwrap();
        assert!((5e-3..2e-2).contains(&steepest), "{steepest}");
    }

    #[test]
    fn noise_is_not_taken_for_a_fall() {
        // Noise as of small batches; the first batches have large losses by chance.
        let noise = |step: u64| 0.5 * (step as f64 * 12.9898).sin();
        let start = |step: u64| 3.0 * (-(step as f64)).exp();
        let noisy = curve(100, |rate, step| typical(rate) + noise(step) + start(step));
        let steepest = noisy.steepest(100).unwrap();
        assert!((1e-3..1e-1).contains(&steepest), "{steepest}");
        assert_eq!(curve(100, |_, step| 2.3 + noise(step)).steepest(100), None);
    }

    #[test]
    fn a_loss_that_only_grows_suggests_nothing() {
        let config = Config::from_json("{}").unwrap();
        let mut curve = Curve::default();
        assert!((0..5).all(|step| curve.add(10f64.powi(step), 1.0 + f64::from(step), &config)));
        assert_eq!(curve.steepest(5), None);
        assert!(!curve.add(1e9, f64::NAN, &config));
    }
}
