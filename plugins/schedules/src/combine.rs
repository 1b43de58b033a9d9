//! Schedules that combine other schedules: in sequence, repeated, shifted, stretched, with a warm-up.

use std::f64::consts::{FRAC_PI_2, PI};

use fluxbay_plugin::prelude::*;
use serde_json::Value;

use crate::formula::{Curve, Inner};

config! {
    /// Schedules in sequence.
    pub struct SequenceConfig {
        /// Tables with `steps` (the length of the part; optional for the last part) and `component`
        /// with its keys, or `value` for a constant part.
        parts: Vec<Value>,
    }
}

config! {
    /// A repeated schedule.
    pub struct LoopConfig {
        /// The schedule: a name, or a table with `component`.
        schedule: Value,
        /// Length of one repetition.
        period: u64 => 1..,
    }
}

config! {
    /// A schedule that starts at a later time.
    pub struct ShiftedConfig {
        /// The schedule: a name, or a table with `component`.
        schedule: Value,
        /// Time of the inner schedule at time 1.
        offset: u64 = 1 => 1..,
    }
}

choice! {
    /// How fractions of the inner time are treated.
    pub enum Rounding {
        /// Rounded up: each value of the inner schedule is kept for `rate` times.
        Ceil,
        /// Rounded down.
        Floor,
        /// Kept: the inner schedule is evaluated at fractional times.
        None,
    }
}

config! {
    /// A schedule whose time is stretched, such as one in epochs that is evaluated at each step.
    pub struct InterpolatorConfig {
        /// The schedule: a name, or a table with `component`.
        schedule: Value,
        /// Number of times that correspond to one time of the inner schedule.
        rate: f64,
        /// How fractions of the inner time are treated.
        rounding: Rounding = "ceil",
    }
}

choice! {
    /// Shape of a rise.
    pub enum Rise {
        /// A straight line.
        Linear,
        /// The first quarter of a sine.
        Sin,
        /// Half a cosine: flat at both ends.
        Cos,
    }
}

config! {
    /// A rise to the first value of another schedule.
    pub struct WarmupConfig {
        /// The schedule that follows: a number, a name, or a table with `component`.
        schedule: Value,
        /// Length of the rise.
        steps: u64 => 1..,
        /// Value at time 1.
        start: f64 = 0.0,
        /// Shape of the rise.
        shape: Rise = "linear",
    }
}

/// Parts and their lengths.
pub struct Parts<C>(Vec<(C, f64)>);

impl<C: Curve> Parts<C> {
    fn value(&self, t: f64) -> Result<f64> {
        let mut before = 0.0;
        for (part, steps) in &self.0 {
            if t <= before + steps {
                return part.value(t - before);
            }
            before += steps;
        }
        match self.0.last() {
            Some((part, steps)) => part.value(t - (before - steps)),
            None => Err(Error::new("a sequence without parts has no value")),
        }
    }

    fn length(&self) -> Option<u64> {
        let (last, rest) = self.0.split_last()?;
        let before: f64 = rest.iter().map(|(_, steps)| steps).sum();
        Some(before as u64 + last.0.length().ok()??)
    }
}

/// The inner time of an interpolator; schedules begin at 1.
fn inner_time(t: f64, rate: f64, rounding: Rounding) -> f64 {
    let inner = t / rate;
    match rounding {
        Rounding::Ceil => inner.ceil(),
        Rounding::Floor => inner.floor(),
        Rounding::None => inner,
    }
    .max(1.0)
}

/// A rise to the first value of a schedule.
struct Warm<C> {
    schedule: C,
    steps: f64,
    start: f64,
    shape: Rise,
}

impl<C: Curve> Warm<C> {
    fn value(&self, t: f64) -> Result<f64> {
        let done = (t - 1.0) / self.steps;
        if done >= 1.0 {
            return self.schedule.value(t - self.steps);
        }
        let share = match self.shape {
            Rise::Linear => done,
            Rise::Sin => (FRAC_PI_2 * done).sin(),
            Rise::Cos => (1.0 - (PI * done).cos()) / 2.0,
        };
        Ok(self.start + (self.schedule.value(1.0)? - self.start) * share)
    }
}

