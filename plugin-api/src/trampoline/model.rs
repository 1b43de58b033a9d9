//! Tables of models.

use super::{
    dataset,
    guard::guard,
    instance::{self, Cell, cell},
    lent::lent,
};
use crate::{
    Error, Model, Params, Result, Tensor,
    abi::{
        entry::{Component, Instance, kind},
        handle::Handle,
        model::{ModelNamesRow, ModelSpec, ModelTable},
        text::Text,
    },
    dataset::DataSpec,
    setup::Setup,
};

/// A model with its network, once that is built.
pub struct ModelCell<M: Model> {
    model: M,
    network: Option<M::Network>,
    /// What `names` returned last.
    names: String,
}

impl<M: Model> Cell for ModelCell<M> {
    type Inner = M;

    fn wrap(model: M, _: &mut Setup) -> Result<Self> {
        Ok(ModelCell { model, network: None, names: String::new() })
    }

    fn inner(&self) -> &M {
        &self.model
    }

    fn inner_mut(&mut self) -> &mut M {
        &mut self.model
    }
}

unsafe extern "C" fn build<M: Model>(this: Instance, spec: *const ModelSpec) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned; the specification is borrowed for the
        // call.
        let (cell, spec) = unsafe { (cell::<ModelCell<M>>(this), &*spec) };
        // SAFETY: `field_count` fields at `fields`, borrowed for the call.
        let fields = unsafe { std::slice::from_raw_parts(spec.fields, spec.field_count) };
        // SAFETY: the fields' texts and shapes are borrowed for the call.
        let fields = fields.iter().map(|field| unsafe { dataset::field_from(field) }).collect();
        cell.network = Some(cell.model.build(&DataSpec { fields }, Params::root())?);
        Ok(())
    })
}

unsafe extern "C" fn forward<M: Model>(
    this: Instance,
    inputs: *const Handle,
    input_count: usize,
    outputs: *mut Handle,
    capacity: usize,
    output_count: *mut usize,
) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned; the inputs are borrowed for the call.
        let (cell, inputs) = unsafe {
            (cell::<ModelCell<M>>(this), std::slice::from_raw_parts(inputs, input_count))
        };
        let Some(network) = &cell.network else {
            return Err(Error::new("forward pass of a model that was not built"));
        };
        // SAFETY: the host gives room for `capacity` handles and for their count.
        unsafe {
            match lent(inputs) {
                [xs] => give(
                    std::iter::once(cell.model.forward(network, xs)?),
                    outputs,
                    capacity,
                    output_count,
                ),
                many => give(
                    cell.model.forward_many(network, many)?.into_iter(),
                    outputs,
                    capacity,
                    output_count,
                ),
            }
        }
    })
}

/// Writes the results to `outputs`; their references go to the host.
///
/// # Safety
/// `outputs` must be valid for writes of `capacity` handles, `count` for one write.
unsafe fn give(
    results: impl ExactSizeIterator<Item = Tensor>,
    outputs: *mut Handle,
    capacity: usize,
    count: *mut usize,
) -> Result<()> {
    if results.len() > capacity {
        return Err(Error::new(format!(
            "a model may have {capacity} outputs, this one has {}",
            results.len()
        )));
    }
    for (index, result) in results.enumerate() {
        // SAFETY: promised by the caller; there are at most `capacity`.
        unsafe {
            *outputs.add(index) = result.into_handle();
            *count = index + 1;
        }
    }
    Ok(())
}

unsafe extern "C" fn names<M: Model>(this: Instance, json: *mut Text) -> i32 {
    guard(|| {
        // SAFETY: as above.
        let cell = unsafe { cell::<ModelCell<M>>(this) };
        cell.names = match cell.model.names()? {
            None => String::new(),
            Some(names) => serde_json::to_string(&names)
                .map_err(|error| Error::new(format!("the names cannot be written: {error}")))?,
        };
        // SAFETY: the host gives a place for the result; the text lives until the next call of this
        // instance.
        unsafe { *json = Text::new(&cell.names) };
        Ok(())
    })
}

/// The row of model `M` in the extension `fluxbay.model-names/1`.
pub const fn row<M: Model>(name: &'static str) -> ModelNamesRow {
    ModelNamesRow { kind: kind::MODEL, reserved: 0, component: Text::new(name), names: names::<M> }
}

struct Table<M>(std::marker::PhantomData<M>);

impl<M: Model> Table<M> {
    const TABLE: &'static ModelTable = &ModelTable { build: build::<M>, forward: forward::<M> };
}

/// The component that offers model `M`.
pub const fn component<M: Model>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<ModelCell<M>>(kind::MODEL, name, state_version);
    component.model = Table::<M>::TABLE;
    component
}
