//! Loading many plugins: what they need is opened once, and while one is linked the bytes of the
//! next are hashed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use fluxbay_plugin::abi::host::HostTable;

use super::{LoadError, Loaded};
use crate::library::catalog::PluginEntry;
use crate::library::probe::{self, ProbeLimits};
use crate::library::quarantine::Quarantine;
use crate::library::report::Refusal;
use crate::library::shown;
use crate::library::store::{Store, Stored};
use crate::library::workers;

/// The store of copies and the records of probes, opened once and used for many plugins.
#[derive(Debug)]
pub struct PluginLoader {
    store: Store,
    quarantine: Option<Quarantine>,
}

/// Loads a plugin of the catalog by way of the user's store and connects it to `host`. Where
/// probing is enabled ([`probe::enable`]), a plugin that has not passed before is tried in a child
/// process first.
///
/// # Errors
/// The stage, reason and help; the process is as before, except that the library may stay mapped.
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
    /// Opens the user's store and records.
    ///
    /// # Errors
    /// `store-failed`.
    pub fn open() -> Result<Self, Refusal> {
        Ok(Self::at(Store::open()?))
    }

    /// As [`PluginLoader::open`], with a given store.
    pub fn at(store: Store) -> Self {
        Self { store, quarantine: probe::program().and_then(|_| Quarantine::open()) }
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
        finish(plugin, self.prepare(plugin), host)
    }

    /// Loads several plugins in their order. Their copies are hashed, and those that have not
    /// passed before are tried, on several threads meanwhile.
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
                // Without a helper everything is done here.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || {
                    while jobs.do_one(|at| Some(self.prepare(plugins.get(at)?))) {}
                });
            }
            let take = |(at, &plugin): (usize, &&PluginEntry)| {
                let stored = jobs.wait_for(at, |at| Some(self.prepare(plugins.get(at)?)));
                finish(plugin, stored, host)
            };
            plugins.iter().enumerate().map(take).collect()
        })
    }

    /// Everything up to running code of the plugin in this process.
    fn prepare(&self, plugin: &PluginEntry) -> Result<Stored, Refusal> {
        let stored = plugin.trusted().store(&self.store)?;
        admit(&stored, self.quarantine.as_ref())?;
        Ok(stored)
    }
}

fn finish(
    plugin: &PluginEntry,
    stored: Result<Stored, Refusal>,
    host: &'static HostTable,
) -> Result<Loaded, LoadError> {
    let loaded = stored.and_then(|stored| stored.load(host));
    if loaded.is_ok() {
        log::info!(
            "loaded {} {} from {}",
            shown::text(plugin.name()),
            shown::text(plugin.version()),
            shown::path(plugin.path())
        );
    }
    loaded.map_err(|refusal| LoadError { path: plugin.path().to_owned(), refusal })
}

/// Results of numbered jobs that several threads do.
struct Jobs<T> {
    next: AtomicUsize,
    ready: Mutex<Vec<Option<std::thread::Result<T>>>>,
    more: Condvar,
}

impl<T> Jobs<T> {
    fn ready(&self) -> MutexGuard<'_, Vec<Option<std::thread::Result<T>>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the next job; false if all are done or being done.
    fn do_one(&self, job: impl FnOnce(usize) -> Option<T>) -> bool {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        // A panic goes to who waits for the result, which would otherwise never come.
        let Some(done) = catch_unwind(AssertUnwindSafe(|| job(at)))
            .map_or_else(|panic| Some(Err(panic)), |done| done.map(Ok))
        else {
            return false;
        };
        self.ready()[at] = Some(done);
        self.more.notify_all();
        true
    }

    /// The result of a job, which is taken; does jobs until it is there.
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

/// Has a child process try the plugin, where probing is enabled and it has not passed before.
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
    log::debug!("trying {} in a process of its own", shown::path(stored.plugin.path()));
    let verdict = stored.probe(program, &ProbeLimits::default());
    match (&verdict, quarantine) {
        (Ok(()), Some(quarantine)) => quarantine.set_passed(sha256),
        (Err(failure), Some(quarantine)) => quarantine.add(&stored.plugin, failure),
        (_, None) => {}
    }
    verdict.map_err(|failure| {
        let mut refusal = failure.refusal;
        if !failure.output.trim().is_empty() {
            refusal.message = format!(
                "{}; it printed last: {}",
                refusal.message,
                shown::controls(last_lines(&failure.output))
            );
        }
        refusal
    })
}

/// The last three lines of what a plugin printed.
fn last_lines(output: &str) -> &str {
    let output = output.trim_end();
    match output.rmatch_indices('\n').nth(2) {
        Some((at, _)) => &output[at + 1..],
        None => output,
    }
}
