//! Catches panics and turns them into a status and a text.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use super::calls;
use crate::{Error, Result, abi::status};

thread_local! {
    /// File and line of the last panic of this plugin on this thread, stored by its panic hook.
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Sets this plugin's panic hook, which stores the place of a panic for the report and prints nothing.
///
/// Each plugin has its own copy of the standard library, so no other hook is replaced.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let place = info
                .location()
                .map(|place| format!("{}:{}:{}", place.file(), place.line(), place.column()));
            PLACE.set(place);
        }));
    });
}

/// Runs `body` and turns its result, or a panic, into a status.
#[inline]
pub(super) fn guard(body: impl FnOnce() -> Result<()>) -> i32 {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => status::OK,
        Ok(Err(error)) => calls::leave(&error),
        Err(payload) => panicked(payload),
    }
}

#[cold]
#[inline(never)]
fn panicked(payload: Box<dyn std::any::Any + Send>) -> i32 {
    let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without a text".to_owned(),
    };
    // A payload whose `drop` panics would end the process.
    std::mem::forget(payload);
    let text = match PLACE.take() {
        Some(place) => format!("panicked at {place}: {message}"),
        None => format!("panicked: {message}"),
    };
    calls::leave(&Error::from_status(status::PANIC, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let code = guard(|| panic!("no"));
        panic::set_hook(hook);
        assert_eq!(code, status::PANIC);
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_survived() {
        struct Nasty;
        impl Drop for Nasty {
            fn drop(&mut self) {
                panic!("from drop");
            }
        }
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| {}));
        let code = guard(|| panic::panic_any(Nasty));
        panic::set_hook(hook);
        assert_eq!(code, status::PANIC);
    }

    #[test]
    fn cancelling_keeps_its_code() {
        assert_eq!(guard(|| Err(Error::cancel_fit("enough"))), status::CANCEL_FIT);
        assert_eq!(guard(|| Ok(())), status::OK);
    }
}
