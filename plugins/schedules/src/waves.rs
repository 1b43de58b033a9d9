//! Triangle and sine waves with constant or decaying height, and cosine annealing.
//!
//! Formulas of ParameterSchedulers.jl, with `t` from 1: `low + (high - low) * wave(t) * height(t)`,
//! where both waves start at 0 and reach 1 after half a period.

use std::f64::consts::PI;

use fluxbay_plugin::prelude::*;

use crate::formula::{Formula, schedule};

/// `2/pi |asin(sin(pi (t-1) / period))|`.
fn triangle(t: f64, period: f64) -> f64 {
    let position = (t - 1.0).rem_euclid(period) / period;
    1.0 - (2.0 * position - 1.0).abs()
}

/// `|sin(pi (t-1) / period)|`.
fn sine(t: f64, period: f64) -> f64 {
    (PI * (t - 1.0) / period).sin().abs()
}

/// The height, halved after each period.
fn halved(t: f64, period: f64) -> f64 {
    0.5f64.powf(((t - 1.0) / period).floor())
}

fn between(low: f64, high: f64, share: f64) -> f64 {
    low + (high - low) * share
}

fn check_range(low: f64, high: f64) -> Result<()> {
    if low > high {
        bail!("`low` ({low}) is above `high` ({high})");
    }
    Ok(())
}

macro_rules! wave {
    ($config:ident, $component:ident, $name:literal, |$t:ident, $period:ident| $share:expr) => {
        config! {
            /// A wave between two values.
            pub struct $config {
                /// Lowest value, at time 1.
                low: f64,
                /// Highest value, half a period later.
                high: f64,
                /// Length of one wave.
                period: u64 => 1..,
            }
        }

        impl Formula for $config {
            fn at(&self, $t: f64) -> f64 {
                let $period = self.period as f64;
                between(self.low, self.high, $share)
            }

            fn check(&self) -> Result<()> {
                check_range(self.low, self.high)
            }
        }

        schedule! {
            #[doc = concat!("The schedule `", $name, "`.")]
            $component: $config
        }
    };
}

macro_rules! decaying_wave {
    ($config:ident, $component:ident, $name:literal, $wave:ident) => {
        config! {
            /// A wave between two values whose height decays exponentially.
            pub struct $config {
                /// Lowest value, at time 1.
                low: f64,
                /// Highest value before decay.
                high: f64,
                /// Length of one wave.
                period: u64 => 1..,
                /// Factor of the height at each time.
                decay: f64,
            }
        }

        impl Formula for $config {
            fn at(&self, t: f64) -> f64 {
                between(
                    self.low,
                    self.high,
                    $wave(t, self.period as f64) * self.decay.powf(t - 1.0),
                )
            }

            fn check(&self) -> Result<()> {
                check_range(self.low, self.high)
            }
        }

        schedule! {
            #[doc = concat!("The schedule `", $name, "`.")]
            $component: $config
        }
    };
}

wave!(TriangleConfig, Triangle, "triangle", |t, period| triangle(t, period));
wave!(TriangleDecay2Config, TriangleDecay2, "triangle-decay2", |t, period| triangle(t, period)
    * halved(t, period));
decaying_wave!(TriangleExpConfig, TriangleExp, "triangle-exp", triangle);
wave!(SinConfig, Sin, "sin", |t, period| sine(t, period));
wave!(SinDecay2Config, SinDecay2, "sin-decay2", |t, period| sine(t, period) * halved(t, period));
decaying_wave!(SinExpConfig, SinExp, "sin-exp", sine);

config! {
    /// Half a cosine from high to low (Loshchilov and Hutter 2016, arXiv:1608.03983).
    pub struct CosAnnealConfig {
        /// Value at time 1.
        high: f64,
        /// Value after `period` times.
        low: f64 = 0.0,
        /// Length of the half cosine.
        period: u64 => 1..,
        /// Whether it starts again at the end; otherwise it stays at `low`.
        restart: bool = true,
    }
}

impl Formula for CosAnnealConfig {
    fn at(&self, t: f64) -> f64 {
        let period = self.period as f64;
        let position =
            if self.restart { (t - 1.0).rem_euclid(period) } else { (t - 1.0).min(period) };
        between(self.low, self.high, (1.0 + (PI * position / period).cos()) / 2.0)
    }

    fn length(&self) -> Option<u64> {
        (!self.restart).then_some(self.period + 1)
    }

    fn check(&self) -> Result<()> {
        check_range(self.low, self.high)
    }
}

schedule! {
    /// The schedule `cos-anneal`.
    CosAnneal: CosAnnealConfig
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::tests::close;

    /// The triangle as ParameterSchedulers.jl writes it.
    fn by_arcsine(t: f64, period: f64) -> f64 {
        2.0 / PI * (PI * (t - 1.0) / period).sin().asin().abs()
    }

    #[test]
    fn triangles_follow_their_formulas() {
        for t in 1..40 {
            let t = t as f64;
            let wave = by_arcsine(t, 7.0);
            close(TriangleConfig { low: 0.1, high: 0.9, period: 7 }.at(t), 0.1 + 0.8 * wave);
            let halving = 2f64.powf(((t - 1.0) / 7.0).floor());
            close(
                TriangleDecay2Config { low: 0.1, high: 0.9, period: 7 }.at(t),
                0.1 + 0.8 * wave / halving,
            );
            close(
                TriangleExpConfig { low: 0.1, high: 0.9, period: 7, decay: 0.9 }.at(t),
                0.1 + 0.8 * wave * 0.9f64.powf(t - 1.0),
            );
        }
    }

    #[test]
    fn sines_follow_their_formulas() {
        close(SinConfig { low: 1.0, high: 3.0, period: 6 }.at(2.0), 1.0 + 2.0 * 0.5);
        close(SinConfig { low: 1.0, high: 3.0, period: 6 }.at(4.0), 3.0);
        close(SinDecay2Config { low: 1.0, high: 3.0, period: 6 }.at(16.0), 1.0 + 2.0 / 4.0);
        close(
            SinExpConfig { low: 1.0, high: 3.0, period: 6, decay: 0.5 }.at(4.0),
            1.0 + 2.0 * 0.125,
        );
    }

    #[test]
    fn cosine_annealing_restarts_or_stays() {
        let restarting = CosAnnealConfig { high: 1.0, low: 0.2, period: 4, restart: true };
        close(restarting.at(1.0), 1.0);
        close(restarting.at(2.0), 0.2 + 0.8 * (1.0 + (PI / 4.0).cos()) / 2.0);
        close(restarting.at(3.0), 0.6);
        close(restarting.at(5.0), 1.0);
        let once = CosAnnealConfig { restart: false, ..restarting };
        close(once.at(5.0), 0.2);
        close(once.at(7.0), 0.2);
        assert_eq!(once.length(), Some(5));
        assert!(CosAnnealConfig { high: 0.0, ..once }.check().is_err());
    }
}
