//! Data set `idx`: images and labels in IDX files, the format of MNIST.

use std::{fs::File, path::PathBuf};

use fluxbay_plugin::prelude::*;

use crate::idx_file;

config! {
    /// Files, relative to the run file.
    pub struct Config {
        /// IDX file of images for training.
        images: PathBuf,
        /// IDX file of their labels.
        labels: PathBuf,
        /// IDX file of images for validation; without it the loader divides the training files.
        validation_images: Option<PathBuf> = null,
        /// IDX file of their labels.
        validation_labels: Option<PathBuf> = null,
        /// Number of classes; by default one more than the largest label.
        classes: Option<usize> = null => 1..,
        /// Whether to subtract the mean and divide by the standard deviation of all values of the
        /// training images.
        standardize: bool = false,
    }
}

/// The data set `idx`.
pub struct Idx {
    config: Config,
    parts: Vec<Part>,
    sample: Vec<usize>,
    classes: usize,
    scale: f32,
    shift: f32,
}

struct Part {
    name: &'static str,
    images: Vec<u8>,
    labels: Vec<u8>,
}

impl Component for Idx {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        if config.validation_images.is_some() != config.validation_labels.is_some() {
            bail!("validation-images and validation-labels belong together: give both or neither");
        }
        for path in [&mut config.images, &mut config.labels] {
            *path = setup.resolve_path(&*path)?;
        }
        for path in
            [&mut config.validation_images, &mut config.validation_labels].into_iter().flatten()
        {
            *path = setup.resolve_path(&*path)?;
        }
        Ok(Idx {
            config,
            parts: Vec::new(),
            sample: Vec::new(),
            classes: 0,
            scale: 1.0 / 255.0,
            shift: 0.0,
        })
    }
}

impl Idx {
    fn read(&mut self, name: &'static str, images: &PathBuf, labels: &PathBuf) -> Result<()> {
        let open = |path: &PathBuf| -> Result<idx_file::IdxFile> {
            File::open(path).map_err(Error::from).and_then(idx_file::read).context(path.display())
        };
        let (pixels, classes) = (open(images)?, open(labels)?);
        if pixels.shape.len() < 2 {
            bail!(
                "{}: images need at least two dimensions, this file has {:?}; are images and labels swapped?",
                images.display(),
                pixels.shape
            );
        }
        if classes.shape.len() != 1 {
            bail!(
                "{}: labels need one dimension, this file has {:?}; are images and labels swapped?",
                labels.display(),
                classes.shape
            );
        }
        if pixels.shape[0] != classes.shape[0] {
            bail!(
                "{} holds {} images, {} holds {} labels: they do not belong together",
                images.display(),
                pixels.shape[0],
                labels.display(),
                classes.shape[0]
            );
        }
        let sample = pixels.shape[1..].to_vec();
        if !self.sample.is_empty() && self.sample != sample {
            bail!(
                "{}: images are {sample:?}, those for training are {:?}",
                images.display(),
                self.sample
            );
        }
        self.sample = sample;
        if let (Some(limit), Some(place)) = (
            self.config.classes,
            self.config.classes.and_then(|limit| {
                classes.bytes.iter().position(|label| usize::from(*label) >= limit)
            }),
        ) {
            bail!(
                "{}: label {} of image {place} is out of range: classes = {limit} allows 0 to {}",
                labels.display(),
                classes.bytes[place],
                limit - 1
            );
        }
        self.parts.push(Part { name, images: pixels.bytes, labels: classes.bytes });
        Ok(())
    }

    fn elements(&self) -> usize {
        self.sample.iter().product()
    }
}

impl Dataset for Idx {
    fn open(&mut self) -> Result<()> {
        let config = self.config.clone();
        self.parts.clear();
        let first = if config.validation_images.is_some() { "training" } else { "all" };
        self.read(first, &config.images, &config.labels)?;
        if let (Some(images), Some(labels)) = (&config.validation_images, &config.validation_labels)
        {
            self.read("validation", images, labels)?;
        }
        let largest = self
            .parts
            .iter()
            .flat_map(|part| &part.labels)
            .max()
            .map_or(0, |label| usize::from(*label));
        self.classes = config.classes.unwrap_or(largest + 1);
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &self.sample), Field::labels("ys", self.classes)]
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|part| Split::new(part.name, part.labels.len())).collect()
    }

    fn prepare(&mut self, split: usize, indices: &[u64]) -> Result<()> {
        if !self.config.standardize || indices.is_empty() {
            return Ok(());
        }
        let elements = self.elements();
        let mut counts = [0_u64; 256];
        for index in indices {
            let start = *index as usize * elements;
            for pixel in &self.parts[split].images[start..start + elements] {
                counts[usize::from(*pixel)] += 1;
            }
        }
        let total = (indices.len() * elements) as f64;
        let moment = |power: i32| {
            (0..256).map(|value| counts[value] as f64 * (value as f64).powi(power)).sum::<f64>()
                / total
        };
        let mean = moment(1);
        let deviation = (moment(2) - mean * mean).max(0.0).sqrt();
        let deviation = if deviation > 0.0 { deviation } else { 1.0 };
        self.scale = (1.0 / deviation) as f32;
        self.shift = (-mean / deviation) as f32;
        Ok(())
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let (part, elements) = (&self.parts[split], self.elements());
        let image =
            |index: u64| &part.images[index as usize * elements..(index as usize + 1) * elements];
        for (at, place) in
            buffers.f32(0)?.chunks_exact_mut(elements.max(1)).take(indices.len()).enumerate()
        {
            if let Some(next) = indices.get(at + 1) {
                prefetch(image(*next));
            }
            for (value, pixel) in place.iter_mut().zip(image(indices[at])) {
                *value = f32::from(*pixel) * self.scale + self.shift;
            }
        }
        for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
            *place = u32::from(part.labels[*index as usize]);
        }
        Ok(())
    }
}

/// Reads one byte per cache line, so that the image is in the cache when it is converted. Shuffled
/// images are not adjacent in memory.
fn prefetch(image: &[u8]) {
    std::hint::black_box(image.iter().step_by(64).fold(0, |sum, pixel| sum ^ pixel));
}
