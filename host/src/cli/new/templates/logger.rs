//! The logger `{{name}}`: one line of text per number.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::Path,
};

use fluxbay_plugin::prelude::*;

config! {
    /// What can be set in a run file.
    struct Config {
        /// Name of the file, within the logger's folder of the run.
        file: String = "records.txt",
    }
}

struct {{Type}} {
    name: String,
    file: Option<File>,
    /// Length that a checkpoint left the file with.
    resume: Option<u64>,
}

/// The line of a number.
fn line(tag: &str, step: u64, value: f64) -> String {
    format!("{step:>8}  {tag}  {value}\n")
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}} { name: config.file, file: None, resume: None })
    }

    // A checkpoint stores the length of the file; a resumed run removes what was written after it.
    fn save(&self) -> Result<Vec<u8>> {
        let length = match &self.file {
            Some(file) => file.metadata()?.len(),
            None => self.resume.unwrap_or(0),
        };
        to_bytes(&length)
    }

    fn load(&mut self, _version: u32, bytes: &[u8]) -> Result<()> {
        let length: u64 = from_bytes(bytes)?;
        match &self.file {
            Some(file) => file.set_len(length)?,
            None => self.resume = Some(length),
        }
        Ok(())
    }
}

impl Logger for {{Type}} {
    fn open(&mut self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).context(dir.display())?;
        let path = dir.join(&self.name);
        let file = OpenOptions::new().create(true).append(true).open(&path).context(path.display())?;
        if let Some(length) = self.resume.take() {
            file.set_len(length)?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn write(&mut self, record: &Record<'_>) -> Result<()> {
        let Some(file) = &mut self.file else { bail!("the logger is not open") };
        // There are also texts, histograms, images and hyper-parameters.
        if let RecordValue::Scalar(value) = record.value {
            file.write_all(line(&record.tag, record.step, value).as_bytes())?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

plugin! {
    summary: "The logger {{name}}.",
    logger "{{name}}" => {{Type}} {
        summary: "Writes one line of text per number.",
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_lines_in_a_file() {
        let dir = std::env::temp_dir().join(format!("{{name}}-{}", std::process::id()));
        let mut logger = {{Type}} { name: "records.txt".to_owned(), file: None, resume: None };
        logger.open(&dir).unwrap();
        logger.write(&Record::scalar("step/training/metrics/loss", 7, 0.5)).unwrap();
        logger.close().unwrap();
        let text = fs::read_to_string(dir.join("records.txt")).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(text, line("step/training/metrics/loss", 7, 0.5));
    }
}
