//! The static stage: opens a candidate, checks its ELF tables, hashes it and reads its manifest.
//!
//! No code of the file runs and no part of it is mapped: its bytes are read into memory, and checked
//! and hashed there.

use std::fs::File;
use std::path::{Path, PathBuf};

use object::read::ReadCache;

use super::cache::{Cache, Known};
use super::discover::Candidate;
use super::file::{self, FileId, OpenedFile, Ownership, Sha256};
use super::manifest::{ContractVersion, Manifest, PanicStrategy, SECTION, encode, section_text};
use super::report::{Refusal, RefusalReason, SearchOrigin, Stage};
use super::{elf, escape};

/// The contract that a host supports.
#[derive(Clone, Debug)]
pub struct HostContract {
    /// Its version.
    pub version: ContractVersion,
    /// Ids of the extensions that plugins may require.
    pub extensions: Vec<String>,
}

impl Default for HostContract {
    /// The contract of this host.
    fn default() -> Self {
        Self {
            version: super::CONTRACT,
            extensions: super::EXTENSIONS.iter().map(|&id| id.to_owned()).collect(),
        }
    }
}

/// Limits of the static stage.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Size limit of a file, in bytes.
    pub file_size: u64,
    /// The contract that plugins must fit.
    pub host: HostContract,
}

/// A plugin that passed the static stage.
#[derive(Clone, Debug)]
pub struct Inspected {
    pub(super) candidate: Candidate,
    pub(super) resolved: PathBuf,
    pub(super) id: FileId,
    pub(super) ownership: Ownership,
    pub(super) sha256: Sha256,
    pub(super) manifest: Manifest,
    pub(super) section: Vec<u8>,
}

impl Inspected {
    /// Path as found on the search path.
    pub fn path(&self) -> &Path {
        &self.candidate.path
    }

    /// Which part of the search path led to it.
    pub fn origin(&self) -> SearchOrigin {
        self.candidate.origin
    }

    /// Path without symbolic links.
    pub fn resolved(&self) -> &Path {
        &self.resolved
    }

    /// Hash of its bytes.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Its description.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Checks that the host supports the plugin's contract, extensions and panic strategy.
    ///
    /// # Errors
    /// `contract-too-old`, `contract-too-new`, `panic-aborts` or `missing-extension`.
    pub(super) fn check_contract(&self, host: &HostContract) -> Result<(), Refusal> {
        check_contract(&self.manifest, host)
    }
}

/// The result for a candidate that is not refused.
#[derive(Clone, Debug)]
pub enum Inspection {
    /// A plugin.
    Plugin(Box<Inspected>),
    /// A valid shared library without a manifest.
    OrdinaryLibrary,
}

fn refuse<T>(
    reason: RefusalReason,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal::new(Stage::Static, reason, message, help))
}

impl Candidate {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// Any reason of the static stage.
    pub fn inspect(&self, limits: &Limits) -> Result<Inspection, Refusal> {
        let result = self.inspect_with(limits, &Cache::default())?;
        if let Inspection::Plugin(plugin) = &result {
            plugin.check_contract(&limits.host)?;
        }
        Ok(result)
    }

    /// As [`Candidate::inspect`], with a cache and without a check of the contract.
    pub(super) fn inspect_with(
        &self,
        limits: &Limits,
        cache: &Cache,
    ) -> Result<Inspection, Refusal> {
        let mut opened = file::open(&self.path)?;
        let cached = cache
            .get(&opened.id)
            .filter(|_| opened.id.size <= limits.file_size)
            .and_then(|known| self.recall(known, &opened));
        cached.unwrap_or_else(|| {
            let result = self.examine(&mut opened, limits);
            if let Some(known) = to_cache(&result) {
                cache.put(&opened.id, known);
            }
            result
        })
    }

    /// Reads and checks the bytes.
    fn examine(&self, opened: &mut OpenedFile, limits: &Limits) -> Result<Inspection, Refusal> {
        let size = opened.id.size;
        if !has_manifest(&opened.file, size, limits.file_size)? {
            return Ok(Inspection::OrdinaryLibrary);
        }
        let bytes = file::read_all(&mut opened.file, &opened.id)?;
        // Check again: the bytes that are hashed may differ from those checked before.
        let Some(range) = elf::check(&bytes[..], size, SECTION)?.manifest else {
            return Ok(Inspection::OrdinaryLibrary);
        };
        let section = bounds(range).and_then(|range| bytes.get(range)).unwrap_or_default().to_vec();
        let manifest = Manifest::from_section(&section).or_else(|e| {
            refuse(
                RefusalReason::BadManifest,
                e.to_string(),
                "build it again with the current export macro, or tell its author",
            )
        })?;
        Ok(self.found(opened, Sha256::of(&bytes), manifest, section))
    }

    fn found(
        &self,
        opened: &OpenedFile,
        sha256: Sha256,
        manifest: Manifest,
        section: Vec<u8>,
    ) -> Inspection {
        let (resolved, id, ownership) = (opened.resolved.clone(), opened.id, opened.ownership);
        Inspection::Plugin(Box::new(Inspected {
            candidate: self.clone(),
            resolved,
            id,
            ownership,
            sha256,
            manifest,
            section,
        }))
    }

