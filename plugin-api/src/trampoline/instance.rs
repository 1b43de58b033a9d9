//! What all kinds share: creating, destroying, saving and loading an instance.

use super::guard::guard;
use crate::{
    Component, Result,
    abi::{
        entry::{self, Instance},
        kinds::KindRow,
        text::Text,
    },
    config::Config,
    setup::Setup,
};

/// An author's component, with what the functions of its kind need besides it.
pub trait Cell: Sized + 'static {
    /// The author's type.
    type Inner: Component;
    /// Wraps a new instance.
    fn wrap(inner: Self::Inner, setup: &mut Setup) -> Result<Self>;
    /// The author's instance.
    fn inner(&self) -> &Self::Inner;
    /// The author's instance.
    fn inner_mut(&mut self) -> &mut Self::Inner;
}

/// What an [`Instance`] points at.
pub struct Boxed<C> {
    pub(super) cell: C,
    saved: Vec<u8>,
}

/// The instance behind the pointer that the host passes back.
///
/// # Safety
/// `this` must come from `create` of the same `C`, must not be destroyed, and must not be used
/// otherwise during `'a`.
#[inline]
pub(super) unsafe fn cell<'a, C>(this: Instance) -> &'a mut C {
    // SAFETY: promised by the caller.
    unsafe { &mut (*this.0.cast::<Boxed<C>>()).cell }
}

unsafe extern "C" fn create<C: Cell>(config: Text, instance: *mut Instance) -> i32 {
    guard(|| {
        // SAFETY: borrowed for this call.
        let text = unsafe { config.to_text() };
        let config = <C::Inner as Component>::Config::from_json(&text)?;
        let mut setup = Setup::new();
        let inner = C::Inner::new(config, &mut setup)?;
        let boxed = Box::new(Boxed { cell: C::wrap(inner, &mut setup)?, saved: Vec::new() });
        // SAFETY: the host gives a place for the result.
        unsafe { *instance = Instance(Box::into_raw(boxed).cast()) };
        Ok(())
    })
}

unsafe extern "C" fn destroy<C: Cell>(this: Instance) -> i32 {
    guard(|| {
        // SAFETY: the host calls this once, with what `create` gave.
        drop(unsafe { Box::from_raw(this.0.cast::<Boxed<C>>()) });
        Ok(())
    })
}

unsafe extern "C" fn save<C: Cell>(this: Instance, bytes: *mut Text) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned and calls one function of an instance at a time.
        let boxed = unsafe { &mut *this.0.cast::<Boxed<C>>() };
        boxed.saved = boxed.cell.inner().save()?;
        // SAFETY: the host gives a place for the result; the buffer lives until the next call of
        // this instance.
        unsafe { *bytes = Text::bytes(&boxed.saved) };
        Ok(())
    })
}

unsafe extern "C" fn load<C: Cell>(this: Instance, version: u32, bytes: Text) -> i32 {
    guard(|| {
        // SAFETY: the host passes back what `create` returned; the bytes are borrowed for this call.
        let (cell, bytes) = unsafe { (cell::<C>(this), bytes.as_bytes()) };
        cell.inner_mut().load(version, bytes)
    })
}

pub(super) const fn component<C: Cell>(
    kind: u32,
    name: &'static str,
    state_version: u32,
) -> entry::Component {
    entry::Component::new(
        kind,
        name,
        state_version,
        create::<C>,
        destroy::<C>,
        save::<C>,
        load::<C>,
    )
}

/// A component of a kind that the entry has no table for.
pub(super) const fn kind_row<C: Cell>(
    kind: u32,
    name: &'static str,
    state_version: u32,
    table: *const (),
) -> KindRow {
    KindRow {
        kind,
        state_version,
        component: Text::new(name),
        create: create::<C>,
        destroy: destroy::<C>,
        save: save::<C>,
        load: load::<C>,
        table,
    }
}

/// A cell that holds the author's type alone.
pub struct Plain<T>(pub(super) T);

impl<T: Component> Cell for Plain<T> {
    type Inner = T;

    fn wrap(inner: T, _: &mut Setup) -> Result<Self> {
        Ok(Plain(inner))
    }

    fn inner(&self) -> &T {
        &self.0
    }

    fn inner_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// The author's instance in a [`Plain`] cell.
///
/// # Safety
/// As [`cell`].
#[inline]
pub(super) unsafe fn plain<'a, T>(this: Instance) -> &'a mut T {
    // SAFETY: promised by the caller.
    unsafe { &mut cell::<Plain<T>>(this).0 }
}
