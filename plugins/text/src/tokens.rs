//! Data set `tokens`: windows of a text file as token ids.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use fluxbay_plugin::prelude::*;

use crate::{
    tokenizer::{Source, Tokenizer},
    windows::{self, Ids, Part},
};

config! {
    /// The file and its windows.
    pub struct Config {
        /// UTF-8 text file, relative to the run file.
        path: PathBuf,
        /// Text file for validation; without it the end of `path` is used.
        validation_path: Option<PathBuf> = null,
        /// A `tokenizer.json`, or the folder that holds it. Without one a byte-level BPE is trained on
        /// the text and written to the run's folder.
        tokenizer: Option<PathBuf> = null,
        /// Most tokens of a tokenizer that is trained.
        vocabulary: usize = 8192 => 258..,
        /// Tokens of a window.
        context: usize = 128 => 1..,
        /// Share of the text, at its end, used for validation if there is no `validation-path`.
        validation: f64 = 0.1 => 0.0..1.0,
        /// Tokens between the starts of training windows; by default half a window. Validation
        /// windows do not overlap.
        stride: Option<usize> = null => 1..,
    }
}

/// Least size of a piece of text that is encoded at once.
const PIECE: usize = 1 << 18;

/// The data set `tokens`.
pub struct Tokens {
    config: Config,
    source: Source,
    /// Content of the tokenizer's file.
    learned: Option<String>,
    /// The tokenizer of texts that a model writes, once it was needed.
    of_texts: Option<Tokenizer>,
    vocabulary: usize,
    /// The ids of each file, and the parts in them.
    parts: Vec<(usize, Part)>,
    ids: Vec<Ids>,
}

impl Component for Tokens {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.path = setup.resolve_path(&config.path)?;
        for path in [&mut config.validation_path, &mut config.tokenizer].into_iter().flatten() {
            *path = setup.resolve_path(&*path)?;
        }
        Ok(Tokens {
            source: Source { run_dir: setup.run_dir()?, ..source(&config) },
            ..Tokens::with(config)
        })
    }
}

fn source(config: &Config) -> Source {
    Source { path: config.tokenizer.clone(), vocabulary: config.vocabulary, run_dir: None }
}

/// The text of a file in pieces that end with a line, or are longer than 64 lines' worth without one.
struct Pieces {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
}

impl Pieces {
    fn open(path: &Path) -> Result<Pieces> {
        let file = File::open(path).context(path.display())?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let head = reader.fill_buf().context(path.display())?;
        if head.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
        Ok(Pieces { path: path.to_owned(), reader, line: 1 })
    }
}

impl Iterator for Pieces {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        let mut piece = Vec::new();
        let mut lines = 0;
        while piece.len() < PIECE {
            match self.reader.read_until(b'\n', &mut piece) {
                Ok(0) => break,
                Ok(_) => lines += 1,
                Err(error) => return Some(Err(error).context(self.path.display())),
            }
        }
        if piece.is_empty() {
            return None;
        }
        let text = String::from_utf8(piece).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = self.line + valid.iter().filter(|byte| **byte == b'\n').count() as u64;
            Error::new(format!("{}:{line}: the text is not UTF-8", self.path.display()))
        });
        self.line += lines;
        Some(text)
    }
}

impl Tokens {
    fn with(config: Config) -> Tokens {
        let source = source(&config);
        Tokens {
            config,
            source,
            learned: None,
            of_texts: None,
            vocabulary: 0,
            parts: Vec::new(),
            ids: Vec::new(),
        }
    }

    fn of_texts(&mut self) -> Result<&Tokenizer> {
        if self.of_texts.is_none() {
            let Some(json) = &self.learned else { bail!("the run has no tokenizer yet") };
            self.of_texts = Some(Tokenizer::of_whole_texts(json.clone())?);
        }
        self.of_texts.as_ref().ok_or_else(|| Error::new("the run has no tokenizer yet"))
    }

    fn read(&self, tokenizer: &Tokenizer, path: &Path) -> Result<Ids> {
        let mut pieces = Pieces::open(path)?;
        windows::encode(tokenizer, None, || pieces.next())
    }
}

impl Dataset for Tokens {
    learns!(learned);

    fn encode(&mut self, text: &str) -> Result<Vec<u32>> {
        self.of_texts()?.ids(text)
    }

