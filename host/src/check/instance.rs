//! Checks of single instances: creation, settings, access, saved state.

use std::rc::Rc;
use std::time::{Duration, Instant};

use fluxbay_plugin::abi::{callback::resolution, status};
use serde_json::json;

use super::endings::finished;
use super::fuzz::{Random, configuration, damaged};
use super::harness::{Harness, Trial};
use super::report::{Found, failed, passed, skipped, warning};
use crate::breadcrumb::Activity;
use crate::calls::CallResult;
use crate::learner::{Instance, Runtime, StopKind};
use crate::library::{ComponentManifest, Kind};

/// Rounds of the check for leaks.
const ROUNDS: usize = 3;
/// Instances in a round.
const ROUND: usize = 60;
/// Growth of memory in a round that counts as a leak, in bytes.
const GROWTH: u64 = 192 << 10;

/// Creates and destroys one instance.
fn cycle(harness: &Harness, component: &ComponentManifest, config: &str) -> Result<(), String> {
    let runtime = harness.empty()?;
    let instance = harness
        .instance(&runtime, harness.prepared(component, config)?)
        .map_err(|stop| stop.to_string())?;
    runtime.remove(&instance);
    Ok(())
}

/// The configuration that instances are created with; otherwise the result of the check.
fn usual(harness: &Harness, place: usize) -> Result<String, Found> {
    harness.config(&harness.components[place]).map(|config| config.to_string()).map_err(skipped)
}

macro_rules! usual {
    ($harness:expr, $place:expr) => {
        match usual($harness, $place) {
            Ok(config) => config,
            Err(found) => return found,
        }
    };
}

pub(super) fn created(harness: &Harness, place: usize) -> Found {
    let config = usual!(harness, place);
    let begin = Instant::now();
    let created = cycle(harness, &harness.components[place], &config);
    harness.set_creation(place, begin.elapsed());
    created.map_or_else(failed, |()| passed())
}

pub(super) fn created_often(harness: &Harness, place: usize) -> Found {
    let config = usual!(harness, place);
    let component = &harness.components[place];
    let count = harness.count(place, 50);
    let together = || -> Result<(), String> {
        let runtimes = (0..count).map(|_| harness.empty()).collect::<Result<Vec<_>, _>>()?;
        let mut held = Vec::new();
        for runtime in &runtimes {
            held.push(
                harness
                    .instance(runtime, harness.prepared(component, &config)?)
                    .map_err(|stop| stop.to_string())?,
            );
        }
        Ok(())
    };
    (0..count)
        .try_for_each(|_| cycle(harness, component, &config))
        .and_then(|()| together())
        .map_or_else(failed, |()| passed())
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0)
        * rustix::param::page_size() as u64
}

pub(super) fn memory(harness: &Harness, place: usize) -> Found {
    let config = usual!(harness, place);
    let component = &harness.components[place];
    let in_a_round = harness.count(place, ROUND);
    let round = || (0..in_a_round).try_for_each(|_| cycle(harness, component, &config));
    let mut growths = Vec::new();
    for _ in 0..=ROUNDS {
        let before = resident();
        if let Err(problem) = round() {
            return failed(problem);
        }
        growths.push(resident().saturating_sub(before));
    }
    // The first round also fills caches.
    if growths[1..].iter().all(|growth| *growth > GROWTH) {
        let each = growths[1..].iter().sum::<u64>() / (ROUNDS * in_a_round) as u64;
        return failed(format!("each instance leaks about {} KiB", each.div_ceil(1024)));
    }
    passed()
}

fn entries(dir: &str) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

/// Whether the number of entries of a folder in /proc returns to `before` within half a second.
fn settles(dir: &str, before: usize) -> bool {
    (0..50).any(|_| {
        let done = entries(dir) <= before;
        if !done {
            std::thread::sleep(Duration::from_millis(10));
        }
        done
    })
}

pub(super) fn threads(harness: &Harness, place: usize) -> Found {
    let config = usual!(harness, place);
    leaves(harness, place, &config, "/proc/self/task", "threads")
}

