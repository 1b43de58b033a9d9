//! Checks of single instances: creation, settings, access, state.

use std::rc::Rc;
use std::time::Duration;

use fluxbay_plugin::abi::status;
use serde_json::json;

use super::bench::{Bench, Trial, finished};
use super::fuzz::{Random, configuration, damaged};
use super::report::{Found, failed, passed, skipped, warning};
use crate::bridge::call::Called;
use crate::learner::{Instance, Runtime, StopKind};
use crate::library::{ComponentManifest, Kind};

/// Rounds of a check for what grows.
const ROUNDS: usize = 3;
/// Instances in a round.
const ROUND: usize = 60;
/// Growth of a round that is no accident.
const GROWTH: u64 = 192 << 10;

/// Creates and ends one instance with the usual configuration.
fn cycle(bench: &Bench, component: &ComponentManifest, config: &str) -> Result<(), String> {
    let runtime = bench.empty()?;
    let instance = bench
        .instance(&runtime, bench.prepared(component, config)?)
        .map_err(|stop| stop.to_string())?;
    runtime.forget(&instance);
    Ok(())
}

/// The usual configuration, or why nothing can be tried.
fn usual(bench: &Bench, place: usize) -> Result<String, Found> {
    bench.config(&bench.components[place]).map(|config| config.to_string()).map_err(skipped)
}

macro_rules! usual {
    ($bench:expr, $place:expr) => {
        match usual($bench, $place) {
            Ok(config) => config,
            Err(found) => return found,
        }
    };
}

pub(super) fn created(bench: &Bench, place: usize) -> Found {
    let config = usual!(bench, place);
    cycle(bench, &bench.components[place], &config).map_or_else(failed, |()| passed())
}

pub(super) fn created_often(bench: &Bench, place: usize) -> Found {
    let config = usual!(bench, place);
    let component = &bench.components[place];
    let together = || -> Result<(), String> {
        let runtimes = (0..50).map(|_| bench.empty()).collect::<Result<Vec<_>, _>>()?;
        let mut held = Vec::new();
        for runtime in &runtimes {
            held.push(
                bench
                    .instance(runtime, bench.prepared(component, &config)?)
                    .map_err(|stop| stop.to_string())?,
            );
        }
        Ok(())
    };
    (0..50)
        .try_for_each(|_| cycle(bench, component, &config))
        .and_then(|()| together())
        .map_or_else(failed, |()| passed())
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0)
        * rustix::param::page_size() as u64
}

pub(super) fn memory(bench: &Bench, place: usize) -> Found {
    let config = usual!(bench, place);
    let component = &bench.components[place];
    let round = || (0..ROUND).try_for_each(|_| cycle(bench, component, &config));
    let mut growths = Vec::new();
    for _ in 0..=ROUNDS {
        let before = resident();
        if let Err(problem) = round() {
            return failed(problem);
        }
        growths.push(resident().saturating_sub(before));
    }
    // The first round also fills what is kept for later.
    if growths[1..].iter().all(|growth| *growth > GROWTH) {
        let each = growths[1..].iter().sum::<u64>() / (ROUNDS * ROUND) as u64;
        return failed(format!("each instance leaves about {} KiB behind", each.div_ceil(1024)));
    }
    passed()
}

fn entries(dir: &str) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

/// Whether there are as many entries in a folder of /proc as before, at once or soon.
fn settles(dir: &str, before: usize) -> bool {
    (0..50).any(|_| {
        let done = entries(dir) <= before;
        if !done {
            std::thread::sleep(Duration::from_millis(10));
        }
        done
    })
}

pub(super) fn threads(bench: &Bench, place: usize) -> Found {
    let config = usual!(bench, place);
    leaves(bench, place, &config, "/proc/self/task", "threads")
}

pub(super) fn descriptors(bench: &Bench, place: usize) -> Found {
    let config = usual!(bench, place);
    leaves(bench, place, &config, "/proc/self/fd", "open files")
}

