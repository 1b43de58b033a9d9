//! Memory of the process: its resident size, and returning free memory to the system.

/// Has the system's allocator, which plugins use, give free memory back. The host's own gives it
/// back by itself.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number and may be called at any time, on any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes of the process that lie in the machine's memory; none where the system does not say.
pub fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_process_occupies_something_before_and_after() {
        assert!(super::resident().unwrap() > 0);
        super::give_back();
        assert!(super::resident().unwrap() > 0);
    }
}
