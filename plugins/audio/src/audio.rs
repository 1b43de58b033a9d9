//! Data set `audio`: folders of sound files.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use fluxbay_plugin::prelude::*;

use crate::{
    decode,
    mel::{Mel, RANGE, WHISPER},
    resample::Resampler,
};

choice! {
    /// What a sample is.
    pub enum Features {
        /// Strength of each band of frequencies in each frame, from 0 to 1: 80 decibels below the
        /// loudest to the loudest.
        LogMel,
        /// The same in decibels.
        Decibels,
        /// What Whisper is given: frames of 400 samples every 160, whatever `window` and `hop` are.
        Whisper,
        /// The sound itself, from -1 to 1.
        Samples,
    }
}

choice! {
    /// What is done with a file that is no sound.
    pub enum OnBadFile {
        /// The run does not start; the error names the file.
        Error,
        /// The file is left out, and logged.
        Skip,
    }
}

config! {
    /// The files, and the form of a sample.
    pub struct Config {
        /// Folder with one folder of WAV and FLAC files for each class, relative to the run file.
        folder: PathBuf,
        /// Folder for validation; without one the loader holds out a share of the files.
        validation_folder: Option<PathBuf> = null,
        /// Seconds of a sample: longer sounds are cut, shorter ones end in silence.
        seconds: f64 = 1.0 => 0.001..=3600.0,
        /// Samples a second; sounds with another rate are resampled.
        rate: u32 = 16000 => 100..=1000000,
        /// What a sample is.
        features: Features = "log-mel",
        /// Bands of a spectrogram.
        mels: usize = 64 => 1..=1024,
        /// Samples of a frame of a spectrogram.
        window: usize = 1024 => 2..=65536,
        /// Samples between the starts of frames.
        hop: usize = 256 => 1..,
        /// What is done with a file that is no sound.
        on_bad_file: OnBadFile = "error",
    }
}

/// The files of a split with their classes.
struct Part {
    name: &'static str,
    files: Vec<(PathBuf, u32)>,
}

/// The data set `audio`.
pub struct Audio {
    config: Config,
    classes: Option<Vec<String>>,
    /// None before the data set is open.
    mel: Option<Mel>,
    /// By the rate of the files.
    resamplers: Mutex<HashMap<u32, Arc<Resampler>>>,
    parts: Vec<Part>,
    /// Files to predict from that were not read yet.
    inputs: std::vec::IntoIter<PathBuf>,
}

impl Component for Audio {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.folder = setup.resolve_path(&config.folder)?;
        if let Some(folder) = &mut config.validation_folder {
            *folder = setup.resolve_path(&*folder)?;
        }
        if config.features == Features::Whisper && config.rate != WHISPER.2 {
            bail!("rate = {}: Whisper takes sounds of {} samples a second", config.rate, WHISPER.2);
        }
        Ok(Audio::with(config))
    }
}

/// What is in a folder, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).context(folder.display())? {
        paths.push(entry.context(folder.display())?.path());
    }
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a file is taken for a sound, by its ending.
fn is_sound(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["wav", "flac"].iter().any(|known| extension == *known)
}

/// The sounds in a folder and the folders in it, sorted by path.
fn all_sounds(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        // A link to a folder could lead in a circle.
        if path.is_dir() && !path.is_symlink() {
            all_sounds(&path, found)?;
        } else if is_sound(&path) {
            found.push(path);
        }
    }
    Ok(())
}

impl Audio {
    fn with(config: Config) -> Audio {
        let (resamplers, parts, inputs) = Default::default();
        Audio { config, classes: None, mel: None, resamplers, parts, inputs }
    }

    fn make_mel(&mut self) {
        let Config { rate, window, hop, mels, features, .. } = self.config;
        self.mel = Some(match features {
            Features::Whisper => Mel::whisper(mels),
            _ => Mel::new(rate, window, hop, mels),
        });
    }

    /// Samples of a sound.
    fn length(&self) -> usize {
        ((self.config.seconds * f64::from(self.config.rate)).round() as usize).max(1)
    }

