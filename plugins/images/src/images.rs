//! Data set `images`: files of images with class labels.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fluxbay_plugin::{prelude::*, steps::DatasetSteps};

use crate::{
    bad::{Bad, OnBadSample},
    buffers,
    decode::Channels,
    folder,
    form::{self, Fit, Form, Values},
    keys::Labels,
    listing::{self, Columns, Entry, Listing},
    resample::Filter,
};

config! {
    /// The files, and the form of a sample.
    pub struct Config {
        /// Folder with one folder of images for each class, relative to the run file. With `labels`,
        /// the folder where the paths in that file start.
        folder: PathBuf,
        /// CSV or JSONL file that lists images and labels, relative to the run file; without it the
        /// folders are the classes.
        labels: Option<PathBuf> = null,
        /// Folder for validation; without one, and without `validation-labels`, the loader holds out
        /// a share of the images.
        validation_folder: Option<PathBuf> = null,
        /// File that lists the images for validation.
        validation_labels: Option<PathBuf> = null,
        /// Column or key of the paths in files of labels.
        path_column: String = "path",
        /// Column or key of the labels in files of labels.
        label_column: String = "label",
        /// Text between several labels of one image, such as `|`. An image then has any number of
        /// labels, and ys has 1 or 0 for each class.
        label_separator: Option<String> = null,
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
    folder: PathBuf,
    listing: Listing,
    /// Classes of each image.
    classes: Labels,
}

/// The data set `images`.
pub struct Images {
    config: Config,
    form: Form,
    parts: Vec<Part>,
    /// Names of the classes, by number.
    classes: Option<Vec<String>>,
    /// Files to predict from that were not read yet.
    inputs: std::vec::IntoIter<PathBuf>,
    bad: Bad,
}

impl Component for Images {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.folder = setup.resolve_path(&config.folder)?;
        for path in
            [&mut config.labels, &mut config.validation_folder, &mut config.validation_labels]
                .into_iter()
                .flatten()
        {
            *path = setup.resolve_path(&*path)?;
        }
        let mut images = Images::with(config)?;
        images.bad.run_dir = setup.run_dir()?;
        Ok(images)
    }
}

impl Images {
    fn with(config: Config) -> Result<Images> {
        let Config { fit, filter, channels, values, max_pixels, .. } = config;
        let size = form::sides(&config.size)?;
        if config.validation_labels.is_some() && config.labels.is_none() {
            bail!("`validation-labels` needs `labels`: both list images, or neither");
        }
        if config.label_separator.is_some() && config.labels.is_none() {
            bail!("`label-separator` needs `labels`: an image in a folder has one class");
        }
        if config.label_separator.as_deref() == Some("") {
            bail!("`label-separator` is empty; leave it out for one label per image");
        }
        let (parts, inputs) = Default::default();
        let form = Form { size, fit, filter, channels, values, max_pixels };
        let bad = Bad::new(config.on_bad_sample, config.bad_sample_limit);
        Ok(Images { config, form, parts, classes: None, inputs, bad })
    }

    fn read(&mut self, name: &'static str, folder: &Path, labels: Option<&Path>) -> Result<()> {
        let columns = Columns {
            path: &self.config.path_column,
            label: &self.config.label_column,
            separator: self.config.label_separator.as_deref(),
        };
        let listing = match labels {
            Some(file) => Listing::of(listing::of_file(file, columns)?, self.several()),
            None => folder::of_folder(folder)?,
        };
        let (folder, classes) = (folder.to_owned(), Labels::default());
        let part = Part { name, folder, listing, classes };
        self.parts.push(part);
        Ok(())
    }

    /// Numbers the classes of all images by the known ones, or by those of the first part.
    fn number(&mut self) -> Result<()> {
        if self.classes.is_none() {
            let mut found = self.parts[0].listing.labels.clone();
            found.sort();
            self.classes = Some(found);
        }
        let names = self.classes.as_deref().unwrap_or_default();
        if names.is_empty() {
            bail!("{}: no image has a label", self.parts[0].folder.display());
        }
        let numbers: BTreeMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        for part in &mut self.parts {
            let Listing { keys, labels, of } = &part.listing;
            let known = |label: &String| numbers.get(label.as_str()).copied();
            let of_labels: Vec<Option<u32>> = labels.iter().map(known).collect();
            if let Some(unknown) = of_labels.iter().position(Option::is_none) {
                let has = |image: &usize| of.get(*image).contains(&(unknown as u32));
                let image = (0..keys.len()).find(has).map_or("", |image| keys.get(image));
                bail!(
                    "{}: the class `{}` is not one of those that were learned: {}",
                    part.folder.join(image).display(),
                    labels[unknown],
                    names.join(", ")
                );
            }
            part.classes = of.clone();
            for number in part.classes.numbers_mut() {
                *number = of_labels[*number as usize].unwrap_or(0);
            }
        }
        Ok(())
    }

