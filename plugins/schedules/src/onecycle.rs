//! One rise and one fall over the whole training (Smith and Topin 2017, arXiv:1708.07120), in
//! quarter sines.

use std::f64::consts::FRAC_PI_2;

use fluxbay_plugin::prelude::*;

use crate::formula::{Formula, schedule};

config! {
    /// One rise and one fall.
    pub struct Config {
        /// Length of rise and fall together.
        steps: u64 => 1..,
        /// Highest value.
        max: f64,
        /// Share of the steps used for the rise.
        warmup: f64 = 0.25 => 0.0..=1.0,
        /// The first value is `max` divided by this.
        div: f64 = 25.0 => 1.0..,
        /// The last value is `max` divided by this; it is kept afterwards.
        final_div: f64 = 1e5 => 1.0..,
    }
}

impl Formula for Config {
    fn at(&self, t: f64) -> f64 {
        let rise = (self.steps as f64 * self.warmup).ceil();
        let fall = self.steps as f64 - rise;
        let (first, last) = (self.max / self.div, self.max / self.final_div);
        let done = t - 1.0;
        if done < rise {
            return first + (self.max - first) * (FRAC_PI_2 * done / rise).sin();
        }
        if done >= rise + fall {
            return last;
        }
        last + (self.max - last) * (FRAC_PI_2 * (done - rise) / fall).cos()
    }

    fn length(&self) -> Option<u64> {
        Some(self.steps + 1)
    }
}

schedule! {
    /// The schedule `onecycle`.
    OneCycle: Config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviour_29_onecycle_has_exactly_these_values() {
        let cycle = Config { steps: 100, max: 0.01, warmup: 0.25, div: 25.0, final_div: 1e5 };
        let expected = [
            (1.0, 4.0e-4),
            (2.0, 1.0027889874814084e-3),
            (13.0, 6.971652216915412e-3),
            (25.0, 9.981056592911408e-3),
            (26.0, 1.0e-2),
            (27.0, 9.997806856680109e-3),
            (60.0, 7.569974857012003e-3),
            (100.0, 2.0952210459158278e-4),
            (101.0, 1e-7),
            (1000.0, 1e-7),
        ];
        for (t, value) in expected {
            let found = cycle.at(t);
            assert!((found / value - 1.0).abs() < 1e-12, "at {t}: {found} is not {value}");
        }
    }

    #[test]
    fn a_cycle_without_a_rise_or_a_fall_is_defined_everywhere() {
        let cycle = |warmup| Config { steps: 4, max: 1.0, warmup, div: 2.0, final_div: 4.0 };
        assert_eq!(cycle(0.0).at(1.0), 1.0);
        assert_eq!(cycle(1.0).at(1.0), 0.5);
        assert_eq!(cycle(1.0).at(5.0), 0.25);
    }
}
