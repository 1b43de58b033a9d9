//! Transforms of values: normalize, random erasing.

use fluxbay_plugin::{prelude::*, steps::ValueStep};

use crate::planes::{self, Value, with_values};

choice! {
    /// Means and deviations by name.
    pub enum Values {
        /// Those of ImageNet: 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225.
        Imagenet,
        /// 0.5 and 0.5: values from -1 to 1.
        Half,
        /// Those in `mean` and `deviation`.
        Given,
    }
}

config! {
    /// What is subtracted from and what divides values from 0 to 1, by channel.
    pub struct NormalizeConfig {
        /// Means and deviations by name.
        values: Values = "imagenet",
        /// With `values = "given"`: the mean of each channel, or one for all.
        mean: Vec<f64> = [],
        /// With `values = "given"`: the standard deviation of each channel, or one for all.
        deviation: Vec<f64> = [],
    }
}

/// The transform `normalize`.
pub struct Normalize {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Component for Normalize {
    type Config = NormalizeConfig;

    fn new(config: NormalizeConfig, _: &mut Setup) -> Result<Self> {
        Normalize::with(config)
    }
}

impl Normalize {
    fn with(config: NormalizeConfig) -> Result<Normalize> {
        let given = config.values == Values::Given;
        let none = config.mean.is_empty() && config.deviation.is_empty();
        if !(given || none) {
            bail!("`mean` and `deviation` need `values = \"given\"`");
        }
        let (mean, deviation) = match config.values {
            Values::Imagenet => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
            Values::Half => (vec![0.5], vec![0.5]),
            Values::Given => (config.mean, config.deviation),
        };
        if mean.is_empty() || mean.len() != deviation.len() {
            bail!(
                "`mean` has {} numbers, `deviation` {}; both have one number for each channel, or one",
                mean.len(),
                deviation.len()
            );
        }
        if deviation.iter().any(|it| !it.is_finite() || *it <= 0.0) {
            bail!("`deviation` is {deviation:?}; each number is above 0");
        }
        Ok(Normalize { mean, deviation })
    }

    /// The number for a value of a channel.
    fn of<V: Value>(&self, channel: usize) -> impl Fn(V) -> f32 {
        let of = |numbers: &[f64]| numbers[channel.min(numbers.len() - 1)] as f32;
        let (mean, deviation) = (of(&self.mean), of(&self.deviation));
        move |value| (value.unit() - mean) / deviation
    }

    fn bytes(&self, from: &[u8], channels: usize, to: &mut [f32]) {
        let plane = from.len() / channels;
        let planes = from.chunks_exact(plane).zip(to.chunks_exact_mut(plane));
        for (channel, (from, to)) in planes.enumerate() {
            let of = self.of::<u8>(channel);
            let table: [f32; 256] = std::array::from_fn(|byte| of(byte as u8));
            for (to, from) in to.iter_mut().zip(from) {
                *to = table[usize::from(*from)];
            }
        }
    }

    fn numbers(&self, from: &[f32], channels: usize, to: &mut [f32]) {
        let plane = from.len() / channels;
        let planes = from.chunks_exact(plane).zip(to.chunks_exact_mut(plane));
        for (channel, (from, to)) in planes.enumerate() {
            let of = self.of::<f32>(channel);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = of(*from));
        }
    }
}

impl Transform for Normalize {
    fn describe(&self, input: &Field) -> Result<Field> {
        let [channels, ..] = planes::dims(input)?;
        if ![1, channels].contains(&self.mean.len()) {
            bail!(
                "field `{}` has {channels} channels, but there are means of {}: set `values = \
                 \"half\"`, or `\"given\"` with `mean` and `deviation`",
                input.name,
                self.mean.len()
            );
        }
        Ok(Field { dtype: DType::F32, ..input.clone() })
    }

    fn apply(&self, input: &Sample<'_>, output: &mut SampleMut<'_>, _: &mut Draws) -> Result<()> {
        let [channels, ..] = planes::dims_of(input)?;
        match input.dtype() {
            DType::U8 => self.bytes(input.u8()?, channels, output.f32()?),
            _ => self.numbers(input.f32()?, channels, output.f32()?),
        }
        Ok(())
    }

    fn steps(&self, input: &Field) -> Result<Option<Vec<ValueStep>>> {
        // Bytes are from 0 to 255.
        let unit = if input.dtype == DType::U8 { 255.0 } else { 1.0 };
        let scaled = |numbers: &[f64]| numbers.iter().map(|number| number * unit).collect();
        let (offset, divisor) = (scaled(&self.mean), scaled(&self.deviation));
        Ok(Some(vec![ValueStep::Affine { axis: 0, offset, divisor }]))
    }
}

config! {
    /// The part that is erased.
    pub struct ErasingConfig {
        /// Probability with which a part is erased.
        probability: f64 = 0.5 => 0.0..=1.0,
        /// Smallest part of the image's area.
        smallest: f64 = 0.02 => 0.0..=1.0,
        /// Largest part of the image's area.
        largest: f64 = 0.33 => 0.0..=1.0,
        /// Smallest ratio of height to width.
        lowest_ratio: f64 = 0.3 => 0.01..=1.0,
        /// Largest ratio of height to width.
        highest_ratio: f64 = 3.3 => 1.0..=100.0,
        /// The value that the part gets: from 0 to 1, or whatever a transform before has made of that
        /// range.
        value: f64 = 0.0,
    }
}

