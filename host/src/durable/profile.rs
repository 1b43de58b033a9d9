//! Writes `profile.json`: the time of a run by phase, kind of work, event and callback.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::{
    learner::{
        Runtime,
        ports::MemoryUse,
        profile::{EARLY, EVERY, LATER, Work},
    },
    record::{PhaseTime, RecordError, RunRecord, atomic, file},
};

/// Writes the profile of this process's part of the run.
///
/// # Errors
/// If the file cannot be written.
pub fn write(runtime: &Runtime, record: &RunRecord) -> Result<(), RecordError> {
    let mut text = serde_json::to_vec_pretty(&profile(
        runtime,
        &record.times(),
        record.elapsed().as_secs_f64(),
    ))
    .unwrap_or_default();
    text.push(b'\n');
    atomic::replace(&record.path().join(file::PROFILE), &text)
}

/// Largest resident memory of this process in bytes, as the system reports it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// Bytes of tensors in training steps.
fn memory(most: MemoryUse) -> Json {
    json!({
        "parameters": most.parameters,
        "optimizer": most.optimizer,
        "gradients": most.gradients,
        "activations": most.activations,
        "batch": most.batch,
        "recomputed-blocks": most.recomputed,
        "peak": most.peak,
    })
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e9
}

fn profile(runtime: &Runtime, times: &[PhaseTime], elapsed: f64) -> Json {
    let phases = runtime.phase_ids();
    let phase = |number: u32| phases.get(number as usize).cloned().unwrap_or_default();
    let (mut works, mut events, mut callbacks) =
        (BTreeMap::<String, serde_json::Map<String, Json>>::new(), Vec::new(), Vec::new());
    for row in runtime.profile.rows() {
        let event_name =
            |number: u32| runtime.event_name(number).unwrap_or_else(|| number.to_string());
        match row.work {
            Work::Event(number) => {
                events.push(
                    json!({ "phase": phase(row.phase), "event": event_name(number), "timed": row.timed, "seconds": rounded(row.seconds) }),
                );
            }
            Work::Callback(instance, number) => {
                let id = runtime
                    .instance(instance)
                    .map(|instance| instance.id.clone())
                    .unwrap_or_default();
                callbacks.push(json!({
                    "phase": phase(row.phase), "callback": id, "event": event_name(number), "timed": row.timed, "seconds": rounded(row.seconds),
                }));
            }
            work => {
                let of_phase = works.entry(phase(row.phase)).or_default();
                of_phase.insert(work.name().to_owned(), json!(rounded(row.seconds)));
            }
        }
    }
    let steps = runtime.profile.steps();
    let phases: Vec<Json> = phases
        .iter()
        .enumerate()
        .map(|(number, id)| {
            let steps = steps.get(&(number as u32)).copied().unwrap_or_default();
            let time = times.iter().find(|time| time.phase == *id);
            json!({
                "phase": id,
                "epochs": time.map_or(0, |time| time.epochs),
                "seconds": rounded(time.map_or(0.0, |time| time.time.as_secs_f64())),
                "steps": steps.begun,
                "timed-steps": steps.timed,
                "work": works.remove(id).unwrap_or_default(),
            })
        })
        .collect();
    let (reads, each) = runtime.profile.cost();
    let own = reads as f64 * each.as_secs_f64();
    json!({
        "format": 1,
        "about": format!("since the last start of the run; one step in {EVERY} is timed, after {EARLY} steps one in {LATER}; times are scaled to all steps"),
        "seconds": rounded(elapsed),
        "peak-memory": peak_memory(),
        "memory": runtime.memory_use().map(memory),
        "phases": phases,
        "events": events,
        "callbacks": callbacks,
        "own-cost": { "clock-readings": reads, "nanoseconds-each": each.as_nanos() as u64, "seconds": rounded(own), "share": own / elapsed.max(1e-9) },
    })
}
