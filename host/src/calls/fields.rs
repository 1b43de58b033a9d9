//! The fields of the data, as the host keeps them and as the contract passes them to models.

use fluxbay_plugin::abi::{dataset::FieldSpec, model::ModelSpec, text::Text};

/// One field of the data, as the data set states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataField {
    /// `xs`, `ys`, or a name of its own.
    pub name: String,
    /// Element type, a number of the contract's `dtype`.
    pub dtype: u32,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Number of classes if the field holds class labels, else 0.
    pub classes: u64,
}

/// Fields in the contract's form, and what they point at.
pub struct FieldSpecs<'a> {
    specs: Vec<FieldSpec>,
    /// The shapes that `specs` points at.
    _shapes: Vec<Vec<u64>>,
    /// The names that `specs` points at.
    _fields: &'a [DataField],
}

impl<'a> FieldSpecs<'a> {
    /// The form of `fields` that models get.
    pub fn new(fields: &'a [DataField]) -> FieldSpecs<'a> {
        let shapes: Vec<Vec<u64>> = fields
            .iter()
            .map(|field| field.shape.iter().map(|&size| size as u64).collect())
            .collect();
        let spec = |(field, shape): (&DataField, &Vec<u64>)| FieldSpec {
            name: Text::new(&field.name),
            dtype: field.dtype,
            reserved: 0,
            shape: shape.as_ptr(),
            rank: shape.len(),
            classes: field.classes,
        };
        let specs = fields.iter().zip(&shapes).map(spec).collect();
        FieldSpecs { specs, _shapes: shapes, _fields: fields }
    }

    /// Valid while `self` is borrowed.
    pub(super) fn raw(&self) -> ModelSpec {
        ModelSpec { fields: self.specs.as_ptr(), field_count: self.specs.len() }
    }
}
