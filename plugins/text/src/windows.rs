//! The ids of many texts one after the other, for language models.

use std::{num::NonZero, sync::Mutex, thread};

use fluxbay_plugin::prelude::*;

use crate::tokenizer::Tokenizer;

/// Ids in two bytes where the vocabulary permits.
#[derive(Debug)]
pub enum Ids {
    Short(Vec<u16>),
    Long(Vec<u32>),
}

impl Ids {
    fn new(vocabulary: usize) -> Ids {
        if vocabulary <= 1 << 16 { Ids::Short(Vec::new()) } else { Ids::Long(Vec::new()) }
    }

    fn extend(&mut self, ids: &[u32]) {
        match self {
            Ids::Short(all) => all.extend(ids.iter().map(|id| *id as u16)),
            Ids::Long(all) => all.extend(ids),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Ids::Short(ids) => ids.len(),
            Ids::Long(ids) => ids.len(),
        }
    }

    /// Writes the ids from `start` on into `place`.
    pub fn copy(&self, start: usize, place: &mut [u32]) {
        let end = start + place.len();
        match self {
            Ids::Short(ids) => {
                for (place, id) in place.iter_mut().zip(&ids[start..end]) {
                    *place = u32::from(*id);
                }
            }
            Ids::Long(ids) => place.copy_from_slice(&ids[start..end]),
        }
    }
}

/// Texts that are encoded at a time by each thread.
const BLOCK: usize = 1 << 20;

/// Encodes `texts` in their order, each followed by `end` if there is one. `next` returns the next
/// text, or `None` behind the last. The number of threads does not change the result.
///
/// # Errors
/// The first one of `next` or of the tokenizer.
pub fn encode(
    tokenizer: &Tokenizer,
    end: Option<u32>,
    mut next: impl FnMut() -> Option<Result<String>>,
) -> Result<Ids> {
    let mut all = Ids::new(tokenizer.vocabulary);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(8);
    loop {
        // One block per thread, then the blocks are joined in order.
        let mut blocks: Vec<Vec<String>> = Vec::new();
        let mut size = BLOCK;
        while let Some(text) = next() {
            let text = text?;
            if size >= BLOCK {
                blocks.push(Vec::new());
                size = 0;
            }
            size += text.len().max(1);
            if let Some(block) = blocks.last_mut() {
                block.push(text);
            }
            if size >= BLOCK && blocks.len() == threads {
                break;
            }
        }
        if blocks.is_empty() {
            return Ok(all);
        }
        let encoded: Mutex<Vec<Option<Result<Vec<u32>>>>> =
            Mutex::new(blocks.iter().map(|_| None).collect());
        thread::scope(|scope| {
            for (at, block) in blocks.iter().enumerate() {
                let encoded = &encoded;
                scope.spawn(move || {
                    let ids = block.iter().try_fold(Vec::new(), |mut ids, text| {
                        ids.extend(tokenizer.ids(text)?);
                        ids.extend(end);
                        Ok(ids)
                    });
                    if let Ok(mut encoded) = encoded.lock() {
                        encoded[at] = Some(ids);
                    }
                });
            }
        });
        for ids in encoded.into_inner().unwrap_or_default() {
            let Some(ids) = ids else { bail!("a thread that tokenises has stopped") };
            all.extend(&ids?);
        }
    }
}

/// Windows of ids: a part of them, cut into windows of `length` that start every `stride` ids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    pub name: &'static str,
    first: usize,
    pub count: usize,
    stride: usize,
}

impl Part {
    /// The windows of ids `first..end`; the last id of the last one has a successor.
    ///
    /// # Errors
    /// There is not a single window.
    pub fn new(
        name: &'static str,
        first: usize,
        end: usize,
        length: usize,
        stride: usize,
    ) -> Result<Part> {
        let count = (end - first).checked_sub(length + 1).map_or(0, |room| room / stride + 1);
        if count == 0 {
            bail!(
                "the {name} part has {} tokens, fewer than one window and its target: {}",
                end - first,
                length + 1
            );
        }
        Ok(Part { name, first, count, stride })
    }

    /// Writes the windows at `indices`, and those one id later.
    ///
    /// # Errors
    /// Those of the buffers.
    pub fn fill(
        &self,
        ids: &Ids,
        length: usize,
        indices: &[u64],
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        for (field, offset) in [(0, 0), (1, 1)] {
            for (place, index) in buffers.u32(field)?.chunks_exact_mut(length).zip(indices) {
                ids.copy(self.first + *index as usize * self.stride + offset, place);
            }
        }
        Ok(())
    }
}

/// The fields of windows.
pub fn fields(length: usize, vocabulary: usize) -> Vec<Field> {
    let ids =
        |name: &str| Field { classes: Some(vocabulary), ..Field::new(name, DType::U32, &[length]) };
    vec![ids("xs"), ids("ys")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_a_successor_for_each_id() {
        let part = |end, length, stride| Part::new("training", 0, end, length, stride);
        assert_eq!(part(90, 4, 2).unwrap().count, 43);
        assert_eq!(part(10, 4, 4).unwrap().count, 2);
        assert_eq!(part(5, 4, 4).unwrap().count, 1);
        assert!(part(4, 4, 4).unwrap_err().message().contains("has 4 tokens"));
    }

    #[test]
    fn ids_of_any_size_are_kept() {
        for (vocabulary, last) in [(1 << 16, 65_535), ((1 << 16) + 1, 65_536)] {
            let mut ids = Ids::new(vocabulary);
            ids.extend(&[1, 2, last]);
            let mut place = [0; 2];
            ids.copy(1, &mut place);
            assert_eq!((ids.len(), place), (3, [2, last]));
        }
    }
}
