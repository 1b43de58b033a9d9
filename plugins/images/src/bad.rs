//! Images that cannot be read: they stop the run, or are left out and noted.

use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use fluxbay_plugin::prelude::*;

choice! {
    /// What happens with an image that cannot be read.
    pub enum OnBadSample {
        /// The run ends with the name of the file and the reason.
        Stop,
        /// The sample is left out of its batch. Its file and the reason are logged, and written to
        /// `skipped-images.jsonl` in the run's folder.
        Skip,
    }
}

/// File in the run's folder with the images that were left out.
pub const SKIPPED: &str = "skipped-images.jsonl";

/// The images that were left out so far.
#[derive(Debug)]
pub struct Bad {
    pub mode: OnBadSample,
    /// Most images that are left out.
    pub limit: usize,
    pub run_dir: Option<PathBuf>,
    /// Their names.
    noted: Mutex<BTreeSet<String>>,
}

impl Bad {
    /// No image was left out yet.
    pub fn new(mode: OnBadSample, limit: usize) -> Bad {
        Bad { mode, limit, run_dir: None, noted: Mutex::default() }
    }

    /// Notes that the image `name` cannot be read.
    ///
    /// # Errors
    /// The run does not go on without it.
    pub fn note(&self, name: &str, error: &Error) -> Result<()> {
        let text = format!("{name}: {}", error.message());
        if self.mode == OnBadSample::Stop {
            bail!("{text}; to go on without such images, set `on-bad-sample = \"skip\"`");
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if !noted.insert(name.to_owned()) {
            return Ok(());
        }
        if noted.len() > self.limit {
            bail!(
                "{text}; this is one more than the {} images that may be left out \
                 (`bad-sample-limit`)",
                self.limit
            );
        }
        log::warn!("{text}; the image is left out");
        if let Some(dir) = self.run_dir.as_ref().filter(|dir| dir.is_dir()) {
            let line = serde_json::json!({ "file": name, "reason": error.message() });
            let (file, line) = (dir.join(SKIPPED), line.to_string());
            // A resumed run meets the same images again.
            let known = std::fs::read_to_string(&file).unwrap_or_default();
            if !known.lines().any(|known| known == line) {
                writeln!(OpenOptions::new().create(true).append(true).open(&file)?, "{line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_image_stops_the_run_or_is_noted_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let error = Error::new("it is no image");
        let text = Bad::new(OnBadSample::Stop, 100).note("a/2.png", &error).unwrap_err();
        assert!(text.message().contains("a/2.png: it is no image"), "{text}");
        let skipping = Bad { run_dir: Some(dir.path().into()), ..Bad::new(OnBadSample::Skip, 1) };
        for _ in 0..2 {
            skipping.note("a/2.png", &error).unwrap();
        }
        let text = skipping.note("a/3.png", &error).unwrap_err();
        assert!(text.message().contains("one more than the 1 images"), "{text}");
        let noted = std::fs::read_to_string(dir.path().join(SKIPPED)).unwrap();
        assert!(noted.lines().count() == 1 && noted.contains("a/2.png"), "{noted}");
    }
}
