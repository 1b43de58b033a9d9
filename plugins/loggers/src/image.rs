//! Images as PNG.

use fluxbay_plugin::prelude::*;

/// Pixels row by row with interleaved channels, 8 bits each.
#[derive(Debug, PartialEq)]
pub struct Image {
    pub height: u32,
    pub width: u32,
    /// 1 grey, 2 grey with alpha, 3 RGB, 4 RGB with alpha.
    pub channels: u32,
    pixels: Vec<u8>,
}

impl Image {
    /// From values between 0 and 1 of shape `[height, width]` or `[channels, height, width]`. Values
    /// outside are clamped; NaN becomes 0.
    pub fn new(values: &[f32], shape: &[usize]) -> Result<Image> {
        let (channels, height, width) = match *shape {
            [height, width] => (1, height, width),
            [channels @ 1..=4, height, width] => (channels, height, width),
            _ => bail!(
                "an image must have shape [height, width] or [channels, height, width] with 1 to 4 channels, not {shape:?}"
            ),
        };
        if height == 0 || width == 0 || values.len() != channels * height * width {
            bail!("{} values do not fill an image of shape {shape:?}", values.len());
        }
        let plane = height * width;
        // `as` saturates at 0 and 255 and converts NaN to 0.
        let byte =
            |at: usize| (values[at % channels * plane + at / channels] * 255.0).round() as u8;
        let pixels = (0..values.len()).map(byte).collect();
        Ok(Image { height: height as u32, width: width as u32, channels: channels as u32, pixels })
    }

    /// Encodes the image.
    pub fn png(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_color(match self.channels {
            1 => png::ColorType::Grayscale,
            2 => png::ColorType::GrayscaleAlpha,
            3 => png::ColorType::Rgb,
            _ => png::ColorType::Rgba,
        });
        let failed = |error: png::EncodingError| {
            Error::new(format!("the image cannot be encoded as PNG: {error}"))
        };
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.pixels).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_interleaved_and_values_clamped() {
        let image = Image::new(&[0.0, 1.0, 0.5, 2.0, -1.0, f32::NAN], &[3, 1, 2]).unwrap();
        assert_eq!(image.pixels, [0, 128, 0, 255, 255, 0]);
        assert!(Image::new(&[0.0; 5], &[5, 1, 1]).is_err());
        assert!(Image::new(&[0.0; 5], &[2, 2]).is_err());
    }

    #[test]
    fn the_png_can_be_read_back() {
        let values: Vec<f32> = (0..12).map(|value| value as f32 / 11.0).collect();
        let bytes = Image::new(&values, &[3, 4]).unwrap().png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (4, 3, png::ColorType::Grayscale));
        assert_eq!((pixels[0], pixels[11]), (0, 255));
    }
}
