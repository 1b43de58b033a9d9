//! Builds a catalog: takes every file through the static and trust stages, then decides which file
//! wins where several offer the same component.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::cache::Cache;
use super::super::discover::{self, Candidate, SearchPath};
use super::super::file::{FileId, Ownership, Sha256};
use super::super::inspect::{HostContract, Inspected, Inspection, Limits};
use super::super::keys::Keys;
use super::super::lock::Lock;
use super::super::manifest::{Kind, Manifest};
use super::super::quarantine::Quarantine;
use super::super::report::{FileReport, FileState, Refusal, RefusalReason, Stage};
use super::super::trust::Trust;
use super::super::trusted::Trusted;
use super::super::workers;
use super::{Barred, Catalog, PluginEntry, Standing};

/// Options of a scan.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// Size limit of a file, in bytes.
    pub max_file_size: u64,
    /// Limit of candidates per directory.
    pub max_files: usize,
    /// Directories whose files need no trust check.
    pub allow_untrusted: Vec<PathBuf>,
    /// Trusted keys; if there are any, plugins need a signature.
    pub keys: Keys,
    /// Plugins that failed a probe; they are refused.
    pub quarantine: Option<Quarantine>,
    /// If given, all plugins that it does not name are refused.
    pub lock: Option<Lock>,
    /// Names of plugins that are refused.
    pub disabled: Vec<String>,
    /// Directory of the cache of the static stage.
    pub cache_dir: Option<PathBuf>,
    /// The contract that plugins must fit.
    pub host: HostContract,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            max_file_size: 256 << 20,
            max_files: 10_000,
            allow_untrusted: Vec::new(),
            keys: Keys::default(),
            quarantine: None,
            lock: None,
            disabled: Vec::new(),
            cache_dir: None,
            host: HostContract::default(),
        }
    }
}

impl ScanOptions {
    /// The defaults with the user's trusted keys, quarantine and cache.
    pub fn of_user() -> Self {
        Self {
            keys: Keys::of_user(),
            quarantine: Quarantine::open(),
            cache_dir: super::super::user_cache_dir(),
            ..Self::default()
        }
    }
}

/// The result for one candidate.
enum Outcome {
    Ordinary,
    Plugin(Box<Trusted>),
    Barred(Box<Inspected>, Refusal),
    Refused(Refusal),
}

impl Catalog {
    /// Scans the search path. Never fails: problems of a file or directory are in its report.
    pub fn scan(path: &SearchPath, options: &ScanOptions) -> Self {
        let (candidates, dirs) = discover::discover(path, options.max_files);
        let outcomes = examine(&candidates, options);
        let mut catalog = Self { dirs, ..Self::default() };
        for (candidate, outcome) in candidates.iter().zip(outcomes) {
            catalog.add(candidate, outcome);
        }
        catalog.settle();
        catalog
    }

    /// A catalog of manifests without files, all in one directory; for tools and tests. Loading one
    /// of these plugins fails with `unreadable`.
    pub fn described(manifests: impl IntoIterator<Item = Manifest>) -> Self {
        let mut catalog = Self::default();
        for manifest in manifests {
            let path = PathBuf::from(format!("described/{}.so", manifest.plugin.name));
            let text = serde_json::to_string(&manifest).unwrap_or_default();
            let section = super::super::manifest::encode(&text);
            let candidate = Candidate::named(&path);
            let inspected = Inspected {
                candidate: candidate.clone(),
                resolved: path,
                id: FileId { device: 0, inode: 0, size: 0, modified: 0, changed: 0 },
                ownership: Ownership { user: 0, group: 0, mode: 0 },
                sha256: Sha256::of(&section),
                manifest,
                section,
            };
            catalog.add(&candidate, Outcome::Plugin(Box::new(Trusted(inspected))));
        }
        catalog.settle();
        catalog
    }

    fn add(&mut self, candidate: &Candidate, outcome: Outcome) {
        let mut report = FileReport {
            path: candidate.path.clone(),
            resolved: None,
            also_at: Vec::new(),
            origin: candidate.origin,
            state: FileState::Ok,
            plugin: None,
            version: None,
            sha256: None,
            shadowed_by: Vec::new(),
            refusal: None,
        };
        match outcome {
            Outcome::Ordinary => report.state = FileState::Ignored,
            Outcome::Refused(refusal) => {
                report.state = FileState::Refused;
                report.refusal = Some(refusal);
            }
            Outcome::Barred(inspected, refusal) => {
                describe(&mut report, &inspected);
                report.state = FileState::Refused;
                report.refusal = Some(refusal.clone());
                self.barred.push(Barred {
                    path: candidate.path.clone(),
                    sha256: Some(inspected.sha256),
                    manifest: inspected.manifest,
                    refusal,
                });
            }
            Outcome::Plugin(trusted) => {
                let sha256 = trusted.0.sha256;
                if let Some(entry) = self.plugins.iter_mut().find(|entry| entry.sha256() == sha256)
                {
                    entry.also_at.push(candidate.path.clone());
                    return;
                }
                describe(&mut report, &trusted.0);
                let standings = vec![Standing::Active; trusted.0.manifest.components.len()];
                self.plugins.push(PluginEntry {
                    trusted: *trusted,
                    also_at: Vec::new(),
                    standings,
                });
            }
        }
        self.files.push(report);
    }

