//! Signal and exit handlers of the worker: they record which thread received a fatal signal or
//! called `exit`, and then let the previous handler run.

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::breadcrumb::memory::{PAGE, thread, word};

const SIGNALS: [i32; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
];

static mut BEFORE: [Option<libc::sigaction>; SIGNALS.len()] = [None; SIGNALS.len()];
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Called once, on the training thread, before any plugin is loaded.
pub(super) fn install() {
    if INSTALLED.swap(true, Relaxed) {
        return;
    }
    PAGE.words[word::TRAINING_THREAD].store(thread(), Relaxed);
    for (index, &signal) in SIGNALS.iter().enumerate() {
        // SAFETY: all-zero bytes are a valid `sigaction`: default disposition, empty mask, no
        // flags.
        let (mut action, mut before): (libc::sigaction, libc::sigaction) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        action.sa_sigaction =
            on_signal as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler does only what handlers may; `BEFORE` is written here alone, before
        // its signal can be handled.
        unsafe {
            if libc::sigaction(signal, &action, &mut before) == 0 {
                (&raw mut BEFORE[index]).write(Some(before));
            }
        }
    }
    // SAFETY: the function takes no arguments, touches only atomics, and lives as long as the
    // process.
    unsafe { libc::atexit(on_exit) };
}

extern "C" fn on_exit() {
    PAGE.words[word::EXIT_THREAD].store(thread(), Relaxed);
}

/// Stores the fault, restores the previous handler, and lets the signal arrive again.
extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let words = &PAGE.words;
    if words[word::SIGNAL]
        .compare_exchange(0, u64::from(signal.unsigned_abs()), Relaxed, Relaxed)
        .is_ok()
    {
        words[word::THREAD].store(thread(), Relaxed);
        words[word::STACK].store(stack_pointer(context), Relaxed);
        // SAFETY: the kernel hands a description of the signal that is valid during the call.
        words[word::ADDRESS].store(unsafe { (*info).si_addr() } as u64, Relaxed);
    }
    let before = SIGNALS.iter().position(|known| *known == signal);
    // SAFETY: written once, before this handler was installed for the signal.
    let before = before.and_then(|index| unsafe { (&raw const BEFORE[index]).read() });
    // SAFETY: restores what the system returned; all-zero bytes are the default disposition.
    unsafe {
        libc::sigaction(signal, &before.unwrap_or_else(|| std::mem::zeroed()), ptr::null_mut())
    };
    // A fault recurs by itself; a signal that was sent has to be sent again.
    // SAFETY: reads a field of the kernel's description, and sends a signal to this thread.
    unsafe {
        if (*info).si_code <= 0 {
            libc::raise(signal);
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn stack_pointer(context: *mut libc::c_void) -> u64 {
    // SAFETY: the kernel hands a `ucontext_t` to handlers with SA_SIGINFO.
    let context = unsafe { context.cast::<libc::ucontext_t>().as_ref() };
    context.map_or(0, |context| context.uc_mcontext.gregs[libc::REG_RSP as usize] as u64)
}

#[cfg(target_arch = "aarch64")]
fn stack_pointer(context: *mut libc::c_void) -> u64 {
    // SAFETY: the kernel hands a `ucontext_t` to handlers with SA_SIGINFO.
    let context = unsafe { context.cast::<libc::ucontext_t>().as_ref() };
    context.map_or(0, |context| context.uc_mcontext.sp)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn stack_pointer(_: *mut libc::c_void) -> u64 {
    0
}
