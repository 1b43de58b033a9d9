//! Log-mel spectrograms, as librosa's `feature.melspectrogram` and `power_to_db` compute them with their
//! default settings: Slaney's mel scale and norm, a periodic Hann window, frames centred on their
//! samples with zeros beyond the ends, and decibels down to 80 below the loudest.

use std::{f64::consts::PI, sync::Arc};

use realfft::{RealFftPlanner, RealToComplex};

/// Samples of a frame of Whisper, and between the starts of frames; and samples a second.
pub const WHISPER: (usize, usize, u32) = (400, 160, 16_000);

/// Decibels below the loudest that are kept.
pub const RANGE: f64 = 80.0;

/// Turns samples into spectrograms.
pub struct Mel {
    hop: usize,
    /// As Whisper: sounds are mirrored beyond their ends, and the last frame is left out.
    whisper: bool,
    window: Vec<f64>,
    transform: Arc<dyn RealToComplex<f64>>,
    /// For each band the first frequency and the weights from there on.
    bands: Vec<(usize, Vec<f64>)>,
}

/// Hertz of a place on the mel scale: linear below 1000, logarithmic above.
fn hertz(mel: f64) -> f64 {
    let linear = 200.0 / 3.0;
    let bend = 1000.0 / linear;
    if mel < bend {
        return linear * mel;
    }
    1000.0 * ((6.4_f64).ln() / 27.0 * (mel - bend)).exp()
}

fn mel(hertz: f64) -> f64 {
    let linear = 200.0 / 3.0;
    if hertz < 1000.0 {
        return hertz / linear;
    }
    1000.0 / linear + (hertz / 1000.0).ln() * 27.0 / (6.4_f64).ln()
}

impl Mel {
    /// For samples of `rate` a second: `bands` bands, frames of `size` samples every `hop`.
    pub fn new(rate: u32, size: usize, hop: usize, bands: usize) -> Mel {
        let window = (0..size).map(|at| 0.5 - 0.5 * (2.0 * PI * at as f64 / size as f64).cos());
        let top = mel(f64::from(rate) / 2.0);
        let edges: Vec<f64> =
            (0..bands + 2).map(|at| hertz(top * at as f64 / (bands + 1) as f64)).collect();
        let frequency = |bin: usize| bin as f64 * f64::from(rate) / size as f64;
        let band = |band: usize| {
            let [low, middle, high] = [edges[band], edges[band + 1], edges[band + 2]];
            let weight = |bin: usize| {
                let (rising, falling) = (
                    (frequency(bin) - low) / (middle - low),
                    (high - frequency(bin)) / (high - middle),
                );
                rising.min(falling).max(0.0) * 2.0 / (high - low)
            };
            let all: Vec<f64> = (0..=size / 2).map(weight).collect();
            let first = all.iter().position(|weight| *weight > 0.0).unwrap_or(0);
            let last = all.iter().rposition(|weight| *weight > 0.0).map_or(0, |last| last + 1);
            (first, all[first.min(last)..last].to_vec())
        };
        Mel {
            hop,
            whisper: false,
            window: window.collect(),
            transform: RealFftPlanner::new().plan_fft_forward(size),
            bands: (0..bands).map(band).collect(),
        }
    }

    /// As Whisper's feature extractor has them, with so many bands.
    pub fn whisper(bands: usize) -> Mel {
        let (size, hop, rate) = WHISPER;
        Mel { whisper: true, ..Mel::new(rate, size, hop, bands) }
    }

    /// Number of frames of this many samples.
    pub fn frames(samples: usize, hop: usize) -> usize {
        1 + samples / hop
    }

    /// What Whisper is given: logarithms down to 8 orders of magnitude below the loudest, as a quarter,
    /// plus 1; `[bands, samples / hop]`.
    pub fn whisper_features(&self, samples: &[f64]) -> Vec<f64> {
        self.decibels(samples).into_iter().map(|value| value / 40.0 + 1.0).collect()
    }

    /// The sample `at` places after half a frame before the first.
    fn sample(&self, samples: &[f64], at: usize) -> f64 {
        let place = at as i64 - (self.window.len() / 2) as i64;
        let last = samples.len() as i64 - 1;
        let place = match (self.whisper, last) {
            (true, 1..) => {
                let around = place.rem_euclid(2 * last);
                around.min(2 * last - around)
            }
            _ => place,
        };
        usize::try_from(place).ok().and_then(|place| samples.get(place)).copied().unwrap_or(0.0)
    }

    /// Decibels of each band in each frame: `[bands, frames]`.
    pub fn decibels(&self, samples: &[f64]) -> Vec<f64> {
        let frames = Mel::frames(samples.len(), self.hop) - usize::from(self.whisper);
        let (mut frame, mut spectrum) =
            (self.transform.make_input_vec(), self.transform.make_output_vec());
        let mut scratch = self.transform.make_scratch_vec();
        let mut decibels = vec![0.0; self.bands.len() * frames];
        for at in 0..frames {
            for (index, (place, weight)) in frame.iter_mut().zip(&self.window).enumerate() {
                *place = weight * self.sample(samples, at * self.hop + index);
            }
            // The lengths fit, and a real signal has a real constant part.
            let done = self.transform.process_with_scratch(&mut frame, &mut spectrum, &mut scratch);
            debug_assert!(done.is_ok());
            for (band, (first, weights)) in self.bands.iter().enumerate() {
                let power: f64 = weights
                    .iter()
                    .zip(&spectrum[*first..])
                    .map(|(weight, value)| weight * value.norm_sqr())
                    .sum();
                decibels[band * frames + at] = 10.0 * power.max(1e-10).log10();
            }
        }
        let most = decibels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        decibels.iter_mut().for_each(|value| *value = value.max(most - RANGE));
        decibels
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::serde_json;

    use super::*;

    /// Recorded by `tests/reference/sounds.py`.
    #[test]
    fn decibels_are_those_of_librosa() {
        let record: serde_json::Value =
            serde_json::from_str(include_str!("../tests/mel.json")).unwrap();
        let list = |value: &serde_json::Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let samples = list(&record["samples"]);
        for case in record["cases"].as_array().unwrap() {
            let number = |name: &str| case[name].as_u64().unwrap() as usize;
            let mel =
                Mel::new(number("rate") as u32, number("size"), number("hop"), number("bands"));
            let found = mel.decibels(&samples);
            let expected = list(&case["decibels"]);
            assert_eq!(found.len(), expected.len());
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!((found - expected).abs() < 1e-4, "{at}: {found} {expected}");
            }
        }
    }
    #[test]
    fn features_for_whisper_are_those_of_its_extractor() {
        let record: serde_json::Value =
            serde_json::from_str(include_str!("../tests/whisper.json")).unwrap();
        let list = |value: &serde_json::Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let samples = list(&record["samples"]);
        for case in record["cases"].as_array().unwrap() {
            let mel = Mel::whisper(case["bands"].as_u64().unwrap() as usize);
            let (found, expected) = (mel.whisper_features(&samples), list(&case["features"]));
            assert_eq!(found.len(), expected.len());
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!((found - expected).abs() < 1e-4, "{at}: {found} {expected}");
            }
        }
    }
}
