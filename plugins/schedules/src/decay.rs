//! Falling schedules: step, exp, poly, inv; and piecewise linear ones: constant, linear, points.
//!
//! Formulas of ParameterSchedulers.jl, with `t` from 1.

use fluxbay_plugin::prelude::*;

use crate::formula::{Formula, schedule};

config! {
    /// A constant value.
    pub struct ConstantConfig {
        /// The value.
        value: f64,
    }
}

impl Formula for ConstantConfig {
    fn at(&self, _: f64) -> f64 {
        self.value
    }

    fn length(&self) -> Option<u64> {
        Some(1)
    }
}

config! {
    /// Linear interpolation, then constant.
    pub struct LinearConfig {
        /// Value at time 1.
        start: f64,
        /// Value after `steps` times, and afterwards.
        end: f64,
        /// Length of the change.
        steps: u64 => 1..,
    }
}

impl Formula for LinearConfig {
    fn at(&self, t: f64) -> f64 {
        let done = ((t - 1.0) / self.steps as f64).clamp(0.0, 1.0);
        self.start * (1.0 - done) + self.end * done
    }

    fn length(&self) -> Option<u64> {
        Some(self.steps + 1)
    }
}

config! {
    /// Falls by a factor at intervals.
    pub struct StepConfig {
        /// Value at time 1.
        start: f64,
        /// Factor at the end of each interval.
        decay: f64 = 0.1,
        /// Lengths of the intervals; the value of the last one is kept.
        sizes: Vec<u64> = [],
        /// Length of every interval, if `sizes` is empty.
        every: Option<u64> = null => 1..,
    }
}

impl StepConfig {
    /// Number of completed intervals at time `t`.
    fn intervals(&self, t: f64) -> f64 {
        if let (true, Some(every)) = (self.sizes.is_empty(), self.every) {
            return ((t - 1.0) / every as f64).floor().max(0.0);
        }
        let ends = self.sizes.iter().scan(0, |end, size| {
            *end += size;
            Some(*end)
        });
        let done = ends.take_while(|&end| t > end as f64).count();
        done.min(self.sizes.len().saturating_sub(1)) as f64
    }
}

impl Formula for StepConfig {
    fn at(&self, t: f64) -> f64 {
        self.start * self.decay.powf(self.intervals(t))
    }

    fn length(&self) -> Option<u64> {
        (!self.sizes.is_empty()).then(|| self.sizes[..self.sizes.len() - 1].iter().sum::<u64>() + 1)
    }

    fn check(&self) -> Result<()> {
        match (self.sizes.is_empty(), self.every) {
            (true, None) => Err(Error::new(
                "a step schedule needs `every` (one length for all intervals) or `sizes` (a length for each)",
            )),
            (false, Some(_)) => {
                Err(Error::new("a step schedule takes `every` or `sizes`, not both"))
            }
            _ => Ok(()),
        }
    }
}

config! {
    /// Falls by a factor at each time.
    pub struct ExpConfig {
        /// Value at time 1.
        start: f64,
        /// Factor at each time.
        decay: f64,
    }
}

impl Formula for ExpConfig {
    fn at(&self, t: f64) -> f64 {
        self.start * self.decay.powf(t - 1.0)
    }
}

config! {
    /// Polynomial decay to 0.
    pub struct PolyConfig {
        /// Value at time 1.
        start: f64,
        /// Exponent: 1 is linear.
        degree: f64 = 1.0 => 0.0..,
        /// Length of the change.
        steps: u64 => 1..,
    }
}

impl Formula for PolyConfig {
    fn at(&self, t: f64) -> f64 {
        self.start * (1.0 - (t - 1.0) / self.steps as f64).max(0.0).powf(self.degree)
    }

    fn length(&self) -> Option<u64> {
        Some(self.steps + 1)
    }
}

config! {
    /// Inverse decay.
    pub struct InvConfig {
        /// Value at time 1.
        start: f64,
        /// Decay rate.
        decay: f64 => 0.0..,
        /// Exponent.
        degree: f64 = 1.0,
    }
}

impl Formula for InvConfig {
    fn at(&self, t: f64) -> f64 {
        self.start / (1.0 + (t - 1.0) * self.decay).powf(self.degree)
    }
}

config! {
    /// Linear interpolation between points.
    pub struct PointsConfig {
        /// Pairs of time and value with rising times, such as `[[1, 0.0], [100, 0.1]]`; constant
        /// before the first and after the last.
        points: Vec<Vec<f64>>,
    }
}