/// The transform `random-erasing`.
pub struct RandomErasing {
    config: ErasingConfig,
}

impl Component for RandomErasing {
    type Config = ErasingConfig;

    fn new(config: ErasingConfig, _: &mut Setup) -> Result<Self> {
        if config.smallest > config.largest {
            bail!("`smallest` is {}, more than `largest` = {}", config.smallest, config.largest);
        }
        Ok(RandomErasing { config })
    }
}

/// Parts that are tried before the image stays whole.
const ATTEMPTS: usize = 10;

impl RandomErasing {
    /// Top, left, height and width of the part to erase.
    fn part(&self, height: usize, width: usize, draws: &mut Draws) -> Option<[usize; 4]> {
        let ErasingConfig { smallest, largest, lowest_ratio, highest_ratio, .. } = self.config;
        for _ in 0..ATTEMPTS {
            let area = (height * width) as f64 * draws.between(smallest, largest);
            let ratio = draws.between(lowest_ratio.ln(), highest_ratio.ln()).exp();
            let h = (area * ratio).sqrt().round() as usize;
            let w = (area / ratio).sqrt().round() as usize;
            if h < height && w < width {
                let (top, left) = (draws.below(height - h + 1), draws.below(width - w + 1));
                return Some([top, left, h, w]);
            }
        }
        None
    }
}

impl Transform for RandomErasing {
    fn describe(&self, input: &Field) -> Result<Field> {
        planes::same(input)
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        let [_, height, width] = planes::dims_of(input)?;
        let erases = draws.chance(self.config.probability);
        let part = if erases { self.part(height, width, draws) } else { None };
        with_values!(input, output, |from, to| {
            to.copy_from_slice(from);
            if let Some([top, left, h, w]) = part {
                for plane in to.chunks_exact_mut(height * width) {
                    for row in plane.chunks_exact_mut(width).skip(top).take(h) {
                        row[left..left + w].fill(Value::from_unit(self.config.value as f32));
                    }
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::{Config as _, transformed};

    use super::*;

    fn normalize(config: &str) -> Result<Normalize> {
        Normalize::with(NormalizeConfig::from_json(config).unwrap())
    }

    #[test]
    fn values_are_normalized_by_channel_from_bytes_and_from_numbers() {
        let field = Field::new("xs", DType::U8, &[3, 1, 2]);
        let values = [0_u8, 255, 51, 102, 255, 0];
        let run = |config: &str| -> Vec<f32> {
            transformed(&normalize(config).unwrap(), &field, &values, &mut Draws::new(1)).unwrap().1
        };
        // As torchvision's `Normalize` of the same bytes divided by 255.
        let expected = [-2.117_904, 2.248_908_3, -1.142_857_2, -0.25, 2.64, -1.804_444_4];
        for (found, expected) in run("{}").iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(run("{\"values\":\"half\"}")[..2], [-1.0, 1.0]);
        let unit = Field::new("xs", DType::F32, &[1, 2]);
        let half = normalize("{\"values\":\"half\"}").unwrap();
        let (described, found): (_, Vec<f32>) =
            transformed(&half, &unit, &[0.5_f32, 1.0], &mut Draws::new(1)).unwrap();
        assert_eq!((described.dtype, &found[..]), (DType::F32, &[0.0, 1.0][..]));
        for (config, part) in [
            ("{\"mean\":[1]}", "need `values"),
            ("{\"values\":\"given\",\"mean\":[1]}", "`mean` has 1 numbers"),
            ("{\"values\":\"given\",\"mean\":[1],\"deviation\":[0]}", "above 0"),
        ] {
            let error = normalize(config).err().unwrap();
            assert!(error.message().contains(part), "{error}");
        }
        let error = normalize("{}").unwrap().describe(&unit).unwrap_err();
        assert!(error.message().contains("has 1 channels, but there are means of 3"), "{error}");
    }

    #[test]
    fn a_part_is_erased_in_all_channels() {
        let field = Field::new("xs", DType::U8, &[2, 20, 20]);
        let config = "{\"probability\":1,\"value\":1}";
        let erasing = RandomErasing { config: ErasingConfig::from_json(config).unwrap() };
        for seed in 0..50 {
            let (_, found): (_, Vec<u8>) =
                transformed(&erasing, &field, &[7_u8; 800], &mut Draws::new(seed)).unwrap();
            let erased = |plane: &[u8]| plane.iter().filter(|value| **value == 255).count();
            let (one, other) = (erased(&found[..400]), erased(&found[400..]));
            assert!(one == other && (6..=140).contains(&one), "{one} {other}");
        }
        let config = "{\"probability\":0}";
        let never = RandomErasing { config: ErasingConfig::from_json(config).unwrap() };
        let (_, found): (_, Vec<u8>) =
            transformed(&never, &field, &[7_u8; 800], &mut Draws::new(1)).unwrap();
        assert_eq!(found, [7; 800]);
    }
}
