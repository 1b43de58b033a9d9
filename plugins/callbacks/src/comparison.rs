//! Comparison of metric values, shared by early-stopping, reduce-on-plateau and checkpointer.
//!
//! Values are compared as losses (lower is better); [`Better::as_loss`] converts a metric. NaN is
//! worse than every number and never the best value. A best value of NaN means that there is none
//! yet.

use fluxbay_plugin::prelude::*;

choice! {
    /// Which values of a metric are better.
    pub enum Better {
        /// Lower values, such as a loss.
        Lower,
        /// Higher values, such as an accuracy.
        Higher,
    }
}

impl From<Better> for fluxbay_plugin::Better {
    fn from(better: Better) -> Self {
        match better {
            Better::Lower => fluxbay_plugin::Better::Lower,
            Better::Higher => fluxbay_plugin::Better::Higher,
        }
    }
}

impl From<fluxbay_plugin::Better> for Better {
    fn from(better: fluxbay_plugin::Better) -> Self {
        match better {
            fluxbay_plugin::Better::Lower => Better::Lower,
            fluxbay_plugin::Better::Higher => Better::Higher,
        }
    }
}

impl Better {
    /// The value with the sign changed where needed, so that lower is better. Every number that is
    /// compared with a metric has to be converted too.
    pub fn as_loss(self, value: f64) -> f64 {
        match self {
            Better::Lower => value,
            Better::Higher => -value,
        }
    }
}

/// Whether `loss` is a new best value.
pub fn improves(loss: f64, best: f64) -> bool {
    !loss.is_nan() && (best.is_nan() || loss < best)
}

/// Whether `loss` is better than `best` by more than `threshold`, relative to the best. Every number
/// improves on an infinite best.
pub fn improves_by(loss: f64, best: f64, threshold: f64) -> bool {
    improves(loss, best) && (!best.is_finite() || loss < best - threshold * best.abs())
}

/// Whether `loss` is worse than the value before it.
pub fn worsens(loss: f64, before: f64) -> bool {
    loss.is_nan() || loss > before
}

/// How much worse `loss` is than `best`, in percent of the magnitude of the best; infinite for NaN.
pub fn percent_worse(loss: f64, best: f64) -> f64 {
    if loss <= best {
        return 0.0;
    }
    let percent = 100.0 * (loss - best) / best.abs();
    if percent.is_nan() { f64::INFINITY } else { percent }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    #[test]
    fn higher_is_better_changes_the_sign() {
        assert_eq!((Better::Lower.as_loss(2.0), Better::Higher.as_loss(2.0)), (2.0, -2.0));
    }

    #[test]
    fn a_nan_is_never_the_best_and_every_number_improves_on_it() {
        assert!(improves(1.0, NAN) && improves(INF, NAN) && improves(-INF, NAN));
        assert!(!improves(NAN, NAN) && !improves(NAN, 1.0) && !improves(NAN, INF));
        assert!(improves(1.0, 2.0) && !improves(2.0, 2.0) && !improves(3.0, 2.0));
    }

    #[test]
    fn a_relative_threshold_works_with_negative_and_infinite_values() {
        assert!(improves_by(0.89, 1.0, 0.1) && !improves_by(0.95, 1.0, 0.1));
        assert!(improves_by(-1.2, -1.0, 0.1) && !improves_by(-1.05, -1.0, 0.1));
        assert!(improves_by(5.0, INF, 0.1) && improves_by(5.0, NAN, 0.1));
        assert!(!improves_by(INF, INF, 0.1) && !improves_by(-INF, -INF, 0.1));
        assert!(!improves_by(NAN, NAN, 0.1));
    }

    #[test]
    fn a_nan_is_worse_than_every_number() {
        assert!(worsens(NAN, 1.0) && worsens(NAN, NAN) && worsens(2.0, 1.0));
        assert!(!worsens(1.0, NAN) && !worsens(1.0, 1.0));
        assert_eq!(percent_worse(NAN, 1.0), INF);
        assert_eq!(percent_worse(NAN, NAN), INF);
        assert_eq!(percent_worse(1.0, -INF), INF);
        assert_eq!((percent_worse(0.0, 0.0), percent_worse(1.0, 0.0)), (0.0, INF));
        assert_eq!((percent_worse(1.5, 1.0), percent_worse(-0.5, -1.0)), (50.0, 50.0));
    }
}
