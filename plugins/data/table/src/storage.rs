//! Columns while a file is read: numbers in four bytes where that is exact, words as numbers of a
//! dictionary.

use std::collections::HashMap;

use crate::{
    block::Digits,
    number::{Number, NumberFormat, quotient, short_decimal, short_decimals},
};

/// Rows per chunk. Chunks grow without copying what is there. They are large enough for the allocator
/// to return each to the system when it is freed.
pub const CHUNK: usize = 1 << 16;

/// A list in chunks of [`CHUNK`] elements.
#[derive(Debug)]
pub struct Chunks<T>(Vec<Vec<T>>);

impl<T> Default for Chunks<T> {
    fn default() -> Chunks<T> {
        Chunks(Vec::new())
    }
}

impl<T: Copy> Chunks<T> {
    pub fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(value),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(value);
                self.0.push(chunk);
            }
        }
    }

    /// Appends values.
    pub fn extend(&mut self, mut values: &[T]) {
        while !values.is_empty() {
            if self.0.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                self.0.push(Vec::with_capacity(CHUNK));
            }
            let Some(chunk) = self.0.last_mut() else { return };
            let (now, later) = values.split_at(values.len().min(CHUNK - chunk.len()));
            chunk.extend_from_slice(now);
            values = later;
        }
    }

    /// Takes chunk `index` out and frees it with the returned value.
    pub fn take(&mut self, index: usize) -> Vec<T> {
        self.0.get_mut(index).map(std::mem::take).unwrap_or_default()
    }

    fn map<U>(&self, convert: impl Fn(T) -> U) -> Chunks<U> {
        Chunks(
            self.0
                .iter()
                .map(|chunk| chunk.iter().map(|value| convert(*value)).collect())
                .collect(),
        )
    }

    fn change(&mut self, change: impl Fn(&mut T)) {
        self.0.iter_mut().flatten().for_each(change);
    }
}

/// Numbers of a column, missing ones included.
#[derive(Debug)]
pub enum Numbers {
    /// `value / 10^decimals`, the same decimals for all.
    Scaled { values: Chunks<i32>, decimals: u32, largest: i32 },
    /// As they are.
    Wide(Chunks<f64>),
}

/// Finds floats of few digits, as long as a column has any.
#[derive(Debug, Default)]
pub struct Exact {
    decimals: u32,
    found: bool,
    misses: u32,
}

/// Floats of many digits after which a column counts as one without any of few.
const MISSES: u32 = 256;

impl Exact {
    /// The float as `digits / 10^decimals`, if it has few digits.
    #[inline]
    pub fn of(&mut self, value: f64) -> Option<(i64, u32)> {
        if self.gave_up() {
            return None;
        }
        let exact = short_decimal(value, self.decimals);
        match exact {
            Some((_, decimals)) => {
                self.found = true;
                self.decimals = self.decimals.max(decimals);
            }
            None => self.misses += 1,
        }
        exact
    }

    /// Floats as digits with the same decimals, if those that were found before suffice for all of them.
    pub fn all(&mut self, values: &[f64]) -> Option<(Vec<i32>, u32)> {
        if self.gave_up() {
            return None;
        }
        let digits = short_decimals(values, self.decimals)?;
        self.found |= !values.is_empty();
        Some((digits, self.decimals))
    }

    /// Whether no float is looked at any more.
    pub fn gave_up(&self) -> bool {
        self.misses > MISSES && !self.found
    }
}

/// A missing value in [`Numbers::Scaled`]. [`Numbers::Wide`] has NaN instead.
const MISSING: i32 = i32::MIN;
/// -0 in [`Numbers::Scaled`].
const NEGATIVE_ZERO: i32 = i32::MIN + 1;

/// Whether an element of [`Numbers::Scaled`] is a number with digits.
pub fn has_digits(element: i32) -> bool {
    element > NEGATIVE_ZERO
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers::Scaled { values: Chunks::default(), decimals: 0, largest: 0 }
    }
}

