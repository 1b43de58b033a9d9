//! A contact sheet: the first images of a split, side by side, as a PNG file.

use std::io::Cursor;
use std::path::Path;

use candle_core::{DType, Tensor};

use super::failed;
use crate::cli::outcome::{Exit, Failure};
use crate::library::escape;
use crate::loader::Loader;
use crate::record::atomic;

/// Images in a row, and rows.
const COLUMNS: usize = 8;
const ROWS: usize = 8;
/// Pixels between images.
const GAP: usize = 4;
/// Small images are magnified until they have about this many pixels on a side.
const SIDE: usize = 64;
/// Larger images are refused, so that the sheet fits into memory.
const MOST_SIDE: usize = 1024;

/// Images as planes of numbers.
struct Images {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<Vec<f32>>,
}

/// Writes the first images of the training samples in their order, and returns how many there are.
///
/// # Errors
/// The inputs are no images, or the file cannot be written.
pub(super) fn write(loader: &Loader, path: &Path) -> Result<usize, Failure> {
    let wrong = |text: String| Failure::new(Exit::Configuration, text);
    let unreadable =
        |error: candle_core::Error| Failure::new(Exit::Failed, format!("a batch: {error}"));
    let field = &loader.fields()[0];
    let (channels, height, width) = match field.shape[..] {
        [height, width] => (1, height, width),
        [channels @ (1 | 3 | 4), height, width] => (channels, height, width),
        _ => {
            return Err(wrong(format!(
                "field `{}` has the shape {:?}: a contact sheet needs images, [channels, height, width] or \
                 [height, width]",
                escape::text(&field.name),
                field.shape
            )));
        }
    };
    if height.max(width) > MOST_SIDE || height * width == 0 {
        return Err(wrong(format!(
            "the images have {height} x {width} pixels; a contact sheet takes up to {MOST_SIDE} on a side"
        )));
    }
    let mut images = Images { channels, height, width, values: Vec::new() };
    for batch in loader.epoch("training", 1).map_err(failed)? {
        let batch = batch.map_err(failed)?;
        for sample in 0..batch.samples.min(COLUMNS * ROWS - images.values.len()) {
            images.values.push(values(&batch.fields[0], sample).map_err(unreadable)?);
        }
        if images.values.len() == COLUMNS * ROWS {
            break;
        }
    }
    let png = images.sheet().and_then(|(size, pixels)| encode(size, &pixels)).map_err(wrong)?;
    atomic::replace(path, &png)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", escape::path(path))))?;
    Ok(images.values.len())
}

fn values(field: &Tensor, sample: usize) -> candle_core::Result<Vec<f32>> {
    field.get(sample)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

impl Images {
    /// Width and height of the sheet, and its pixels of red, green and blue. The smallest number of all
    /// images is black, the largest white.
    fn sheet(&self) -> Result<([usize; 2], Vec<u8>), String> {
        let finite = || self.values.iter().flatten().copied().filter(|value| value.is_finite());
        let (least, most) =
            finite().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        if least > most {
            return Err("there is no image with a number in it".to_owned());
        }
        let range = if most > least { most - least } else { 1.0 };
        let byte = |value: f32| ((value - least) / range * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
        let zoom = (SIDE / self.height.max(self.width)).max(1);
        let [high, wide] = [self.height * zoom + GAP, self.width * zoom + GAP];
        let columns = self.values.len().min(COLUMNS);
        let size = [columns * wide + GAP, self.values.len().div_ceil(COLUMNS) * high + GAP];
        let mut pixels = vec![128; size[0] * size[1] * 3];
        let plane = self.height * self.width;
        for (number, image) in self.values.iter().enumerate() {
            let top = number / COLUMNS * high + GAP;
            let left = number % COLUMNS * wide + GAP;
            for y in 0..self.height * zoom {
                for x in 0..self.width * zoom {
                    let at = y / zoom * self.width + x / zoom;
                    let place = ((top + y) * size[0] + left + x) * 3;
                    for colour in 0..3 {
                        let channel = if self.channels == 1 { 0 } else { colour };
                        pixels[place + colour] = byte(image[channel * plane + at]);
                    }
                }
            }
        }
        Ok((size, pixels))
    }
}

fn encode([width, height]: [usize; 2], pixels: &[u8]) -> Result<Vec<u8>, String> {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels)?;
        writer.finish()
    });
    written.map_err(|error| error.to_string())?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_lie_side_by_side_from_black_to_white() {
        let image = |value: f32| vec![value; 32 * 32];
        let images = Images {
            channels: 1,
            height: 32,
            width: 32,
            values: (0..9).map(|number| image(number as f32 - 4.0)).collect(),
        };
        let ([width, height], pixels) = images.sheet().unwrap();
        // Twice their size, eight in a row.
        assert_eq!([width, height], [8 * 68 + 4, 2 * 68 + 4]);
        let pixel = |x: usize, y: usize| pixels[(y * width + x) * 3];
        assert_eq!([pixel(4, 4), pixel(67, 67), pixel(68, 4)], [0, 0, 128]);
        assert_eq!([pixel(4 + 4 * 68, 4), pixel(4, 72)], [128, 255]);
        assert_eq!(&encode([width, height], &pixels).unwrap()[1..4], b"PNG");
        let empty = Images { values: vec![vec![f32::NAN; 1024]], ..images };
        assert!(empty.sheet().is_err());
    }
}
