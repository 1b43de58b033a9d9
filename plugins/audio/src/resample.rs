//! Another number of samples a second.

use std::f64::consts::PI;

use fluxbay_plugin::prelude::*;

/// Zero crossings of the sinc function on each side.
const CROSSINGS: f64 = 64.0;
/// Share of the smaller band that passes.
const PASSED: f64 = 0.9475;
/// Shape of the Kaiser window.
const BETA: f64 = 14.769;

/// Modified Bessel function of the first kind, order 0.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= (x / 2.0 / k) * (x / 2.0 / k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// Most weights of a resampler.
const MOST: usize = 1 << 22;

/// Weights for two rates.
#[derive(Debug)]
pub struct Resampler {
    /// A place in the result is this many phases further in the signal.
    step: usize,
    /// The weights of each position between two samples.
    weights: Vec<Vec<f64>>,
}

impl Resampler {
    /// From `from` samples a second to `to`.
    ///
    /// # Errors
    /// The rates have so little in common that the weights would fill the memory.
    pub fn new(from: u32, to: u32) -> Result<Resampler> {
        let divisor = gcd(from, to);
        let (step, phases) = ((from / divisor) as usize, (to / divisor) as usize);
        // The filter passes the smaller of both bands.
        let cut = PASSED * (f64::from(to) / f64::from(from)).min(1.0);
        let half = (CROSSINGS / cut).ceil() as usize;
        if phases.saturating_mul(2 * half) > MOST {
            bail!("{from} samples a second cannot be resampled to {to}: set another rate");
        }
        let filter = |distance: f64| {
            let share = distance / (half as f64);
            if share.abs() >= 1.0 {
                return 0.0;
            }
            let x = PI * cut * distance;
            let sinc = if x == 0.0 { 1.0 } else { x.sin() / x };
            cut * sinc * bessel(BETA * (1.0 - share * share).sqrt()) / bessel(BETA)
        };
        let weights = |phase: usize| -> Vec<f64> {
            let offset = phase as f64 / phases as f64;
            (0..2 * half).map(|tap| filter(offset + half as f64 - 1.0 - tap as f64)).collect()
        };
        Ok(Resampler { step, weights: (0..phases).map(weights).collect() })
    }

    /// A signal with the other number of samples a second.
    pub fn apply(&self, samples: &[f64]) -> Vec<f64> {
        let phases = self.weights.len();
        let count = (samples.len() as u128 * phases as u128).div_ceil(self.step as u128) as usize;
        let half = self.weights[0].len() / 2;
        (0..count)
            .map(|index| {
                let place = index * self.step;
                let first = (place / phases) as isize - half as isize + 1;
                self.weights[place % phases]
                    .iter()
                    .enumerate()
                    .filter_map(|(tap, weight)| {
                        let at = usize::try_from(first + tap as isize).ok()?;
                        Some(weight * samples.get(at)?)
                    })
                    .sum()
            })
            .collect()
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resample(samples: &[f64], from: u32, to: u32) -> Vec<f64> {
        Resampler::new(from, to).unwrap().apply(samples)
    }

    fn sine(rate: u32, hertz: f64, count: usize) -> Vec<f64> {
        (0..count).map(|at| (2.0 * PI * hertz * at as f64 / f64::from(rate)).sin()).collect()
    }

    #[test]
    fn tones_keep_their_pitch_and_strength() {
        for (from, to) in [(8000, 16000), (44_100, 16_000), (16_000, 44_100), (48_000, 8000)] {
            let found = resample(&sine(from, 440.0, from as usize / 4), from, to);
            let expected = sine(to, 440.0, to as usize / 4);
            assert_eq!(found.len(), expected.len(), "{from} {to}");
            // At the ends the signal begins and stops.
            for at in found.len() / 5..found.len() * 4 / 5 {
                let difference = (found[at] - expected[at]).abs();
                assert!(difference < 1e-6, "{from} {to} {at}: {difference}");
            }
        }
    }

    #[test]
    fn tones_above_the_new_band_vanish() {
        let found = resample(&sine(48_000, 7000.0, 12_000), 48_000, 8000);
        let most = found[400..1600].iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        assert!(most < 1e-6, "{most}");
    }

    #[test]
    fn rates_without_a_common_divisor_are_refused() {
        assert!(Resampler::new(999_983, 16_000).is_err() && Resampler::new(44_100, 48_000).is_ok());
    }
}
