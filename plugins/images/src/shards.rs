//! Data set `shards`: images with class labels in tar archives, as WebDataset writes them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fluxbay_plugin::{prelude::*, steps::DatasetSteps};

use crate::{
    bad::{Bad, OnBadSample},
    buffers,
    decode::{Channels, Source},
    form::{self, Fit, Form, Values},
    index::{self, Index},
    resample::Filter,
    tar::Archive,
};

config! {
    /// The archives, and the form of a sample.
    pub struct Config {
        /// A tar archive, a folder of them, or a pattern such as `train-{000..146}.tar`, relative to the
        /// run file.
        path: PathBuf,
        /// Archives for validation, likewise; without them the loader holds out a share of the images.
        validation_path: Option<PathBuf> = null,
        /// Ending of the files with the labels: `cls` for `0001.cls` beside `0001.jpg`. Such a file holds
        /// a class as text, or a JSON object.
        label: String = "cls",
        /// Key of the class in a JSON object; without it the whole file is the class.
        label_key: Option<String> = null,
        /// Height and width of a sample; one number for a square.
        size: Vec<usize> = [224, 224],
        /// How an image of another size is brought to that size.
        fit: Fit = "cover",
        /// How pixels are interpolated. Reductions are antialiased.
        filter: Filter = "bilinear",
        /// The channels of a sample.
        channels: Channels = "rgb",
        /// The numbers of a sample.
        values: Values = "unit",
        /// What happens with an image that cannot be read.
        on_bad_sample: OnBadSample = "stop",
        /// With `on-bad-sample = "skip"`, most images that are left out; one more ends the run.
        bad_sample_limit: usize = 100,
        /// Pixels beyond which an image counts as one that cannot be read, so that no file fills the
        /// memory.
        max_pixels: u64 = 100000000 => 1..,
    }
}

struct Part {
    name: &'static str,
    /// The archives with what is in each.
    archives: Vec<(Archive, Index)>,
    /// Behind the last sample of each archive.
    ends: Vec<usize>,
    /// Class of each sample.
    classes: Vec<u32>,
}

/// A sample in its archive.
#[derive(Clone, Copy)]
struct Entry<'a> {
    archive: &'a Archive,
    index: &'a Index,
    /// Its number in the archive.
    at: usize,
}

impl Part {
    /// Number of samples.
    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn entry(&self, sample: usize) -> Entry<'_> {
        let place = self.ends.partition_point(|end| *end <= sample);
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        let (archive, index) = &self.archives[place];
        Entry { archive, index, at: sample - start }
    }
}

impl Entry<'_> {
    fn key(&self) -> &str {
        self.index.keys.get(self.at)
    }

    /// Archive and name, for messages.
    fn name(&self) -> String {
        format!("{}: {}", self.archive.path.display(), self.key())
    }
}

/// The data set `shards`.
pub struct Shards {
    config: Config,
    form: Form,
    parts: Vec<Part>,
    /// Names of the classes, by number.
    classes: Option<Vec<String>>,
    /// Where the samples that are predicted from begin and end, of all in the only part.
    piece: std::ops::Range<usize>,
    bad: Bad,
}

impl Component for Shards {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.path = setup.resolve_path(&config.path)?;
        if let Some(path) = &mut config.validation_path {
            *path = setup.resolve_path(&*path)?;
        }
        let mut shards = Shards::with(config)?;
        shards.bad.run_dir = setup.run_dir()?;
        Ok(shards)
    }
}

impl Shards {
    fn with(config: Config) -> Result<Shards> {
        let Config { fit, filter, channels, values, max_pixels, .. } = config;
        let size = form::sides(&config.size)?;
        let form = Form { size, fit, filter, channels, values, max_pixels };
        let bad = Bad::new(config.on_bad_sample, config.bad_sample_limit);
        Ok(Shards { config, form, parts: Vec::new(), classes: None, piece: 0..0, bad })
    }