pub(super) fn descriptors(harness: &Harness, place: usize) -> Found {
    let config = usual!(harness, place);
    leaves(harness, place, &config, "/proc/self/fd", "open files")
}

pub(super) fn threads_of_training(harness: &Harness, place: usize) -> Found {
    let train = || {
        let one_epoch = Trial { epochs: 1, ..Trial::default() };
        harness.session(place, &one_epoch).map(|session| drop(session.fit()))
    };
    // The first training also starts threads of the host that stay.
    if train().is_err() {
        return skipped("it does not train, see `trains`");
    }
    let before = entries("/proc/self/task");
    if train().is_err() || settles("/proc/self/task", before) {
        return passed();
    }
    failed(format!(
        "a training left {} threads behind: end them when the instance is dropped",
        entries("/proc/self/task").saturating_sub(before)
    ))
}

fn leaves(harness: &Harness, place: usize, config: &str, dir: &str, what: &str) -> Found {
    let component = &harness.components[place];
    // The first instance may set up what all instances share.
    if let Err(problem) = cycle(harness, component, config) {
        return failed(problem);
    }
    let before = entries(dir);
    for _ in 0..5 {
        if let Err(problem) = cycle(harness, component, config) {
            return failed(problem);
        }
    }
    if settles(dir, before) {
        passed()
    } else {
        failed(format!("5 destroyed instances left {} {what} behind", entries(dir) - before))
    }
}

/// Calls `f` with an instance outside of any run.
fn with_instance(
    harness: &Harness,
    place: usize,
    f: impl FnOnce(&Rc<Runtime>, &Rc<Instance>) -> Found,
) -> Found {
    let config = usual!(harness, place);
    let component = &harness.components[place];
    let made = harness.empty().and_then(|runtime| {
        let prepared = harness.prepared(component, &config)?;
        let instance = harness.instance(&runtime, prepared).map_err(|stop| stop.to_string())?;
        Ok((runtime, instance))
    });
    match made {
        Ok((runtime, instance)) => f(&runtime, &instance),
        Err(problem) => skipped(problem),
    }
}

/// Asks `resolve` for every callback of the catalog, and for paths that it writes and others.
pub(super) fn conflicts_resolved(harness: &Harness, place: usize) -> Found {
    let component = &harness.components[place];
    with_instance(harness, place, |_, instance| {
        let others = harness.catalog.of_kind(Kind::Callback).map(|other| other.id());
        let others: Vec<String> =
            others.chain(["callback/unknown".to_owned(), String::new()]).collect();
        let paths = component.writes.iter().map(String::as_str).chain(["step.loss", ""]);
        for (path, other) in paths.flat_map(|path| others.iter().map(move |other| (path, other))) {
            let answer = instance.plugin_side().callback_resolve(other, path);
            if answer > resolution::NO_CONFLICT {
                return failed(format!(
                    "for {other} and `{path}` it returns {answer}, which is no resolution"
                ));
            }
        }
        passed()
    })
}

pub(super) fn access_used(harness: &Harness, place: usize) -> Found {
    let component = &harness.components[place];
    with_instance(harness, place, |_, instance| {
        let asked: Vec<&String> =
            instance.requested.reads.iter().chain(&instance.requested.writes).collect();
        let covers = |declared: &str| {
            asked.iter().any(|path| *path == declared || path.starts_with(&format!("{declared}.")))
        };
        // A phase may declare the state of the step without requesting it.
        let of_phase = |path: &str| component.kind == Kind::Phase && path == "step";
        let all = component.reads.iter().chain(&component.writes);
        let unused: Vec<&str> =
            all.map(String::as_str).filter(|path| !covers(path) && !of_phase(path)).collect();
        if unused.is_empty() {
            return passed();
        }
        warning(format!(
            "declared, but not requested with these settings: {}; remove what no settings need",
            unused.join(", ")
        ))
    })
}

