//! Data set `digits`: 1,797 images of handwritten digits, embedded in the plugin.

use fluxbay_plugin::prelude::*;

use crate::idx_file::{self, Elements};

static IMAGES: &[u8] = include_bytes!("../digits/images-idx3-ubyte.gz");
static LABELS: &[u8] = include_bytes!("../digits/labels-idx1-ubyte.gz");

/// Largest value of a pixel.
const WHITE: f32 = 16.0;

/// The data set `digits`.
pub struct Digits {
    images: Vec<f32>,
    labels: Vec<u8>,
}

impl Component for Digits {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Digits { images: Vec::new(), labels: Vec::new() })
    }
}

impl Dataset for Digits {
    fn open(&mut self) -> Result<()> {
        let bytes = |file: &'static [u8]| match idx_file::read(file)?.elements {
            Elements::U8(bytes) => Ok(bytes),
            other => bail!("{} instead of bytes", other.type_name()),
        };
        self.labels = bytes(LABELS).context("the embedded labels")?;
        let images = bytes(IMAGES).context("the embedded digits")?;
        self.images = images.iter().map(|pixel| f32::from(*pixel) / WHITE).collect();
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[8, 8]), Field::labels("ys", 10)]
    }

    fn splits(&self) -> Vec<Split> {
        vec![Split::new("all", self.labels.len())]
    }

    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        for (place, index) in buffers.f32(0)?.chunks_exact_mut(64).zip(indices) {
            let start = *index as usize * 64;
            place.copy_from_slice(&self.images[start..start + 64]);
        }
        for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
            *place = u32::from(self.labels[*index as usize]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_whole() {
        let mut digits = Digits { images: Vec::new(), labels: Vec::new() };
        digits.open().unwrap();
        assert_eq!(digits.splits(), [Split::new("all", 1797)]);
        assert_eq!(digits.images.len(), 1797 * 64);
        assert!(digits.images.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        assert_eq!(&digits.labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(digits.labels.iter().max(), Some(&9));
    }
}
