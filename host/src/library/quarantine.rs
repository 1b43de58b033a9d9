//! What is remembered of probes: plugins that failed, by the hash of their bytes, and those that
//! passed.
//!
//! A plugin that crashed, left, hung or took all memory is not tried again until its bytes change
//! or the user lifts the quarantine. One that passed is not probed again by the same release of
//! this host. A record that cannot be read counts as none, which leads to another probe and never
//! to an unprobed load.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::discover;
use super::inspect::{Inspected, Sha256};
use super::probe::Failure;
use super::report::{Reason, Refusal, Stage};
use super::{shown, store};

/// Number of the records' own format.
const SCHEMA: u32 = 1;
/// The longest record that is read, in bytes.
const MAX_RECORD: u64 = 1 << 20;

/// Why a plugin is in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    schema: u32,
    /// Hash of the plugin's bytes, in hexadecimal.
    pub sha256: String,
    /// Its name and version.
    pub plugin: String,
    /// Where it was found, printable.
    pub path: String,
    /// Seconds since 1970.
    pub time: u64,
    /// Code of the reason, such as `crashed`.
    pub reason: String,
    /// What happened, printable.
    pub message: String,
    /// The end of what it printed, printable.
    pub output: String,
}

impl Record {
    /// How a scan reports the file.
    pub fn refusal(&self) -> Refusal {
        let short = &self.sha256[..self.sha256.len().min(12)];
        Refusal::fixed(
            Stage::Probe,
            Reason::Quarantined,
            format!("it failed before and has not changed: {}: {}", self.reason, self.message),
            format!(
                "install a mended version, or have it tried again with `fluxbay quarantine --lift {short}`"
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
    /// The records in the user's cache directory; none, with a warning, where that cannot be used.
    pub fn open() -> Option<Self> {
        let dir = discover::user_cache_dir()?;
        match Self::at(&dir) {
            Ok(quarantine) => Some(quarantine),
            Err(refusal) => {
                log::warn!(
                    "nothing is remembered of plugins that were tried, because {}",
                    refusal.message
                );
                None
            }
        }
    }

    /// The records below `dir`.
    ///
    /// # Errors
    /// `store-failed`, if it cannot be made or others could write to it.
    pub fn at(dir: &Path) -> Result<Self, Refusal> {
        let this = Self { failed: dir.join("quarantine"), passed: dir.join("passed") };
        store::private_dir(&this.failed)?;
        store::private_dir(&this.passed)?;
        Ok(this)
    }

    /// Why the plugin with this hash is in quarantine, if it is.
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

    /// Remembers a failure, if it is one that says something of the plugin alone.
    pub(super) fn add(&self, plugin: &Inspected, failure: &Failure) {
        let refusal = &failure.refusal;
        if !matches!(
            refusal.reason,
            Reason::Crashed
                | Reason::Exited
                | Reason::TimedOut
                | Reason::OutOfMemory
                | Reason::ProtocolError
        ) {
            return;
        }
        let info = &plugin.manifest().plugin;
        let record = Record {
            schema: SCHEMA,
            sha256: plugin.sha256().hex(),
            plugin: format!("{} {}", info.name, info.version),
            path: shown::path(plugin.path()),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            reason: refusal.reason.code().to_owned(),
            message: refusal.message.clone(),
            output: failure.output.clone(),
        };
        let json = serde_json::to_string_pretty(&record).unwrap_or_default();
        write(&self.failed, plugin.sha256(), &json);
    }

    /// Whether this release of the host has probed the plugin and found it good.
    pub(super) fn has_passed(&self, sha256: Sha256) -> bool {
        fs::read_to_string(self.passed.join(format!("{sha256}.json")))
            .is_ok_and(|text| text == host())
    }

    /// Remembers that the plugin passed.
    pub(super) fn set_passed(&self, sha256: Sha256) {
        write(&self.passed, sha256, &host());
    }

    /// Takes a plugin out of quarantine; false if it was not there.
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

/// Which host found a plugin good.
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
        log::warn!(
            "{} is no record of a plugin in quarantine and is passed over",
            shown::path(path)
        );
    }
    record.map(|mut record| {
        // The file may have been edited; everything of it is printed.
        for text in [&mut record.plugin, &mut record.path, &mut record.reason, &mut record.message]
        {
            *text = shown::controls(text);
        }
        record.output = shown::paragraph(&record.output);
        record
    })
}

/// Writes a record aside and renames it.
fn write(dir: &Path, sha256: Sha256, text: &str) {
    let written =
        tempfile::Builder::new().prefix(".new-").tempfile_in(dir).and_then(|mut aside| {
            aside.write_all(text.as_bytes())?;
            aside.persist(dir.join(format!("{sha256}.json"))).map_err(|error| error.error)?;
            Ok(())
        });
    if let Err(error) = written {
        log::warn!(
            "what was found out about a plugin cannot be kept in {}: {error}",
            shown::path(dir)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Catalog;

    fn failure(reason: Reason) -> Failure {
        Failure {
            refusal: Refusal::fixed(Stage::Probe, reason, "loading it ended the process", "m"),
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
        quarantine.add(&plugin, &failure(Reason::LinkFailed));
        assert!(
            quarantine.get(plugin.sha256()).is_none(),
            "a missing library may be installed tomorrow"
        );
        quarantine.add(&plugin, &failure(Reason::Crashed));
        let record = quarantine.get(plugin.sha256()).expect("remembered");
        assert_eq!((record.reason.as_str(), record.output.as_str()), ("crashed", "a\\x1bb"));
        assert_eq!(record.refusal().reason, Reason::Quarantined);
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
