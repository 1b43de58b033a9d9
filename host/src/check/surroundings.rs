//! State of the process that a plugin must not change.

use std::ffi::OsString;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::process::Resource;

/// See the module. Threads are compared separately, since the host starts some as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Surroundings {
    folder: Option<PathBuf>,
    /// Masks of signals that are blocked, ignored and handled.
    signals: Vec<String>,
    umask: Option<String>,
    environment: Vec<(OsString, OsString)>,
    /// Device and inode of the standard descriptors.
    descriptors: [Option<(u64, u64)>; 3],
    arithmetic: [u64; 5],
    limits: Vec<Option<u64>>,
    /// Processes that this one started.
    processes: Vec<String>,
}

/// Results that depend on the rounding mode and on how subnormal numbers are treated.
fn arithmetic() -> [u64; 5] {
    let quotient = |one: f64, other: f64| (black_box(one) / black_box(other)).to_bits();
    let product = |one: f64, other: f64| (black_box(one) * black_box(other)).to_bits();
    [
        quotient(1.0, 3.0),
        quotient(-1.0, 3.0),
        quotient(2.0, 3.0),
        product(f64::MIN_POSITIVE, 0.5),
        product(f64::from_bits(1), 1.0),
    ]
}

impl Surroundings {
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line =
            |name: &str| status.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        let descriptor = |number: usize| {
            let metadata = fs::metadata(format!("/proc/self/fd/{number}")).ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        let limits =
            [Resource::As, Resource::Cpu, Resource::Fsize, Resource::Nofile, Resource::Nproc];
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let children =
            tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        Self {
            folder: std::env::current_dir().ok(),
            signals: ["SigBlk", "SigIgn", "SigCgt"].into_iter().filter_map(line).collect(),
            umask: line("Umask"),
            environment: std::env::vars_os().collect(),
            descriptors: [0, 1, 2].map(descriptor),
            arithmetic: arithmetic(),
            limits: limits.map(|one| rustix::process::getrlimit(one).current).to_vec(),
            processes: children
                .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
                .collect(),
        }
    }

    /// Puts back the working folder and the umask, so that a plugin that changes them only fails its
    /// own checks.
    pub(super) fn restore(&self) {
        if let Some(folder) = &self.folder {
            let _ = std::env::set_current_dir(folder);
        }
        let octal = self.umask.as_deref().and_then(|line| line.split_whitespace().nth(1));
        if let Some(mask) = octal.and_then(|octal| u32::from_str_radix(octal, 8).ok()) {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        }
    }

    /// What differs `after` a plugin's code ran.
    pub(super) fn differences(&self, after: &Self) -> Vec<&'static str> {
        let mut processes = after.processes.iter();
        [
            (self.folder != after.folder, "the working folder was changed"),
            (self.signals != after.signals, "handlers or masks of signals were changed"),
            (self.umask != after.umask, "the umask was changed"),
            (self.environment != after.environment, "environment variables were changed"),
            (self.descriptors != after.descriptors, "a standard descriptor was closed or replaced"),
            (
                self.arithmetic != after.arithmetic,
                "the rounding mode or the treatment of subnormal numbers was changed",
            ),
            (self.limits != after.limits, "resource limits were changed"),
            (
                processes.any(|process| !self.processes.contains(process)),
                "a process was started and left behind",
            ),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let before = Surroundings::now();
        let after = Surroundings {
            folder: None,
            umask: Some("Umask:\t0777".into()),
            arithmetic: [0; 5],
            processes: vec!["1".into()],
            ..before.clone()
        };
        let words: Vec<&str> =
            before.differences(&after).iter().filter_map(|text| text.split(' ').nth(1)).collect();
        assert_eq!(words, ["working", "umask", "rounding", "process"]);
        assert!(before.differences(&before).is_empty());
    }
}
