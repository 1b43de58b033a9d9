//! Tables of optimizers.

use std::mem::ManuallyDrop;

use super::{
    guard::guard,
    instance::{self, Plain, plain},
};
use crate::{
    Learner, Optimizer, Tensor,
    abi::{
        entry::{Component, Instance, kind},
        handle::Handle,
        optimizer::{OptimizerTable, UpdateRaw},
    },
    optimizer::Update,
};

/// Most state tensors that an optimizer keeps per parameter.
const STATES: usize = 8;

unsafe extern "C" fn begin<O: Optimizer>(this: Instance) -> i32 {
    // SAFETY: the host hands back what `create` gave and uses one instance at a time.
    guard(|| unsafe { plain::<O>(this) }.begin(&Learner::new()))
}

unsafe extern "C" fn update<O: Optimizer>(this: Instance, request: *const UpdateRaw) -> i32 {
    guard(|| {
        // SAFETY: as above; the request and what it points at are borrowed for the call.
        let (optimizer, raw) = unsafe { (plain::<O>(this), &*request) };
        let count = raw.state_count.min(STATES);
        let borrowed = |handle: Handle| ManuallyDrop::new(Tensor::from_handle(handle));
        let mut states = [const { None }; STATES];
        for (index, state) in states.iter_mut().enumerate().take(count) {
            // SAFETY: `state_count` handles at `states`.
            *state = Some(borrowed(unsafe { *raw.states.add(index) }));
        }
        let (parameter, gradient) = (borrowed(raw.parameter), borrowed(raw.gradient));
        // SAFETY: borrowed for the call.
        let path = unsafe { raw.path.to_text() };
        let states = states.each_ref().map(|state| state.as_deref());
        optimizer.update(&Update { path: &path, parameter: &parameter, gradient: &gradient, states: &states[..count], step: raw.step })
    })
}

struct Table<O>(std::marker::PhantomData<O>);

impl<O: Optimizer> Table<O> {
    const TABLE: &'static OptimizerTable = &OptimizerTable { begin: begin::<O>, update: update::<O> };
}

/// The component that offers optimizer `O`.
pub const fn component<O: Optimizer>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<Plain<O>>(kind::OPTIMIZER, name, state_version);
    component.optimizer = Table::<O>::TABLE;
    component
}
