//! Batches of samples.

use crate::{
    Error, Result, Tensor,
    abi::{
        handle::Handle,
        learner::{BatchRaw, FIELDS},
    },
};

/// One batch of samples: a tensor `[samples, ...]` per field of the data set. `[training thread]`
#[derive(Debug)]
pub struct Batch {
    raw: BatchRaw,
    /// Tensors that a batch made by the phase keeps alive.
    own: Vec<Tensor>,
}

impl Batch {
    pub(crate) fn borrowed(raw: BatchRaw) -> Batch {
        Batch { raw, own: Vec::new() }
    }

    /// Makes a batch of tensors `[samples, ...]`: field 0 is `xs`, field 1 is `ys`.
    ///
    /// # Errors
    /// If there are no fields, or more than four.
    pub fn new(fields: &[&Tensor]) -> Result<Batch> {
        let first = fields.first().ok_or_else(|| Error::new("a batch needs at least one field"))?;
        if fields.len() > FIELDS {
            return Err(Error::new(format!(
                "a batch has at most {FIELDS} fields, not {}",
                fields.len()
            )));
        }
        let samples = first.dims()?.first().copied().unwrap_or(1);
        let mut raw = BatchRaw {
            fields: [Handle::NONE; FIELDS],
            field_count: fields.len() as u32,
            samples: samples as u32,
            index: 0,
        };
        for (place, tensor) in raw.fields.iter_mut().zip(fields) {
            *place = tensor.handle();
        }
        Ok(Batch { raw, own: fields.iter().map(|tensor| (*tensor).clone()).collect() })
    }

    /// Field `index`, `[samples, ...]`.
    ///
    /// # Errors
    /// If the batch has no such field.
    pub fn field(&self, index: usize) -> Result<Tensor> {
        if index >= self.raw.field_count as usize {
            return Err(Error::new(format!(
                "the batch has {} fields, there is no field {index}",
                self.raw.field_count
            )));
        }
        Tensor::from_borrowed(self.raw.fields[index])
    }

    /// The inputs: field 0, `[samples, ...]`.
    ///
    /// # Errors
    /// As [`Batch::field`].
    pub fn xs(&self) -> Result<Tensor> {
        self.field(0)
    }

    /// The targets: field 1, `[samples, ...]`.
    ///
    /// # Errors
    /// As [`Batch::field`].
    pub fn ys(&self) -> Result<Tensor> {
        self.field(1)
    }

    /// Number of samples. The last batch of an epoch may be smaller than the others.
    pub fn samples(&self) -> usize {
        self.raw.samples as usize
    }

    /// Position of the batch in its epoch, counted from 0.
    pub fn index(&self) -> u64 {
        self.raw.index
    }

    pub(crate) fn raw(&self) -> &BatchRaw {
        debug_assert!(self.own.is_empty() || self.own.len() == self.raw.field_count as usize);
        &self.raw
    }
}