/// The schedule `sequence`.
pub struct Sequence(Parts<Inner>);

impl Component for Sequence {
    type Config = SequenceConfig;

    fn new(config: SequenceConfig, setup: &mut Setup) -> Result<Self> {
        let last = config
            .parts
            .len()
            .checked_sub(1)
            .ok_or_else(|| Error::new("a sequence needs at least one part"))?;
        let mut parts = Vec::new();
        for (index, part) in config.parts.iter().enumerate() {
            let (inner, steps) =
                part_of(part).context(format_args!("part {} of the sequence", index + 1))?;
            let steps = match steps {
                Some(steps) => steps,
                None if index == last => f64::INFINITY,
                None => bail!(
                    "part {} of the sequence needs `steps`: only the last part may omit it",
                    index + 1
                ),
            };
            parts.push((Inner::new(&inner, setup)?, steps));
        }
        Ok(Sequence(Parts(parts)))
    }
}

/// The schedule and the length of a part.
fn part_of(part: &Value) -> Result<(Value, Option<f64>)> {
    let Value::Object(table) = part else {
        bail!("it must be a table with `steps` and `component` or `value`, not {part}")
    };
    let mut table = table.clone();
    let steps = match table.remove("steps") {
        None => None,
        Some(steps) => match steps.as_u64() {
            Some(count) if count > 0 => Some(count as f64),
            _ => bail!("`steps` must be a whole number from 1, not {steps}"),
        },
    };
    match table.remove("value") {
        Some(value) if value.is_number() && table.is_empty() => Ok((value, steps)),
        Some(value) => {
            bail!(
                "`value` must be a number and can be combined only with `steps`; here it is {value}"
            )
        }
        None => Ok((Value::Object(table), steps)),
    }
}

impl Schedule for Sequence {
    fn value(&self, t: f64) -> Result<f64> {
        self.0.value(t)
    }

    fn length(&self) -> Option<u64> {
        self.0.length()
    }
}

/// The schedule `loop`.
pub struct Loop {
    schedule: Inner,
    period: f64,
}

impl Component for Loop {
    type Config = LoopConfig;

    fn new(config: LoopConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Loop { schedule: Inner::new(&config.schedule, setup)?, period: config.period as f64 })
    }
}

/// `t` wrapped into a period, from 1 to the period.
fn looped(t: f64, period: f64) -> f64 {
    let within = t.rem_euclid(period);
    if within == 0.0 { period } else { within }
}

impl Schedule for Loop {
    fn value(&self, t: f64) -> Result<f64> {
        self.schedule.value(looped(t, self.period))
    }
}

/// The schedule `shifted`.
pub struct Shifted {
    schedule: Inner,
    offset: u64,
}

impl Component for Shifted {
    type Config = ShiftedConfig;

    fn new(config: ShiftedConfig, setup: &mut Setup) -> Result<Self> {
        Ok(Shifted { schedule: Inner::new(&config.schedule, setup)?, offset: config.offset })
    }
}

impl Schedule for Shifted {
    fn value(&self, t: f64) -> Result<f64> {
        self.schedule.value(t - 1.0 + self.offset as f64)
    }

    fn length(&self) -> Option<u64> {
        let length = self.schedule.length().ok()??;
        Some((length + 1).saturating_sub(self.offset).max(1))
    }
}

/// The schedule `interpolator`.
pub struct Interpolator {
    schedule: Inner,
    rate: f64,
    rounding: Rounding,
}

impl Component for Interpolator {
    type Config = InterpolatorConfig;

    fn new(config: InterpolatorConfig, setup: &mut Setup) -> Result<Self> {
        if config.rate.is_nan() || config.rate <= 0.0 {
            bail!("`rate` is {}, but it must be above 0", config.rate);
        }
        Ok(Interpolator {
            schedule: Inner::new(&config.schedule, setup)?,
            rate: config.rate,
            rounding: config.rounding,
        })
    }
}

impl Schedule for Interpolator {
    fn value(&self, t: f64) -> Result<f64> {
        self.schedule.value(inner_time(t, self.rate, self.rounding))
    }

