//! Transform `spec-augment`: bands of frequencies and of times that are silent (Park et al. 2019).

use fluxbay_plugin::prelude::*;

config! {
    /// The masks.
    pub struct Config {
        /// Bands of frequencies that are masked.
        frequency_masks: usize = 2 => 0..=100,
        /// Most mels of such a band; each has from 0 to that many.
        frequency_width: usize = 8,
        /// Spans of time that are masked.
        time_masks: usize = 2 => 0..=100,
        /// Most frames of such a span.
        time_width: usize = 16,
        /// Largest part of all frames that one span may have.
        time_part: f64 = 1.0 => 0.0..=1.0,
        /// What a mask is filled with; 0 is the quietest of `features = "log-mel"`.
        value: f64 = 0.0,
    }
}

/// The transform `spec-augment`.
pub struct SpecAugment {
    config: Config,
}

impl Component for SpecAugment {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(SpecAugment { config })
    }
}

/// Start and end of a mask of at most `most` of `all` places.
fn mask(all: usize, most: usize, draws: &mut Draws) -> (usize, usize) {
    let width = draws.below(most.min(all) + 1);
    let start = draws.below(all - width + 1);
    (start, start + width)
}

impl Transform for SpecAugment {
    fn describe(&self, input: &Field) -> Result<Field> {
        if input.dtype != DType::F32 || input.shape.len() != 2 || input.shape.contains(&0) {
            bail!(
                "field `{}` holds {} of shape {:?}, but a spectrogram is needed: f32 of shape [mels, frames]",
                input.name,
                input.dtype,
                input.shape
            );
        }
        Ok(input.clone())
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        let [mels, frames] = input.dims()?;
        let Config { frequency_masks, frequency_width, time_masks, time_width, .. } = self.config;
        let to = output.f32()?;
        to.copy_from_slice(input.f32()?);
        let value = self.config.value as f32;
        for _ in 0..frequency_masks {
            let (start, end) = mask(mels, frequency_width, draws);
            to[start * frames..end * frames].fill(value);
        }
        let most = time_width.min((frames as f64 * self.config.time_part) as usize);
        for _ in 0..time_masks {
            let (start, end) = mask(frames, most, draws);
            to.chunks_exact_mut(frames).for_each(|row| row[start..end].fill(value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::{Config as _, transformed};

    use super::*;

    fn masked(config: &str, seed: u64) -> Vec<f32> {
        let augment = SpecAugment { config: Config::from_json(config).unwrap() };
        let field = Field::new("xs", DType::F32, &[10, 30]);
        transformed(&augment, &field, &[1.0_f32; 300], &mut Draws::new(seed)).unwrap().1
    }

    #[test]
    fn whole_rows_or_columns_are_masked_up_to_their_width() {
        let rows_only = r#"{"frequency-masks": 1, "frequency-width": 3, "time-masks": 0}"#;
        let mut widths = [0; 4];
        for seed in 0..200 {
            let found = masked(rows_only, seed);
            let rows: Vec<bool> = found.chunks(30).map(|row| row[0] == 0.0).collect();
            assert!(found.chunks(30).all(|row| row.iter().all(|value| *value == row[0])));
            let first = rows.iter().position(|masked| *masked).unwrap_or(0);
            let count = rows.iter().filter(|masked| **masked).count();
            assert!(rows[first..first + count].iter().all(|masked| *masked), "one band");
            widths[count] += 1;
        }
        assert!(widths.iter().all(|seen| *seen > 20), "{widths:?}");
        let part = r#"{"frequency-masks": 0, "time-masks": 1, "time-part": 0.1, "value": -1}"#;
        for seed in 0..100 {
            let found = masked(part, seed);
            let columns = found[..30].iter().filter(|value| **value == -1.0).count();
            assert!(columns <= 3 && found.chunks(30).all(|row| row == &found[..30]));
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let augment = SpecAugment { config: Config::from_json("{}").unwrap() };
        let error = augment.describe(&Field::new("xs", DType::F32, &[16000])).unwrap_err();
        assert!(error.message().contains("a spectrogram is needed"), "{error}");
    }
}