fn leaves(bench: &Bench, place: usize, config: &str, dir: &str, what: &str) -> Found {
    let component = &bench.components[place];
    // What the first instance sets up for all is no leak.
    if let Err(problem) = cycle(bench, component, config) {
        return failed(problem);
    }
    let before = entries(dir);
    for _ in 0..5 {
        if let Err(problem) = cycle(bench, component, config) {
            return failed(problem);
        }
    }
    if settles(dir, before) {
        passed()
    } else {
        failed(format!("5 instances have ended and left {} {what} behind", entries(dir) - before))
    }
}

/// Runs `f` with an instance of the usual configuration.
fn with_instance(
    bench: &Bench,
    place: usize,
    f: impl FnOnce(&Rc<Runtime>, &Rc<Instance>) -> Found,
) -> Found {
    let config = usual!(bench, place);
    let component = &bench.components[place];
    let made = bench.empty().and_then(|runtime| {
        let prepared = bench.prepared(component, &config)?;
        let instance = bench.instance(&runtime, prepared).map_err(|stop| stop.to_string())?;
        Ok((runtime, instance))
    });
    match made {
        Ok((runtime, instance)) => f(&runtime, &instance),
        Err(problem) => skipped(problem),
    }
}

pub(super) fn access_used(bench: &Bench, place: usize) -> Found {
    let component = &bench.components[place];
    with_instance(bench, place, |_, instance| {
        let asked: Vec<&String> =
            instance.answers.reads.iter().chain(&instance.answers.writes).collect();
        let covers = |declared: &str| {
            asked.iter().any(|path| *path == declared || path.starts_with(&format!("{declared}.")))
        };
        // The state of the step is a phase's own, whether it asks or not.
        let of_phase = |path: &str| component.kind == Kind::Phase && path == "step";
        let all = component.reads.iter().chain(&component.writes);
        let unused: Vec<&str> =
            all.map(String::as_str).filter(|path| !covers(path) && !of_phase(path)).collect();
        if unused.is_empty() {
            return passed();
        }
        warning(format!(
            "declared, but not asked for with these settings: {}; leave out what no settings need",
            unused.join(", ")
        ))
    })
}

pub(super) fn access_refused(bench: &Bench, place: usize) -> Found {
    let component = &bench.components[place];
    let needs = {
        let mut needs = false;
        with_instance(bench, place, |_, instance| {
            needs = !(instance.answers.reads.is_empty() && instance.answers.writes.is_empty());
            passed()
        });
        needs
    };
    if !needs {
        return (super::Verdict::Passed, "it asks for nothing".to_owned());
    }
    let config = usual!(bench, place);
    let tried = bench.empty().and_then(|runtime| {
        let prepared = Bench::without_access(bench.prepared(component, &config)?);
        Ok(bench.instance(&runtime, prepared).map(drop))
    });
    match tried {
        Err(problem) => skipped(problem),
        Ok(Ok(())) => failed(
            "it was created although the host refused it what it asked for: pass the error of `setup` on",
        ),
        Ok(Err(stop)) if stop.kind() == StopKind::Panic || stop.0.text.contains("panicked") => {
            failed(stop.to_string())
        }
        Ok(Err(_)) => passed(),
    }
}

/// Whether creating with a text ends in an instance or in an error with words.
fn tolerates(bench: &Bench, component: &ComponentManifest, config: &str) -> Result<bool, String> {
    let runtime = bench.empty()?;
    match bench.instance(&runtime, bench.prepared(component, config)?) {
        Ok(instance) => {
            runtime.forget(&instance);
            Ok(true)
        }
        Err(stop) if is_panic(&stop.0.text) => Err(format!("{}\nwith {config}", stop.0.text)),
        Err(stop) if stop.0.text.trim().is_empty() || stop.0.text == "it gave no reason" => {
            Err(format!("it refuses without a word of why\nwith {config}"))
        }
        Err(_) => Ok(false),
    }
}

/// The author's crate says so where it caught one.
fn is_panic(text: &str) -> bool {
    text.contains("panicked")
}

pub(super) fn settings_fuzzed(bench: &Bench, place: usize) -> Found {
    let component = &bench.components[place];
    let mut random = Random::new(bench.seed, &component.id());
    let mut created = 0;
    for _ in 0..200 {
        let made = json!(configuration(&component.config, &mut random));
        let mut diagnostics = crate::run_file::Diagnostics::new();
        let complete =
            crate::run_file::check_json(&component.config, &made, "it", &mut diagnostics);
        if diagnostics.has_errors() {
            continue;
        }
        match tolerates(bench, component, &json!(complete).to_string()) {
            Ok(is_created) => created += u32::from(is_created),
            Err(problem) => return failed(problem),
        }
    }
    (super::Verdict::Passed, format!("{created} of 200 were created"))
}