pub(super) fn access_refused(harness: &Harness, place: usize) -> Found {
    let component = &harness.components[place];
    let needs = {
        let mut needs = false;
        with_instance(harness, place, |_, instance| {
            needs = !(instance.requested.reads.is_empty() && instance.requested.writes.is_empty());
            passed()
        });
        needs
    };
    if !needs {
        return (super::Verdict::Passed, "it requests no access".to_owned());
    }
    let config = usual!(harness, place);
    let tried = harness.empty().and_then(|runtime| {
        let prepared = Harness::without_access(harness.prepared(component, &config)?);
        Ok(harness.instance(&runtime, prepared).map(drop))
    });
    match tried {
        Err(problem) => skipped(problem),
        Ok(Ok(())) => {
            failed("it was created although the host refused access: return the error of `setup`")
        }
        Ok(Err(stop)) if stop.kind() == StopKind::Panic || stop.0.text.contains("panicked") => {
            failed(stop.to_string())
        }
        Ok(Err(_)) => passed(),
    }
}

/// Whether an instance is created with a configuration.
///
/// # Errors
/// A panic, or an error without a text.
fn tolerates(
    harness: &Harness,
    component: &ComponentManifest,
    config: &str,
) -> Result<bool, String> {
    let runtime = harness.empty()?;
    match harness.instance(&runtime, harness.prepared(component, config)?) {
        Ok(instance) => {
            runtime.remove(&instance);
            Ok(true)
        }
        Err(stop) if is_panic(&stop.0.text) => Err(format!("{}\nwith {config}", stop.0.text)),
        Err(stop) if stop.0.text.trim().is_empty() || stop.0.text == "it gave no reason" => {
            Err(format!("its error has no text\nwith {config}"))
        }
        Err(_) => Ok(false),
    }
}

/// The text that the plugin crate gives an error that was a panic.
fn is_panic(text: &str) -> bool {
    text.contains("panicked")
}

pub(super) fn settings_fuzzed(harness: &Harness, place: usize) -> Found {
    let component = &harness.components[place];
    let mut random = Random::new(harness.seed, &component.id());
    let mut created = 0;
    let count = harness.count(place, 200);
    for _ in 0..count {
        let made = json!(configuration(&component.config, &mut random));
        let mut diagnostics = crate::run_file::Diagnostics::new();
        let complete =
            crate::run_file::check_json(&component.config, &made, "it", &mut diagnostics);
        if diagnostics.has_errors() {
            continue;
        }
        match tolerates(harness, component, &json!(complete).to_string()) {
            Ok(is_created) => created += u32::from(is_created),
            Err(problem) => return failed(problem),
        }
    }
    (super::Verdict::Passed, format!("{created} of {count} were created"))
}

pub(super) fn settings_hostile(harness: &Harness, place: usize) -> Found {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let long = format!("{{\"{}\":1}}", "a".repeat(1 << 20));
    let texts = [
        "",
        "{",
        "null",
        "[]",
        "7",
        "\"\"",
        "{\"\":}",
        "{\"a\":1e999}",
        "{\"no-such-setting\":true}",
        "\u{feff}{}",
        &deep,
        &long,
    ];
    for text in texts {
        if let Err(problem) = tolerates(harness, &harness.components[place], text) {
            return failed(problem.chars().take(500).collect::<String>());
        }
    }
    passed()
}

/// Calls `f` with an instance after a training, if it can be trained, and a new one.
fn with_trained(
    harness: &Harness,
    place: usize,
    f: impl Fn(&Runtime, &Instance, &Runtime, &Instance) -> Found,
) -> Found {
    let one_epoch = Trial { epochs: 1, ..Trial::default() };
    let trained = harness
        .session(place, &one_epoch)
        .and_then(|session| finished(&session.fit()).map(|()| session));
    if let Ok(trained) = trained
        && let Some(old) = harness.find(&trained, place)
    {
        // Saving writes the component's files before another instance opens them.
        let _ = save(trained.runtime(), &old);
        if let Ok(fresh) = harness.session(place, &one_epoch)
            && let Some(new) = harness.find(&fresh, place)
        {
            return f(trained.runtime(), &old, fresh.runtime(), &new);
        }
    }
    with_instance(harness, place, |runtime, old| {
        with_instance(harness, place, |other, new| f(runtime, old, other, new))
    })
}

