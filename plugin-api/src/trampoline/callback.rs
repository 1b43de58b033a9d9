//! Tables of callbacks.

use super::{
    guard::guard,
    instance::{self, Plain, plain},
};
use crate::{
    Callback, Event, Learner,
    abi::{
        callback::{CallbackTable, resolution},
        entry::{Component, Instance, kind},
        event::EventRaw,
        text::Text,
    },
    callback::Resolution,
};

unsafe extern "C" fn init<C: Callback>(this: Instance) -> i32 {
    // SAFETY: the host passes back what `create` returned and calls one function of an instance at a time.
    guard(|| unsafe { plain::<C>(this) }.init(&Learner::new()))
}

unsafe extern "C" fn on<C: Callback>(this: Instance, event: *const EventRaw) -> i32 {
    // SAFETY: as above; the event is borrowed for the call and `Event` is a transparent wrapper of
    // it.
    guard(|| unsafe { plain::<C>(this).on(&*event.cast::<Event>(), &Learner::new()) })
}

unsafe extern "C" fn resolve<C: Callback>(this: Instance, other: Text, path: Text) -> u32 {
    let mut answer = resolution::NOT_DEFINED;
    guard(|| {
        // SAFETY: as above; the texts are borrowed for the call.
        let (callback, other, path) =
            unsafe { (plain::<C>(this), other.to_text(), path.to_text()) };
        answer = match callback.resolve(&other, &path) {
            Resolution::NotDefined => resolution::NOT_DEFINED,
            Resolution::Unresolvable => resolution::UNRESOLVABLE,
            Resolution::RunFirst => resolution::RUN_FIRST,
            Resolution::NoConflict => resolution::NO_CONFLICT,
        };
        Ok(())
    });
    answer
}

struct Table<C>(std::marker::PhantomData<C>);

impl<C: Callback> Table<C> {
    const TABLE: &'static CallbackTable =
        &CallbackTable { init: init::<C>, on: on::<C>, resolve: resolve::<C> };
}

/// The component that offers callback `C`.
pub const fn component<C: Callback>(name: &'static str, state_version: u32) -> Component {
    let mut component = instance::component::<Plain<C>>(kind::CALLBACK, name, state_version);
    component.callback = Table::<C>::TABLE;
    component
}
