//! Mean and standard deviation of the training samples, in two passes.

/// First pass: count, sum and range.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// Number of values.
    pub count: u64,
    sum: f64,
    least: f64,
    most: f64,
}

impl Default for Sums {
    fn default() -> Sums {
        Sums { count: 0, sum: 0.0, least: f64::INFINITY, most: f64::NEG_INFINITY }
    }
}

impl Sums {
    /// Takes a value into account.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    /// The mean; exact if all values are equal.
    pub fn mean(&self) -> f64 {
        if self.least == self.most { self.least } else { self.sum / self.count as f64 }
    }
}

/// Second pass: deviations from the mean.
#[derive(Clone, Copy, Debug)]
pub struct Deviations {
    mean: f64,
    sum: f64,
    squares: f64,
}

/// Standardised values are `(value - mean) / scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, or 1.
    pub scale: f64,
}

impl Deviations {
    /// Deviations from `mean`.
    pub fn from(mean: f64) -> Deviations {
        Deviations { mean, sum: 0.0, squares: 0.0 }
    }

    /// Takes a value into account.
    pub fn add(&mut self, value: f64) {
        let deviation = value - self.mean;
        self.sum += deviation;
        self.squares += deviation * deviation;
    }

    /// Mean and standard deviation of `count` values. The scale of a constant column is 1.
    ///
    /// A column counts as constant if its variance is within the rounding error of the computation,
    /// by the rule of scikit-learn's `StandardScaler` (`_is_constant_feature`).
    pub fn scaling(&self, count: u64) -> Scaling {
        let n = count as f64;
        // The sum of the deviations is 0 but for the rounding error of the mean (Chan et al. 1983).
        let error = self.sum / n;
        let variance = (self.squares / n - error * error).max(0.0);
        let bound = n * f64::EPSILON * variance + (n * self.mean * f64::EPSILON).powi(2);
        let scale = if variance <= bound { 1.0 } else { variance.sqrt() };
        // Corrected only where single precision shows the difference.
        let mean = if error.abs() > 1e-9 * scale { self.mean + error } else { self.mean };
        Scaling { mean, scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaling(values: &[f64]) -> Scaling {
        let mut sums = Sums::default();
        values.iter().for_each(|value| sums.add(*value));
        let mut deviations = Deviations::from(sums.mean());
        values.iter().for_each(|value| deviations.add(*value));
        deviations.scaling(sums.count)
    }

    #[test]
    fn constants_have_their_exact_mean_and_scale_1() {
        for value in [0.1, -1.0 / 3.0, 1e300, 0.0, 5e-324, 123_456.789] {
            for count in [1, 2, 3, 1000] {
                assert_eq!(scaling(&vec![value; count]), Scaling { mean: value, scale: 1.0 });
            }
        }
    }
}
