//! Time to find, check and load plugins with a warm cache, compared with the dynamic linker alone
//! for the same files.
//!
//! A library is opened once per process, so every measurement loads new files: copies of one plugin
//! with different names in their manifests. A child process of this executable fills the caches
//! first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group};
use fluxbay::bridge::HOST;
use fluxbay::library::{Catalog, PluginLoader, ScanOptions, SearchOrigin, SearchPath, Store};
use fluxbay_tests::{FIXTURE, build_plugin, scratch};

/// Copies of a plugin that differ in name and therefore in hash.
struct Copies {
    template: Vec<u8>,
    places: Vec<usize>,
    next: u32,
}

impl Copies {
    fn new() -> Self {
        let template = std::fs::read(build_plugin("copy-00000000", FIXTURE)).unwrap();
        let name = b"copy-00000000";
        let places: Vec<usize> = template
            .windows(name.len())
            .enumerate()
            .filter(|(_, bytes)| *bytes == name)
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty());
        Self { template, places, next: 0 }
    }

    /// Writes `count` plugins that are in no cache.
    fn write(&mut self, dir: &Path, count: usize) -> Vec<PathBuf> {
        let mut one = || {
            self.next += 1;
            let name = format!("copy-{:08}", self.next);
            let mut bytes = self.template.clone();
            for &at in &self.places {
                bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
            }
            let path = dir.join(format!("{name}.so"));
            std::fs::write(&path, bytes).unwrap();
            path
        };
        (0..count).map(|_| one()).collect()
    }
}

/// Scans `dir` as the commands do.
fn scan(dir: &Path, cache: &Path) -> Catalog {
    let mut path = SearchPath::new();
    path.push(dir, SearchOrigin::CommandLine);
    Catalog::scan(
        &path,
        &ScanOptions { cache_dir: Some(cache.to_owned()), ..ScanOptions::default() },
    )
}

/// State of the caches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    First,
    Again,
}

/// Uses the plugins of a folder in a child process of this executable. Paths: plugins, cache,
/// store.
const USE: &str = "FLUXBAY_BENCH_USE";

fn scan_and_load(plugins: &Path, cache: &Path, store: &Path) -> usize {
    let catalog = scan(plugins, cache);
    let loader = PluginLoader::at(Store::at(store).unwrap());
    let all: Vec<_> = catalog.plugins().iter().collect();
    let loaded: Vec<_> = loader.load_all(&all, &HOST).into_iter().map(Result::unwrap).collect();
    loaded.len()
}

/// Time to scan, check and load `count` plugins that are in the store and in the cache.
fn fluxbay(copies: &mut Copies, count: usize, use_: Use) -> Duration {
    let dir = scratch();
    let (plugins, cache) = (dir.path().join("plugins"), dir.path().join("cache"));
    std::fs::create_dir_all(&plugins).unwrap();
    std::fs::create_dir_all(&cache).unwrap();
    copies.write(&plugins, count);
    let store = dir.path().join("store");
    // The cache does not trust files written within the last moments.
    std::thread::sleep(Duration::from_millis(2100));
    if use_ == Use::Again {
        let mut before = Command::new(std::env::current_exe().unwrap());
        before.env(USE, format!("{}:{}:{}", plugins.display(), cache.display(), store.display()));
        assert!(before.status().unwrap().success());
        // The copies are new, too.
        std::thread::sleep(Duration::from_millis(2100));
        assert!(before.status().unwrap().success());
    } else {
        let copies = Store::at(&store).unwrap();
        scan(&plugins, &cache)
            .plugins()
            .iter()
            .for_each(|plugin| drop(plugin.trusted().store(&copies).unwrap()));
    }
    let begin = Instant::now();
    assert_eq!(scan_and_load(&plugins, &cache, &store), count);
    begin.elapsed()
}

/// Time of the dynamic linker alone for `count` such files.
fn bare(copies: &mut Copies, count: usize) -> Duration {
    let dir = scratch();
    let files = copies.write(dir.path(), count);
    let begin = Instant::now();
    for file in files {
        // SAFETY: the plugin's own constructors run, and it is never closed.
        let library = unsafe {
            libloading::os::unix::Library::open(Some(&file), libloading::os::unix::RTLD_NOW)
        };
        std::mem::forget(library.unwrap());
    }
    begin.elapsed()
}

/// Lists a folder of many files with and without a cache.
fn listing(criterion: &mut Criterion, copies: &mut Copies) {
    let dir = scratch();
    let (plugins, cache) = (dir.path().join("plugins"), dir.path().join("cache"));
    std::fs::create_dir_all(&plugins).unwrap();
    std::fs::create_dir_all(&cache).unwrap();
    copies.write(&plugins, 1000);
    std::thread::sleep(Duration::from_millis(2100));
    let mut group = criterion.benchmark_group("list 1000 plugins");
    group.sample_size(10);
    group.bench_function("cold", |bencher| {
        bencher.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| {
                    let fresh = scratch();
                    let begin = Instant::now();
                    assert_eq!(scan(&plugins, fresh.path()).plugins().len(), 1000);
                    begin.elapsed()
                })
                .sum()
        });
    });
    scan(&plugins, &cache);
    group.bench_function("warm", |bencher| {
        bencher.iter(|| assert_eq!(scan(&plugins, &cache).plugins().len(), 1000))
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    let mut copies = Copies::new();
    listing(criterion, &mut copies);
    let mut group = criterion.benchmark_group("load");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_millis(10));
    for count in [1, 100] {
        for (name, use_) in [
            ("scan, check and load", Use::Again),
            ("the same, tables never compared before", Use::First),
        ] {
            group.bench_with_input(BenchmarkId::new(name, count), &count, |bencher, &count| {
                bencher.iter_custom(|iterations| {
                    (0..iterations).map(|_| fluxbay(&mut copies, count, use_)).sum()
                });
            });
        }
        group.bench_with_input(
            BenchmarkId::new("dlopen alone", count),
            &count,
            |bencher, &count| {
                bencher.iter_custom(|iterations| {
                    (0..iterations).map(|_| bare(&mut copies, count)).sum()
                });
            },
        );
    }
    group.finish();
}

criterion_group!(all, benches);

fn main() {
    if let Ok(places) = std::env::var(USE) {
        let mut places = places.split(':').map(Path::new);
        let mut next = || places.next().unwrap();
        scan_and_load(next(), next(), next());
        return;
    }
    all();
    Criterion::default().configure_from_args().final_summary();
}
