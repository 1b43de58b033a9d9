//! The values of the tree and the errors of reaching them.

use fluxbay_plugin::abi::{
    handle::Handle,
    state::{Point, value},
};

use super::path::PathError;

/// A set of named tensors that the engine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorSet {
    /// The parameters of one model (its index) or of all: `params`.
    Parameters(Option<usize>),
    /// Parameters and buffers: `model`.
    Model(Option<usize>),
    /// Gradients: `step.grads`.
    Gradients(Option<usize>),
}

impl TensorSet {
    /// The same set, of one model only.
    pub fn of_model(self, model: usize) -> TensorSet {
        match self {
            TensorSet::Parameters(_) => TensorSet::Parameters(Some(model)),
            TensorSet::Model(_) => TensorSet::Model(Some(model)),
            TensorSet::Gradients(_) => TensorSet::Gradients(Some(model)),
        }
    }

    /// The model, where the set is of one.
    pub fn model(self) -> Option<usize> {
        match self {
            TensorSet::Parameters(model)
            | TensorSet::Model(model)
            | TensorSet::Gradients(model) => model,
        }
    }
}

/// A value of the state tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing was written yet.
    #[default]
    Absent,
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A tensor; the tree holds one reference.
    Tensor(Handle),
    /// Points, appended one by one.
    Series(Vec<Point>),
    /// Tensors that the engine holds.
    Tensors(TensorSet),
    /// One tensor of such a set: its name within the set.
    Member(TensorSet, String),
}

impl Value {
    /// The contract's number of the type.
    pub fn code(&self) -> u32 {
        match self {
            Value::Absent => value::ABSENT,
            Value::Number(_) => value::NUMBER,
            Value::Flag(_) => value::FLAG,
            Value::Text(_) => value::TEXT,
            Value::Bytes(_) => value::BYTES,
            Value::Tensor(_) | Value::Member(..) => value::TENSOR,
            Value::Series(_) => value::SERIES,
            Value::Tensors(_) => value::TENSORS,
        }
    }

    /// The type in words.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Value::Absent => "nothing",
            Value::Number(_) => "a number",
            Value::Flag(_) => "a flag",
            Value::Text(_) => "a text",
            Value::Bytes(_) => "bytes",
            Value::Tensor(_) | Value::Member(..) => "a tensor",
            Value::Series(_) => "a series",
            Value::Tensors(_) => "a map of tensors",
        }
    }

    /// Whether the engine holds it, so that it cannot be replaced by another type.
    pub fn is_hosted(&self) -> bool {
        matches!(self, Value::Tensors(_) | Value::Member(..))
    }
}

/// Why a value of the tree could not be read or written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StateError {
    /// The slot is not one of the caller's.
    #[error(
        "`{instance}` has no slot {slot}: a slot can be used only by the instance that asked for it"
    )]
    ForeignSlot {
        /// The calling instance.
        instance: String,
        /// The slot.
        slot: u32,
    },
    /// A read grant was used to write.
    #[error(
        "`{instance}` may read `{path}` but not change it; to change it, it has to say so: `setup.write(\"{path}\")` when it is \
         created, and \"{path}\" in the `writes` of `{component}` in its plugin's manifest"
    )]
    ReadOnly {
        /// The calling instance.
        instance: String,
        /// Its component.
        component: String,
        /// The path.
        path: String,
    },
    /// The value has another type.
    #[error("`{path}` is {found}, not {wanted}; asked by `{instance}`")]
    Type {
        /// The calling instance.
        instance: String,
        /// The path.
        path: String,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// Nothing was written yet.
    #[error("`{path}` has no value yet; asked by `{instance}`{}", hint(path))]
    Absent {
        /// The calling instance.
        instance: String,
        /// The path.
        path: String,
    },
    /// The engine holds it.
    #[error(
        "`{path}` is kept by the host and cannot be replaced as a whole by `{instance}`; change its tensors one by one"
    )]
    Hosted {
        /// The calling instance.
        instance: String,
        /// The path.
        path: String,
    },
    /// An index past the end.
    #[error(
        "`{path}` has {count} entries, so there is none with index {index}; asked by `{instance}`"
    )]
    Index {
        /// The calling instance.
        instance: String,
        /// The path.
        path: String,
        /// How many there are.
        count: usize,
        /// The index.
        index: usize,
    },
    /// A hyper-parameter cannot have this value.
    #[error("`{path}` cannot be {found}, written by `{instance}`: it is {allowed}")]
    Range {
        /// The calling instance.
        instance: String,
        /// The path.
        path: String,
        /// What was written.
        found: String,
        /// The values that it can have.
        allowed: String,
    },
    /// Not a path.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// From which event on the values of a step exist.
fn hint(path: &str) -> &'static str {
    match path {
        "step.yhats" => " (it exists from loss-begin)",
        "step.loss" => " (it exists from backward-begin)",
        "step.grads" => " (they exist from backward-end, in training phases only)",
        _ => "",
    }
}
