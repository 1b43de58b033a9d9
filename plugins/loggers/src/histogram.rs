//! A histogram with equal bins, and the moments of the values.

/// Number of bins.
const BINS: usize = 30;

/// Counts of the finite values, in bins from the smallest to the largest. Other values are only
/// counted in `not_finite`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    pub count: u64,
    pub not_finite: u64,
    pub min: f64,
    pub max: f64,
    pub sum: f64,
    pub sum_squares: f64,
    /// Upper end of each bin; the first bin starts at `min`.
    pub limits: Vec<f64>,
    pub counts: Vec<f64>,
}

impl Histogram {
    /// The histogram of `values`.
    pub fn of(values: &[f64]) -> Histogram {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let count = finite().count() as u64;
        let mut histogram =
            Histogram { count, not_finite: values.len() as u64 - count, ..Histogram::default() };
        if count == 0 {
            return histogram;
        }
        (histogram.min, histogram.max) = finite()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), v| (min.min(v), max.max(v)));
        (histogram.sum, histogram.sum_squares) =
            finite().fold((0.0, 0.0), |(sum, squares), v| (sum + v, squares + v * v));
        let width = (histogram.max - histogram.min) / BINS as f64;
        if width == 0.0 || !width.is_finite() {
            histogram.limits = vec![histogram.max];
            histogram.counts = vec![count as f64];
            return histogram;
        }
        histogram.limits = (1..=BINS)
            .map(|bin| if bin == BINS { histogram.max } else { histogram.min + bin as f64 * width })
            .collect();
        histogram.counts = vec![0.0; BINS];
        for value in finite() {
            let bin = ((value - histogram.min) / width) as usize;
            histogram.counts[bin.min(BINS - 1)] += 1.0;
        }
        histogram
    }

    /// Mean of the finite values; NaN if there are none.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// Population standard deviation of the finite values.
    pub fn deviation(&self) -> f64 {
        (self.sum_squares / self.count as f64 - self.mean().powi(2)).max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_in_one_bin() {
        let values: Vec<f64> = (0..300).map(f64::from).chain([f64::NAN, f64::INFINITY]).collect();
        let histogram = Histogram::of(&values);
        assert_eq!(
            (histogram.count, histogram.not_finite, histogram.min, histogram.max),
            (300, 2, 0.0, 299.0)
        );
        assert_eq!(histogram.counts, [10.0; BINS]);
        assert_eq!(histogram.limits.last(), Some(&299.0));
        assert!((histogram.mean() - 149.5).abs() < 1e-9);
        assert!(
            (histogram.deviation() - (300.0 * 300.0 - 1.0f64).sqrt() / 12f64.sqrt()).abs() < 1e-9
        );
    }

    #[test]
    fn equal_values_and_no_values_have_a_histogram() {
        let same = Histogram::of(&[2.0, 2.0]);
        assert_eq!((same.limits, same.counts), (vec![2.0], vec![2.0]));
        assert_eq!(Histogram::of(&[f64::NAN]).count, 0);
    }
}
