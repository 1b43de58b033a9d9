//! The form of a sample: pixels of a size, with some channels, as numbers.

use std::path::Path;

use fluxbay_plugin::{
    prelude::*,
    steps::{DatasetSteps, RawInput, ValueStep},
};

use crate::{
    buffers,
    decode::{self, Channels, Pixels, Source},
    resample::{self, Filter},
};

choice! {
    /// How an image of another size is brought to `size`.
    pub enum Fit {
        /// Scaled until it covers the size, and the middle is cut out.
        Cover,
        /// Scaled until it fits into the size, and filled up with black.
        Contain,
        /// Height and width are scaled on their own.
        Stretch,
    }
}

choice! {
    /// The numbers of a sample.
    pub enum Values {
        /// f32 from 0 to 1.
        Unit,
        /// u8 from 0 to 255, for a transform such as `normalize`.
        Bytes,
    }
}

/// How images become samples.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub size: [usize; 2],
    pub fit: Fit,
    pub filter: Filter,
    pub channels: Channels,
    pub values: Values,
    /// Pixels beyond which an image counts as one that cannot be read.
    pub max_pixels: u64,
}

/// Height and width from the setting `size`.
///
/// # Errors
/// It has neither one number nor two, or a side is out of range.
pub fn sides(size: &[usize]) -> Result<[usize; 2]> {
    let sides = match *size {
        [side] => [side, side],
        [height, width] => [height, width],
        _ => bail!("`size` has {} numbers; it is [height, width]", size.len()),
    };
    if sides.iter().any(|side| !(1..=1 << 16).contains(side)) {
        bail!("`size` is {sides:?}; each side has 1 to 65536 pixels");
    }
    Ok(sides)
}

impl Form {
    /// The field of the pixels: planes of channels.
    pub fn field(&self) -> Field {
        let dtype = match self.values {
            Values::Unit => DType::F32,
            Values::Bytes => DType::U8,
        };
        Field::new("xs", dtype, &[self.channels.count(), self.size[0], self.size[1]])
    }

    /// As [`Dataset::steps`]: for decoded pixels `[height, width, channels]` of the given size, or of the size of a sample.
    ///
    /// # Errors
    /// A size that is none; pixels with alpha in another size, whose colours count as much as they are opaque.
    pub fn steps(&self, size: &[usize]) -> Result<DatasetSteps> {
        let from = if size.is_empty() { self.size } else { sides(size)? };
        let channels = self.channels.count();
        let mut steps = Vec::new();
        if from != self.size {
            if channels == 4 {
                bail!(
                    "images with alpha are resized by a rule that no step expresses: leave the size out, and \
                     resize them to {:?} before",
                    self.size
                );
            }
            let plan = plan(from, self.size, self.fit);
            steps.extend(resample::steps(from, plan.whole, 0, self.filter, true));
            for (axis, ((whole, size), shared)) in
                plan.whole.into_iter().zip(self.size).zip(plan.shared()).enumerate()
            {
                let middle = |all: usize| (all - shared) / 2;
                if shared < whole {
                    steps.push(ValueStep::Cut { axis, start: middle(whole), size: shared });
                }
                if shared < size {
                    let before = middle(size);
                    steps.push(ValueStep::Pad { axis, before, after: size - shared - before });
                }
            }
        }
        steps.push(ValueStep::Transpose(vec![2, 0, 1]));
        if self.values == Values::Unit {
            steps.push(ValueStep::Affine { axis: 0, offset: vec![0.0], divisor: vec![255.0] });
        }
        let input = RawInput {
            name: "pixels".to_owned(),
            dtype: "u8".to_owned(),
            shape: vec![from[0], from[1], channels],
            steps,
            categories: Vec::new(),
        };
        Ok(DatasetSteps { inputs: vec![input], output: (&self.field()).into() })
    }

