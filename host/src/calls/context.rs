//! The call in progress on this thread: what serves host functions, for which instance, and the
//! texts that cross the contract.

use std::cell::{Cell, RefCell};
use std::rc::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};

use fluxbay_plugin::abi::text::Text;

use super::bounded::bounded;

/// The number of no instance.
pub const NO_INSTANCE: u32 = u32::MAX;

/// Plugin calls in progress on all threads; distinguishes a wrong thread from a missing host.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// What serves host functions during a call. Implemented by one type, the learner's runtime, which
/// [`with_current`] relies on.
pub trait Host: 'static {
    /// The context of its thread.
    fn context(&self) -> &'static Context;

    /// Itself, for instances that may outlive it.
    fn weak(&self) -> Weak<dyn Host>;
}

impl std::fmt::Debug for dyn Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

/// What every call touches. Without a destructor, so that reaching it is one load.
#[derive(Debug)]
pub struct Context {
    host: Cell<*const ()>,
    instance: Cell<u32>,
    /// Set if an error text was set since the call began.
    has_error: Cell<bool>,
    /// Set if the call left an error text or a pending stop.
    has_leftovers: Cell<bool>,
}

impl Context {
    /// Notes that a pending stop was left for the end of the call in progress.
    pub fn set_leftovers(&self) {
        self.has_leftovers.set(true);
    }
}

struct Texts {
    error: RefCell<String>,
    /// The text that was lent last; it stays until the next one.
    lent: RefCell<String>,
}

thread_local! {
    static CONTEXT: Context = const {
        Context {
            host: Cell::new(std::ptr::null()),
            instance: Cell::new(NO_INSTANCE),
            has_error: Cell::new(false),
            has_leftovers: Cell::new(false),
        }
    };
    static TEXTS: Texts = const {
        Texts { error: RefCell::new(String::new()), lent: RefCell::new(String::new()) }
    };
}

/// A call in progress. Restores the context of the call around it when dropped.
pub struct Entered {
    host: *const (),
    instance: u32,
    has_leftovers: bool,
    /// This thread's; it also keeps the guard on its thread.
    context: &'static Context,
}

/// The context of this thread.
#[inline]
pub fn of_thread() -> &'static Context {
    // Unlike `with`, `try_with` is inlined; it fails only for values with a destructor.
    let context: *const Context = CONTEXT
        .try_with(std::ptr::from_ref)
        .unwrap_or_else(|_| unreachable!("it has no destructor"));
    // SAFETY: a thread-local without a destructor lives as long as its thread, and the reference
    // cannot be sent to another.
    unsafe { &*context }
}

/// Begins a call into instance `number`.
#[inline]
pub fn enter<H: Host>(host: &H, number: u32) -> Entered {
    begin(host.context(), std::ptr::from_ref(host).cast(), number)
}

/// As [`enter`], for a host behind a trait object.
pub(super) fn enter_dyn(host: &dyn Host, number: u32) -> Entered {
    begin(host.context(), std::ptr::from_ref(host).cast(), number)
}

/// Begins a call in which host functions answer as on a thread other than the training thread.
#[inline]
pub(super) fn enter_without_host() -> Entered {
    begin(of_thread(), std::ptr::null(), NO_INSTANCE)
}

#[inline]
fn begin(context: &'static Context, host: *const (), number: u32) -> Entered {
    context.has_error.set(false);
    let before = Entered {
        host: context.host.replace(host),
        instance: context.instance.replace(number),
        has_leftovers: context.has_leftovers.replace(false),
        context,
    };
    if before.host.is_null() {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
    before
}

impl Entered {
    /// Continues with another instance of the same host, when the previous call left nothing.
    #[inline]
    pub(super) fn switch_to(&self, number: u32) {
        self.context.instance.set(number);
    }

    /// Whether the call left an error text or a pending stop; clears the mark.
    #[inline]
    pub(super) fn take_leftovers(&self) -> bool {
        let leftovers = self.context.has_leftovers.get();
        if leftovers {
            self.context.has_error.set(false);
            self.context.has_leftovers.set(false);
        }
        leftovers
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        self.context.host.set(self.host);
        self.context.instance.set(self.instance);
        if self.has_leftovers {
            self.context.set_leftovers();
        }
        if self.host.is_null() {
            CALLS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Calls `f` with the host and the instance of the call in progress on this thread.
///
/// # Safety
/// `H` must be the type of every host of this program that is given to [`enter`].
#[inline]
pub unsafe fn with_current<H: Host, T>(f: impl FnOnce(&H, u32) -> T) -> Result<T, &'static str> {
    let context = of_thread();
    let (host, instance) = (context.host.get().cast::<H>(), context.instance.get());
    if host.is_null() {
        return Err(why_none());
    }
    // SAFETY: the pointer was set by `enter` from a borrow of an `H` that lives until its guard is
    // dropped, which resets the pointer, and everything happens on this thread.
    Ok(f(unsafe { &*host }, instance))
}

#[cold]
#[inline(never)]
fn why_none() -> &'static str {
    if CALLS.load(Ordering::Relaxed) > 0 {
        "wrong thread: this function of the host can be called only on the thread that trains; hand what you have over to the next event"
    } else {
        "the host is not calling this plugin now: this function can be called only while a call of the host is under way"
    }
}

/// Sets the error text of this thread; a long one is cut off.
pub fn set_error(text: &str) {
    TEXTS.with(|texts| {
        if let Ok(mut error) = texts.error.try_borrow_mut() {
            error.clear();
            error.push_str(&bounded(text));
            of_thread().has_error.set(true);
            of_thread().set_leftovers();
        }
    });
}

/// Takes the error text that was set since the call into the plugin began; empty if there is none.
pub fn take_error() -> String {
    let is_fresh = of_thread().has_error.replace(false);
    if is_fresh { TEXTS.with(|texts| texts.error.borrow().clone()) } else { String::new() }
}

/// The last error text; valid until the next one is set.
pub fn last_error() -> Text {
    TEXTS.with(|texts| Text::new(texts.error.borrow().as_str()))
}

/// Keeps a text on this thread and returns where it is; valid until the next one is lent.
pub fn lend(text: String) -> Text {
    TEXTS.with(|texts| {
        let mut lent = texts.lent.borrow_mut();
        *lent = text;
        Text::new(&lent)
    })
}
