//! Sound files to samples.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use fluxbay_plugin::prelude::*;

/// Samples of one channel, from -1 to 1.
#[derive(Debug, PartialEq)]
pub struct Sound {
    pub rate: u32,
    pub samples: Vec<f64>,
}

/// An open file behind its header.
pub enum Decoder {
    Wav(hound::WavReader<BufReader<File>>),
    Flac(claxon::FlacReader<BufReader<File>>),
}

/// The content of a file decides, not its name.
///
/// # Errors
/// The file cannot be read, or is no WAV or FLAC file. The error names it.
pub fn open(path: &Path) -> Result<Decoder> {
    let open = || File::open(path).map(BufReader::new).context(path.display());
    let mut start = Vec::new();
    open()?.take(4).read_to_end(&mut start).context(path.display())?;
    let wrong = |error: &dyn std::fmt::Display| Error::new(format!("{}: {error}", path.display()));
    match &start[..] {
        b"RIFF" => hound::WavReader::new(open()?).map(Decoder::Wav).map_err(|error| wrong(&error)),
        b"fLaC" => {
            claxon::FlacReader::new(open()?).map(Decoder::Flac).map_err(|error| wrong(&error))
        }
        _ => bail!("{}: this is no WAV or FLAC file", path.display()),
    }
}

impl Decoder {
    fn rate(&self) -> u32 {
        match self {
            Decoder::Wav(reader) => reader.spec().sample_rate,
            Decoder::Flac(reader) => reader.streaminfo().sample_rate,
        }
    }

    /// Decodes the first `seconds` and averages the channels.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn read(mut self, seconds: f64) -> Result<Sound> {
        let rate = self.rate();
        if rate == 0 {
            bail!("the file says that it has 0 samples a second");
        }
        let most = (seconds * f64::from(rate)).ceil() as usize;
        let samples = match &mut self {
            Decoder::Wav(reader) => {
                let spec = reader.spec();
                let channels = usize::from(spec.channels);
                match spec.sample_format {
                    hound::SampleFormat::Float => mixed(
                        reader.samples::<f32>().map(|sample| sample.map(f64::from)),
                        channels,
                        most,
                        1.0,
                    ),
                    hound::SampleFormat::Int => mixed(
                        reader.samples::<i32>().map(|sample| sample.map(f64::from)),
                        channels,
                        most,
                        full_scale(u32::from(spec.bits_per_sample)),
                    ),
                }
            }
            Decoder::Flac(reader) => {
                let info = reader.streaminfo();
                mixed(
                    reader.samples().map(|sample| sample.map(f64::from)),
                    info.channels as usize,
                    most,
                    full_scale(info.bits_per_sample),
                )
            }
        }?;
        Ok(Sound { rate, samples })
    }
}

/// The value that 1 has in samples of this many bits.
fn full_scale(bits: u32) -> f64 {
    2_f64.powi(bits as i32 - 1)
}

fn mixed<E: std::fmt::Display>(
    samples: impl Iterator<Item = std::result::Result<f64, E>>,
    channels: usize,
    most: usize,
    scale: f64,
) -> Result<Vec<f64>> {
    let (channels, mut mixed, mut sum) = (channels.max(1), Vec::new(), 0.0);
    for (at, sample) in samples.take(most.saturating_mul(channels)).enumerate() {
        let sample = sample.map_err(|error| Error::new(error.to_string()))?;
        // A damaged file may hold any number.
        sum += if sample.is_finite() { sample } else { 0.0 };
        if (at + 1) % channels == 0 {
            mixed.push(sum / (scale * channels as f64));
            sum = 0.0;
        }
    }
    Ok(mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
    }

    fn sound(name: &str) -> Sound {
        open(&file(name)).unwrap().read(10.0).unwrap()
    }

    #[test]
    fn all_kinds_of_files_have_the_same_samples() {
        let first = sound("s16.wav");
        assert_eq!((first.rate, first.samples.len()), (8000, 1600));
        for (name, error) in [
            ("u8.wav", 1.0 / 100.0),
            ("s24.wav", 1.0 / 32_000.0),
            ("s32.wav", 1.0 / 32_000.0),
            ("f32.wav", 1.0 / 32_000.0),
            ("s16.flac", 1.0 / 32_000.0),
            ("s24.flac", 1.0 / 32_000.0),
            ("stereo.wav", 1.0 / 32_000.0),
        ] {
            let other = sound(name);
            assert_eq!((other.rate, other.samples.len()), (8000, 1600), "{name}");
            for (a, b) in first.samples.iter().zip(&other.samples) {
                assert!((a - b).abs() <= error, "{name}: {a} {b}");
            }
        }
        assert_eq!(open(&file("s16.flac")).unwrap().read(0.1).unwrap().samples.len(), 800);
    }

    #[test]
    fn damaged_files_are_errors_that_name_them() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["s16.wav", "s24.flac", "f32.wav"] {
            let whole = std::fs::read(file(name)).unwrap();
            let path = dir.path().join(name);
            for at in (0..whole.len()).step_by(whole.len() / 60 + 1) {
                std::fs::write(&path, &whole[..at]).unwrap();
                match open(&path) {
                    Err(error) => assert!(error.message().contains(name), "{error}"),
                    Ok(decoder) => drop(decoder.read(1.0)),
                }
                let mut changed = whole.clone();
                changed[at] ^= 0xff;
                std::fs::write(&path, &changed).unwrap();
                let read = open(&path).and_then(|decoder| decoder.read(1.0));
                assert!(read.is_err() || read.unwrap().samples.iter().all(|x| x.is_finite()));
            }
        }
        std::fs::write(dir.path().join("text.wav"), "text").unwrap();
        let error = open(&dir.path().join("text.wav")).err().unwrap();
        assert!(error.message().contains("text.wav: this is no WAV or FLAC file"));
    }
}
