//! Operations on the values of pixels, as Pillow's: brightness, contrast, saturation, hue, sharpness,
//! posterize, solarize, contrast stretching and equalizing. An image has one plane of grey, or three of
//! red, green and blue; further planes, such as alpha, stay.

use fluxbay_plugin::prelude::*;

use crate::planes::{self, Value, configured, with_values};

/// Number of planes that hold colours.
fn colours(channels: usize) -> usize {
    if channels >= 3 { 3 } else { channels.min(1) }
}

/// Planes as numbers from 0 to 1.
#[derive(Clone, Debug)]
pub struct Planes {
    values: Vec<f32>,
    colours: usize,
    height: usize,
    width: usize,
}

impl Planes {
    /// The colours of an image.
    pub fn of<V: Value>(values: &[V], [channels, height, width]: [usize; 3]) -> Planes {
        let colours = colours(channels);
        let values = values[..colours * height * width].iter().map(|value| value.unit()).collect();
        Planes { values, colours, height, width }
    }

    /// Writes the colours back; planes behind them are copied from `from`.
    pub fn write<V: Value>(&self, from: &[V], to: &mut [V]) {
        for (to, value) in to.iter_mut().zip(&self.values) {
            *to = V::from_unit(*value);
        }
        let done = self.values.len();
        to[done..].copy_from_slice(&from[done..]);
    }

    fn plane(&self) -> usize {
        self.height * self.width
    }

    /// The lightness of each pixel.
    fn grey(&self) -> Vec<f32> {
        let plane = self.plane();
        if self.colours < 3 {
            return self.values.clone();
        }
        let [red, green, blue] =
            [0, 1, 2].map(|channel| &self.values[channel * plane..(channel + 1) * plane]);
        let pixels = red.iter().zip(green).zip(blue);
        pixels.map(|((r, g), b)| 0.299 * r + 0.587 * g + 0.114 * b).collect()
    }

    fn each(&mut self, change: impl Fn(f32) -> f32) {
        self.values.iter_mut().for_each(|value| *value = change(*value));
    }

    /// Multiplies by `factor`.
    pub fn brightness(&mut self, factor: f32) {
        self.each(|value| (value * factor).clamp(0.0, 1.0));
    }

    /// Scales the distance from the mean lightness by `factor`.
    pub fn contrast(&mut self, factor: f32) {
        let grey = self.grey();
        let mean = grey.iter().map(|value| f64::from(*value)).sum::<f64>() / grey.len() as f64;
        // Pillow's mean is a byte.
        let mean = ((mean * 255.0 + 0.5).floor() / 255.0) as f32;
        self.each(|value| (mean + (value - mean) * factor).clamp(0.0, 1.0));
    }

    /// Scales the distance from the pixel's lightness by `factor`. Grey images stay.
    pub fn saturation(&mut self, factor: f32) {
        let grey = self.grey();
        for plane in self.values.chunks_exact_mut(self.height * self.width) {
            for (value, grey) in plane.iter_mut().zip(&grey) {
                *value = (grey + (*value - grey) * factor).clamp(0.0, 1.0);
            }
        }
    }

    /// Turns the hue by a part of a full circle. Grey images stay.
    pub fn hue(&mut self, by: f32) {
        if self.colours < 3 {
            return;
        }
        let plane = self.plane();
        for at in 0..plane {
            let [r, g, b] = [0, 1, 2].map(|channel| self.values[channel * plane + at]);
            let (h, s, v) = hsv(r, g, b);
            for (channel, value) in rgb((h + by).rem_euclid(1.0), s, v).into_iter().enumerate() {
                self.values[channel * plane + at] = value;
            }
        }
    }

    /// Scales the distance from a smoothed image by `factor`; the outermost pixels stay.
    pub fn sharpness(&mut self, factor: f32) {
        let (height, width) = (self.height, self.width);
        if height < 3 || width < 3 {
            return;
        }
        for plane in self.values.chunks_exact_mut(height * width) {
            let before = plane.to_vec();
            for y in 1..height - 1 {
                for x in 1..width - 1 {
                    let around: f32 =
                        (y - 1..=y + 1).flat_map(|row| &before[row * width + x - 1..][..3]).sum();
                    let at = y * width + x;
                    let smooth = (around + 4.0 * before[at]) / 13.0;
                    plane[at] = (smooth + (before[at] - smooth) * factor).clamp(0.0, 1.0);
                }
            }
        }
    }

