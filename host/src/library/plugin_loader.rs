//! Loads plugins of the catalog: copy to the store, probe, load.
//!
//! For several plugins the store and the quarantine are opened once, and the copies are hashed and
//! probed on several threads while others are linked.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use fluxbay_plugin::abi::host::HostTable;

use super::catalog::PluginEntry;
use super::load::{LoadError, Loaded};
use super::probe::{self, ProbeLimits};
use super::quarantine::Quarantine;
use super::report::Refusal;
use super::shared_names::SharedNames;
use super::store::{Store, Stored};
use super::{escape, workers};

/// The store of copies and the saved results of probes.
#[derive(Debug)]
pub struct PluginLoader {
    store: Store,
    quarantine: Option<Quarantine>,
    /// Names of the plugins loaded so far, to warn about those that are shared.
    shared_names: Mutex<Vec<(String, SharedNames)>>,
}

/// Loads a plugin from the user's store and connects it to `host`. If probing is enabled
/// ([`probe::enable`]), a plugin that has not passed before is probed first.
///
/// # Errors
/// The refusal; the library may stay mapped.
pub fn load(plugin: &PluginEntry, host: &'static HostTable) -> Result<Loaded, LoadError> {
    let loader = PluginLoader::open()
        .map_err(|refusal| LoadError { path: plugin.path().to_owned(), refusal })?;
    loader.load(plugin, host)
}

/// As [`load`], with a given store.
///
/// # Errors
/// As [`load`].
pub fn load_from(
    plugin: &PluginEntry,
    host: &'static HostTable,
    store: &Store,
) -> Result<Loaded, LoadError> {
    PluginLoader::at(store.clone()).load(plugin, host)
}

impl PluginLoader {
    /// Opens the user's store and quarantine.
    ///
    /// # Errors
    /// `store-failed`.
    pub fn open() -> Result<Self, Refusal> {
        Ok(Self::at(Store::open()?))
    }

    /// As [`PluginLoader::open`], with a given store.
    pub fn at(store: Store) -> Self {
        Self {
            store,
            quarantine: probe::program().and_then(|_| Quarantine::open()),
            shared_names: Mutex::default(),
        }
    }

    /// Loads one plugin and connects it to `host`.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(
        &self,
        plugin: &PluginEntry,
        host: &'static HostTable,
    ) -> Result<Loaded, LoadError> {
        self.finish(plugin, self.prepare(plugin), host)
    }

    /// Loads several plugins in their order; hashes and probes them on several threads.
    ///
    /// # Errors
    /// As [`load`], for each.
    pub fn load_all(
        &self,
        plugins: &[&PluginEntry],
        host: &'static HostTable,
    ) -> Vec<Result<Loaded, LoadError>> {
        let jobs = Jobs {
            next: AtomicUsize::new(0),
            ready: Mutex::new(plugins.iter().map(|_| None).collect()),
            more: Condvar::new(),
        };
        let helpers = workers(plugins.len()).saturating_sub(1);
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                // If no thread can be started, this thread does all jobs.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || {
                    while jobs.do_one(|at| Some(self.prepare(plugins.get(at)?))) {}
                });
            }
            let take = |(at, &plugin): (usize, &&PluginEntry)| {
                let stored = jobs.wait_for(at, |at| Some(self.prepare(plugins.get(at)?)));
                self.finish(plugin, stored, host)
            };
            plugins.iter().enumerate().map(take).collect()
        })
    }

    /// All steps before the plugin's code runs in this process.
    fn prepare(&self, plugin: &PluginEntry) -> Result<Stored, Refusal> {
        let stored = plugin.trusted().store(&self.store)?;
        admit(&stored, self.quarantine.as_ref())?;
        Ok(stored)
    }

    /// Loads a prepared plugin into this process.
    fn finish(
        &self,
        plugin: &PluginEntry,
        stored: Result<Stored, Refusal>,
        host: &'static HostTable,
    ) -> Result<Loaded, LoadError> {
        let loaded = stored.and_then(|stored| {
            let shared_names = stored.shared_names.clone();
            let loaded = stored.load(host)?;
            self.warn_of_shared_names(plugin.name(), shared_names);
            Ok(loaded)
        });
        if loaded.is_ok() {
            log::info!(
                "loaded {} {} from {}",
                escape::text(plugin.name()),
                escape::text(plugin.version()),
                escape::path(plugin.path())
            );
        }
        loaded.map_err(|refusal| LoadError { path: plugin.path().to_owned(), refusal })
    }

    fn warn_of_shared_names(&self, name: &str, names: SharedNames) {
        let mut loaded = self.shared_names.lock().unwrap_or_else(PoisonError::into_inner);
        for (other_name, other) in loaded.iter() {
            for warning in names.warnings(name, other, other_name) {
                log::warn!("{warning}");
            }
        }
        loaded.push((name.to_owned(), names));
    }
}

/// Numbered jobs that several threads do, with their results.
struct Jobs<T> {
    next: AtomicUsize,
    ready: Mutex<Vec<Option<std::thread::Result<T>>>>,
    more: Condvar,
}

impl<T> Jobs<T> {
    fn ready(&self) -> MutexGuard<'_, Vec<Option<std::thread::Result<T>>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the next job; returns false if all are done or in progress.
    fn do_one(&self, job: impl FnOnce(usize) -> Option<T>) -> bool {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        // A panic is passed to the thread that waits for the result.
        let Some(done) = catch_unwind(AssertUnwindSafe(|| job(at)))
            .map_or_else(|panic| Some(Err(panic)), |done| done.map(Ok))
        else {
            return false;
        };
        self.ready()[at] = Some(done);
        self.more.notify_all();
        true
    }

    /// Takes the result of a job; does other jobs while it is not available.
    fn wait_for(&self, at: usize, job: impl Fn(usize) -> Option<T>) -> T {
        let mut busy = true;
        loop {
            if let Some(done) = self.ready()[at].take() {
                return done.unwrap_or_else(|panic| resume_unwind(panic));
            }
            busy = busy && self.do_one(&job);
            if !busy {
                let mut ready = self.ready();
                while ready[at].is_none() {
                    ready = self.more.wait(ready).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Probes the plugin, if probing is enabled and it has not passed before.
fn admit(stored: &Stored, quarantine: Option<&Quarantine>) -> Result<(), Refusal> {
    let Some(program) = probe::program() else { return Ok(()) };
    let sha256 = stored.plugin.sha256;
    if let Some(quarantine) = quarantine {
        if let Some(record) = quarantine.get(sha256) {
            return Err(record.refusal());
        }
        if quarantine.has_passed(sha256) {
            return Ok(());
        }
    }
    log::debug!("probing {} in a child process", escape::path(stored.plugin.path()));
    let verdict = stored.probe(program, &ProbeLimits::of_environment());
    match (&verdict, quarantine) {
        (Ok(()), Some(quarantine)) => quarantine.set_passed(sha256),
        (Err(failure), Some(quarantine)) => quarantine.add(&stored.plugin, failure),
        (_, None) => {}
    }
    verdict.map_err(|failure| {
        let mut refusal = failure.refusal;
        if !failure.output.trim().is_empty() {
            refusal.message = format!(
                "{}; its last output: {}",
                refusal.message,
                escape::controls(last_lines(&failure.output))
            );
        }
        refusal
    })
}

/// The last three lines of a text.
fn last_lines(output: &str) -> &str {
    let output = output.trim_end();
    match output.rmatch_indices('\n').nth(2) {
        Some((at, _)) => &output[at + 1..],
        None => output,
    }
}
