//! Tables of optimizers.

use super::{
    guard::guard,
    instance::{self, Plain, plain},
    lent::{lent, lent_one},
};
use crate::{
    Learner, Optimizer,
    abi::{
        entry::{Component, Instance, kind},
        optimizer::{OptimizerTable, UpdateRaw},
    },
    optimizer::Update,
};

unsafe extern "C" fn begin<O: Optimizer>(this: Instance) -> i32 {
    // SAFETY: the host passes back what `create` returned and calls one function of an instance at a time.
    guard(|| unsafe { plain::<O>(this) }.begin(&Learner::new()))
}

unsafe extern "C" fn update<O: Optimizer>(this: Instance, request: *const UpdateRaw) -> i32 {
    guard(|| {
        // SAFETY: as above; the request and what it points at are borrowed for the call.
        let (optimizer, raw) = unsafe { (plain::<O>(this), &*request) };
        let states = match raw.state_count {
            0 => &[],
            // SAFETY: `state_count` handles at `states`, borrowed for the call.
            count => lent(unsafe { std::slice::from_raw_parts(raw.states, count) }),
        };
        let (parameter, gradient) = (lent_one(&raw.parameter), lent_one(&raw.gradient));
        // SAFETY: borrowed for the call.
        let path = unsafe { raw.path.as_bytes() };
        optimizer.update(&Update { path, parameter, gradient, states, step: raw.step })
    })
}

struct Table<O>(std::marker::PhantomData<O>);

impl<O: Optimizer> Table<O> {
    const TABLE: &'static OptimizerTable =
        &OptimizerTable { begin: begin::<O>, update: update::<O> };
}

/// The component that offers optimizer `O`.
pub const fn component<O: Optimizer>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<Plain<O>>(kind::OPTIMIZER, name, state_version);
    component.optimizer = Table::<O>::TABLE;
    component
}