    /// Replaces every value by an entry of a table for bytes.
    fn table(&mut self, plane: usize, table: &[u8; 256]) {
        let size = self.plane();
        for value in &mut self.values[plane * size..(plane + 1) * size] {
            *value = f32::from(table[usize::from(u8::from_unit(*value))]) / 255.0;
        }
    }

    fn histogram(&self, plane: usize) -> [usize; 256] {
        let (size, mut counts) = (self.plane(), [0; 256]);
        for value in &self.values[plane * size..(plane + 1) * size] {
            counts[usize::from(u8::from_unit(*value))] += 1;
        }
        counts
    }

    /// Keeps the upper `bits` bits of every byte.
    pub fn posterize(&mut self, bits: u32) {
        let mask = u8::MAX << (8 - bits.clamp(1, 8));
        let table = std::array::from_fn(|value| value as u8 & mask);
        (0..self.colours).for_each(|plane| self.table(plane, &table));
    }

    /// Inverts all bytes from `threshold` on.
    pub fn solarize(&mut self, threshold: u32) {
        let table = std::array::from_fn(|value| {
            if (value as u32) < threshold { value as u8 } else { 255 - value as u8 }
        });
        (0..self.colours).for_each(|plane| self.table(plane, &table));
    }

    /// Stretches the values of each colour to the whole range.
    pub fn auto_contrast(&mut self) {
        for plane in 0..self.colours {
            let counts = self.histogram(plane);
            let low = counts.iter().position(|count| *count > 0).unwrap_or(0);
            let high = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
            if high <= low {
                continue;
            }
            let scale = 255.0 / (high - low) as f64;
            let offset = -(low as f64) * scale;
            let table = std::array::from_fn(|value| {
                (value as f64 * scale + offset).clamp(0.0, 255.0) as u8
            });
            self.table(plane, &table);
        }
    }

    /// Spreads the values of each colour so that all are about equally frequent.
    pub fn equalize(&mut self) {
        for plane in 0..self.colours {
            let counts = self.histogram(plane);
            let last = counts.iter().rfind(|count| **count > 0).copied().unwrap_or(0);
            let used = counts.iter().filter(|count| **count > 0).count();
            let step = (self.plane() - last) / 255;
            if used <= 1 || step == 0 {
                continue;
            }
            let mut sum = step / 2;
            let table = std::array::from_fn(|value| {
                let entry = (sum / step).min(255) as u8;
                sum += counts[value];
                entry
            });
            self.table(plane, &table);
        }
    }
}

/// Hue, saturation and value of a colour.
fn hsv(r: f32, g: f32, b: f32) -> (f32, f32, f32) {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let range = high - low;
    if range == 0.0 {
        return (0.0, 0.0, high);
    }
    let [rc, gc, bc] = [r, g, b].map(|value| (high - value) / range);
    let sixth = if r == high {
        bc - gc
    } else if g == high {
        2.0 + rc - bc
    } else {
        4.0 + gc - rc
    };
    ((sixth / 6.0).rem_euclid(1.0), range / high, high)
}