    /// The samples of some archives; `labelled` if each needs a label.
    fn read(&self, name: &'static str, paths: &[PathBuf], labelled: bool) -> Result<Part> {
        let labels =
            index::Labels { ending: self.config.label.clone(), key: self.config.label_key.clone() };
        let (mut archives, mut ends, mut samples) = (Vec::new(), Vec::new(), 0);
        for path in paths {
            let archive = Archive::open(path)?;
            let index = index::of(&archive, &labels)?;
            let without = index.of.iter().position(|label| *label == index::NO_LABEL);
            if let Some(sample) = without.filter(|_| labelled) {
                bail!(
                    "{}: `{}` has no label: no file of that name ends in `.{}` (setting `label`)",
                    path.display(),
                    index.keys.get(sample),
                    labels.ending
                );
            }
            samples += index.keys.len();
            ends.push(samples);
            archives.push((archive, index));
        }
        if samples == 0 {
            let first = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
            bail!("{first}: {} archives hold no image", paths.len());
        }
        Ok(Part { name, archives, ends, classes: Vec::new() })
    }

    /// Numbers the classes of all images by the known ones, or by those of the first part.
    fn number(&mut self) -> Result<()> {
        let names = self.classes.get_or_insert_with(|| {
            let labels = |(_, index): &(Archive, Index)| index.labels.clone();
            let mut names: Vec<String> = self.parts[0].archives.iter().flat_map(labels).collect();
            names.sort();
            names.dedup();
            if names.iter().all(|name| name.parse::<u64>().is_ok()) {
                names.sort_by_key(|name| name.parse::<u64>().unwrap_or(0));
            }
            names
        });
        let numbers: BTreeMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        for part in &mut self.parts {
            let mut classes = Vec::with_capacity(part.len());
            for (archive, index) in &part.archives {
                let of_labels: Vec<Option<u32>> =
                    index.labels.iter().map(|label| numbers.get(label.as_str()).copied()).collect();
                if let Some(unknown) = of_labels.iter().position(Option::is_none) {
                    let sample = index.of.iter().position(|label| *label as usize == unknown);
                    bail!(
                        "{}: `{}` has the class `{}`, which is not one of those that were learned: {}",
                        archive.path.display(),
                        sample.map_or("", |sample| index.keys.get(sample)),
                        index.labels[unknown],
                        names.join(", ")
                    );
                }
                let number = |label: &u32| of_labels.get(*label as usize).copied().flatten();
                classes.extend(index.of.iter().map(|label| number(label).unwrap_or(0)));
            }
            part.classes = classes;
        }
        Ok(())
    }

    /// The pixels of a sample.
    fn pixels(&self, entry: Entry<'_>) -> Result<Vec<u8>> {
        let most = self.form.max_pixels.saturating_mul(8) + (1 << 20);
        let (at, size) = entry.index.place(entry.at);
        if size > most {
            bail!("it has {size} bytes, more than `max-pixels` allows");
        }
        let bytes = entry.archive.read(at, size)?;
        self.form.pixels(Source::Bytes(&bytes))
    }

    /// The entry that `fill` means with an index.
    fn entry(&self, split: usize, index: u64) -> Entry<'_> {
        self.parts[split].entry(self.piece.start + index as usize)
    }
}