    fn decode(&mut self, ids: &[u32]) -> Result<String> {
        self.of_texts()?.text(ids)
    }

    fn end_token(&mut self) -> Result<Option<u32>> {
        Ok(self.of_texts()?.known_end())
    }

    fn open(&mut self) -> Result<()> {
        let path = self.config.path.clone();
        // A text that cannot be read is reported when it is encoded.
        let pieces = Pieces::open(&path)?;
        let tokenizer =
            self.source.tokenizer(self.learned.take(), || pieces.map_while(Result::ok))?;
        let (context, stride) =
            (self.config.context, self.config.stride.unwrap_or(self.config.context.div_ceil(2)));
        let ids = self.read(&tokenizer, &path)?;
        let held = match &self.config.validation_path {
            Some(_) => 0,
            None => (ids.len() as f64 * self.config.validation).round() as usize,
        };
        let cut = ids.len() - held;
        let part = Part::new("training", 0, cut, context, stride).context(path.display())?;
        (self.parts, self.ids) = (vec![(0, part)], vec![ids]);
        if let Some(path) = &self.config.validation_path {
            let ids = self.read(&tokenizer, path)?;
            let part = Part::new("validation", 0, ids.len(), context, context);
            self.parts.push((1, part.context(path.display())?));
            self.ids.push(ids);
        } else if held > 0 {
            let part = Part::new("validation", cut, cut + held, context, context);
            self.parts.push((0, part.context(path.display())?));
        }
        self.vocabulary = tokenizer.vocabulary;
        self.learned = Some(tokenizer.json);
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        windows::fields(self.config.context, self.vocabulary)
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|(_, part)| Split::new(part.name, part.count)).collect()
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let (file, part) = self.parts[split];
        part.fill(&self.ids[file], self.config.context, indices, buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str, more: &str) -> Result<Tokens> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.txt");
        std::fs::write(&path, text).unwrap();
        let json = format!(r#"{{"path": {path:?}, "vocabulary": 300{more}}}"#);
        let mut tokens =
            Tokens::with(<Config as fluxbay_plugin::Config>::from_json(&json).unwrap());
        tokens.open()?;
        Ok(tokens)
    }

    #[test]
    fn a_text_becomes_windows_of_a_tokenizer_trained_on_it() {
        let text = "the whale and the sea, the sea and the whale.\n".repeat(40);
        let all = tokens(&text, r#", "context": 8"#).unwrap();
        let [training, validation] = &all.splits()[..] else { panic!("{:?}", all.splits()) };
        assert!(training.samples > validation.samples && validation.samples > 1);
        assert!((258..=300).contains(&all.vocabulary));
        // Fewer tokens than letters.
        assert!(all.ids[0].len() < text.len() / 3);
        // The tokenizer is the same if it is trained again, or taken from the run.
        let again = tokens(&text, r#", "context": 8"#).unwrap();
        assert_eq!(all.learned, again.learned);
        let mut other = Tokens::with(again.config.clone());
        other.restore(1, &all.learnt().unwrap()).unwrap();
        // Texts and ids, before any file is opened.
        let ids = other.encode("the whale and a sea").unwrap();
        assert_eq!(other.decode(&ids).unwrap(), "the whale and a sea");
        assert_eq!(
            (other.decode(&[1]).unwrap().as_str(), other.end_token().unwrap()),
            ("", Some(1))
        );
        let dir = tempfile::tempdir().unwrap();
        other.config.path = dir.path().join("other.txt");
        std::fs::write(&other.config.path, "a sea of letters. ".repeat(60)).unwrap();
        other.open().unwrap();
        assert_eq!((other.vocabulary, &other.learned), (all.vocabulary, &all.learned));
    }

    #[test]
    fn a_text_that_is_not_utf_8_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.txt");
        std::fs::write(&path, b"one\ntwo\nth\xffree\n").unwrap();
        let json = format!(r#"{{"path": {path:?}}}"#);
        let mut tokens =
            Tokens::with(<Config as fluxbay_plugin::Config>::from_json(&json).unwrap());
        let error = tokens.open().unwrap_err();
        assert!(error.message().contains("text.txt:3: the text is not UTF-8"), "{error}");
    }
}
