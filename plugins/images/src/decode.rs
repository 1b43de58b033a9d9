//! From a file to pixels: six formats, any depth, EXIF orientation, bounded memory.

use std::{
    fs::File,
    io::{BufRead, BufReader, Cursor, Seek},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use fluxbay_plugin::prelude::*;
use image::{
    ColorType, DynamicImage, ImageDecoder as _, ImageReader, Limits, metadata::Orientation,
};

use crate::buffers;

choice! {
    /// The channels of a sample.
    pub enum Channels {
        /// Red, green, blue; an alpha channel is dropped.
        Rgb,
        /// Lightness: 0.299 red + 0.587 green + 0.114 blue.
        Grey,
        /// Red, green, blue and alpha; opaque where the file has no alpha channel.
        Rgba,
    }
}

impl Channels {
    /// Their number.
    pub fn count(self) -> usize {
        match self {
            Channels::Rgb => 3,
            Channels::Grey => 1,
            Channels::Rgba => 4,
        }
    }
}

/// Pixels, channels interleaved.
#[derive(Debug)]
pub struct Pixels {
    pub height: usize,
    pub width: usize,
    pub bytes: Vec<u8>,
}

/// Most bytes of a decoded pixel: four channels of 16 bits.
const PIXEL: u64 = 8;

/// Where the bytes of an image are.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
}

trait Input: BufRead + Seek {}
impl<R: BufRead + Seek> Input for R {}

/// Decodes an image. One with more than `most_pixels` is refused before its pixels are decoded.
///
/// # Errors
/// If it cannot be read, is no image, or is damaged; the text does not name the file.
pub fn decode(source: Source<'_>, channels: Channels, most_pixels: u64) -> Result<Pixels> {
    // A decoder that panics must not end the use of the data set.
    catch_unwind(AssertUnwindSafe(|| read(source, channels, most_pixels)))
        .unwrap_or_else(|_| Err(Error::new("the decoder panicked: the file is damaged")))
}

fn damaged(error: image::ImageError) -> Error {
    Error::new(error.to_string())
}

fn decoder(source: Source<'_>, most_pixels: u64) -> Result<impl image::ImageDecoder> {
    let (input, length): (Box<dyn Input + '_>, u64) = match source {
        Source::File(path) => {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            (Box::new(BufReader::new(file)), length)
        }
        Source::Bytes(bytes) => (Box::new(Cursor::new(bytes)), bytes.len() as u64),
    };
    // Decoders read some formats whole before they know the size of the image.
    let most = most_pixels.saturating_mul(PIXEL) + (1 << 20);
    if length > most {
        bail!("the file has {length} bytes, more than an image of {most_pixels} pixels needs");
    }
    let mut reader = ImageReader::new(input).with_guessed_format()?;
    if reader.format().is_none() {
        bail!("it is no image of a known format (JPEG, PNG, WebP, BMP, GIF, TIFF)");
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(most);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        bail!("it has no pixels ({width} x {height})");
    }
    if pixels > most_pixels {
        bail!("it has {width} x {height} pixels, more than `max-pixels` = {most_pixels} allows");
    }
    Ok(decoder)
}

fn read(source: Source<'_>, channels: Channels, most_pixels: u64) -> Result<Pixels> {
    let mut decoder = decoder(source, most_pixels)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let plain = decoder.color_type() == ColorType::Rgb8 && orientation == Orientation::NoTransforms;
    if channels == Channels::Rgb && plain {
        let mut bytes = buffers::zeroed(width as usize * height as usize * 3);
        decoder.read_image(&mut bytes).map_err(damaged)?;
        return Ok(Pixels { height: height as usize, width: width as usize, bytes });
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let bytes = match channels {
        Channels::Rgb => image.into_rgb8().into_raw(),
        Channels::Rgba => image.into_rgba8().into_raw(),
        Channels::Grey if !image.color().has_color() => image.into_luma8().into_raw(),
        Channels::Grey => image.into_rgb8().chunks_exact(3).map(lightness).collect(),
    };
    Ok(Pixels { height, width, bytes })
}

/// Lightness of red, green and blue, rounded as Pillow does.
fn lightness(rgb: &[u8]) -> u8 {
    let [r, g, b] = [0, 1, 2].map(|at| u32::from(rgb[at]));
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    const MOST: u64 = 1 << 20;

    #[test]
    fn pixels_of_every_format_and_depth_equal_those_of_pillow() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for case in reference::cases("decode") {
            let name = case["file"].as_str().unwrap();
            let path = dir.path().join(name);
            std::fs::write(&path, reference::bytes(&case["bytes"])).unwrap();
            let expected_size = reference::size(&case["size"]);
            for (channels, key) in [(Channels::Rgb, "rgb"), (Channels::Grey, "grey")] {
                let found = decode(Source::File(&path), channels, MOST).unwrap();
                assert_eq!([found.height, found.width], expected_size, "{name}");
                let expected = reference::bytes(&case[key]);
                let most = reference::number(&case["tolerance"]) as u8;
                let far = found.bytes.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
                assert_eq!(found.bytes.len(), expected.len(), "{name}");
                assert!(far <= Some(most), "{name} {key}: {far:?}");
            }
            assert_eq!(
                decode(Source::File(&path), Channels::Rgba, MOST).unwrap().bytes.len(),
                expected_size.iter().product::<usize>() * 4
            );
            seen.extend(path.extension().map(std::ffi::OsStr::to_owned));
        }
        assert!(seen.len() >= 6, "{seen:?}");
    }

    #[test]
    fn images_beyond_the_limit_are_refused_by_their_header() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.png");
        image::GrayImage::new(300, 200).save(&path).unwrap();
        let error = decode(Source::File(&path), Channels::Grey, 59_999).unwrap_err();
        assert!(error.message().contains("300 x 200 pixels"), "{error}");
        assert!(decode(Source::File(&path), Channels::Grey, 60_000).is_ok());
        std::fs::write(&path, vec![0; 2 << 20]).unwrap();
        let error = decode(Source::File(&path), Channels::Grey, 100).unwrap_err();
        assert!(error.message().contains("2097152 bytes"), "{error}");
        std::fs::write(&path, "no image").unwrap();
        assert!(
            decode(Source::File(&path), Channels::Grey, 100)
                .unwrap_err()
                .message()
                .contains("known format")
        );
    }
}