    /// The sounds below a folder, by class.
    fn files(&self, folder: &Path) -> Result<Vec<(String, Vec<PathBuf>)>> {
        let (mut classes, mut skipped) = (Vec::new(), Vec::new());
        for class in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
            let mut files = Vec::new();
            for path in entries(&class)? {
                if !is_sound(&path) {
                    continue;
                }
                match decode::open(&path) {
                    Ok(_) => files.push(path),
                    Err(error) if self.config.on_bad_file == OnBadFile::Skip => {
                        skipped.push(error.message().to_owned());
                    }
                    Err(error) => {
                        bail!("{error}: remove the file, or set on-bad-file = \"skip\"")
                    }
                }
            }
            if !files.is_empty() {
                classes.push((name(&class), files));
            }
        }
        if let Some(first) = skipped.first() {
            log::warn!(
                "{}: {} files are left out because they are no sounds; the first: {first}",
                folder.display(),
                skipped.len()
            );
        }
        if classes.is_empty() {
            bail!(
                "{}: there are no folders with .wav or .flac files, one for each class",
                folder.display()
            );
        }
        Ok(classes)
    }

    /// The resampler for files of a rate, made when the first one is read.
    fn resampler(&self, from: u32) -> Result<Arc<Resampler>> {
        let known = |made: Option<Arc<Resampler>>| {
            let mut all = self.resamplers.lock().unwrap_or_else(PoisonError::into_inner);
            made.into_iter().for_each(|made| drop(all.insert(from, made)));
            all.get(&from).cloned()
        };
        if let Some(found) = known(None) {
            return Ok(found);
        }
        let made = Arc::new(Resampler::new(from, self.config.rate)?);
        Ok(known(Some(made.clone())).unwrap_or(made))
    }

    /// What a file becomes.
    fn features(&self, path: &Path) -> Result<Vec<f64>> {
        let Config { seconds, rate, .. } = self.config;
        // A little more, for the filter that resamples.
        let sound = decode::open(path)?.read(seconds + 0.1).context(path.display())?;
        let mut samples = match sound.rate == rate {
            true => sound.samples,
            false => self.resampler(sound.rate).context(path.display())?.apply(&sound.samples),
        };
        samples.resize(self.length(), 0.0);
        let Some(mel) = &self.mel else { bail!("the data set is not open") };
        Ok(match self.config.features {
            Features::Samples => samples,
            Features::Decibels => mel.decibels(&samples),
            Features::Whisper => mel.whisper_features(&samples),
            Features::LogMel => {
                let mut decibels = mel.decibels(&samples);
                let most = decibels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                decibels.iter_mut().for_each(|value| *value = (*value - most) / RANGE + 1.0);
                decibels
            }
        })
    }
}

impl Dataset for Audio {
    learns!(classes);

    fn open(&mut self) -> Result<()> {
        let training = self.files(&self.config.folder)?;
        let classes = self.classes.take();
        let classes = classes
            .unwrap_or_else(|| training.iter().map(|(class, _)| class.clone()).collect::<Vec<_>>());
        let mut splits = vec![("all", training)];
        if let Some(folder) = &self.config.validation_folder {
            splits[0].0 = "training";
            splits.push(("validation", self.files(folder)?));
        }
        self.parts.clear();
        for (name, found) in splits {
            let mut files = Vec::new();
            for (class, paths) in found {
                let Some(number) = classes.iter().position(|known| *known == class) else {
                    bail!("class {class:?} of the {name} folder is not one of {classes:?}");
                };
                files.extend(paths.into_iter().map(|path| (path, number as u32)));
            }
            self.parts.push(Part { name, files });
        }
        self.classes = Some(classes);
        self.make_mel();
        Ok(())
    }

    fn open_inputs(&mut self, files: &[PathBuf]) -> Result<()> {
        if self.classes.is_none() {
            bail!("the model was saved without the classes that its data set learned");
        }
        let mut all = Vec::new();
        for path in files {
            if path.is_dir() {
                let before = all.len();
                all_sounds(path, &mut all)?;
                if all.len() == before {
                    bail!("{}: it has no .wav or .flac files", path.display());
                }
            } else {
                all.push(path.clone());
            }
        }
        (self.inputs, self.parts) = (all.into_iter(), Vec::new());
        self.make_mel();
        Ok(())
    }

    fn read_inputs(&mut self, most: usize) -> Result<usize> {
        // Sounds to predict from have no class.
        let files: Vec<_> = self.inputs.by_ref().take(most).map(|path| (path, 0)).collect();
        let count = files.len();
        self.parts = vec![Part { name: "inputs", files }];
        Ok(count)
    }

    fn input_key(&self, index: usize) -> String {
        self.parts[0].files[index].0.display().to_string()
    }

    fn class_name(&self, _field: usize, class: usize) -> Option<String> {
        self.classes.as_ref()?.get(class).cloned()
    }