    fn length(&self) -> Option<u64> {
        let length = self.schedule.length().ok()??;
        Some((length as f64 * self.rate).ceil() as u64)
    }
}

/// The schedule `warmup`.
pub struct Warmup(Warm<Inner>);

impl Component for Warmup {
    type Config = WarmupConfig;

    fn new(config: WarmupConfig, setup: &mut Setup) -> Result<Self> {
        let schedule = Inner::new(&config.schedule, setup)?;
        Ok(Warmup(Warm {
            schedule,
            steps: config.steps as f64,
            start: config.start,
            shape: config.shape,
        }))
    }
}

impl Schedule for Warmup {
    fn value(&self, t: f64) -> Result<f64> {
        self.0.value(t)
    }

    fn length(&self) -> Option<u64> {
        Some(self.0.steps as u64 + self.0.schedule.length().ok()??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decay::{ConstantConfig, ExpConfig, PolyConfig},
        formula::tests::{Plain, close},
    };

    fn exp() -> Plain<ExpConfig> {
        Plain(ExpConfig { start: 8.0, decay: 0.5 })
    }

    #[test]
    fn parts_follow_each_other_each_starting_at_its_own_time_1() {
        let parts = Parts(vec![(exp(), 3.0), (exp(), 2.0)]);
        let values: Vec<f64> = (1..=7).map(|t| parts.value(t as f64).unwrap()).collect();
        assert_eq!(values, [8., 4., 2., 8., 4., 2., 1.]);
        let ending = Parts(vec![
            (Plain(ConstantConfig { value: 1.0 }), 5.0),
            (Plain(ConstantConfig { value: 2.0 }), f64::INFINITY),
        ]);
        assert_eq!(ending.length(), Some(6));
        assert_eq!(parts.length(), None);
    }

    #[test]
    fn parts_are_read_from_tables() {
        let (inner, steps) =
            part_of(&serde_json::json!({"steps": 5, "component": "exp", "start": 1})).unwrap();
        assert_eq!(
            (inner, steps),
            (serde_json::json!({"component": "exp", "start": 1}), Some(5.0))
        );
        assert_eq!(
            part_of(&serde_json::json!({"value": 0.5})).unwrap(),
            (serde_json::json!(0.5), None)
        );
        assert!(part_of(&serde_json::json!({"value": 0.5, "component": "exp"})).is_err());
        assert!(part_of(&serde_json::json!({"steps": 0, "value": 1})).is_err());
    }

    #[test]
    fn a_loop_restarts_after_its_period() {
        assert_eq!([1.0, 3.0, 4.0, 6.0, 7.0].map(|t| looped(t, 3.0)), [1.0, 3.0, 1.0, 3.0, 1.0]);
    }

    #[test]
    fn behaviour_28_an_interpolator_keeps_a_value_for_an_epoch() {
        let poly = Plain(PolyConfig { start: 1e-4, degree: 1.0, steps: 10 });
        let at = |t: f64| poly.value(inner_time(t, 16.0, Rounding::Ceil)).unwrap();
        close(at(1.0), 1e-4);
        close(at(16.0), 1e-4);
        close(at(17.0), 9e-5);
        close(at(32.0), 9e-5);
        assert_eq!(inner_time(24.0, 16.0, Rounding::None), 1.5);
        assert_eq!(inner_time(1.0, 16.0, Rounding::None), 1.0);
        assert_eq!(inner_time(33.0, 16.0, Rounding::Floor), 2.0);
    }

    #[test]
    fn a_warm_up_ends_where_its_schedule_begins() {
        let warm = |shape| Warm { schedule: exp(), steps: 4.0, start: 0.0, shape };
        let values: Vec<f64> =
            (1..=7).map(|t| warm(Rise::Linear).value(t as f64).unwrap()).collect();
        assert_eq!(values, [0., 2., 4., 6., 8., 4., 2.]);
        close(warm(Rise::Sin).value(3.0).unwrap(), 8.0 * std::f64::consts::FRAC_1_SQRT_2);
        close(warm(Rise::Cos).value(3.0).unwrap(), 4.0);
        close(warm(Rise::Cos).value(6.0).unwrap(), 4.0);
    }
}