impl Formula for PointsConfig {
    fn at(&self, t: f64) -> f64 {
        let after = self.points.partition_point(|point| point[0] <= t);
        match (after.checked_sub(1).map(|before| &self.points[before]), self.points.get(after)) {
            (Some(a), Some(b)) => {
                let done = (t - a[0]) / (b[0] - a[0]);
                a[1] * (1.0 - done) + b[1] * done
            }
            (Some(only), None) | (None, Some(only)) => only[1],
            (None, None) => f64::NAN,
        }
    }

    fn length(&self) -> Option<u64> {
        self.points.last().map(|point| point[0].max(1.0).ceil() as u64)
    }

    fn check(&self) -> Result<()> {
        if self.points.is_empty() || self.points.iter().any(|point| point.len() != 2) {
            bail!(
                "`points` must be a list of pairs of time and value with at least one pair, such as [[1, 0.0], [100, 0.1]]"
            );
        }
        if let Some(pair) = self.points.windows(2).find(|pair| pair[0][0] >= pair[1][0]) {
            bail!("the times of `points` must rise, but {} comes after {}", pair[1][0], pair[0][0]);
        }
        Ok(())
    }
}

schedule! {
    /// The schedule `constant`.
    Constant: ConstantConfig
}
schedule! {
    /// The schedule `linear`.
    Linear: LinearConfig
}
schedule! {
    /// The schedule `step`.
    Step: StepConfig
}
schedule! {
    /// The schedule `exp`.
    Exp: ExpConfig
}
schedule! {
    /// The schedule `poly`.
    Poly: PolyConfig
}
schedule! {
    /// The schedule `inv`.
    Inv: InvConfig
}
schedule! {
    /// The schedule `points`.
    Points: PointsConfig
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::tests::close;

    #[test]
    fn intervals_have_the_configured_lengths() {
        let sizes = StepConfig { start: 1.0, decay: 0.5, sizes: vec![2, 3, 1], every: None };
        let values: Vec<f64> = (1..=9).map(|t| sizes.at(t as f64)).collect();
        assert_eq!(values, [1., 1., 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]);
        assert_eq!(sizes.length(), Some(6));
        let every = StepConfig { start: 1.0, decay: 0.5, sizes: vec![], every: Some(2) };
        assert_eq!(
            (1..=6).map(|t| every.at(t as f64)).collect::<Vec<_>>(),
            [1., 1., 0.5, 0.5, 0.25, 0.25]
        );
        assert!(StepConfig { start: 1.0, decay: 0.5, sizes: vec![], every: None }.check().is_err());
        assert!(
            StepConfig { start: 1.0, decay: 0.5, sizes: vec![1], every: Some(1) }.check().is_err()
        );
    }

    #[test]
    fn powers_follow_their_formulas() {
        close(ExpConfig { start: 0.3, decay: 0.9 }.at(5.0), 0.3 * 0.9 * 0.9 * 0.9 * 0.9);
        let poly = PolyConfig { start: 1e-4, degree: 1.0, steps: 10 };
        close(poly.at(1.0), 1e-4);
        close(poly.at(2.0), 9e-5);
        assert_eq!((poly.at(11.0), poly.at(50.0)), (0.0, 0.0));
        close(PolyConfig { start: 2.0, degree: 3.0, steps: 4 }.at(3.0), 2.0 * 0.125);
        close(InvConfig { start: 0.8, decay: 0.5, degree: 2.0 }.at(3.0), 0.8 / 4.0);
    }

    #[test]
    fn straight_lines_meet_their_ends() {
        let linear = LinearConfig { start: 1.0, end: 3.0, steps: 4 };
        assert_eq!([1.0, 3.0, 5.0, 9.0].map(|t| linear.at(t)), [1.0, 2.0, 3.0, 3.0]);
        let points = PointsConfig { points: vec![vec![2.0, 0.0], vec![4.0, 1.0], vec![8.0, 0.5]] };
        assert_eq!(
            [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 99.0].map(|t| points.at(t)),
            [0.0, 0.0, 0.5, 1.0, 0.75, 0.5, 0.5]
        );
        assert!(PointsConfig { points: vec![vec![2.0, 0.0], vec![2.0, 1.0]] }.check().is_err());
        assert!(PointsConfig { points: vec![vec![2.0]] }.check().is_err());
    }
}