    fn several(&self) -> bool {
        self.config.label_separator.is_some()
    }

    /// The file of a sample.
    fn path(&self, split: usize, index: u64) -> PathBuf {
        let part = &self.parts[split];
        part.folder.join(part.listing.keys.get(index as usize))
    }
}

impl Dataset for Images {
    learns!(classes);

    fn open(&mut self) -> Result<()> {
        self.parts.clear();
        let config = self.config.clone();
        let validates = config.validation_folder.is_some() || config.validation_labels.is_some();
        let first = if validates { "training" } else { "all" };
        self.read(first, &config.folder, config.labels.as_deref())?;
        if validates {
            let folder = config.validation_folder.as_ref().unwrap_or(&config.folder);
            self.read("validation", folder, config.validation_labels.as_deref())?;
        }
        self.number()
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        if self.classes.is_none() {
            bail!("the model was saved without the classes that its data set learned");
        }
        let mut all = Vec::new();
        for path in files {
            if path.is_dir() {
                all.extend(folder::in_folder(path)?);
            } else {
                all.push(path.clone());
            }
        }
        (self.inputs, self.parts) = (all.into_iter(), Vec::new());
        Ok(())
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        let key = |path: PathBuf| match path.into_os_string().into_string() {
            Ok(key) => Ok(Entry { key, labels: Vec::new() }),
            Err(name) => {
                Err(Error::new(format!("{}: rename it, its name is not UTF-8", name.display())))
            }
        };
        let entries: Vec<Entry> =
            self.inputs.by_ref().take(most).map(key).collect::<Result<_>>()?;
        let (count, folder) = (entries.len(), PathBuf::new());
        let listing = Listing::of(entries, true);
        let classes = listing.of.clone();
        self.parts = vec![Part { name: "inputs", folder, listing, classes }];
        Ok(count)
    }

    fn input_key(&self, index: usize) -> String {
        self.parts[0].listing.keys.get(index).to_owned()
    }

    fn class_name(&self, _field: usize, class: usize) -> Option<String> {
        self.classes.as_ref()?.get(class).cloned()
    }

    fn steps(&self, size: &[usize]) -> Result<Option<DatasetSteps>> {
        self.form.steps(size).map(Some)
    }

