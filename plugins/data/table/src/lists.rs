//! Columns whose values are lists of numbers, or bytes.

use fluxbay_plugin::{prelude::*, serde};

use crate::rows::Raw;

/// What the elements of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde", rename_all = "kebab-case")]
pub enum Element {
    /// Numbers in `f32`.
    Numbers,
    /// Ids, such as those of tokens, in `u32`.
    Ids,
    /// Bytes of a text or a binary value.
    Bytes,
}

impl Element {
    /// Bytes of an element in memory.
    fn size(self) -> usize {
        if self == Element::Bytes { 1 } else { 4 }
    }
}

/// How many elements a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Follows from the lists; what is behind so many elements is cut off.
    Any(usize),
    /// As many in each list.
    Fixed(usize),
    /// What is behind so many elements is cut off.
    Most(usize),
}

/// What a column of lists may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListForm {
    /// The elements.
    pub of: Element,
    /// Their number.
    pub length: Length,
    /// Ids are below this, if it is known.
    pub vocabulary: Option<usize>,
}

/// The lists of a column, one after the other.
#[derive(Debug)]
pub struct Lists {
    form: ListForm,
    /// The elements in the byte order of this machine.
    bytes: Vec<u8>,
    /// Behind the last element of each list.
    ends: Vec<usize>,
    /// Rows without a list.
    missing: Vec<usize>,
    /// Lists that were cut.
    pub cut: u64,
}

impl Lists {
    /// No lists yet.
    pub fn new(form: ListForm) -> Lists {
        Lists { form, bytes: Vec::new(), ends: Vec::new(), missing: Vec::new(), cut: 0 }
    }

