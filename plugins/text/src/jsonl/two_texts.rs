//! Samples of two texts: pairs, and prompts with their responses.

use fluxbay_plugin::prelude::*;

use super::{Config, Jsonl, Task, scan::Texts};
use crate::{lines::Lines, tokenizer::Tokenizer};

/// A field of some samples: their elements, each sample padded to the same length, and how many elements
/// each has.
pub struct Padded {
    pub elements: Vec<u32>,
    pub lengths: Vec<usize>,
}

impl Config {
    /// Whether a sample has two texts that are apart.
    pub fn has_two_texts(&self) -> bool {
        matches!(self.task, Task::Pairs | Task::Response)
    }

    /// Whether a row has a label.
    pub fn has_labels(&self) -> bool {
        matches!(self.task, Task::Classification | Task::Regression)
    }
}

impl Jsonl {
    /// The fields of samples of two texts.
    ///
    /// # Errors
    /// A text cannot be tokenised.
    pub(super) fn two_texts(&self, lines: &Lines, indices: &[u64]) -> Result<Vec<Padded>> {
        let Some(tokenizer) = &self.tokenizer else { bail!("the data set is not open") };
        match self.config.task {
            Task::Pairs => self.pairs(tokenizer, lines, indices),
            _ => self.responses(tokenizer, lines, indices),
        }
    }

    /// Inputs and targets of pairs.
    fn pairs(&self, tokenizer: &Tokenizer, lines: &Lines, indices: &[u64]) -> Result<Vec<Padded>> {
        let length = self.config.length;
        let mut texts = Texts::new(lines, self.config.names(false));
        let mut fields = [0, 1].map(|_| Padded {
            elements: vec![0; indices.len() * length],
            lengths: Vec::with_capacity(indices.len()),
        });
        for (at, index) in indices.iter().enumerate() {
            let row = texts.read(*index as usize)?;
            let pair = row.pair.as_deref().unwrap_or_default();
            for (text, field) in [&*row.text, pair].into_iter().zip(&mut fields) {
                let place = &mut field.elements[at * length..(at + 1) * length];
                let special = self.config.special_tokens;
                let count = tokenizer.encode((text, None), special, self.padding, place, None)?;
                field.lengths.push(count);
            }
        }
        Ok(fields.into())
    }

    /// Inputs and targets of prompts with their responses, and which targets belong to a response.
    fn responses(
        &self,
        tokenizer: &Tokenizer,
        lines: &Lines,
        indices: &[u64],
    ) -> Result<Vec<Padded>> {
        let length = self.config.length;
        let end = tokenizer.end(self.config.end_token.as_deref())?;
        let mut texts = Texts::new(lines, self.config.names(false));
        let mut fields = [0, 1, 2].map(|_| Vec::with_capacity(indices.len() * length));
        let mut lengths = Vec::with_capacity(indices.len());
        for index in indices {
            let row = texts.read(*index as usize)?;
            let mut ids = tokenizer.ids(&row.text)?;
            let prompt = ids.len();
            ids.extend(tokenizer.ids(row.pair.as_deref().unwrap_or_default())?);
            ids.push(end);
            lengths.push(ids.len().min(length));
            for at in 0..length {
                let target = ids.get(at + 1).copied();
                fields[0].push(ids.get(at).copied().unwrap_or(self.padding));
                fields[1].push(target.unwrap_or(self.padding));
                fields[2].push(u32::from(target.is_some() && at + 1 >= prompt));
            }
        }
        let padded = |elements| Padded { elements, lengths: lengths.clone() };
        Ok(fields.into_iter().map(padded).collect())
    }
}