fn save(runtime: &Runtime, instance: &Instance) -> CallResult<Vec<u8>> {
    instance.plugin_side().call(runtime, Activity::Saving, |call| call.save(0))
}

fn load(runtime: &Runtime, instance: &Instance, version: u32, bytes: &[u8]) -> CallResult {
    instance.plugin_side().call(runtime, Activity::Loading, |call| call.load(version, bytes))
}

pub(super) fn state_round_trip(harness: &Harness, place: usize) -> Found {
    with_trained(harness, place, |trained, old, fresh, new| {
        let version = old.plugin_side().state_version();
        let saved = match save(trained, old) {
            Ok(saved) => saved,
            Err(failure) => return failed(format!("it cannot be saved: {}", failure.text)),
        };
        if let Err(failure) = load(fresh, new, version, &saved) {
            return failed(format!("what it saved cannot be loaded: {}", failure.text));
        }
        match save(fresh, new) {
            Ok(again) if again == saved => {
                (super::Verdict::Passed, format!("{} bytes", saved.len()))
            }
            Ok(again) => failed(format!(
                "it saved {} bytes, and {} different ones after loading them: is an iteration order not fixed?",
                saved.len(),
                again.len()
            )),
            Err(failure) => failed(format!("it cannot be saved after loading: {}", failure.text)),
        }
    })
}

pub(super) fn state_random(harness: &Harness, place: usize) -> Found {
    with_trained(harness, place, |trained, old, fresh, new| {
        let version = old.plugin_side().state_version();
        let (Ok(state), Ok(mut before)) = (save(trained, old), save(fresh, new)) else {
            return failed("it cannot be saved");
        };
        let mut random = Random::new(harness.seed, &format!("state of {}", old.component));
        let mut taken = 0;
        for round in 0..300 {
            let is_random = round % 2 == 0;
            let length = random.below(200) + 16;
            let bytes = if is_random || state.is_empty() {
                random.bytes(length)
            } else {
                damaged(&state, &mut random)
            };
            match load(fresh, new, version, &bytes) {
                Err(failure) if failure.status == status::PANIC => {
                    return failed(format!(
                        "a panic, with seed {}: {}",
                        harness.seed, failure.text
                    ));
                }
                Err(failure) if failure.text.trim().is_empty() => {
                    return failed("its error has no text");
                }
                Err(_) => match save(fresh, new) {
                    Ok(after) if after == before => {}
                    _ => {
                        return failed(
                            "a state that it refused has changed it: validate everything before changing anything",
                        );
                    }
                },
                Ok(()) => {
                    taken += u32::from(is_random);
                    match save(fresh, new) {
                        Ok(after) => before = after,
                        Err(failure) => {
                            return failed(format!(
                                "it cannot be saved after it accepted a damaged state: {}",
                                failure.text
                            ));
                        }
                    }
                }
            }
        }
        if taken == 0 {
            passed()
        } else {
            warning(format!("it accepted {taken} of 150 random states"))
        }
    })
}

pub(super) fn state_empty(harness: &Harness, place: usize) -> Found {
    with_trained(harness, place, |trained, old, fresh, new| {
        let (Ok(state), Ok(before)) = (save(trained, old), save(fresh, new)) else {
            return failed("it cannot be saved");
        };
        if state.is_empty() {
            return (super::Verdict::Passed, "it has no state".to_owned());
        }
        match load(fresh, new, old.plugin_side().state_version(), b"") {
            Err(failure) if failure.status == status::PANIC => failed(failure.text),
            Err(_) if save(fresh, new).is_ok_and(|after| after == before) => passed(),
            Err(_) => failed("it refused an empty state, but changed"),
            Ok(()) => failed("it accepted an empty state"),
        }
    })
}
