//! Data set `idx`: images and labels in IDX files, the format of MNIST.

use std::{
    collections::VecDeque,
    fs::File,
    io::BufReader,
    ops::Range,
    path::{Path, PathBuf},
};

use fluxbay_plugin::{
    prelude::*,
    serde,
    steps::{DatasetSteps, RawInput, ValueStep},
};
use fluxbay_table::statistics::{Deviations, Sums};

use crate::idx_file::{self, Elements, IdxFile};

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
    learned: Learned,
    /// Whether `learned` comes from another instance.
    restored: bool,
    inputs: Inputs,
}

/// Files of images that are predicted from. The images of the present one are the first part.
#[derive(Default)]
struct Inputs {
    /// Files that were not read yet.
    files: VecDeque<PathBuf>,
    /// The present file, if there are several.
    name: Option<PathBuf>,
    several: bool,
    /// The images of the last piece.
    piece: Range<usize>,
}

/// What the training images determine.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde", deny_unknown_fields)]
struct Learned {
    classes: usize,
    /// Values are `element * scale + shift`.
    scale: f32,
    shift: f32,
    /// Shape of an image; runs of older releases do not say it.
    #[serde(default)]
    sample: Vec<usize>,
}

struct Part {
    name: &'static str,
    images: Elements,
    labels: Vec<u32>,
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
        Ok(Idx::with(config))
    }
}

impl Idx {
    fn with(config: Config) -> Idx {
        let learned = Learned { classes: 0, scale: 1.0, shift: 0.0, sample: Vec::new() };
        Idx {
            config,
            parts: Vec::new(),
            sample: Vec::new(),
            learned,
            restored: false,
            inputs: Inputs::default(),
        }
    }

    fn read(&mut self, name: &'static str, images: &Path, labels: &Path) -> Result<()> {
        let (pixels, classes) = (read_images(images)?, read_file(labels)?);
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
        let labels = self.labels(labels, &classes)?;
        self.parts.push(Part { name, images: pixels.elements, labels });
        Ok(())
    }

    /// Reads the next file of images to predict from; false after the last.
    fn next_input(&mut self) -> Result<bool> {
        let Some(path) = self.inputs.files.pop_front() else { return Ok(false) };
        let pixels = read_images(&path)?;
        let sample = pixels.shape[1..].to_vec();
        if !self.sample.is_empty() && self.sample != sample {
            bail!("{}: images are {sample:?}, those before are {:?}", path.display(), self.sample);
        }
        self.sample = sample;
        let labels = vec![0; pixels.shape[0]];
        self.parts = vec![Part { name: "inputs", images: pixels.elements, labels }];
        (self.inputs.piece, self.inputs.name) = (0..0, self.inputs.several.then_some(path));
        Ok(true)
    }

    /// The labels of a file, checked against the number of classes as far as it is known.
    fn labels(&self, path: &Path, file: &IdxFile) -> Result<Vec<u32>> {
        if let Elements::F32(_) | Elements::F64(_) = file.elements {
            bail!("{}: labels are {}, not integers", path.display(), file.elements.type_name());
        }
        let limit = match (self.config.classes, self.restored) {
            (Some(limit), _) => Some((limit, "classes =")),
            (None, true) => Some((self.learned.classes, "the number of classes in training,")),
            (None, false) => None,
        };
        let mut labels = Vec::with_capacity(file.elements.len());
        for (place, label) in file.elements.as_f64(0, file.elements.len()).enumerate() {
            if let Some((limit, origin)) = limit
                && !(0.0..limit as f64).contains(&label)
            {
                bail!(
                    "{}: label {label} of image {place} is out of range: {origin} {limit} allows 0 to {}",
                    path.display(),
                    limit.saturating_sub(1)
                );
            }
            if label < 0.0 {
                bail!("{}: label {label} of image {place} is negative", path.display());
            }
            labels.push(label as u32);
        }
        Ok(labels)
    }

    fn elements(&self) -> usize {
        self.sample.iter().product()
    }
}

/// Reads an IDX file, gzipped or not.
fn read_file(path: &Path) -> Result<IdxFile> {
    File::open(path)
        .map_err(Error::from)
        .and_then(|file| idx_file::read(BufReader::new(file)))
        .context(path.display())
}

/// Reads an IDX file of images.
fn read_images(path: &Path) -> Result<IdxFile> {
    let pixels = read_file(path)?;
    if pixels.shape.len() < 2 {
        bail!(
            "{}: images need at least two dimensions, this file has {:?}; are images and labels swapped?",
            path.display(),
            pixels.shape
        );
    }
    let elements: usize = pixels.shape[1..].iter().product();
    let floating = matches!(pixels.elements, Elements::F32(_) | Elements::F64(_));
    let all = pixels.elements.as_f64(0, if floating { pixels.elements.len() } else { 0 });
    if let Some(place) = all.map(|element| element as f32).position(|one| !one.is_finite()) {
        bail!(
            "{}: image {} holds a value that is not finite in single precision",
            path.display(),
            place / elements.max(1)
        );
    }
    Ok(pixels)
}