    fn fields(&self) -> Vec<Field> {
        let shape = match self.config.features {
            Features::Samples => vec![self.length()],
            Features::Whisper => vec![self.config.mels, self.length() / WHISPER.1],
            _ => vec![self.config.mels, Mel::frames(self.length(), self.config.hop)],
        };
        let classes = self.classes.as_ref().map_or(0, Vec::len);
        vec![Field::new("xs", DType::F32, &shape), Field::labels("ys", classes)]
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|part| Split::new(part.name, part.files.len())).collect()
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let (part, width) = (&self.parts[split], self.fields()[0].elements());
        for (place, index) in buffers.f32(0)?.chunks_exact_mut(width).zip(indices) {
            let features = self.features(&part.files[*index as usize].0)?;
            for (place, feature) in place.iter_mut().zip(features) {
                *place = feature as f32;
            }
        }
        for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
            *place = part.files[*index as usize].1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(dir: &Path, files: &[&str]) -> PathBuf {
        let sound = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s16.wav");
        for file in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(&sound, path).unwrap();
        }
        dir.to_owned()
    }

    fn audio(folder: &Path, more: &str) -> Audio {
        let json = format!(r#"{{"folder": {folder:?}{more}}}"#);
        Audio::with(<Config as fluxbay_plugin::Config>::from_json(&json).unwrap())
    }

    #[test]
    fn folders_are_classes() {
        let dir = tempfile::tempdir().unwrap();
        let root = folder(dir.path(), &["yes/b.wav", "yes/a.WAV", "no/c.wav"]);
        fs::write(root.join("yes/notes.txt"), "text").unwrap();
        let mut data = audio(&root, r#", "hop": 160"#);
        data.open().unwrap();
        assert_eq!(data.splits(), [Split::new("all", 3)]);
        assert_eq!(
            data.fields(),
            [Field::new("xs", DType::F32, &[64, 101]), Field::labels("ys", 2)]
        );
        let classes: Vec<u32> = data.parts[0].files.iter().map(|(_, class)| *class).collect();
        assert_eq!(classes, [0, 1, 1]);
        // The classes of the run, for a folder with one of them.
        let other = tempfile::tempdir().unwrap();
        let root = folder(other.path(), &["yes/d.wav"]);
        let mut again = audio(&root, "");
        again.restore(1, &data.learnt().unwrap()).unwrap();
        again.open().unwrap();
        assert_eq!(again.parts[0].files[0].1, 1);
        folder(other.path(), &["maybe/d.wav"]);
        let error = again.open().unwrap_err();
        assert!(error.message().contains("class \"maybe\""), "{error}");
    }

    #[test]
    fn sounds_to_predict_from_are_read_in_pieces_and_need_no_class() {
        let dir = tempfile::tempdir().unwrap();
        let root = folder(dir.path(), &["yes/a.wav", "no/c.wav", "new/x/1.wav", "new/2.wav"]);
        let mut data = audio(&root.join("yes"), "");
        assert!(data.open_inputs(&[]).unwrap_err().message().contains("classes"));
        let classes = Some(vec!["no".to_owned(), "yes".to_owned()]);
        data.restore(1, &to_bytes(&classes).unwrap()).unwrap();
        data.open_inputs(&[root.join("new"), root.join("no/c.wav")]).unwrap();
        let mut keys = Vec::new();
        for expected in [2, 1, 0] {
            assert_eq!(data.read_inputs(2).unwrap(), expected);
            keys.extend((0..expected).map(|index| data.input_key(index)));
        }
        let expected = ["new/2.wav", "new/x/1.wav", "no/c.wav"];
        assert_eq!(keys, expected.map(|key| root.join(key).to_str().unwrap().to_owned()));
        assert_eq!(data.class_name(1, 1).as_deref(), Some("yes"));
        let error = data.open_inputs(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("src")]);
        assert!(error.unwrap_err().message().contains("no .wav or .flac"));
    }

    #[test]
    fn features_have_their_range_and_length() {
        let dir = tempfile::tempdir().unwrap();
        let root = folder(dir.path(), &["a/1.wav"]);
        for (features, low, high) in [
            ("samples", -1.0, 1.0),
            ("log-mel", 0.0, 1.0),
            ("decibels", -100.0, 80.0),
            ("whisper", -1.5, 3.0),
        ] {
            let mut data = audio(&root, &format!(r#", "features": "{features}""#));
            data.open().unwrap();
            let found = data.features(&data.parts[0].files[0].0).unwrap();
            assert_eq!(found.len(), data.fields()[0].elements(), "{features}");
            assert!(found.iter().all(|value| (low..=high).contains(value)), "{features}");
        }
        // A fifth of a second of sound, then silence.
        let mut data = audio(&root, r#", "features": "samples", "rate": 8000"#);
        data.open().unwrap();
        let found = data.features(&data.parts[0].files[0].0).unwrap();
        assert!(
            found[..1600].iter().any(|x| x.abs() > 0.3) && found[1600..].iter().all(|x| *x == 0.0)
        );
    }

    #[test]
    fn files_that_are_no_sounds_are_refused_or_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = folder(dir.path(), &["a/1.wav"]);
        fs::write(root.join("a/2.wav"), "no sound").unwrap();
        let error = audio(&root, "").open().unwrap_err();
        assert!(error.message().contains("2.wav: this is no WAV"), "{error}");
        let mut data = audio(&root, r#", "on-bad-file": "skip""#);
        data.open().unwrap();
        assert_eq!(data.splits(), [Split::new("all", 1)]);
        let empty = tempfile::tempdir().unwrap();
        let error = audio(empty.path(), "").open().unwrap_err();
        assert!(error.message().contains("one for each class"), "{error}");
    }
}
