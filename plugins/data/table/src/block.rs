//! Rows of a text in one piece, parsed column by column: the fast way for regular rows.
//!
//! A block is parsed on any thread, without the columns of the table. What is irregular (a row of
//! another length, a value that is missing or no number, quotes, text that is not UTF-8) is not
//! parsed here: such a block is read row by row instead, which describes every problem.

use std::{collections::HashMap, ops::Range};

use crate::number::{Number, NumberFormat};

/// How the values of a column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// As numbers; `missing` says whether they may be missing.
    Numbers { missing: bool },
    /// As words.
    Words { missing: bool },
}

/// How blocks are parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plans {
    /// For each column of the file the place in `plans`, if it is read.
    pub(crate) places: Vec<Option<usize>>,
    pub(crate) plans: Vec<Plan>,
    pub(crate) format: NumberFormat,
    pub(crate) missing: Vec<String>,
    pub(crate) delimiter: u8,
}

/// What takes the place of the decimals of a number.
mod code {
    pub const MISSING: u8 = 255;
    pub const FLOAT: u8 = 254;
    pub const NEGATIVE_ZERO: u8 = 253;
}

/// Numbers of a block: `digits / 10^decimals`, or what a code says.
#[derive(Debug, Default)]
pub(crate) struct Digits {
    pub digits: Vec<i64>,
    pub decimals: Vec<u8>,
}

impl Digits {
    fn push(&mut self, digits: i64, decimals: u8) {
        self.digits.push(digits);
        self.decimals.push(decimals);
    }

    fn push_number(&mut self, number: Number) {
        match number.exact {
            _ if number.value == 0.0 && number.value.is_sign_negative() => {
                self.push(0, code::NEGATIVE_ZERO);
            }
            Some((digits, decimals)) if digits.abs() < 1 << 53 => self.push(digits, decimals as u8),
            _ => self.push(number.value.to_bits().cast_signed(), code::FLOAT),
        }
    }

    /// As [`Digits::push_number`], with digits of any size.
    pub fn push_exact(&mut self, number: Number) {
        match number.exact {
            Some((digits, decimals)) if number.value != 0.0 => self.push(digits, decimals as u8),
            _ => self.push_number(number),
        }
    }

    pub fn push_missing(&mut self) {
        self.push(0, code::MISSING);
    }

    /// Number of rows that are not missing.
    pub fn numbers(&self) -> u64 {
        self.decimals.iter().filter(|decimals| **decimals != code::MISSING).count() as u64
    }

    /// The number of a row.
    pub fn get(&self, row: usize) -> Option<Number> {
        let digits = self.digits[row];
        match self.decimals[row] {
            code::MISSING => None,
            code::FLOAT => Some(Number::float(f64::from_bits(digits.cast_unsigned()))),
            code::NEGATIVE_ZERO => Some(Number { value: -0.0, exact: Some((0, 0)) }),
            decimals => Number::decimal(digits, u32::from(decimals)),
        }
    }
}

/// Words of a block: numbers into a list of its own.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// The word of each row, or [`NO_WORD`](crate::column::NO_WORD).
    pub ids: Vec<u32>,
    /// Where each word is, in how many rows, and the first of these.
    pub words: Vec<(Range<usize>, u64, usize)>,
}

#[derive(Debug)]
pub(crate) enum Values {
    Numbers(Digits),
    /// Numbers `digits / 10^decimals`, none of them missing or -0. The digits can be stored as they are.
    Scaled {
        digits: Vec<i32>,
        decimals: u32,
    },
    /// Numbers of many digits, none of them missing.
    Floats(Vec<f64>),
    Words(Spans),
}

/// Rows in one piece, parsed.
#[derive(Debug)]
pub struct Block {
    pub(crate) rows: usize,
    pub(crate) values: Vec<Values>,
}

impl Plans {
    fn is_missing(&self, text: &[u8]) -> bool {
        self.missing.iter().any(|word| word.as_bytes() == text)
    }

