//! The schedule `{{name}}`: a linear warm-up, then a fall with the inverse square root of time
//! (Vaswani et al. 2017).

use fluxbay_plugin::prelude::*;

config! {
    /// What can be set in a run file.
    struct Config {
        /// The highest value.
        peak: f64 = 3e-3 => 0.0..,
        /// Time at which it is reached: in updates or epochs, as the scheduler's `unit` says.
        warmup: u64 = 20 => 1..,
    }
}

struct {{Type}} {
    config: Config,
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}} { config })
    }
}

impl Schedule for {{Type}} {
    // `t` counts from 1. The same `t` must always give the same value.
    fn value(&self, t: f64) -> Result<f64> {
        let warmup = self.config.warmup as f64;
        Ok(self.config.peak * (t / warmup).min((warmup / t).sqrt()))
    }
}

plugin! {
    summary: "The schedule {{name}}.",
    schedule "{{name}}" => {{Type}} {
        summary: "A linear warm-up, then a fall with the inverse square root of time.",
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_at_the_end_of_the_warm_up() {
        let schedule = {{Type}} { config: Config { peak: 0.5, warmup: 10 } };
        let values = [5.0, 10.0, 40.0].map(|t| schedule.value(t).unwrap());
        assert_eq!(values, [0.25, 0.5, 0.25]);
    }
}
