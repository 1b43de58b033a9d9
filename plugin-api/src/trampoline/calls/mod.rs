//! From the plugin to the host: one safe function for each function of the host's tables, a file per
//! table. Nothing else in this crate touches those tables.

mod anomaly;
mod children;
mod figures;
mod freezing;
mod learner;
mod packing;
mod position;
mod record;
mod setup;
mod state;
mod tensor;

use std::{
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use crate::{
    Error, Result,
    abi::{
        child::ChildTable, display::DisplayTable, host::HostTable, learner::LearnerTable,
        log::LogRecordRaw, logger::RecordTable, setup::SetupTable, state::StateTable, status,
        tensor::TensorTable, text::Text,
    },
};

pub(crate) use self::{
    anomaly::*, children::*, figures::*, freezing::*, learner::*, packing::*, position::*,
    record::*, setup::*, state::*, tensor::*,
};

static HOST: AtomicPtr<HostTable> = AtomicPtr::new(ptr::null_mut());

/// Stores the host's table; false if it is null or older than this crate needs.
pub(crate) fn connect(host: *const HostTable) -> bool {
    // SAFETY: the host hands over its static table; its size comes first, so that a shorter table
    // is seen here.
    if host.is_null() || unsafe { (*host).size } < size_of::<HostTable>() as u64 {
        return false;
    }
    HOST.store(host.cast_mut(), Ordering::Release);
    true
}

#[inline]
fn host() -> Option<&'static HostTable> {
    // SAFETY: null, or the host's static table that `connect` checked.
    unsafe { HOST.load(Ordering::Acquire).as_ref() }
}

#[cold]
#[inline(never)]
fn no_host() -> Error {
    Error::new(
        "there is no host: tensors, state and the learner exist only while a fluxbay host runs the plugin",
    )
}

macro_rules! tables {
    ($($name:ident: $table:ty),+ $(,)?) => { $(
        #[inline]
        fn $name() -> Result<&'static $table> {
            match host() {
                // SAFETY: the host's tables are static and never null (checked against its
                // contract).
                Some(host) => Ok(unsafe { &*host.$name }),
                None => Err(no_host()),
            }
        }
    )+ };
}

tables! {
    setup: SetupTable,
    tensor: TensorTable,
    state: StateTable,
    learner: LearnerTable,
    record: RecordTable,
    display: DisplayTable,
    child: ChildTable,
}

#[cold]
#[inline(never)]
fn failed(code: i32) -> Error {
    let mut text = Text::EMPTY;
    if let Some(host) = host() {
        // SAFETY: `text` is valid for the write.
        unsafe { (host.last_error)(&mut text) };
    }
    // SAFETY: valid until the next call of the host on this thread; copied here.
    Error::from_status(code, unsafe { text.to_text() }.into_owned())
}

#[inline]
fn check(code: i32) -> Result<()> {
    if code == status::OK { Ok(()) } else { Err(failed(code)) }
}

/// Leaves an error's text with the host and returns its status.
#[cold]
#[inline(never)]
pub(crate) fn leave(error: &Error) -> i32 {
    if let Some(host) = host() {
        // SAFETY: the text is borrowed for the call.
        unsafe { (host.fail)(Text::new(error.message())) };
    }
    error.status()
}

pub(crate) fn log(record: &LogRecordRaw) {
    if let Some(host) = host() {
        // SAFETY: the record and its texts are borrowed for the call.
        unsafe { (host.log)(record) };
    }
}

/// Calls a function that writes its result to its last argument, and returns that result.
macro_rules! ask {
    ($table:ident . $function:ident ( $($argument:expr),* ), $initial:expr) => {{
        let table = $table()?;
        let mut value = $initial;
        // SAFETY: arguments are borrowed for the call, `value` is valid for the write.
        check(unsafe { (table.$function)($($argument,)* &mut value) })?;
        Ok::<_, Error>(value)
    }};
}

/// Calls a function that returns nothing but its status.
macro_rules! tell {
    ($table:ident . $function:ident ( $($argument:expr),* )) => {{
        let table = $table()?;
        // SAFETY: arguments are borrowed for the call.
        check(unsafe { (table.$function)($($argument),*) })
    }};
}

/// Calls a function that writes a text of the host to its last argument, and copies the text.
macro_rules! ask_text {
    ($table:ident . $function:ident ( $($argument:expr),* )) => {{
        let text: Text = ask!($table.$function($($argument),*), Text::EMPTY)?;
        // SAFETY: valid until the next call of the host on this thread; copied here.
        Ok(unsafe { text.to_text() }.into_owned())
    }};
}

use {ask, ask_text, tell};
