//! How much memory the host has left.

use std::fs;

/// Whether a block of this size can be used: the system has the memory, and this process may map it.
/// Returns how many bytes can be allocated before it is worth asking again; the error is how much
/// memory there is, if that is known.
pub(crate) fn fits(bytes: usize) -> Result<u64, Option<u64>> {
    let available = available();
    if available.is_some_and(|available| bytes as u64 > available) {
        return Err(available);
    }
    // The block is mapped and released again: limits of the process are noticed, no page is touched.
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| None)?;
    Ok(available.map_or(0, |available| (available - bytes as u64) / 2))
}

/// An upper bound of the memory that a block can have: what the system or the control group has
/// left, and what this process has, since its allocator may keep freed memory for reuse.
fn available() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok();
    let own = fs::read_to_string("/proc/self/status").ok();
    let own = own.and_then(|text| kilobytes(&text, "VmRSS:")).unwrap_or(0);
    let system = system.and_then(|text| {
        Some(kilobytes(&text, "MemAvailable:")? + kilobytes(&text, "SwapFree:").unwrap_or(0))
    });
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max")
        .zip(number("/sys/fs/cgroup/memory.current"))
        .map(|(most, used)| most.saturating_sub(used));
    system.into_iter().chain(group).min().map(|left| left + own)
}

/// A line such as `MemAvailable:  123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