    /// The pixels of an image in the size of a sample, channels interleaved.
    ///
    /// # Errors
    /// It cannot be read. The text does not name it.
    pub fn pixels(&self, source: Source<'_>) -> Result<Vec<u8>> {
        let decoded = decode::decode(source, self.channels, self.max_pixels)?;
        Ok(fitted(decoded, self.channels.count(), self.size, self.fit, self.filter))
    }

    /// As [`Form::pixels`], of a file.
    ///
    /// # Errors
    /// As [`Form::pixels`].
    pub fn pixels_of(&self, path: &Path) -> Result<Vec<u8>> {
        self.pixels(Source::File(path))
    }

    /// Writes interleaved pixels as sample `place` of field 0, one plane per channel.
    ///
    /// # Errors
    /// Those of the buffers.
    pub fn write(&self, place: usize, pixels: &[u8], buffers: &mut Buffers<'_>) -> Result<()> {
        fn planes<T>(pixels: &[u8], channels: usize, out: &mut [T], value: impl Fn(u8) -> T) {
            let plane = pixels.len() / channels;
            if let (3, Some((red, rest))) = (channels, out.split_at_mut_checked(plane)) {
                let (green, blue) = rest.split_at_mut(plane);
                // All planes in one pass.
                let places = red.iter_mut().zip(green).zip(blue);
                for (((red, green), blue), pixel) in places.zip(pixels.chunks_exact(3)) {
                    (*red, *green, *blue) = (value(pixel[0]), value(pixel[1]), value(pixel[2]));
                }
                return;
            }
            for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
                for (out, byte) in out.iter_mut().zip(pixels[channel..].iter().step_by(channels)) {
                    *out = value(*byte);
                }
            }
        }
        let range = place * pixels.len()..(place + 1) * pixels.len();
        let channels = self.channels.count();
        match self.values {
            Values::Unit => planes(pixels, channels, &mut buffers.f32(0)?[range], |byte| {
                f32::from(byte) / 255.0
            }),
            Values::Bytes => planes(pixels, channels, &mut buffers.u8(0)?[range], |byte| byte),
        }
        Ok(())
    }
}

/// How an image is brought to a size.
struct Plan {
    /// The size that it is resized to.
    whole: [usize; 2],
    /// The size of the result, whose middle lies on the middle of the resized image.
    size: [usize; 2],
}

impl Plan {
    /// The size of the part that resized image and result share.
    fn shared(&self) -> [usize; 2] {
        [self.whole[0].min(self.size[0]), self.whole[1].min(self.size[1])]
    }
}

fn plan(from: [usize; 2], size: [usize; 2], fit: Fit) -> Plan {
    let scaled = |side: usize, by: usize, to: usize| {
        (((side * to) as f64 / by as f64).round() as usize).max(1)
    };
    // Whether the width decides the scale.
    let by_width = match fit {
        Fit::Stretch => return Plan { whole: size, size },
        Fit::Cover => from[0] * size[1] >= from[1] * size[0],
        Fit::Contain => from[0] * size[1] <= from[1] * size[0],
    };
    let whole = if by_width {
        [scaled(from[0], from[1], size[1]), size[1]]
    } else {
        [size[0], scaled(from[1], from[0], size[0])]
    };
    Plan { whole, size }
}

