//! Data set `text`: windows of a text file as character ids.

use std::{collections::BTreeSet, io::Read, path::PathBuf};

use fluxbay_plugin::{prelude::*, serde};

use crate::source;

config! {
    /// The file and its windows.
    pub struct Config {
        /// UTF-8 text file, gzipped or not, relative to the run file.
        path: PathBuf,
        /// Characters of a window.
        context: usize = 128 => 1..,
        /// Share of the text, at its end, used for validation.
        validation: f64 = 0.1 => 0.0..1.0,
        /// Characters between the starts of training windows; by default half a window. Validation
        /// windows do not overlap.
        stride: Option<usize> = null => 1..,
    }
}

/// The data set `text`.
pub struct CharacterText {
    config: Config,
    vocabulary: Vec<char>,
    /// Whether the vocabulary comes from another instance.
    restored: bool,
    ids: Vec<u32>,
    /// Per split: name, first position, number of windows, distance between their starts.
    parts: Vec<(&'static str, usize, usize, usize)>,
}

impl Component for CharacterText {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.path = setup.resolve_path(&config.path)?;
        Ok(CharacterText::with(config))
    }
}

/// What the text determines.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde", deny_unknown_fields)]
struct Learned {
    /// Sorted.
    vocabulary: Vec<char>,
}

impl CharacterText {
    fn with(config: Config) -> CharacterText {
        CharacterText {
            config,
            vocabulary: Vec::new(),
            restored: false,
            ids: Vec::new(),
            parts: Vec::new(),
        }
    }

    fn take(&mut self, text: &str) -> Result<()> {
        if !self.restored {
            let characters: BTreeSet<char> = text.chars().collect();
            self.vocabulary = characters.into_iter().collect();
        }
        let id = |character: char| match self.vocabulary.binary_search(&character) {
            Ok(id) => Ok(id as u32),
            Err(_) => {
                let before = text.split(character).next().unwrap_or("");
                let line = before.matches('\n').count() + 1;
                bail!(
                    "line {line} has the character {character:?}, which is not in the vocabulary of the training text"
                )
            }
        };
        self.ids = text.chars().map(id).collect::<Result<_>>()?;
        let (context, total) = (self.config.context, self.ids.len());
        let held = (total as f64 * self.config.validation).round() as usize;
        let cut = total - held;
        let stride = self.config.stride.unwrap_or(context.div_ceil(2));
        let windows = |length: usize, stride: usize| {
            length.checked_sub(context + 1).map_or(0, |room| room / stride + 1)
        };
        self.parts = vec![("training", 0, windows(cut, stride), stride)];
        if self.config.validation > 0.0 {
            self.parts.push(("validation", cut, windows(held, context), context));
        }
        for (name, _, count, _) in &self.parts {
            if *count == 0 {
                bail!(
                    "the {name} part of the text ({total} characters in all) is shorter than context + 1 = {}",
                    context + 1
                );
            }
        }
        Ok(())
    }
}

impl Dataset for CharacterText {
    fn learnt(&self) -> Result<Vec<u8>> {
        to_bytes(&Learned { vocabulary: self.vocabulary.clone() })
    }

    fn restore(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        let Learned { vocabulary } = from_bytes(bytes)?;
        if !vocabulary.is_sorted_by(|a, b| a < b) {
            bail!("the saved vocabulary is damaged: it is not sorted");
        }
        (self.restored, self.vocabulary) = (true, vocabulary);
        Ok(())
    }

    fn encode(&mut self, text: &str) -> Result<Vec<u32>> {
        let id = |character: char| match self.vocabulary.binary_search(&character) {
            Ok(id) => Ok(id as u32),
            Err(_) => {
                bail!("the character {character:?} is not in the vocabulary of the training text")
            }
        };
        text.chars().map(id).collect()
    }

    fn decode(&mut self, ids: &[u32]) -> Result<String> {
        let character = |&id: &u32| {
            self.vocabulary.get(id as usize).copied().ok_or_else(|| {
                Error::new(format!("there is no character {id}, only {}", self.vocabulary.len()))
            })
        };
        ids.iter().map(character).collect()
    }

    fn open(&mut self) -> Result<()> {
        let path = self.config.path.clone();
        let mut text = String::new();
        source::open_text(&path)?.read_to_string(&mut text).context(path.display())?;
        self.take(&text).context(path.display())
    }

    fn fields(&self) -> Vec<Field> {
        let ids = |name| Field {
            name: String::from(name),
            dtype: DType::U32,
            shape: vec![self.config.context],
            classes: Some(self.vocabulary.len()),
        };
        vec![ids("xs"), ids("ys")]
    }

    fn splits(&self) -> Vec<Split> {
        self.parts.iter().map(|(name, _, count, _)| Split::new(name, *count)).collect()
    }

    fn fill(&self, split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        let (context, (_, first, _, stride)) = (self.config.context, self.parts[split]);
        for (field, offset) in [(0, 0), (1, 1)] {
            for (place, index) in buffers.u32(field)?.chunks_exact_mut(context).zip(indices) {
                let start = first + *index as usize * stride + offset;
                place.copy_from_slice(&self.ids[start..start + context]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str, context: usize, validation: f64) -> Result<CharacterText> {
        let config = Config { path: PathBuf::new(), context, validation, stride: None };
        let mut text = CharacterText::with(config);
        text.take(content)?;
        Ok(text)
    }

    #[test]
    fn windows_stay_within_their_part() {
        let text = text(&"abcd".repeat(25), 4, 0.1).unwrap();
        assert_eq!(text.vocabulary, ['a', 'b', 'c', 'd']);
        // 90 characters, windows of 4 + 1 every 2; 10 characters, windows every 4.
        assert_eq!(text.splits(), [Split::new("training", 43), Split::new("validation", 2)]);
        let (_, first, count, stride) = text.parts[1];
        assert!(first + (count - 1) * stride + 4 < text.ids.len());
    }

    #[test]
    fn a_text_that_is_too_short_is_refused() {
        assert!(
            text("abc", 8, 0.0).err().unwrap().message().contains("shorter than context + 1 = 9")
        );
    }

    #[test]
    fn the_vocabulary_of_training_encodes_other_texts() {
        let first = text(&"abcd\n".repeat(9), 4, 0.0).unwrap();
        let again = |content: &str| {
            let mut other = CharacterText::with(first.config.clone());
            other.restore(1, &first.learnt().unwrap()).unwrap();
            other.take(content).map(|()| other.ids)
        };
        assert_eq!(again("dadad").unwrap(), [4, 1, 4, 1, 4]);
        let mut other = CharacterText::with(first.config.clone());
        other.restore(1, &first.learnt().unwrap()).unwrap();
        assert_eq!(other.encode("cab").unwrap(), [3, 1, 2]);
        assert_eq!(other.decode(&[3, 1, 2]).unwrap(), "cab");
        assert!(other.encode("cax").unwrap_err().message().contains("the character 'x'"));
        assert!(other.decode(&[9]).unwrap_err().message().contains("there is no character 9"));
        assert_eq!(other.end_token().unwrap(), None);
        let refused = again("ab\ncxd").unwrap_err().message().to_owned();
        assert!(refused.contains("line 2 has the character 'x'"), "{refused}");
    }
}