    /// Removes all lists.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.missing.clear();
    }

    /// The elements that the lists have.
    pub fn of(&self) -> Element {
        self.form.of
    }

    /// Why a value cannot be appended, if it cannot.
    pub fn problem(&self, value: Raw<'_>) -> Option<String> {
        let ListForm { of, length, vocabulary } = self.form;
        let count = match (of, value) {
            (Element::Bytes, Raw::Text(bytes)) => bytes.len(),
            (Element::Numbers | Element::Ids, Raw::List(list)) => list.len(),
            (Element::Bytes, Raw::Number(_) | Raw::List(_)) => {
                return Some("a text or bytes are needed".into());
            }
            (_, Raw::Text(text)) => {
                return Some(format!("{:?} is no list", String::from_utf8_lossy(text)));
            }
            (_, Raw::Number(number)) => return Some(format!("{} is no list", number.text())),
            (_, Raw::Missing) => return None,
        };
        if let Length::Fixed(length) = length
            && count != length
        {
            return Some(format!("the list has {count} elements, all others have {length}"));
        }
        let Raw::List(list) = value else { return None };
        let most = vocabulary.map_or(f64::from(u32::MAX), |vocabulary| vocabulary as f64 - 1.0);
        let usable = |value: f64| match of {
            Element::Ids => value.fract() == 0.0 && (0.0..=most).contains(&value),
            _ => value.is_nan() || (value as f32).is_finite(),
        };
        let wrong = list.iter().find(|value| !usable(**value))?;
        Some(match of {
            Element::Ids => format!("{wrong} is no id: those are whole numbers from 0 to {most}"),
            _ => format!("{wrong} in a list is no number that f32 can hold"),
        })
    }

    /// Appends a value for which there is no [problem](Lists::problem).
    pub fn push(&mut self, value: Raw<'_>) {
        let most = match self.form.length {
            Length::Any(most) | Length::Most(most) | Length::Fixed(most) => most,
        };
        let count = match value {
            Raw::List(list) => {
                let taken = list.iter().take(most);
                match self.form.of {
                    Element::Ids => {
                        self.bytes.extend(taken.flat_map(|value| (*value as u32).to_ne_bytes()));
                    }
                    _ => self.bytes.extend(taken.flat_map(|value| (*value as f32).to_ne_bytes())),
                }
                list.len()
            }
            Raw::Text(bytes) => {
                self.bytes.extend(&bytes[..bytes.len().min(most)]);
                bytes.len()
            }
            Raw::Missing | Raw::Number(_) => {
                self.missing.push(self.ends.len());
                0
            }
        };
        self.cut += u64::from(count > most);
        self.ends.push(self.bytes.len());
    }

    /// The bytes of a list; those of one that is missing are none.
    pub fn bytes(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[row]]
    }

    /// Number of elements of a list.
    pub fn count(&self, row: usize) -> usize {
        self.bytes(row).len() / self.form.of.size()
    }

    /// Whether a row has no list.
    pub fn is_missing(&self, row: usize) -> bool {
        self.missing.binary_search(&row).is_ok()
    }

    /// The numbers of a list, NaN for missing ones.
    pub fn numbers(&self, row: usize) -> impl Iterator<Item = f32> {
        self.bytes(row).chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// The ids of a list.
    pub fn ids(&self, row: usize) -> impl Iterator<Item = u32> {
        self.bytes(row).chunks_exact(4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// Elements of the longest list, and whether other lists are shorter.
    pub fn longest(&self) -> (usize, bool) {
        let rows = (0..self.ends.len()).filter(|row| !self.is_missing(*row));
        let counts = rows.map(|row| self.count(row));
        let (least, most) =
            counts.fold((usize::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
        (most, least < most)
    }

    /// The largest id.
    pub fn largest_id(&self) -> Option<u32> {
        (0..self.ends.len()).flat_map(|row| self.ids(row)).max()
    }
}

/// How lists are encoded: what the training rows determine.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde", rename_all = "kebab-case")]
pub struct ListEncoding {
    /// The elements.
    pub of: Element,
    /// Number of elements, or the most of them.
    pub length: usize,
    /// Whether lists have different lengths.
    pub varies: bool,
    /// Number of different ids.
    pub vocabulary: usize,
    /// What ids are filled up with.
    pub padding: u32,
    /// Numbers become `(value - shift) / scale`; `fill` replaces missing ones.
    pub fill: f64,
    /// See `fill`.
    pub shift: f64,
    /// See `fill`.
    pub scale: f64,
}

impl ListEncoding {
    /// Whether the elements are inputs beside those of other columns. Other lists are fields.
    pub fn is_input(&self) -> bool {
        self.of == Element::Numbers && !self.varies
    }

    /// What is read from another file.
    pub fn form(&self) -> ListForm {
        let length = match self.varies {
            true => Length::Most(self.length),
            false => Length::Fixed(self.length),
        };
        let vocabulary = (self.of == Element::Ids).then_some(self.vocabulary);
        ListForm { of: self.of, length, vocabulary }
    }

    /// The field of the lists.
    pub fn field(&self, name: &str) -> Field {
        let dtype = match self.of {
            Element::Numbers => DType::F32,
            Element::Ids => DType::U32,
            Element::Bytes => DType::U8,
        };
        let classes = (self.of == Element::Ids).then_some(self.vocabulary);
        Field { classes, ..Field::new(name, dtype, &[self.length]) }
    }

    /// How the loader treats the field.
    pub fn ragged(&self) -> Option<Ragged> {
        let padding = if self.of == Element::Ids { f64::from(self.padding) } else { 0.0 };
        self.varies.then(|| Ragged::first(padding))
    }

    /// Writes numbers to `place`. What is behind them becomes the value of a missing number.
    pub fn write(&self, mut numbers: impl Iterator<Item = f32>, place: &mut [f32]) {
        for place in place {
            let value = numbers.next().map_or(f64::NAN, f64::from);
            let value = if value.is_nan() { self.fill } else { value };
            *place = ((value - self.shift) / self.scale) as f32;
        }
    }

    /// Writes lists as field `field` of samples.
    ///
    /// # Errors
    /// Those of the buffers.
    pub fn fill(
        &self,
        (lists, rows): (&Lists, impl Iterator<Item = usize>),
        field: usize,
        context: &mut FillContext<'_>,
        buffers: &mut Buffers<'_>,
    ) -> Result<()> {
        for (at, row) in rows.enumerate() {
            let count = lists.count(row);
            if self.varies {
                context.set_lengths(at, field, &[count])?;
            }
            if !buffers.wants(field) {
                continue;
            }
            let place = at * self.length..(at + 1) * self.length;
            match self.of {
                Element::Numbers => {
                    let place = &mut buffers.f32(field)?[place];
                    self.write(lists.numbers(row), &mut place[..count]);
                }
                Element::Ids => {
                    let place = &mut buffers.u32(field)?[place];
                    let (ids, rest) = place.split_at_mut(count);
                    ids.iter_mut().zip(lists.ids(row)).for_each(|(place, id)| *place = id);
                    rest.fill(self.padding);
                }
                Element::Bytes => {
                    let place = &mut buffers.u8(field)?[place];
                    let (bytes, rest) = place.split_at_mut(count);
                    bytes.copy_from_slice(lists.bytes(row));
                    rest.fill(0);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(of: Element, length: Length, vocabulary: Option<usize>) -> Lists {
        Lists::new(ListForm { of, length, vocabulary })
    }

    #[test]
    fn lists_are_kept_with_gaps_and_cut() {
        let mut all = lists(Element::Numbers, Length::Any(3), None);
        all.push(Raw::List(&[1.0, f64::NAN]));
        all.push(Raw::Missing);
        all.push(Raw::List(&[]));
        all.push(Raw::List(&[1.5, 2.0, 3.0, 4.0]));
        assert_eq!((0..4).map(|row| all.count(row)).collect::<Vec<_>>(), [2, 0, 0, 3]);
        assert_eq!(
            (0..4).map(|row| all.is_missing(row)).collect::<Vec<_>>(),
            [false, true, false, false]
        );
        assert_eq!(all.numbers(3).collect::<Vec<_>>(), [1.5, 2.0, 3.0]);
        assert!(all.numbers(0).nth(1).is_some_and(f32::is_nan));
        assert_eq!((all.longest(), all.cut), ((3, true), 1));
    }

    #[test]
    fn elements_that_do_not_fit_are_described() {
        let numbers = lists(Element::Numbers, Length::Fixed(2), None);
        let ids = lists(Element::Ids, Length::Most(2), Some(10));
        let bytes = lists(Element::Bytes, Length::Any(9), None);
        for (lists, value, part) in [
            (&numbers, Raw::List(&[1.0]), "has 1 elements, all others have 2"),
            (&numbers, Raw::List(&[1.0, 1e300]), "f32"),
            (&numbers, Raw::Text(b"1 2"), "\"1 2\" is no list"),
            (&ids, Raw::List(&[10.0]), "10 is no id: those are whole numbers from 0 to 9"),
            (&ids, Raw::List(&[0.5]), "0.5 is no id"),
            (&ids, Raw::List(&[f64::NAN]), "NaN is no id"),
            (&bytes, Raw::List(&[1.0]), "a text or bytes"),
        ] {
            let problem = lists.problem(value).expect(part);
            assert!(problem.contains(part), "{problem}");
        }
        assert_eq!(numbers.problem(Raw::List(&[f64::NAN, 1.0])), None);
        assert_eq!(ids.problem(Raw::List(&[9.0, 0.0, 3.0])), None);
        assert_eq!(bytes.problem(Raw::Text(b"\xff")), None);
    }
}