    /// The result in the cache; `None` if the entry is invalid.
    fn recall(&self, known: &Known, opened: &OpenedFile) -> Option<Result<Inspection, Refusal>> {
        match known {
            Known::Ordinary => Some(Ok(Inspection::OrdinaryLibrary)),
            Known::Plugin { sha256, manifest: text } => {
                let (sha256, manifest) = (Sha256::from_hex(sha256)?, Manifest::recall(text)?);
                Some(Ok(self.found(opened, sha256, manifest, encode(text))))
            }
            Known::Refused { reason, message, help } => {
                let reason = RefusalReason::ALL.iter().find(|known| known.code() == reason)?;
                Some(refuse(*reason, escape::controls(message), escape::controls(help)))
            }
        }
    }
}

/// The cache entry for a result; `None` if it depends on more than the bytes.
fn to_cache(result: &Result<Inspection, Refusal>) -> Option<Known> {
    match result {
        Ok(Inspection::OrdinaryLibrary) => Some(Known::Ordinary),
        Ok(Inspection::Plugin(plugin)) => {
            let text = section_text(&plugin.section).ok()?;
            Some(Known::Plugin { sha256: plugin.sha256.hex(), manifest: text.to_owned() })
        }
        Err(refusal) => Known::refused(refusal),
    }
}

fn bounds(range: std::ops::Range<u64>) -> Option<std::ops::Range<usize>> {
    Some(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

/// Whether the file has a manifest, by its headers alone. Ordinary libraries are not read further.
///
/// # Errors
/// Reasons of the ELF check, and `too-large` if the file has a manifest, but is over the limit.
fn has_manifest(file: &File, size: u64, limit: u64) -> Result<bool, Refusal> {
    let too_large = || {
        refuse(
            RefusalReason::TooLarge,
            format!("it has {size} bytes; at most {limit} are read"),
            "strip its debug information, or keep it elsewhere",
        )
    };
    let cache = ReadCache::new(file);
    match elf::check(&cache, size, SECTION) {
        Ok(found) if found.manifest.is_none() => Ok(false),
        Err(refusal) if refusal.reason != RefusalReason::NotElf => Err(refusal),
        _ if size > limit => too_large(),
        Ok(_) => Ok(true),
        Err(refusal) => Err(refusal),
    }
}

fn check_contract(manifest: &Manifest, host: &HostContract) -> Result<(), Refusal> {
    let (theirs, ours) = (manifest.contract, host.version);
    // The host supports its own major version and the one before, from version 2 on.
    let oldest = ours.major.saturating_sub(1).max(1);
    if theirs.major < oldest {
        let message = format!(
            "it was built against contract {theirs}; this host supports {oldest}.0 to {ours}"
        );
        return refuse(
            RefusalReason::ContractTooOld,
            message,
            format!("build the plugin again against contract {ours}"),
        );
    }
    if theirs.major > ours.major {
        let message = format!(
            "it was built against contract {theirs}; this host supports {oldest}.0 to {ours}"
        );
        return refuse(
            RefusalReason::ContractTooNew,
            message,
            format!(
                "install a fluxbay that supports contract {theirs}, or an older release of the plugin"
            ),
        );
    }
    if manifest.plugin.panic == PanicStrategy::Abort {
        return refuse(
            RefusalReason::PanicAborts,
            "it was built with panic = \"abort\", so that a panic in it would end the whole run",
            "remove `panic = \"abort\"` from the profile that it is built with, and build it again",
        );
    }
    for component in &manifest.components {
        if let Some(missing) = component.requires.iter().find(|id| !host.extensions.contains(id)) {
            let message = format!(
                "its {} needs the extension {}, which this host does not have",
                component.id(),
                escape::text(missing)
            );
            return refuse(
                RefusalReason::MissingExtension,
                message,
                "install a newer fluxbay, or an older release of the plugin",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_whose_panics_abort_is_refused() {
        let text = r#"{"schema":1,"contract":"1.0","plugin":{"name":"a","version":"1.0.0","panic":"abort"},"components":[]}"#;
        let manifest = Manifest::parse(text).expect("good");
        let refusal = check_contract(&manifest, &HostContract::default()).expect_err("aborts");
        assert_eq!(refusal.reason, RefusalReason::PanicAborts);
    }

    #[test]
    fn the_contract_is_served_for_this_and_the_previous_major_version() {
        let manifest = |contract: &str| {
            let text = format!(
                r#"{{"schema":1,"contract":"{contract}","plugin":{{"name":"a","version":"1.0.0"}},
                "components":[{{"kind":"loss","name":"l","requires":["fluxbay.x/2"]}}]}}"#
            );
            Manifest::parse(&text).expect("good")
        };
        let verdict = |contract: &str, major: u16, minor: u16, extensions: &[&str]| {
            let host = HostContract {
                version: ContractVersion::new(major, minor),
                extensions: extensions.iter().map(|&e| e.to_owned()).collect(),
            };
            check_contract(&manifest(contract), &host).map_err(|r| r.reason)
        };
        assert_eq!(verdict("1.0", 1, 0, &["fluxbay.x/2"]), Ok(()));
        assert_eq!(verdict("1.7", 1, 0, &["fluxbay.x/2"]), Ok(()));
        assert_eq!(verdict("0.9", 1, 0, &["fluxbay.x/2"]), Err(RefusalReason::ContractTooOld));
        assert_eq!(verdict("1.0", 2, 3, &["fluxbay.x/2"]), Ok(()));
        assert_eq!(verdict("1.0", 3, 0, &["fluxbay.x/2"]), Err(RefusalReason::ContractTooOld));
        assert_eq!(verdict("2.0", 1, 9, &["fluxbay.x/2"]), Err(RefusalReason::ContractTooNew));
        assert_eq!(verdict("1.0", 1, 0, &["fluxbay.x/1"]), Err(RefusalReason::MissingExtension));
    }
}