/// The value of an element of [`Numbers::Scaled`].
pub fn unscaled(digits: i32, decimals: u32) -> Option<f64> {
    match digits {
        MISSING => None,
        NEGATIVE_ZERO => Some(-0.0),
        digits => Some(quotient(i64::from(digits), decimals)),
    }
}

impl Numbers {
    pub fn push(&mut self, number: Option<Number>) {
        if let Numbers::Scaled { values, decimals, largest } = self {
            let Some(number) = number else { return values.push(MISSING) };
            if number.value == 0.0 && number.value.is_sign_negative() {
                return values.push(NEGATIVE_ZERO);
            }
            let exact = number.exact.or_else(|| short_decimal(number.value, *decimals));
            if let Some(digits) = exact.and_then(|exact| fit(exact, values, decimals, largest)) {
                *largest = (*largest).max(digits.abs());
                return values.push(digits);
            }
            let decimals = *decimals;
            *self =
                Numbers::Wide(values.map(|digits| unscaled(digits, decimals).unwrap_or(f64::NAN)));
        }
        if let Numbers::Wide(values) = self {
            values.push(number.map_or(f64::NAN, |number| number.value));
        }
    }
}

impl Numbers {
    /// Appends the numbers of a block.
    pub fn extend(&mut self, block: &Digits) {
        for (row, (digits, places)) in block.digits.iter().zip(&block.decimals).enumerate() {
            if let Numbers::Scaled { values, decimals, largest } = self
                && u32::from(*places) == *decimals
                && let Ok(digits) = i32::try_from(*digits)
                && has_digits(digits)
            {
                *largest = (*largest).max(digits.abs());
                values.push(digits);
                continue;
            }
            self.push(block.get(row));
        }
    }

    /// Appends numbers `digits / 10^places`.
    pub fn extend_scaled(&mut self, digits: &[i32], places: u32) {
        if let Numbers::Scaled { values, decimals, largest } = self
            && *decimals == places
        {
            *largest = digits.iter().fold(*largest, |most, digits| most.max(digits.abs()));
            return values.extend(digits);
        }
        digits.iter().for_each(|digits| self.push(Number::decimal(i64::from(*digits), places)));
    }

    /// Appends floats.
    pub fn extend_floats(&mut self, floats: &[f64]) {
        for (row, value) in floats.iter().enumerate() {
            if let Numbers::Wide(values) = self {
                return values.extend(&floats[row..]);
            }
            self.push(Some(Number::float(*value)));
        }
    }
}

/// `digits / 10^places` with the column's decimals, which are raised if necessary. `None` if that
/// overflows.
fn fit(
    (mut digits, mut places): (i64, u32),
    values: &mut Chunks<i32>,
    decimals: &mut u32,
    largest: &mut i32,
) -> Option<i32> {
    if places == *decimals {
        return i32::try_from(digits).ok().filter(|digits| has_digits(*digits));
    }
    while places > *decimals && digits % 10 == 0 {
        (digits, places) = (digits / 10, places - 1);
    }
    if places > *decimals {
        let factor = 10_i32.checked_pow(places - *decimals)?;
        let raised = largest.checked_mul(factor)?;
        i32::try_from(digits).ok().filter(|digits| has_digits(*digits))?;
        values.change(|digits| {
            if has_digits(*digits) {
                *digits *= factor;
            }
        });
        (*largest, *decimals) = (raised, places);
    }
    let digits = digits.checked_mul(10_i64.checked_pow(*decimals - places)?)?;
    i32::try_from(digits).ok().filter(|digits| has_digits(*digits))
}

/// A word of a column.
#[derive(Debug)]
pub struct Entry {
    pub text: String,
    /// Number of rows.
    pub count: u64,
    /// Line of the first one.
    pub line: u64,
}

/// The different words of a column, in the order in which they occur.
#[derive(Debug, Default)]
pub struct Dictionary {
    ids: HashMap<String, u32>,
    pub entries: Vec<Entry>,
}

impl Dictionary {
    /// The number of `word`, which is counted.
    pub fn add(&mut self, word: &str, line: u64) -> u32 {
        self.add_times(word, line, 1)
    }