    /// Decides which component each bare name refers to, and completes the reports.
    fn settle(&mut self) {
        let mut offers: BTreeMap<(Kind, String), Vec<(usize, usize)>> = BTreeMap::new();
        for (index, plugin) in self.plugins.iter().enumerate() {
            for (place, component) in plugin.manifest().components.iter().enumerate() {
                offers
                    .entry((component.kind, component.name.clone()))
                    .or_default()
                    .push((index, place));
            }
        }
        for offer in offers.values() {
            let (first, first_place) = offer[0];
            let dir_of =
                |catalog: &Self, index: usize| catalog.plugins[index].trusted.0.candidate.dir;
            let first_dir = dir_of(self, first);
            for &(index, place) in &offer[1..] {
                let tied = dir_of(self, index) == first_dir;
                if tied {
                    self.plugins[first].standings[first_place] = Standing::Tied { with: index };
                }
                self.plugins[index].standings[place] = if tied {
                    Standing::Tied { with: first }
                } else {
                    Standing::Shadowed { by: first }
                };
            }
        }
        self.complete_reports();
    }

    fn complete_reports(&mut self) {
        let places: BTreeMap<Sha256, usize> = self
            .plugins
            .iter()
            .enumerate()
            .map(|(index, plugin)| (plugin.sha256(), index))
            .collect();
        for report in self.files.iter_mut().filter(|report| report.state == FileState::Ok) {
            let hash = report.sha256.as_deref().and_then(Sha256::from_hex);
            let Some(plugin) =
                hash.and_then(|hash| places.get(&hash)).map(|&index| &self.plugins[index])
            else {
                continue;
            };
            report.state = plugin.state();
            report.also_at.clone_from(&plugin.also_at);
            let mut first: Vec<PathBuf> = Vec::new();
            for standing in &plugin.standings {
                if let Standing::Shadowed { by } = standing {
                    let path = self.plugins[*by].path();
                    if !first.iter().any(|known| known == path) {
                        first.push(path.to_owned());
                    }
                }
            }
            report.shadowed_by = first;
        }
    }
}

fn describe(report: &mut FileReport, inspected: &Inspected) {
    report.resolved = Some(inspected.resolved.clone())
        .filter(|_| std::fs::symlink_metadata(inspected.path()).is_ok_and(|m| m.is_symlink()));
    report.plugin = Some(inspected.manifest.plugin.name.clone());
    report.version = Some(inspected.manifest.plugin.version.clone());
    report.sha256 = Some(inspected.sha256.hex());
}

/// Checks that the host supports the plugin's contract.
fn supported(
    plugin: Box<Inspected>,
    limits: &Limits,
) -> Result<Box<Inspected>, (Box<Inspected>, Refusal)> {
    match plugin.check_contract(&limits.host) {
        Ok(()) => Ok(plugin),
        Err(refusal) => Err((plugin, refusal)),
    }
}

/// Checks a plugin against the user's settings, keys, the lock file and the quarantine.
fn allow(plugin: &Inspected, options: &ScanOptions, trust: &Trust) -> Result<(), Refusal> {
    if options.disabled.contains(&plugin.manifest.plugin.name) {
        return Err(Refusal::new(
            Stage::Trust,
            RefusalReason::Disabled,
            "it is disabled by its name",
            "take the name out of `--disable-plugin` or of `disable` under `[plugins]` to use it again",
        ));
    }
    if !trust.allows(plugin.path(), plugin.resolved()) {
        options.keys.check(plugin)?;
    }
    if let Some(lock) = &options.lock {
        lock.check(plugin)?;
    }
    match options.quarantine.as_ref().and_then(|quarantine| quarantine.get(plugin.sha256)) {
        Some(record) => Err(record.refusal()),
        None => Ok(()),
    }
}

/// Takes all candidates through the static and trust stages on several threads; returns the results
/// in the order of the candidates.
fn examine(candidates: &[Candidate], options: &ScanOptions) -> Vec<Outcome> {
    let limits = Limits { file_size: options.max_file_size, host: options.host.clone() };
    let trust = Trust::new(&options.allow_untrusted);
    let cache = Cache::read(options.cache_dir.as_deref());
    let outcomes = examine_with(candidates, options, &limits, &trust, &cache);
    cache.write();
    outcomes
}

fn examine_with(
    candidates: &[Candidate],
    options: &ScanOptions,
    limits: &Limits,
    trust: &Trust,
    cache: &Cache,
) -> Vec<Outcome> {
    let one = |candidate: &Candidate| match candidate.inspect_with(limits, cache) {
        Err(refusal) => Outcome::Refused(refusal),
        Ok(Inspection::OrdinaryLibrary) => Outcome::Ordinary,
        Ok(Inspection::Plugin(inspected)) => {
            match supported(inspected, limits).and_then(|inspected| inspected.trust(trust)) {
                Ok(trusted) => match allow(&trusted.0, options, trust) {
                    Ok(()) => Outcome::Plugin(Box::new(trusted)),
                    Err(refusal) => Outcome::Barred(Box::new(trusted.0), refusal),
                },
                Err((inspected, refusal)) => Outcome::Barred(inspected, refusal),
            }
        }
    };
    let workers = workers(candidates.len().div_ceil(8));
    if workers <= 1 {
        return candidates.iter().map(one).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::with_capacity(candidates.len()));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((index, candidate)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|i| Some((i, candidates.get(i)?)))
                {
                    let outcome = one(candidate);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}