/// Pixels in the size of a sample, channels interleaved.
fn fitted(decoded: Pixels, channels: usize, size: [usize; 2], fit: Fit, filter: Filter) -> Vec<u8> {
    let from = [decoded.height, decoded.width];
    if from == size {
        return decoded.bytes;
    }
    let resize = |to, part| match channels {
        4 => resample::resize_with_alpha(&decoded.bytes, from, to, part, filter),
        _ => resample::resize_part(&decoded.bytes, from, channels, to, part, filter),
    };
    let plan = plan(from, size, fit);
    let (whole, shared) = (plan.whole, plan.shared());
    // The middle of one lies on the middle of the other.
    let start = |all: [usize; 2]| [(all[0] - shared[0]) / 2, (all[1] - shared[1]) / 2];
    let (source, target) = (start(whole), start(size));
    let part = [0, 1].map(|axis| source[axis]..source[axis] + shared[axis]);
    let resized = resize(whole, part);
    buffers::give(decoded.bytes);
    if shared == size {
        return resized;
    }
    let mut out = vec![0; size[0] * size[1] * channels];
    let line = shared[1] * channels;
    for (row, resized) in resized.chunks_exact(line).enumerate() {
        let at = ((target[0] + row) * size[1] + target[1]) * channels;
        out[at..at + line].copy_from_slice(resized);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_covers_or_fits_into_the_size_with_its_middle_in_the_middle() {
        let pixels =
            || Pixels { height: 4, width: 8, bytes: (0..32).map(|it| it % 8 * 10).collect() };
        let fit = |fit, size| fitted(pixels(), 1, size, fit, Filter::Nearest);
        assert_eq!(fit(Fit::Cover, [4, 4]), [20, 30, 40, 50].repeat(4));
        assert_eq!(fit(Fit::Cover, [2, 2]), [30, 50].repeat(2));
        assert_eq!(fit(Fit::Contain, [4, 4])[..4], [0; 4]);
        assert_eq!(fit(Fit::Contain, [4, 4])[4..12], [10, 30, 50, 70].repeat(2));
        assert_eq!(fit(Fit::Stretch, [1, 4]), [10, 30, 50, 70]);
        assert_eq!(fit(Fit::Contain, [8, 8])[..16], [0; 16]);
    }

    #[test]
    fn the_steps_do_what_is_done_with_pixels() {
        for (fit, size, filter, values) in [
            (Fit::Cover, [6, 7], Filter::Bilinear, Values::Unit),
            (Fit::Contain, [30, 20], Filter::Bicubic, Values::Bytes),
            (Fit::Contain, [5, 9], Filter::Lanczos, Values::Bytes),
            (Fit::Stretch, [20, 3], Filter::Box, Values::Unit),
            (Fit::Stretch, [13, 17], Filter::Nearest, Values::Bytes),
        ] {
            let channels = Channels::Rgb;
            let form = Form { size, fit, filter, channels, values, max_pixels: 1 << 20 };
            let bytes: Vec<u8> = (0..13 * 17 * 3_u32).map(|at| (at * at % 251) as u8).collect();
            let numbers: Vec<f64> = bytes.iter().map(|byte| f64::from(*byte)).collect();
            let DatasetSteps { inputs, output } = form.steps(&[13, 17]).unwrap();
            let (shape, found) =
                fluxbay_plugin::steps::run(&inputs[0].steps, &inputs[0].shape, &numbers).unwrap();
            assert_eq!((&shape, shape.len()), (&output.shape, 3));
            let decoded = Pixels { height: 13, width: 17, bytes };
            let pixels = fitted(decoded, 3, size, fit, filter);
            let unit = if values == Values::Unit { 255.0 } else { 1.0 };
            let plane = size[0] * size[1];
            for (at, value) in found.iter().enumerate() {
                let byte = pixels[at % plane * 3 + at / plane];
                assert_eq!(*value, f64::from(byte) / unit, "{fit:?} {filter:?} {at}");
            }
        }
        let form = Form {
            size: [4, 4],
            fit: Fit::Cover,
            filter: Filter::Box,
            channels: Channels::Rgba,
            values: Values::Unit,
            max_pixels: 1 << 20,
        };
        assert!(form.steps(&[8, 8]).unwrap_err().message().contains("alpha"));
        assert!(form.steps(&[]).is_ok());
    }

    #[test]
    fn the_colour_of_transparent_pixels_does_not_bleed_into_others() {
        // Opaque red beside transparent green, reduced to one pixel.
        let bytes = vec![255, 0, 0, 255, 0, 255, 0, 0];
        let pixels = Pixels { height: 1, width: 2, bytes };
        let one = fitted(pixels, 4, [1, 1], Fit::Stretch, Filter::Bilinear);
        assert_eq!(one, [255, 0, 0, 128]);
    }
}
