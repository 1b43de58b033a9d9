//! The `fluxbay` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // Every step frees and asks for the same large buffers. Giving them back to the system in
    // between costs a fault per page. SAFETY: sets a number of the allocator before any other
    // thread runs.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    fluxbay::cli::program::main()
}