/// The archives that a path means: itself, those in a folder, or those of a pattern; in order.
///
/// # Errors
/// There is none, or the pattern cannot be read.
fn archives(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() {
        let read = || -> Result<Vec<PathBuf>> {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let path = entry?.path();
                if path.extension().is_some_and(|ending| ending == "tar") {
                    found.push(path);
                }
            }
            found.sort();
            Ok(found)
        };
        let found = read().context(path.display())?;
        if found.is_empty() {
            bail!("{}: the folder has no file that ends in .tar", path.display());
        }
        return Ok(found);
    }
    let text = path.to_string_lossy();
    let Some((before, range, after)) = text.split_once('{').and_then(|(before, rest)| {
        rest.split_once('}').map(|(range, after)| (before, range, after))
    }) else {
        return Ok(vec![path.to_owned()]);
    };
    let bounds = range.split_once("..").and_then(|(first, last)| {
        Some((first.len(), first.parse::<u32>().ok()?, last.parse::<u32>().ok()?))
    });
    let Some((digits, first, last)) = bounds.filter(|(_, first, last)| first <= last) else {
        bail!("{text}: a pattern is like {{000..146}}, the first number not above the last");
    };
    Ok((first..=last).map(|at| PathBuf::from(format!("{before}{at:0digits$}{after}"))).collect())
}

impl Dataset for Shards {
    learns!(classes);

    fn open(&mut self) -> Result<()> {
        let first = if self.config.validation_path.is_some() { "training" } else { "all" };
        self.piece = 0..0;
        self.parts = vec![self.read(first, &archives(&self.config.path)?, true)?];
        if let Some(path) = &self.config.validation_path {
            let part = self.read("validation", &archives(path)?, true)?;
            self.parts.push(part);
        }
        self.number()
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        if self.classes.is_none() {
            bail!("the model was saved without the classes that its data set learned");
        }
        let mut paths = Vec::new();
        for path in files {
            paths.extend(archives(path)?);
        }
        self.parts = vec![self.read("inputs", &paths, false)?];
        self.piece = 0..0;
        Ok(())
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        let (start, all) = (self.piece.end, self.parts[0].len());
        self.piece = start..all.min(start + most);
        Ok(self.piece.len())
    }

    fn input_key(&self, index: usize) -> String {
        self.entry(0, index as u64).key().to_owned()
    }

    fn class_name(&self, _field: usize, class: usize) -> Option<String> {
        self.classes.as_ref()?.get(class).cloned()
    }

    fn steps(&self, size: &[usize]) -> Result<Option<DatasetSteps>> {
        self.form.steps(size).map(Some)
    }

    fn fields(&self) -> Vec<Field> {
        let classes = self.classes.as_ref().map_or(0, Vec::len);
        vec![self.form.field(), Field::labels("ys", classes)]
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|part| Split::new(part.name, part.len())).collect()
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        // Whole samples without a way to leave one out: for hosts that do not pass a context.
        for (place, &index) in indices.iter().enumerate() {
            let entry = self.entry(split, index);
            let pixels = self.pixels(entry).context(entry.name())?;
            self.form.write(place, &pixels, buffers)?;
        }
        self.write_labels(split, indices, buffers)
    }

    fn fill_with(
        &self,
        context: &mut FillContext<'_>,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        if buffers.wants(0) {
            for (place, &index) in indices.iter().enumerate() {
                let entry = self.entry(context.split, index);
                match self.pixels(entry) {
                    Ok(pixels) => {
                        self.form.write(place, &pixels, buffers)?;
                        buffers::give(pixels);
                    }
                    Err(error) => {
                        self.bad.note(&entry.name(), &error)?;
                        context.leave_out(place);
                    }
                }
            }
        }
        if buffers.wants(1) {
            self.write_labels(context.split, indices, buffers)?;
        }
        Ok(())
    }

    fn key(&self, split: usize, index: u64) -> Option<String> {
        Some(self.entry(split, index).key().to_owned())
    }
}

