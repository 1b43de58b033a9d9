//! Saved results of probes: plugins that failed, and plugins that passed, by the hash of their bytes.
//!
//! A plugin that failed is refused until its bytes change or the user lifts the quarantine. A plugin
//! that passed is not probed again by the same release of the host. A record that cannot be read
//! counts as missing, so that the plugin is probed again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::file::{self, Sha256};
use super::inspect::Inspected;
use super::probe::ProbeFailure;
use super::report::{Refusal, RefusalReason, Stage};
use super::{directories, escape};

/// Version of the records' format.
const SCHEMA: u32 = 1;
/// Size limit of a record, in bytes.
const MAX_RECORD: u64 = 1 << 20;

/// Why a plugin is in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    schema: u32,
    /// Hash of the plugin's bytes, in hexadecimal.
    pub sha256: String,
    /// Its name and version.
    pub plugin: String,
    /// Path where it was found, escaped.
    pub path: String,
    /// Seconds since 1970.
    pub time: u64,
    /// Code of the reason, such as `crashed`.
    pub reason: String,
    /// What happened, escaped.
    pub message: String,
    /// The end of its output, escaped.
    pub output: String,
}

impl Record {
    /// The refusal of a scan.
    pub fn refusal(&self) -> Refusal {
        let short = &self.sha256[..self.sha256.len().min(12)];
        Refusal::new(
            Stage::Probe,
            RefusalReason::Quarantined,
            format!("it failed before and has not changed: {}: {}", self.reason, self.message),
            format!(
                "install a fixed version, or try it again with `fluxbay quarantine --lift {short}`"
            ),
        )
    }
}

/// The user's records of probes.
#[derive(Clone, Debug)]
pub struct Quarantine {
    failed: PathBuf,
    passed: PathBuf,
}

impl Quarantine {
    /// The records in the user's cache directory; `None`, with a warning, if that cannot be used.
    pub fn open() -> Option<Self> {
        let dir = directories::user_cache_dir()?;
        match Self::at(&dir) {
            Ok(quarantine) => Some(quarantine),
            Err(refusal) => {
                log::warn!("results of probes are not saved: {}", refusal.message);
                None
            }
        }
    }

    /// The records below `dir`.
    ///
    /// # Errors
    /// `store-failed` if it cannot be created or others could write to it.
    pub fn at(dir: &Path) -> Result<Self, Refusal> {
        let this = Self { failed: dir.join("quarantine"), passed: dir.join("passed") };
        directories::private_dir(&this.failed)?;
        directories::private_dir(&this.passed)?;
        Ok(this)
    }

    /// The record of the plugin with this hash, if it is in quarantine.
    pub fn get(&self, sha256: Sha256) -> Option<Record> {
        read(&self.failed.join(format!("{sha256}.json")))
            .filter(|record| record.sha256 == sha256.hex())
    }

    /// All records, by hash.
    pub fn list(&self) -> Vec<Record> {
        let entries = fs::read_dir(&self.failed).into_iter().flatten().flatten();
        let hashes = entries.filter_map(|entry| {
            Sha256::from_hex(entry.file_name().to_str()?.strip_suffix(".json")?)
        });
        let mut records: Vec<Record> = hashes.filter_map(|hash| self.get(hash)).collect();
        records.sort_by(|a, b| a.sha256.cmp(&b.sha256));
        records
    }

    /// Saves a failure, if it depends on the plugin alone.
    pub(super) fn add(&self, plugin: &Inspected, failure: &ProbeFailure) {
        let refusal = &failure.refusal;
        if !matches!(
            refusal.reason,
            RefusalReason::Crashed
                | RefusalReason::Exited
                | RefusalReason::TimedOut
                | RefusalReason::OutOfMemory
                | RefusalReason::ProtocolError
        ) {
            return;
        }
        let info = &plugin.manifest().plugin;
        let record = Record {
            schema: SCHEMA,
            sha256: plugin.sha256().hex(),
            plugin: format!("{} {}", info.name, info.version),
            path: escape::path(plugin.path()),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            reason: refusal.reason.code().to_owned(),
            message: refusal.message.clone(),
            output: failure.output.clone(),
        };
        let json = serde_json::to_string_pretty(&record).unwrap_or_default();
        write(&self.failed, plugin.sha256(), &json);
    }

    /// Whether the plugin passed the probe of this release of the host.
    pub(super) fn has_passed(&self, sha256: Sha256) -> bool {
        fs::read_to_string(self.passed.join(format!("{sha256}.json")))
            .is_ok_and(|text| text == host())
    }