impl Dataset for Idx {
    fn learnt(&self) -> Result<Vec<u8>> {
        to_bytes(&self.learned)
    }

    fn restore(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        let learned: Learned = from_bytes(bytes)?;
        if learned.classes == 0 || !learned.scale.is_finite() || !learned.shift.is_finite() {
            bail!("the saved statistics of the images are damaged: {learned:?}");
        }
        (self.restored, self.learned) = (true, learned);
        Ok(())
    }

    fn open(&mut self) -> Result<()> {
        let config = self.config.clone();
        self.parts.clear();
        let first = if config.validation_images.is_some() { "training" } else { "all" };
        self.read(first, &config.images, &config.labels)?;
        if let (Some(images), Some(labels)) = (&config.validation_images, &config.validation_labels)
        {
            self.read("validation", images, labels)?;
        }
        let bytes = self.parts.iter().any(|part| matches!(part.images, Elements::U8(_)));
        if !self.restored {
            let largest = self.parts.iter().flat_map(|part| &part.labels).max();
            let largest = largest.map_or(0, |label| *label as usize);
            self.learned = Learned {
                classes: config.classes.unwrap_or(largest + 1),
                scale: if bytes { 1.0 / 255.0 } else { 1.0 },
                shift: 0.0,
                sample: self.sample.clone(),
            };
        }
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &self.sample), Field::labels("ys", self.learned.classes)]
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|part| Split::new(part.name, part.labels.len())).collect()
    }

    fn prepare(&mut self, split: usize, indices: &[u64]) -> Result<()> {
        if !self.config.standardize || self.restored || indices.is_empty() {
            return Ok(());
        }
        let (elements, images) = (self.elements(), &self.parts[split].images);
        let (mean, deviation) = match images {
            Elements::U8(pixels) => of_bytes(pixels, indices, elements),
            _ => of_numbers(images, indices, elements),
        };
        self.learned.scale = (1.0 / deviation) as f32;
        self.learned.shift = (-mean / deviation) as f32;
        Ok(())
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        self.inputs = Inputs {
            files: files.iter().cloned().collect(),
            several: files.len() > 1,
            ..Inputs::default()
        };
        self.next_input().map(drop)
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        loop {
            let (start, images) =
                (self.inputs.piece.end, self.parts.first().map_or(0, |part| part.labels.len()));
            if start < images {
                self.inputs.piece = start..images.min(start + most);
                return Ok(self.inputs.piece.len());
            }
            if !self.next_input()? {
                return Ok(0);
            }
        }
    }

    fn input_key(&self, index: usize) -> String {
        let image = self.inputs.piece.start + index;
        match &self.inputs.name {
            Some(path) => format!("{}:{image}", path.display()),
            None => image.to_string(),
        }
    }

    fn steps(&self, _: &[usize]) -> Result<Option<DatasetSteps>> {
        let Learned { scale, shift, sample, .. } = &self.learned;
        if sample.is_empty() || *scale == 0.0 {
            return Ok(None);
        }
        let (scale, shift) = (f64::from(*scale), f64::from(*shift));
        let input = RawInput {
            name: "pixels".to_owned(),
            dtype: "f32".to_owned(),
            shape: sample.clone(),
            steps: vec![ValueStep::Affine {
                axis: 0,
                offset: vec![-shift / scale],
                divisor: vec![1.0 / scale],
            }],
            categories: Vec::new(),
        };
        let output = (&Field::new("xs", DType::F32, sample)).into();
        Ok(Some(DatasetSteps { inputs: vec![input], output }))
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        if self.inputs.piece.start > 0 {
            let first = self.inputs.piece.start as u64;
            let within: Vec<u64> = indices.iter().map(|index| first + index).collect();
            return self.fill_from(split, &within, buffers);
        }
        self.fill_from(split, indices, buffers)
    }
}

impl Idx {
    /// Writes the images at `indices` of a part.
    fn fill_from(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let (part, elements) = (&self.parts[split], self.elements());
        let places = buffers.f32(0)?.chunks_exact_mut(elements.max(1)).take(indices.len());
        let Learned { scale, shift, .. } = self.learned;
        if let Elements::U8(pixels) = &part.images {
            let image =
                |index: u64| &pixels[index as usize * elements..(index as usize + 1) * elements];
            for (at, place) in places.enumerate() {
                if let Some(next) = indices.get(at + 1) {
                    prefetch(image(*next));
                }
                for (value, pixel) in place.iter_mut().zip(image(indices[at])) {
                    *value = f32::from(*pixel) * scale + shift;
                }
            }
        } else {
            for (place, index) in places.zip(indices) {
                let start = *index as usize * elements;
                for (value, element) in
                    place.iter_mut().zip(part.images.as_f64(start, start + elements))
                {
                    *value = element as f32 * scale + shift;
                }
            }
        }
        for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
            *place = part.labels[*index as usize];
        }
        Ok(())
    }
}