pub(super) fn settings_hostile(bench: &Bench, place: usize) -> Found {
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
        if let Err(problem) = tolerates(bench, &bench.components[place], text) {
            return failed(problem.chars().take(500).collect::<String>());
        }
    }
    passed()
}

/// Runs `f` with an instance that has been trained with, where that can be had, and one that has
/// not.
fn with_trained(
    bench: &Bench,
    place: usize,
    f: impl Fn(&Runtime, &Instance, &Runtime, &Instance) -> Found,
) -> Found {
    let one_epoch = Trial { epochs: 1, ..Trial::default() };
    let trained = bench
        .session(place, &one_epoch)
        .and_then(|session| finished(&session.fit()).map(|()| session));
    if let Ok(trained) = trained
        && let Some(old) = bench.find(&trained, place)
    {
        // What is saved lies in the component's files then, before another instance opens them.
        let _ = save(trained.runtime(), &old);
        if let Ok(fresh) = bench.session(place, &one_epoch)
            && let Some(new) = bench.find(&fresh, place)
        {
            return f(trained.runtime(), &old, fresh.runtime(), &new);
        }
    }
    with_instance(bench, place, |runtime, old| {
        with_instance(bench, place, |other, new| f(runtime, old, other, new))
    })
}

fn save(runtime: &Runtime, instance: &Instance) -> Called<Vec<u8>> {
    instance.plugin_side().save(runtime, instance.number)
}

fn load(runtime: &Runtime, instance: &Instance, version: u32, bytes: &[u8]) -> Called {
    instance.plugin_side().load(runtime, instance.number, version, bytes)
}

pub(super) fn state_round_trip(bench: &Bench, place: usize) -> Found {
    with_trained(bench, place, |trained, old, fresh, new| {
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
                "{} bytes were saved, and {} other ones after loading them: an order that is not fixed?",
                saved.len(),
                again.len()
            )),
            Err(failure) => failed(format!("it cannot be saved after loading: {}", failure.text)),
        }
    })
}

pub(super) fn state_random(bench: &Bench, place: usize) -> Found {
    with_trained(bench, place, |trained, old, fresh, new| {
        let version = old.plugin_side().state_version();
        let (Ok(state), Ok(mut before)) = (save(trained, old), save(fresh, new)) else {
            return failed("it cannot be saved");
        };
        let mut random = Random::new(bench.seed, &format!("state of {}", old.component));
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
                    return failed(format!("a panic, with seed {}: {}", bench.seed, failure.text));
                }
                Err(failure) if failure.text.trim().is_empty() => {
                    return failed("it refuses without a word of why");
                }
                Err(_) => match save(fresh, new) {
                    Ok(after) if after == before => {}
                    _ => {
                        return failed(
                            "a state that it refused has changed it: check everything before you change anything",
                        );
                    }
                },
                Ok(()) => {
                    taken += u32::from(is_random);
                    match save(fresh, new) {
                        Ok(after) => before = after,
                        Err(failure) => {
                            return failed(format!(
                                "it cannot be saved after it took a damaged state: {}",
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
            warning(format!("it took {taken} of 150 random texts for a state of its own"))
        }
    })
}

pub(super) fn state_empty(bench: &Bench, place: usize) -> Found {
    with_trained(bench, place, |trained, old, fresh, new| {
        let (Ok(state), Ok(before)) = (save(trained, old), save(fresh, new)) else {
            return failed("it cannot be saved");
        };
        if state.is_empty() {
            return (super::Verdict::Passed, "it has no state".to_owned());
        }
        match load(fresh, new, old.plugin_side().state_version(), b"") {
            Err(failure) if failure.status == status::PANIC => failed(failure.text),
            Err(_) if save(fresh, new).is_ok_and(|after| after == before) => passed(),
            Err(_) => failed("it refused an empty state and has changed all the same"),
            Ok(()) => failed("it took an empty text for its state"),
        }
    })
}