impl Shards {
    fn write_labels(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let classes = &self.parts[split].classes;
        for (label, index) in buffers.u32(1)?.iter_mut().zip(indices) {
            // Images to predict from have no class.
            *label = classes.get(*index as usize).copied().unwrap_or(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::Config as _;

    use super::*;
    use crate::tar::tests::member;

    fn png(value: u8) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::GrayImage::from_pixel(6, 4, image::Luma([value]))
            .write_to(&mut bytes, image::ImageFormat::Png)
            .unwrap();
        bytes.into_inner()
    }

    /// An archive with an image for each class.
    fn archive(path: &Path, first: u8, classes: &[&str]) {
        let mut bytes = Vec::new();
        for (number, class) in (first..).zip(classes) {
            let name = |ending: &str| format!("x/{number}.{ending}").into_bytes();
            bytes.extend(member(&name("cls"), b'0', class.as_bytes()));
            bytes.extend(member(&name("png"), b'0', &png(number)));
            bytes.extend(member(&name("txt"), b'0', b"a caption"));
        }
        bytes.extend([0; 1024]);
        std::fs::write(path, bytes).unwrap();
    }

    fn shards(path: &Path, more: &str) -> Shards {
        let path = serde_json::json!(path);
        let config = Config::from_json(&format!(
            "{{\"path\":{path},\"size\":[4,6],\"channels\":\"grey\",\"values\":\"bytes\"{more}}}"
        ));
        Shards::with(config.unwrap()).unwrap()
    }

    #[test]
    fn samples_come_from_all_archives_with_their_classes() {
        let dir = tempfile::tempdir().unwrap();
        archive(&dir.path().join("t-01.tar"), 1, &["9", "10\n"]);
        archive(&dir.path().join("t-02.tar"), 3, &["9"]);
        for path in [dir.path().to_owned(), dir.path().join("t-{01..02}.tar")] {
            let mut all = shards(&path, "");
            all.open().unwrap();
            assert_eq!(all.classes, Some(vec!["9".into(), "10".into()]), "numbers in their order");
            assert_eq!(all.parts[0].classes, [0, 1, 0]);
            assert_eq!(all.splits(), [Split::new("all", 3)]);
            assert_eq!(all.key(0, 2).as_deref(), Some("x/3.png"));
            assert_eq!(all.pixels(all.entry(0, 2)).unwrap(), [3; 24]);
        }
        assert!(dir.path().join("t-01.tar.index").exists());
    }

    #[test]
    fn exported_models_can_do_what_is_done_with_pixels() {
        let steps = shards(Path::new("some.tar"), "").steps(&[8, 6]).unwrap().unwrap();
        let [input] = &steps.inputs[..] else { panic!("{steps:?}") };
        assert_eq!((input.name.as_str(), &input.shape[..]), ("pixels", &[8, 6, 1][..]));
        let (shape, pixels) =
            fluxbay_plugin::steps::run(&input.steps, &input.shape, &[7.0; 48]).unwrap();
        assert_eq!((shape, pixels), (vec![1, 4, 6], vec![7.0; 24]));
        assert_eq!(steps.output.shape, [1, 4, 6]);
    }

    #[test]
    fn images_to_predict_from_need_no_label() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.tar");
        std::fs::write(
            &path,
            [member(b"a.png", b'0', &png(1)), member(b"b.png", b'0', &png(2))].concat(),
        )
        .unwrap();
        let mut all = shards(&path, "");
        let error = all.open().unwrap_err();
        assert!(error.message().contains("`a.png` has no label"), "{error}");
        all.restore(1, &to_bytes(&Some(vec!["cat".to_owned()])).unwrap()).unwrap();
        all.open_inputs(&[path]).unwrap();
        for key in ["a.png", "b.png"] {
            assert_eq!((all.read_inputs(1).unwrap(), all.input_key(0)), (1, key.to_owned()));
        }
        assert_eq!(all.read_inputs(1).unwrap(), 0);
    }

    #[test]
    fn patterns_and_folders_without_archives_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (path, part) in [
            (dir.path().to_owned(), "no file that ends in .tar"),
            (dir.path().join("x-{b..c}.tar"), "a pattern is like"),
            (dir.path().join("x-{3..1}.tar"), "a pattern is like"),
            (dir.path().join("gone.tar"), "gone.tar"),
        ] {
            let error = shards(&path, "").open().unwrap_err();
            assert!(error.message().contains(part), "{error}");
        }
    }
}