/// Mean and standard deviation (1 if it is 0) of the images at `indices`, from the number of times
/// that each value occurs.
fn of_bytes(pixels: &[u8], indices: &[u64], elements: usize) -> (f64, f64) {
    let mut counts = [0_u64; 256];
    for index in indices {
        let start = *index as usize * elements;
        for pixel in &pixels[start..start + elements] {
            counts[usize::from(*pixel)] += 1;
        }
    }
    let total = (indices.len() * elements) as f64;
    let moment = |power: i32| {
        (0..256).map(|value| counts[value] as f64 * (value as f64).powi(power)).sum::<f64>() / total
    };
    let mean = moment(1);
    let deviation = (moment(2) - mean * mean).max(0.0).sqrt();
    (mean, if deviation > 0.0 { deviation } else { 1.0 })
}

/// As [`of_bytes`] for the other types of elements.
fn of_numbers(images: &Elements, indices: &[u64], elements: usize) -> (f64, f64) {
    let all = || {
        indices.iter().flat_map(|index| {
            let start = *index as usize * elements;
            images.as_f64(start, start + elements)
        })
    };
    let mut sums = Sums::default();
    all().for_each(|value| sums.add(value));
    let mut deviations = Deviations::from(sums.mean());
    all().for_each(|value| deviations.add(value));
    let scaling = deviations.scaling(sums.count);
    (scaling.mean, scaling.scale)
}

/// Reads one byte per cache line, so that the image is in the cache when it is converted. Shuffled
/// images are not adjacent in memory.
fn prefetch(image: &[u8]) {
    std::hint::black_box(image.iter().step_by(64).fold(0, |sum, pixel| sum ^ pixel));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idx(images: Elements, labels: Vec<u32>) -> Idx {
        let mut idx = Idx::with(
            <Config as fluxbay_plugin::Config>::from_json(
                r#"{"images": "i", "labels": "l", "standardize": true}"#,
            )
            .unwrap(),
        );
        idx.sample = vec![1, images.len() / labels.len()];
        idx.parts.push(Part { name: "all", images, labels });
        idx
    }

    #[test]
    fn all_element_types_are_standardised() {
        for images in [
            Elements::U8(vec![1, 3, 100, 100]),
            Elements::I8(vec![1, 3, 100, 100]),
            Elements::I16(vec![1, 3, 100, 100]),
            Elements::I32(vec![1, 3, 100, 100]),
            Elements::F32(vec![1.0, 3.0, 100.0, 100.0]),
            Elements::F64(vec![1.0, 3.0, 100.0, 100.0]),
        ] {
            let mut idx = idx(images, vec![0, 1]);
            idx.prepare(0, &[0]).unwrap();
            assert_eq!((idx.learned.scale, idx.learned.shift), (1.0, -2.0));
            // A constant image is only shifted.
            idx.prepare(0, &[1]).unwrap();
            assert_eq!((idx.learned.scale, idx.learned.shift), (1.0, -100.0));
        }
    }

    #[test]
    fn labels_are_integers_in_range() {
        let labels = |elements: Elements, classes: Option<usize>| {
            let mut idx = idx(Elements::U8(vec![0]), vec![0]);
            idx.config.classes = classes;
            let shape = vec![elements.len()];
            idx.labels(Path::new("l"), &IdxFile { shape, elements })
        };
        assert_eq!(labels(Elements::I32(vec![70_000, 0]), None).unwrap(), [70_000, 0]);
        assert_eq!(labels(Elements::I16(vec![2, 0]), Some(3)).unwrap(), [2, 0]);
        let message =
            |elements, classes| labels(elements, classes).unwrap_err().message().to_owned();
        assert!(
            message(Elements::I8(vec![0, -1]), None).contains("label -1 of image 1 is negative")
        );
        assert!(message(Elements::I16(vec![0, 3]), Some(3)).contains("classes = 3 allows 0 to 2"));
        assert!(message(Elements::F32(vec![0.0]), None).contains("not integers"));
    }

    #[test]
    fn the_statistics_of_training_scale_other_images() {
        let mut first = idx(Elements::U8(vec![1, 3, 100, 100]), vec![0, 1]);
        first.learned.classes = 2;
        first.prepare(0, &[0]).unwrap();
        let mut other = idx(Elements::U8(vec![5, 7]), vec![0]);
        other.restore(1, &first.learnt().unwrap()).unwrap();
        other.prepare(0, &[0]).unwrap();
        assert_eq!(other.learned, first.learned);
        let labels = IdxFile { shape: vec![1], elements: Elements::U8(vec![2]) };
        let refused = other.labels(Path::new("l"), &labels).unwrap_err().message().to_owned();
        assert!(
            refused.contains("the number of classes in training, 2 allows 0 to 1"),
            "{refused}"
        );
    }
}
