//! `environment.json`: host, hardware, seed and command line of a run, to explain its results later.

use std::fs;

use serde::Serialize;

use super::Timestamp;

/// The content of `environment.json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Environment {
    /// Version of the host.
    pub host: String,
    /// Version of the contract.
    pub contract: String,
    /// Operating system, with the kernel version if known.
    pub os: String,
    /// Architecture, such as `x86_64`.
    pub architecture: String,
    /// Model of the processor; empty if unknown.
    pub processor: String,
    /// Number of logical processors available to the process.
    pub processors: usize,
    /// Memory in bytes, if known.
    pub memory: Option<u64>,
    /// Threads for tensor work.
    pub threads: usize,
    /// Device of the tensors.
    pub device: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// The command line.
    pub command_line: Vec<String>,
    /// Start of the run.
    pub started: String,
}

impl Environment {
    /// Collects the environment of this process.
    pub fn gather(threads: usize, device: &str, seed: u64) -> Environment {
        let contract = fluxbay_plugin::abi::entry::CONTRACT;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Environment {
            host: env!("CARGO_PKG_VERSION").to_owned(),
            contract: format!("{}.{}", contract.major, contract.minor),
            os: format!("{} {}", std::env::consts::OS, kernel.trim()).trim().to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            processor: line_of("/proc/cpuinfo", "model name").unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory: line_of("/proc/meminfo", "MemTotal").and_then(|text| {
                Some(text.strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
            }),
            threads,
            device: device.to_owned(),
            seed,
            command_line: as_typed(
                std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()),
            ),
            started: Timestamp::now().rfc3339(),
        }
    }
}

/// The arguments without those that the supervisor adds for its worker.
fn as_typed(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut arguments: Vec<String> = arguments.collect();
    if arguments.get(1).is_some_and(|first| first == crate::breadcrumb::WORKER_OPTION) {
        arguments.drain(1..arguments.len().min(3));
    }
    arguments
}

/// The value of the first line `key : value` in a file.
fn line_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line =
        text.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_recorded_as_typed() {
        let kept = |text: &str| as_typed(text.split(' ').map(str::to_owned)).join(" ");
        assert_eq!(
            kept("fluxbay --supervised 5 train --set run.epochs=3"),
            "fluxbay train --set run.epochs=3"
        );
        assert_eq!(kept("fluxbay train a.toml"), "fluxbay train a.toml");
    }
}
