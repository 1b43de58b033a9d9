//! Rows to predict from, encoded.

use crate::{
    encoding::{Encoding, Learned},
    lists::Lists,
    part::Value,
    rows::Raw,
};

/// Encoded rows: the inputs of each, and the lists that are fields.
#[derive(Debug)]
pub struct Encoded {
    /// Inputs of a row.
    width: usize,
    pub(crate) inputs: Vec<f32>,
    /// By the place of the feature.
    pub(crate) lists: Vec<Option<Lists>>,
}

impl Encoded {
    /// No rows, of features with this encoding.
    pub fn new(learned: &Learned) -> Encoded {
        let features = &learned.features;
        let list = |encoding: &Encoding| match encoding {
            Encoding::List(list) => Some(Lists::new(list.form())),
            _ => None,
        };
        Encoded {
            width: features.iter().map(|feature| feature.encoding.width()).sum(),
            inputs: Vec::new(),
            lists: features.iter().map(|feature| list(&feature.encoding)).collect(),
        }
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        self.inputs.clear();
        self.lists.iter_mut().flatten().for_each(Lists::clear);
    }

    /// Appends a row, from the values of its features and how they were in the file.
    pub(crate) fn push<'e>(
        &mut self,
        encodings: impl Iterator<Item = &'e Encoding>,
        values: &[(Value, Raw<'_>)],
    ) {
        let (row, mut place) = (self.inputs.len().checked_div(self.width), self.inputs.len());
        self.inputs.resize(place + self.width, 0.0);
        for ((encoding, &(value, raw)), lists) in encodings.zip(values).zip(&mut self.lists) {
            let end = place + encoding.width();
            let inputs = &mut self.inputs[place..end];
            match (encoding, lists) {
                (Encoding::List(list), Some(lists)) => {
                    lists.push(if matches!(value, Value::Missing) { Raw::Missing } else { raw });
                    if let Some(row) = row.filter(|_| list.is_input()) {
                        list.write(lists.numbers(row), inputs);
                    }
                }
                _ => encoding.write(value, inputs),
            }
            place = end;
        }
    }

    /// The inputs of a row.
    pub fn inputs(&self, row: usize) -> &[f32] {
        &self.inputs[row * self.width..][..self.width]
    }
}
