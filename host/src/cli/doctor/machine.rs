//! Processors, memory, limits and network of this machine.

use std::fs;
use std::net::ToSocketAddrs as _;
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

/// What was found; sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Machine {
    /// Name on the network.
    pub name: String,
    /// Model of the processor; empty if unknown.
    pub processor: String,
    /// Number of logical processors available to this process.
    pub processors: usize,
    /// Memory, and how much of it is available; not more than a container may use.
    pub memory: Option<(u64, u64)>,
    /// Files that a process may open, and the most that this can be raised to; none for no limit.
    pub open_files: Option<(u64, Option<u64>)>,
    /// Size of /dev/shm, and how much of it is free.
    pub shared_memory: Option<(u64, u64)>,
    /// Whether the name of the machine leads to an address.
    pub has_address: bool,
    /// Network interfaces by name.
    pub network: Vec<Interface>,
    /// Names of the InfiniBand devices.
    pub infiniband: Vec<String>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Interface {
    /// Its name.
    pub name: String,
    /// As the system says it: `up`, `down` or `unknown`.
    pub state: String,
    /// Megabits per second, if known.
    pub speed: Option<u64>,
    /// Most bytes of a packet.
    pub mtu: u64,
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

impl Machine {
    /// Asks the system.
    pub(super) fn look() -> Machine {
        let name = read("/proc/sys/kernel/hostname").unwrap_or_default();
        let files = getrlimit(Resource::Nofile);
        let has_address =
            (name.as_str(), 0).to_socket_addrs().is_ok_and(|mut all| all.next().is_some());
        let shared = rustix::fs::statvfs("/dev/shm");
        Machine {
            has_address,
            name,
            processor: field(&read("/proc/cpuinfo").unwrap_or_default(), "model name")
                .unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory(
                &read("/proc/meminfo").unwrap_or_default(),
                read("/sys/fs/cgroup/memory.max").as_deref(),
                read("/sys/fs/cgroup/memory.current").as_deref(),
            ),
            open_files: files.current.map(|limit| (limit, files.maximum)),
            shared_memory: shared
                .ok()
                .map(|of| (of.f_blocks * of.f_frsize, of.f_bavail * of.f_frsize)),
            network: names("/sys/class/net").into_iter().filter_map(interface).collect(),
            infiniband: names("/sys/class/infiniband"),
        }
    }
}

/// The value of the first line `key : value`.
fn field(text: &str, key: &str) -> Option<String> {
    let of_key = |line: &&str| line.split(':').next().is_some_and(|name| name.trim() == key);
    Some(text.lines().find(of_key)?.split_once(':')?.1.trim().to_owned())
}

/// Memory and how much of it is available, from `/proc/meminfo` and what the control group allows and
/// uses.
fn memory(text: &str, most: Option<&str>, used: Option<&str>) -> Option<(u64, u64)> {
    let kilobytes =
        |key| Some(field(text, key)?.strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024);
    let (total, available) = (kilobytes("MemTotal")?, kilobytes("MemAvailable")?);
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    match (number(most).filter(|most| *most < total), number(used)) {
        (Some(most), used) => {
            Some((most, available.min(most.saturating_sub(used.unwrap_or_default()))))
        }
        (None, _) => Some((total, available)),
    }
}

/// An interface of the system; none for the one that leads back to this machine, and for those that
/// are switched off.
fn interface(name: String) -> Option<Interface> {
    let of = |file: &str| read(format!("/sys/class/net/{name}/{file}"));
    let state = of("operstate")?;
    if state == "down" || name == "lo" {
        return None;
    }
    let speed = of("speed").and_then(|text| text.parse().ok());
    Some(Interface { state, speed, mtu: of("mtu")?.parse().ok()?, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_a_container_may_use() {
        let text = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n";
        let kib = 1024;
        assert_eq!(memory(text, None, None), Some((1000 * kib, 600 * kib)));
        assert_eq!(memory(text, Some("max"), Some("5")), Some((1000 * kib, 600 * kib)));
        let limit = (400 * kib).to_string();
        let used = (100 * kib).to_string();
        assert_eq!(memory(text, Some(&limit), Some(&used)), Some((400 * kib, 300 * kib)));
        assert_eq!(memory("", None, None), None);
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::look();
        assert!(machine.processors > 0 && machine.memory.is_some(), "{machine:?}");
        assert!(machine.network.iter().all(|interface| interface.name != "lo"), "{machine:?}");
    }
}
