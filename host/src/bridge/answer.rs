//! From raw arguments to safe types, and from answers to statuses.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fluxbay_plugin::abi::{status, text::Text};

use crate::calls::context;
use crate::learner::Runtime;
use crate::learner::refusal::{Answer, Refusal};

/// Runs a host function for the calling instance: finds the runtime, catches panics, turns the
/// answer into a status and an error text.
#[inline]
pub fn answer(f: impl FnOnce(&Runtime, u32) -> Answer) -> i32 {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let served = with_current(|runtime, caller| match f(runtime, caller) {
            Ok(()) => status::OK,
            Err(refusal) => refuse(runtime, refusal),
        });
        served.unwrap_or_else(no_host)
    }));
    outcome.unwrap_or_else(panicked)
}

/// Calls `f` with the runtime and the instance of the call in progress on this thread.
#[inline]
pub fn with_current<T>(f: impl FnOnce(&Runtime, u32) -> T) -> Result<T, &'static str> {
    // SAFETY: `Runtime` is the only `Host` of this program.
    unsafe { context::with_current::<Runtime, T>(f) }
}

#[cold]
#[inline(never)]
fn no_host(why: &str) -> i32 {
    context::set_error(why);
    status::ERROR
}

#[cold]
#[inline(never)]
fn panicked(payload: Box<dyn std::any::Any + Send>) -> i32 {
    let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    context::set_error(&format!("the host itself panicked, please report it: {text}"));
    // Dropping a payload may panic again.
    std::mem::forget(payload);
    status::ERROR
}

#[cold]
#[inline(never)]
fn refuse(runtime: &Runtime, refusal: Refusal) -> i32 {
    match refusal {
        Refusal::Text(text) => {
            context::set_error(&text);
            status::ERROR
        }
        Refusal::Stop(stop) => {
            context::set_error(&stop.0.text);
            let status = stop.kind().status();
            runtime.leave_pending(stop);
            // A panic of another instance is an error for the caller.
            if status == status::PANIC { status::ERROR } else { status }
        }
    }
}

#[cold]
#[inline(never)]
fn null(what: &str) -> Refusal {
    Refusal::Text(format!("{what} is null"))
}

#[cold]
#[inline(never)]
fn null_of(what: &str, count: usize) -> Refusal {
    Refusal::Text(format!("{what} for {count} elements is null"))
}

/// Text that a plugin passes.
///
/// # Safety
/// As [`Text::as_bytes`], for the call.
#[inline]
pub unsafe fn text<'a>(text: Text) -> Answer<&'a str> {
    // SAFETY: promised by the caller.
    let bytes = unsafe { text.as_bytes() };
    std::str::from_utf8(bytes).map_err(|_| not_text())
}

#[cold]
#[inline(never)]
fn not_text() -> Refusal {
    Refusal::Text("a text that was passed is not UTF-8".into())
}

/// Elements that a plugin passes.
///
/// # Safety
/// Where `len` is not 0, `ptr` must be aligned and valid for reads of `len` elements during the
/// call, or null.
#[inline]
pub unsafe fn slice<'a, T>(ptr: *const T, len: usize) -> Answer<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if ptr.is_null() {
        return Err(null_of("the pointer", len));
    }
    // SAFETY: promised by the caller, and not null.
    Ok(unsafe { std::slice::from_raw_parts(ptr, len) })
}

/// Buffer of a plugin for results.
///
/// # Safety
/// As [`slice`], for writes.
#[inline]
pub unsafe fn buffer<'a, T>(ptr: *mut T, len: usize) -> Answer<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if ptr.is_null() {
        return Err(null_of("the pointer to the buffer", len));
    }
    // SAFETY: promised by the caller, and not null.
    Ok(unsafe { std::slice::from_raw_parts_mut(ptr, len) })
}

/// What a plugin points at.
///
/// # Safety
/// `ptr` must be valid for reads during the call, or null.
#[inline]
pub unsafe fn borrowed<'a, T>(ptr: *const T) -> Answer<&'a T> {
    // SAFETY: promised by the caller.
    unsafe { ptr.as_ref() }.ok_or_else(|| null("a pointer that was passed"))
}

/// A place for one result.
#[derive(Clone, Copy)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Checks the pointer before the result is computed.
    ///
    /// # Safety
    /// `ptr` must be valid for a write during the call, or null.
    #[inline]
    pub unsafe fn new(ptr: *mut T) -> Answer<Out<T>> {
        if ptr.is_null() {
            return Err(null("the pointer for the result"));
        }
        Ok(Out(ptr))
    }

    /// Writes the result.
    #[inline]
    pub fn put(self, value: T) {
        // SAFETY: `new` was promised a place that is valid for a write, and checked that it is not
        // null.
        unsafe { self.0.write(value) }
    }
}