    /// Parses whole lines. `None` if something in them is irregular.
    pub fn parse(&self, text: &[u8]) -> Option<Block> {
        // A carriage return alone would end a row.
        if text.contains(&b'\r')
            && !text.windows(2).all(|pair| pair[0] != b'\r' || pair[1] == b'\n')
        {
            return None;
        }
        let mut values: Vec<Values> = self
            .plans
            .iter()
            .map(|plan| match plan {
                Plan::Numbers { .. } => Values::Numbers(Digits::default()),
                Plan::Words { .. } => Values::Words(Spans::default()),
            })
            .collect();
        let mut known: Vec<HashMap<&[u8], u32>> =
            self.plans.iter().map(|_| HashMap::new()).collect();
        let (mut at, mut rows) = (0, 0);
        while at < text.len() {
            for (index, place) in self.places.iter().enumerate() {
                let last = index + 1 == self.places.len();
                let start = at;
                if let Some(place) = *place
                    && let Values::Numbers(numbers) = &mut values[place]
                    && let Some((digits, decimals, end)) = self.short(text, start)
                {
                    numbers.push(digits, decimals);
                    at = end;
                } else {
                    while at < text.len() && text[at] != self.delimiter && text[at] != b'\n' {
                        at += 1;
                    }
                    if let Some(place) = *place {
                        let range = trimmed(text, start, at);
                        let value = &text[range.clone()];
                        match &mut values[place] {
                            Values::Numbers(numbers) => self.number(place, value, numbers)?,
                            Values::Words(words) => {
                                self.word(place, text, range, rows, words, &mut known[place])?;
                            }
                            // Blocks have none of these: pieces do.
                            Values::Scaled { .. } | Values::Floats(_) => return None,
                        }
                    }
                }
                // The delimiter, or the end of the line in the last column.
                match text.get(at) {
                    Some(b'\n') | None if last => at += 1,
                    Some(byte) if *byte == self.delimiter && !last => at += 1,
                    _ => return None,
                }
            }
            rows += 1;
        }
        Some(Block { rows, values })
    }

    /// At most 15 digits with an optional sign and decimal separator, up to the end of the value. The
    /// usual case, in one loop.
    #[inline]
    fn short(&self, text: &[u8], start: usize) -> Option<(i64, u8, usize)> {
        let negative = text.get(start) == Some(&b'-');
        let first = start + usize::from(negative);
        let (mut at, mut value, mut point) = (first, 0, None);
        while let Some(&byte) = text.get(at) {
            match byte.wrapping_sub(b'0') {
                digit @ 0..=9 => value = value * 10 + i64::from(digit),
                _ if byte == self.format.decimal && point.is_none() && byte != self.delimiter => {
                    point = Some(at);
                }
                _ if byte == self.delimiter || byte == b'\n' => break,
                _ => return None,
            }
            at += 1;
            if at - first > 16 {
                return None;
            }
        }
        let count = at - first - usize::from(point.is_some());
        if !(1..=15).contains(&count) {
            return None;
        }
        let decimals = point.map_or(0, |point| at - point - 1) as u8;
        match (negative, value) {
            (true, 0) => Some((0, code::NEGATIVE_ZERO, at)),
            (true, value) => Some((-value, decimals, at)),
            (false, value) => Some((value, decimals, at)),
        }
    }

    fn number(&self, place: usize, value: &[u8], numbers: &mut Digits) -> Option<()> {
        if self.is_missing(value) {
            let missing = self.plans[place] == Plan::Numbers { missing: true };
            return missing.then(|| numbers.push(0, code::MISSING));
        }
        numbers.push_number(self.format.parse(value)?);
        Some(())
    }

    fn word<'t>(
        &self,
        place: usize,
        text: &'t [u8],
        range: Range<usize>,
        row: usize,
        words: &mut Spans,
        known: &mut HashMap<&'t [u8], u32>,
    ) -> Option<()> {
        let value = &text[range.clone()];
        if let Some(id) = known.get(value) {
            words.ids.push(*id);
            if let Some((_, count, _)) = words.words.get_mut(*id as usize) {
                *count += 1;
            }
            return Some(());
        }
        if self.is_missing(value) {
            let missing = self.plans[place] == Plan::Words { missing: true };
            return missing.then(|| words.ids.push(crate::column::NO_WORD));
        }
        // White space that is not ASCII is left to the other way.
        std::str::from_utf8(value).ok().filter(|word| word.trim() == *word)?;
        let id = words.words.len() as u32;
        known.insert(value, id);
        words.words.push((range, 1, row));
        words.ids.push(id);
        Some(())
    }
}

/// Without ASCII white space around it.
fn trimmed(text: &[u8], start: usize, end: usize) -> Range<usize> {
    let value = text[start..end].trim_ascii_start();
    let start = end - value.len();
    start..start + value.trim_ascii_end().len()
}
