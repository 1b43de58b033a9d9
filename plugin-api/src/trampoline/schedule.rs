//! Tables of schedules.

use super::{
    guard::guard,
    instance::{self, Plain, plain},
};
use crate::{
    Schedule,
    abi::{
        entry::{Component, Instance, kind},
        schedule::ScheduleTable,
    },
};

unsafe extern "C" fn value<S: Schedule>(this: Instance, t: f64, value: *mut f64) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned and a place for the result.
        unsafe { *value = plain::<S>(this).value(t)? };
        Ok(())
    })
}

unsafe extern "C" fn length<S: Schedule>(this: Instance, length: *mut u64) -> i32 {
    guard(|| {
        // SAFETY: as above.
        unsafe { *length = plain::<S>(this).length().unwrap_or(0) };
        Ok(())
    })
}

struct Table<S>(std::marker::PhantomData<S>);

impl<S: Schedule> Table<S> {
    const TABLE: &'static ScheduleTable = &ScheduleTable { value: value::<S>, length: length::<S> };
}

/// The component that offers schedule `S`.
pub const fn component<S: Schedule>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<Plain<S>>(kind::SCHEDULE, name, state_version);
    component.schedule = Table::<S>::TABLE;
    component
}