    /// Saves that the plugin passed.
    pub(super) fn set_passed(&self, sha256: Sha256) {
        write(&self.passed, sha256, &host());
    }

    /// Removes a plugin from quarantine; returns false if it was not in it.
    ///
    /// # Errors
    /// The record cannot be removed.
    pub fn lift(&self, sha256: &str) -> io::Result<bool> {
        let Some(sha256) = Sha256::from_hex(sha256) else { return Ok(false) };
        match fs::remove_file(self.failed.join(format!("{sha256}.json"))) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Identifies the release of the host in the records of plugins that passed.
fn host() -> String {
    format!("fluxbay {} contract {}", env!("CARGO_PKG_VERSION"), super::CONTRACT)
}

fn read(path: &Path) -> Option<Record> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let text = (metadata.is_file() && metadata.len() <= MAX_RECORD)
        .then(|| fs::read_to_string(path).ok())
        .flatten();
    let record = text
        .and_then(|text| serde_json::from_str::<Record>(&text).ok())
        .filter(|record| record.schema == SCHEMA);
    if record.is_none() {
        log::warn!("{} is no record of a plugin in quarantine and is ignored", escape::path(path));
    }
    record.map(|mut record| {
        // Everything is printed, and the file may have been edited.
        for text in [&mut record.plugin, &mut record.path, &mut record.reason, &mut record.message]
        {
            *text = escape::controls(text);
        }
        record.output = escape::paragraph(&record.output);
        record
    })
}

fn write(dir: &Path, sha256: Sha256, text: &str) {
    if let Err(error) = file::replace(&dir.join(format!("{sha256}.json")), text.as_bytes(), 0o600) {
        log::warn!("the result of a probe cannot be saved in {}: {error}", escape::path(dir));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Catalog;

    fn failure(reason: RefusalReason) -> ProbeFailure {
        ProbeFailure {
            refusal: Refusal::new(Stage::Probe, reason, "loading it ended the process", "m"),
            output: "a\u{1b}b".into(),
        }
    }

    fn plugin() -> Inspected {
        let text = r#"{"schema":1,"contract":"1.0","plugin":{"name":"a","version":"1.0.0"}}"#;
        let catalog = Catalog::described([crate::library::Manifest::parse(text).expect("good")]);
        catalog.plugins()[0].trusted().inspected().clone()
    }

    #[test]
    fn a_failure_is_remembered_by_hash_until_it_is_lifted() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let quarantine = Quarantine::at(dir.path()).expect("private");
        let plugin = plugin();
        quarantine.add(&plugin, &failure(RefusalReason::LinkFailed));
        assert!(
            quarantine.get(plugin.sha256()).is_none(),
            "a missing library may be installed tomorrow"
        );
        quarantine.add(&plugin, &failure(RefusalReason::Crashed));
        let record = quarantine.get(plugin.sha256()).expect("remembered");
        assert_eq!((record.reason.as_str(), record.output.as_str()), ("crashed", "a\\x1bb"));
        assert_eq!(record.refusal().reason, RefusalReason::Quarantined);
        assert_eq!(quarantine.list(), std::slice::from_ref(&record));
        assert!(quarantine.lift(&record.sha256).expect("removable"));
        assert!(!quarantine.lift(&record.sha256).expect("gone already"));
        assert!(quarantine.get(plugin.sha256()).is_none());
    }

    #[test]
    fn what_passed_is_known_to_the_same_host_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let quarantine = Quarantine::at(dir.path()).expect("private");
        let hash = Sha256::of(b"x");
        assert!(!quarantine.has_passed(hash));
        quarantine.set_passed(hash);
        assert!(quarantine.has_passed(hash));
        fs::write(dir.path().join(format!("passed/{hash}.json")), "fluxbay 0.0.1 contract 0.1")
            .expect("ours");
        assert!(!quarantine.has_passed(hash));
    }

    #[test]
    fn damaged_records_count_as_none() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let quarantine = Quarantine::at(dir.path()).expect("private");
        let hash = Sha256::of(b"x");
        for text in ["", "{", "[]", r#"{"schema":2}"#] {
            fs::write(dir.path().join(format!("quarantine/{hash}.json")), text).expect("ours");
            assert!(quarantine.get(hash).is_none() && quarantine.list().is_empty());
        }
        fs::write(dir.path().join("quarantine/other.json"), "").expect("ours");
        assert!(quarantine.list().is_empty());
    }
}