    fn fields(&self) -> Vec<Field> {
        let classes = self.classes.as_ref().map_or(0, Vec::len);
        let ys = if self.several() {
            Field::new("ys", DType::F32, &[classes])
        } else {
            Field::labels("ys", classes)
        };
        vec![self.form.field(), ys]
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|part| Split::new(part.name, part.listing.keys.len())).collect()
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        // Whole samples without a way to leave one out: for hosts that do not pass a context.
        for (place, &index) in indices.iter().enumerate() {
            let path = self.path(split, index);
            let pixels = self.form.pixels_of(&path).context(path.display())?;
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
                let path = self.path(context.split, index);
                match self.form.pixels_of(&path) {
                    Ok(pixels) => {
                        self.form.write(place, &pixels, buffers)?;
                        buffers::give(pixels);
                    }
                    Err(error) => {
                        let name = path.display().to_string();
                        self.bad.note(&name, &error)?;
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
        Some(self.parts[split].listing.keys.get(index as usize).to_owned())
    }
}

impl Images {
    fn write_labels(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let part = &self.parts[split];
        let classes = indices.iter().map(|&index| part.classes.get(index as usize));
        if !self.several() {
            for (label, classes) in buffers.u32(1)?.iter_mut().zip(classes) {
                // Images to predict from have no class.
                *label = classes.first().copied().unwrap_or(0);
            }
            return Ok(());
        }
        let count = self.classes.as_ref().map_or(0, Vec::len);
        for (row, classes) in buffers.f32(1)?.chunks_exact_mut(count.max(1)).zip(classes) {
            row.fill(0.0);
            classes.iter().for_each(|class| row[*class as usize] = 1.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::Config as _;

    use super::*;
    use crate::decode::{self, Source};

    fn images(dir: &Path, more: &str) -> Images {
        let folder = serde_json::json!(dir);
        let config = Config::from_json(&format!("{{\"folder\":{folder},\"size\":[4,6]{more}}}"));
        Images::with(config.unwrap()).unwrap()
    }

    fn save(dir: &Path, key: &str, size: [u32; 2]) {
        let path = dir.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_fn(size[1], size[0], |x, y| image::Rgb([x as u8, y as u8, 9]))
            .save(path)
            .unwrap();
    }

    #[test]
    fn classes_are_those_of_training_in_order_and_other_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for key in ["training/b/1.png", "training/a/2.png", "held/b/3.png", "other/c/4.png"] {
            save(dir.path(), key, [4, 6]);
        }
        let held = |name: &str| {
            format!(",\"validation-folder\":{}", serde_json::json!(dir.path().join(name)))
        };
        let mut all = images(&dir.path().join("training"), &held("held"));
        all.open().unwrap();
        assert_eq!(all.classes, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(all.splits(), [Split::new("training", 2), Split::new("validation", 1)]);
        assert_eq!(all.fields()[0], Field::new("xs", DType::F32, &[3, 4, 6]));
        assert_eq!(all.parts[1].classes.get(0), [1]);
        assert_eq!(all.key(0, 1).as_deref(), Some("b/1.png"));
        let error = images(&dir.path().join("training"), &held("other")).open().unwrap_err();
        assert!(error.message().contains("the class `c`"), "{error}");

        // What was learned stays: the folder of `held` has one class, but it is still number 1.
        let mut restored = images(&dir.path().join("held"), "");
        restored.restore(1, &all.learnt().unwrap()).unwrap();
        restored.open().unwrap();
        assert_eq!(restored.parts[0].classes.get(0), [1]);
        assert_eq!(restored.splits(), [Split::new("all", 1)]);
    }

    #[test]
    fn every_damaged_file_is_an_error_and_none_panics() {
        let dir = tempfile::tempdir().unwrap();
        let formats = ["jpg", "png", "webp", "bmp", "gif", "tiff"];
        let mut draws = Draws::new(5);
        let mut refused = 0;
        for format in formats {
            let name = format!("whole.{format}");
            save(dir.path(), &name, [40, 30]);
            let whole = std::fs::read(dir.path().join(&name)).unwrap();
            for round in 0..10 {
                let mut bytes = whole.clone();
                if round % 2 == 0 {
                    bytes.truncate(draws.below(bytes.len()));
                }
                for _ in 0..4 * round {
                    let at = draws.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = draws.bits() as u8;
                    }
                }
                let path = dir.path().join(format!("{round}.{format}"));
                std::fs::write(&path, bytes).unwrap();
                // Some damage only changes pixels.
                let read = decode::decode(Source::File(&path), Channels::Rgb, 1 << 16);
                if let Err(error) = read {
                    refused += 1;
                    assert!(!error.message().is_empty());
                }
            }
        }
        assert!(refused > 30, "{refused} of 60");
    }

    #[test]
    fn files_and_folders_to_predict_from_are_read_in_pieces() {
        let dir = tempfile::tempdir().unwrap();
        for key in ["a/1.png", "b/2.png", "new/x/3.png", "new/4.png"] {
            save(dir.path(), key, [4, 6]);
        }
        let mut all = images(dir.path(), "");
        assert!(all.open_inputs(&[]).unwrap_err().message().contains("classes"));
        all.restore(1, &to_bytes(&Some(vec!["cat".to_owned(), "dog".to_owned()])).unwrap())
            .unwrap();
        all.open_inputs(&[dir.path().join("new"), dir.path().join("a/1.png")]).unwrap();
        let mut keys = Vec::new();
        for expected in [2, 1, 0] {
            assert_eq!(all.read_inputs(2).unwrap(), expected);
            keys.extend((0..expected).map(|index| all.input_key(index)));
        }
        let expected = ["new/4.png", "new/x/3.png", "a/1.png"];
        let expected = expected.map(|key| dir.path().join(key).to_str().unwrap().to_owned());
        assert_eq!(keys, expected);
        assert_eq!(all.class_name(1, 1).as_deref(), Some("dog"));
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for (more, part) in [
            (",\"size\":[1,2,3]", "`size` has 3 numbers"),
            (",\"size\":[0]", "each side"),
            (",\"label-separator\":\"|\"", "needs `labels`"),
            (",\"validation-labels\":\"x.csv\"", "needs `labels`"),
        ] {
            let config = Config::from_json(&format!("{{\"folder\":\"x\"{more}}}")).unwrap();
            let error = Images::with(config).err().unwrap();
            assert!(error.message().contains(part), "{error}");
        }
    }
}
