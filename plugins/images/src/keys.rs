//! Names and numbers of many samples in a few large pieces of memory, so that an index of millions of them
//! is read in an instant.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use fluxbay_plugin::prelude::log;

/// Names of samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// One after the other.
    text: String,
    /// Behind the last byte of each.
    ends: Vec<u64>,
}

impl Keys {
    /// Appends a name, which may have several parts.
    pub fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
        self.ends.push(self.text.len() as u64);
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A name.
    pub fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[index] as usize]
    }

    /// All names in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Appends what [`Keys::take`] reads.
    pub fn put(&self, bytes: &mut Vec<u8>) {
        put_numbers(bytes, &self.ends);
        bytes.extend(self.text.as_bytes());
    }

    /// Reads names; `None` if they are damaged.
    pub fn take(rest: &mut &[u8]) -> Option<Keys> {
        let ends = take_numbers(rest)?;
        let length = ends.last().copied().unwrap_or(0);
        let text = std::str::from_utf8(rest.split_off(..usize::try_from(length).ok()?)?).ok()?;
        let ordered = ends.is_sorted();
        // A name ends before any byte that begins a character.
        let whole = ends.iter().all(|end| text.is_char_boundary(*end as usize));
        (ordered && whole).then(|| Keys { text: text.to_owned(), ends })
    }
}

/// Numbers of each sample: one, or any number of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    numbers: Vec<u32>,
    /// Behind the last number of each sample; `None` if each has one.
    ends: Option<Vec<usize>>,
}

impl Labels {
    /// One number for each sample.
    pub fn single(numbers: Vec<u32>) -> Labels {
        Labels { numbers, ends: None }
    }

    /// The numbers of some samples.
    pub fn several(samples: impl Iterator<Item = Vec<u32>>) -> Labels {
        let (mut numbers, mut ends) = (Vec::new(), Vec::new());
        for sample in samples {
            numbers.extend(sample);
            ends.push(numbers.len());
        }
        Labels { numbers, ends: Some(ends) }
    }

    /// The numbers of a sample.
    pub fn get(&self, sample: usize) -> &[u32] {
        let Some(ends) = &self.ends else { return &self.numbers[sample..=sample] };
        let start = sample.checked_sub(1).map_or(0, |before| ends[before]);
        &self.numbers[start..ends[sample]]
    }

    /// All numbers.
    pub fn numbers_mut(&mut self) -> &mut [u32] {
        &mut self.numbers
    }

    /// All numbers.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }
}

/// A number as a file has it.
pub trait Number: Copy {
    /// Number of its bytes.
    const SIZE: usize;
    /// Appends them.
    fn put(self, bytes: &mut Vec<u8>);
    /// The number in so many bytes.
    fn of(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($($type:ty),+) => { $(
        impl Number for $type {
            const SIZE: usize = size_of::<$type>();
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
            fn of(bytes: &[u8]) -> $type {
                bytes.try_into().map_or(0, <$type>::from_le_bytes)
            }
        }
    )+ };
}
number!(u32, u64);

/// Appends the names of classes or folders, which [`take_names`] reads.
pub fn put_names<'a>(bytes: &mut Vec<u8>, names: impl IntoIterator<Item = &'a String>) {
    let mut keys = Keys::default();
    names.into_iter().for_each(|name| keys.push(&[name]));
    keys.put(bytes);
}

/// Reads names that [`put_names`] wrote; `None` if they are damaged.
pub fn take_names(rest: &mut &[u8]) -> Option<Vec<String>> {
    Some(Keys::take(rest)?.iter().map(str::to_owned).collect())
}

/// Writes an index, so that no other process sees a part of it. A failure is logged: an index only saves
/// time.
pub fn keep_index(path: &Path, bytes: &[u8]) {
    let written = || -> io::Result<()> {
        let beside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
        fs::write(&beside, bytes)?;
        fs::rename(&beside, path)
    };
    if let Err(error) = written() {
        log::info!("{}: the index is not kept: {error}", path.display());
    }
}

/// Appends numbers, behind how many there are.
pub fn put_numbers<N: Number>(bytes: &mut Vec<u8>, numbers: &[N]) {
    (numbers.len() as u64).put(bytes);
    bytes.reserve(numbers.len() * N::SIZE);
    numbers.iter().for_each(|number| number.put(bytes));
}

/// Reads numbers that [`put_numbers`] wrote; `None` if there are fewer.
pub fn take_numbers<N: Number>(rest: &mut &[u8]) -> Option<Vec<N>> {
    let count = usize::try_from(u64::of(rest.split_off(..8)?)).ok()?;
    let bytes = rest.split_off(..count.checked_mul(N::SIZE)?)?;
    Some(bytes.chunks_exact(N::SIZE).map(N::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_damaged_ones_do_not() {
        let mut keys = Keys::default();
        keys.push(&["a/", "é.jpg"]);
        keys.push(&[]);
        keys.push(&["b"]);
        assert_eq!(keys.iter().collect::<Vec<_>>(), ["a/é.jpg", "", "b"]);
        let mut bytes = Vec::new();
        keys.put(&mut bytes);
        bytes.push(7);
        let mut rest = &bytes[..];
        assert_eq!((Keys::take(&mut rest), rest), (Some(keys), &[7][..]));
        for cut in 0..bytes.len() - 1 {
            assert_eq!(Keys::take(&mut &bytes[..cut]), None, "{cut}");
        }
        // An end within a character, ends that fall, and far too many.
        for (at, value) in [(8, 3), (8, 200), (16, 1), (0, 255), (7, 255)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert_eq!(Keys::take(&mut &wrong[..]), None, "{at}");
        }
    }

    #[test]
    fn a_sample_has_one_number_or_several() {
        let one = Labels::single(vec![3, 4]);
        assert_eq!((one.get(0), one.get(1)), (&[3][..], &[4][..]));
        let several = Labels::several([vec![1, 2], vec![], vec![5]].into_iter());
        assert_eq!([0, 1, 2].map(|at| several.get(at)), [&[1, 2][..], &[], &[5]]);
    }
}