    /// As [`Dictionary::add`] for a word that occurs `count` times, first in `line`.
    pub fn add_times(&mut self, word: &str, line: u64, count: u64) -> u32 {
        if let Some(&id) = self.ids.get(word) {
            self.entries[id as usize].count += count;
            return id;
        }
        let id = self.entries.len() as u32;
        self.ids.insert(word.to_owned(), id);
        self.entries.push(Entry { text: word.to_owned(), count, line });
        id
    }

    /// The number of `word`, if it is known.
    pub fn find(&self, word: &str) -> Option<u32> {
        self.ids.get(word).copied()
    }

    /// A dictionary of given words, none of them counted.
    pub fn of(words: &[String]) -> Dictionary {
        let mut dictionary = Dictionary::default();
        for word in words {
            dictionary.add(word, 0);
        }
        dictionary.entries.iter_mut().for_each(|entry| entry.count = 0);
        dictionary
    }

    /// All words, numbers in their order if all are numbers, else alphabetically; and the position
    /// of each entry in that list.
    pub fn sorted(&self, format: NumberFormat) -> (Vec<String>, Vec<u32>) {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by(|a, b| self.entries[*a].text.cmp(&self.entries[*b].text));
        let number = |index: usize| format.parse(self.entries[index].text.as_bytes());
        if order.iter().all(|index| number(*index).is_some()) {
            let value = |index: usize| number(index).map_or(0.0, |number| number.value);
            order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
        }
        let mut positions = vec![0; order.len()];
        for (position, &index) in order.iter().enumerate() {
            positions[index] = position as u32;
        }
        (order.iter().map(|index| self.entries[*index].text.clone()).collect(), positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: NumberFormat = NumberFormat { decimal: b'.', thousands: None };

    fn stored(texts: &[&str]) -> (bool, Vec<Option<f64>>) {
        let mut numbers = Numbers::default();
        for text in texts {
            numbers.push(PLAIN.parse(text.as_bytes()));
        }
        match numbers {
            Numbers::Scaled { mut values, decimals, .. } => {
                (true, values.take(0).into_iter().map(|value| unscaled(value, decimals)).collect())
            }
            Numbers::Wide(mut values) => (
                false,
                values
                    .take(0)
                    .into_iter()
                    .map(|value| (!value.is_nan()).then_some(value))
                    .collect(),
            ),
        }
    }

    #[test]
    fn numbers_are_stored_exactly_in_four_bytes_or_in_eight() {
        for (scaled, texts) in [
            (true, vec!["1", "0.5", "", "-0.25", "1e-9"]),
            (true, vec!["2147483647", "-2147483646", "7.000"]),
            (true, vec!["0", "-0", "-0.00", "0.25", "", "-0"]),
            (false, vec!["2147483647", "0.1"]),
            (false, vec!["0.1", "", "1234567890.5"]),
            (false, vec!["0.1", "-0", "", "0.12345678901"]),
            (false, vec!["0.12345678901234567", "3"]),
            (false, vec!["1.5", "1e300", "1e-300"]),
            (false, vec!["1", "-2147483648"]),
            (false, vec!["1", "-2147483647"]),
        ] {
            let (found, values) = stored(&texts);
            let expected: Vec<_> = texts.iter().map(|text| text.parse::<f64>().ok()).collect();
            assert_eq!(found, scaled, "{texts:?}");
            let bits = |values: &[Option<f64>]| {
                values.iter().map(|v| v.map(f64::to_bits)).collect::<Vec<_>>()
            };
            assert_eq!(bits(&values), bits(&expected), "{texts:?}");
        }
    }

    #[test]
    fn chunks_keep_their_order() {
        let all: Vec<usize> = (0..CHUNK * 2 + 5).collect();
        let (mut single, mut several) = (Chunks::default(), Chunks::default());
        all.iter().for_each(|value| single.push(*value));
        for range in [0..1, 1..1, 1..CHUNK, CHUNK..CHUNK * 2 + 5] {
            several.extend(&all[range]);
        }
        for mut chunks in [single, several] {
            assert_eq!((chunks.take(1)[0], chunks.take(2).len()), (CHUNK, 5));
        }
    }
}
