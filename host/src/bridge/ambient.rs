//! Which runtime is calling a plugin on this thread, and which instance; the texts that cross the
//! contract.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};

use fluxbay_plugin::abi::text::Text;

use crate::learner::Runtime;

/// No instance.
pub const NOBODY: u32 = u32::MAX;

/// Calls into plugins that are under way on any thread: tells a wrong thread from a host that is
/// not there.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// What every call touches. Nothing here needs a destructor, so that reaching it is one load.
#[derive(Debug)]
pub struct Ambient {
    runtime: Cell<*const Runtime>,
    instance: Cell<u32>,
    /// Whether the text of an error was left since the call began.
    has_error: Cell<bool>,
    /// Whether anything was: that, or a stop that was kept aside.
    left: Cell<bool>,
}

impl Ambient {
    /// Something was left for the end of the call that is under way.
    pub fn leave(&self) {
        self.left.set(true);
    }
}

struct Texts {
    error: RefCell<String>,
    /// Text that was handed out last; it stays until the next one.
    lent: RefCell<String>,
}

thread_local! {
    static AMBIENT: Ambient = const {
        Ambient { runtime: Cell::new(std::ptr::null()), instance: Cell::new(NOBODY), has_error: Cell::new(false), left: Cell::new(false) }
    };
    static TEXTS: Texts = const { Texts { error: RefCell::new(String::new()), lent: RefCell::new(String::new()) } };
}

/// A call into a plugin: while it lives, host functions on this thread serve the instance.
pub struct Entered {
    runtime: *const Runtime,
    instance: u32,
    left: bool,
    /// This thread's. It also keeps the guard on its thread.
    ambient: &'static Ambient,
}

/// This thread's.
#[inline]
pub fn here() -> &'static Ambient {
    // Unlike `with`, `try_with` is compiled into its caller; it fails only for what has a
    // destructor.
    let here: *const Ambient = AMBIENT
        .try_with(std::ptr::from_ref)
        .unwrap_or_else(|_| unreachable!("it has no destructor"));
    // SAFETY: a thread-local without a destructor lives as long as its thread, and the reference
    // cannot be sent to another.
    unsafe { &*here }
}

/// Begins a call into instance `number`.
#[inline]
pub fn enter(runtime: &Runtime, number: u32) -> Entered {
    begin(runtime.ambient, runtime, number)
}

/// Begins a call in which host functions serve nobody, as on any thread that does not train.
#[inline]
pub fn enter_as_nobody() -> Entered {
    begin(here(), std::ptr::null(), NOBODY)
}

#[inline]
fn begin(ambient: &'static Ambient, runtime: *const Runtime, number: u32) -> Entered {
    ambient.has_error.set(false);
    let before = Entered {
        runtime: ambient.runtime.replace(runtime),
        instance: ambient.instance.replace(number),
        left: ambient.left.replace(false),
        ambient,
    };
    if before.runtime.is_null() {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
    before
}

impl Entered {
    /// Goes on with another instance of the same runtime, when nothing is left of the one before.
    #[inline]
    pub fn serve(&self, number: u32) {
        self.ambient.instance.set(number);
    }

    /// Whether something was left since the call began; from now on nothing is.
    #[inline]
    pub fn take_left(&self) -> bool {
        let left = self.ambient.left.get();
        if left {
            self.ambient.has_error.set(false);
            self.ambient.left.set(false);
        }
        left
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        self.ambient.runtime.set(self.runtime);
        self.ambient.instance.set(self.instance);
        if self.left {
            self.ambient.leave();
        }
        if self.runtime.is_null() {
            CALLS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Calls `f` with the runtime and the instance that is being called on this thread.
#[inline]
pub fn with_current<T>(f: impl FnOnce(&Runtime, u32) -> T) -> Result<T, &'static str> {
    let ambient = here();
    let (runtime, instance) = (ambient.runtime.get(), ambient.instance.get());
    if runtime.is_null() {
        return Err(why_nobody());
    }
    // SAFETY: the pointer was set by `enter` from a borrow that lives until its guard is dropped,
    // which resets the pointer, and everything happens on this thread.
    Ok(f(unsafe { &*runtime }, instance))
}

#[cold]
#[inline(never)]
fn why_nobody() -> &'static str {
    if CALLS.load(Ordering::Relaxed) > 0 {
        "wrong thread: this function of the host can be called only on the thread that trains; hand what you have over to the next event"
    } else {
        "the host is not calling this plugin now: this function can be called only while a call of the host is under way"
    }
}

/// Leaves the text of an error on this thread.
pub fn leave_error(text: &str) {
    TEXTS.with(|texts| {
        if let Ok(mut error) = texts.error.try_borrow_mut() {
            error.clear();
            error.push_str(text);
            here().has_error.set(true);
            here().leave();
        }
    });
}

/// Takes the text that was left since the call into the plugin began; empty where none was.
pub fn take_error() -> String {
    let fresh = here().has_error.replace(false);
    if fresh { TEXTS.with(|texts| texts.error.borrow().clone()) } else { String::new() }
}

/// Where the last error's text is; it stays there until the next one.
pub fn last_error() -> Text {
    TEXTS.with(|texts| Text::new(texts.error.borrow().as_str()))
}

/// Keeps a text on this thread and answers where it is, until the next one is lent.
pub fn lend(text: String) -> Text {
    TEXTS.with(|texts| {
        let mut lent = texts.lent.borrow_mut();
        *lent = text;
        Text::new(&lent)
    })
}