/// The colour with a hue, saturation and value.
fn rgb(h: f32, s: f32, v: f32) -> [f32; 3] {
    let sixth = (h * 6.0).floor();
    let rest = h * 6.0 - sixth;
    let (p, q, t) = (v * (1.0 - s), v * (1.0 - s * rest), v * (1.0 - s * (1.0 - rest)));
    match sixth as i32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

config! {
    /// How much colours change. Each factor is drawn between 1 - x and 1 + x, for x in this table; the
    /// four changes are made in random order.
    pub struct JitterConfig {
        /// Of the brightness.
        brightness: f64 = 0.4 => 0.0..=1.0,
        /// Of the contrast.
        contrast: f64 = 0.4 => 0.0..=1.0,
        /// Of the saturation.
        saturation: f64 = 0.4 => 0.0..=1.0,
        /// Largest turn of the hue, as a part of a full circle.
        hue: f64 = 0.1 => 0.0..=0.5,
    }
}

configured! {
    /// The transform `color-jitter`.
    ColorJitter: JitterConfig
}

impl Transform for ColorJitter {
    fn describe(&self, input: &Field) -> Result<Field> {
        planes::same(input)
    }

    fn apply(
        &self,
        input: &Sample<'_>,
        output: &mut SampleMut<'_>,
        draws: &mut Draws,
    ) -> Result<()> {
        let dims = planes::dims_of(input)?;
        let JitterConfig { brightness, contrast, saturation, hue } = self.config;
        let mut order = [0, 1, 2, 3];
        draws.shuffle(&mut order);
        let mut factor = |most: f64| draws.between(1.0 - most, 1.0 + most) as f32;
        let factors = [factor(brightness), factor(contrast), factor(saturation)];
        let turn = draws.between(-hue, hue) as f32;
        with_values!(input, output, |from, to| {
            let mut image = Planes::of(from, dims);
            for change in order {
                match change {
                    0 if brightness > 0.0 => image.brightness(factors[0]),
                    1 if contrast > 0.0 => image.contrast(factors[1]),
                    2 if saturation > 0.0 => image.saturation(factors[2]),
                    3 if hue > 0.0 => image.hue(turn),
                    _ => {}
                }
            }
            image.write(from, to);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::{Config as _, transformed};

    use super::*;
    use crate::reference;

    #[test]
    fn operations_equal_those_of_pillow_within_one_of_255() {
        let mut seen = std::collections::BTreeSet::new();
        for case in reference::cases("colours") {
            let size = reference::size(&case["size"]);
            let mut bytes = reference::planes(size, 3);
            if case["dull"] == true {
                bytes.iter_mut().for_each(|byte| *byte = 60 + *byte / 3);
            }
            let mut image = Planes::of(&bytes, [3, size[0], size[1]]);
            let amount = case["amount"].as_f64().unwrap();
            let operation = case["operation"].as_str().unwrap();
            match operation {
                "brightness" => image.brightness(amount as f32),
                "contrast" => image.contrast(amount as f32),
                "saturation" => image.saturation(amount as f32),
                "sharpness" => image.sharpness(amount as f32),
                "hue" => image.hue(amount as f32),
                "posterize" => image.posterize(amount as u32),
                "solarize" => image.solarize(amount as u32),
                "auto-contrast" => image.auto_contrast(),
                "equalize" => image.equalize(),
                other => panic!("{other}"),
            }
            seen.insert(operation.to_owned());
            if operation == "hue" {
                let numbers = case["numbers"].as_array().unwrap();
                for (at, expected) in numbers.iter().enumerate() {
                    let found = image.values[at % 3 * size[0] * size[1] + at / 3];
                    let expected = expected.as_f64().unwrap() as f32;
                    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                }
                continue;
            }
            let mut found = vec![0; bytes.len()];
            image.write(&bytes, &mut found);
            let expected = reference::to_planes(&reference::bytes(&case["pixels"]), 3);
            let far = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
            let exact = ["posterize", "solarize", "auto-contrast", "equalize"];
            let most = u8::from(!exact.contains(&operation));
            assert!(far <= Some(most), "{far:?} {operation} {amount}");
        }
        assert_eq!(seen.len(), 9);
    }

    #[test]
    fn jitter_of_nothing_changes_nothing_and_alpha_stays() {
        let field = Field::new("xs", DType::U8, &[4, 3, 3]);
        let values: Vec<u8> = (0..36).map(|value| value * 7).collect();
        let run = |config: &str| -> Vec<u8> {
            let jitter = ColorJitter { config: JitterConfig::from_json(config).unwrap() };
            transformed(&jitter, &field, &values, &mut Draws::new(3)).unwrap().1
        };
        let none = r#"{"brightness":0,"contrast":0,"saturation":0,"hue":0}"#;
        assert_eq!(run(none), values);
        let changed = run("{}");
        assert_ne!(changed[..27], values[..27]);
        assert_eq!(changed[27..], values[27..]);
    }
}
