//! Data set `text`: windows of a text file as character ids.

use std::{collections::BTreeSet, path::PathBuf};

use fluxbay_plugin::prelude::*;

config! {
    /// The file and its windows.
    pub struct Config {
        /// UTF-8 text file, relative to the run file.
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
    ids: Vec<u32>,
    /// Per split: name, first position, number of windows, distance between their starts.
    parts: Vec<(&'static str, usize, usize, usize)>,
}

impl Component for CharacterText {
    type Config = Config;

    fn new(mut config: Config, setup: &mut Setup) -> Result<Self> {
        config.path = setup.resolve_path(&config.path)?;
        Ok(CharacterText { config, vocabulary: Vec::new(), ids: Vec::new(), parts: Vec::new() })
    }
}

impl CharacterText {
    fn take(&mut self, text: &str) -> Result<()> {
        let characters: BTreeSet<char> = text.chars().collect();
        self.vocabulary = characters.into_iter().collect();
        self.ids = text
            .chars()
            .map(|character| self.vocabulary.binary_search(&character).map_or(0, |id| id as u32))
            .collect();
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
    fn open(&mut self) -> Result<()> {
        let text =
            std::fs::read_to_string(&self.config.path).context(self.config.path.display())?;
        self.take(&text).context(self.config.path.display())
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
        let mut text =
            CharacterText { config, vocabulary: Vec::new(), ids: Vec::new(), parts: Vec::new() };
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
}
