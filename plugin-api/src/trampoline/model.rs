//! Tables of models.

use std::mem::ManuallyDrop;

use super::{
    dataset,
    guard::guard,
    instance::{self, Cell, cell},
};
use crate::{
    Error, Model, Params, Result, Tensor,
    abi::{
        entry::{Component, Instance, kind},
        handle::Handle,
        model::{ModelSpec, ModelTable},
    },
    dataset::DataSpec,
    setup::Setup,
};

/// A model with its network, once that is built.
pub struct ModelCell<M: Model> {
    model: M,
    network: Option<M::Network>,
}

impl<M: Model> Cell for ModelCell<M> {
    type Inner = M;

    fn wrap(model: M, _: &mut Setup) -> Result<Self> {
        Ok(ModelCell { model, network: None })
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
        // SAFETY: the host hands back what `create` gave; the specification is borrowed for the call.
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
        // SAFETY: the host hands back what `create` gave; the inputs are borrowed for the call.
        let (cell, inputs) = unsafe { (cell::<ModelCell<M>>(this), std::slice::from_raw_parts(inputs, input_count)) };
        let Some(network) = &cell.network else {
            return Err(Error::new("forward pass of a model that was not built"));
        };
        // Borrowed, so not released here.
        let inputs: Vec<ManuallyDrop<Tensor>> = inputs.iter().map(|handle| ManuallyDrop::new(Tensor::from_handle(*handle))).collect();
        let results = match inputs.as_slice() {
            [xs] => vec![cell.model.forward(network, xs)?],
            many => cell.model.forward_many(network, &many.iter().map(|tensor| (**tensor).clone()).collect::<Vec<_>>())?,
        };
        if results.len() > capacity {
            return Err(Error::new(format!("a model may have {capacity} outputs, this one has {}", results.len())));
        }
        for (index, result) in results.into_iter().enumerate() {
            // SAFETY: the host gives room for `capacity` handles; the reference goes to the host.
            unsafe {
                *outputs.add(index) = result.into_handle();
                *output_count = index + 1;
            }
        }
        Ok(())
    })
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
