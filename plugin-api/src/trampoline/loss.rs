//! Tables of losses.

use super::{
    guard::guard,
    instance::{self, Plain, plain},
    lent::lent_one,
};
use crate::{
    Loss,
    abi::{
        entry::{Component, Instance, kind},
        handle::Handle,
        loss::LossTable,
    },
};

unsafe extern "C" fn forward<L: Loss>(
    this: Instance,
    yhats: Handle,
    ys: Handle,
    value: *mut Handle,
) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned and calls one function of an instance at a time.
        let loss = unsafe { plain::<L>(this) };
        let result = loss.forward(lent_one(&yhats), lent_one(&ys))?;
        // SAFETY: the host gives a place for the result; the reference goes to the host.
        unsafe { *value = result.into_handle() };
        Ok(())
    })
}

struct Table<L>(std::marker::PhantomData<L>);

impl<L: Loss> Table<L> {
    const TABLE: &'static LossTable = &LossTable { forward: forward::<L> };
}

/// The component that offers loss `L`.
pub const fn component<L: Loss>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<Plain<L>>(kind::LOSS, name, state_version);
    component.loss = Table::<L>::TABLE;
    component
}
