//! What each member needs: access within its manifest, events that are dispatched, state that is
//! written.

use std::collections::BTreeSet;

use super::Input;
use super::dispatch::EventTable;
use super::paths::{PROVIDED, covers, overlap, prefixes, root};
use super::problem::{Problem, Right};

/// Reports access beyond the manifest.
pub(super) fn within_bounds(input: &Input<'_>, problems: &mut Vec<Problem>) {
    for (member, one) in input.members.iter().enumerate() {
        let Some(bound) = &one.bound else { continue };
        let within =
            |bounds: &[String], path: &str| bounds.iter().any(|declared| covers(declared, path));
        for path in one.access.writes.iter().filter(|path| !within(&bound.writes, path)) {
            problems.push(Problem::BeyondManifest {
                member,
                path: path.clone(),
                right: Right::Write,
            });
        }
        for path in one
            .access
            .reads
            .iter()
            .filter(|path| !within(&bound.reads, path) && !within(&bound.writes, path))
        {
            problems.push(Problem::BeyondManifest {
                member,
                path: path.clone(),
                right: Right::Read,
            });
        }
    }
}

/// Reports handled events that are neither standard nor dispatched by a phase of the run.
pub(super) fn events_are_emitted(
    input: &Input<'_>,
    events: &EventTable,
    problems: &mut Vec<Problem>,
) {
    for (member, one) in input.members.iter().enumerate() {
        for event in one.events.iter().filter(|event| !events.is_emitted(event)) {
            let mut emitters: Vec<String> = input
                .offers
                .iter()
                .filter(|offer| offer.emits.contains(event))
                .map(|offer| offer.component.clone())
                .collect();
            emitters.sort();
            emitters.dedup();
            problems.push(Problem::UnknownEvent { member, event: event.clone(), emitters });
        }
    }
}

/// Reports read paths that neither the host provides nor a member writes.
pub(super) fn reads_are_written(input: &Input<'_>, problems: &mut Vec<Problem>) {
    let writes: BTreeSet<&str> =
        input.members.iter().flat_map(|one| &one.access.writes).map(String::as_str).collect();
    let written = |path: &str| {
        let below = format!("{path}.");
        prefixes(path).any(|prefix| writes.contains(prefix))
            || writes.range(below.as_str()..).next().is_some_and(|next| next.starts_with(&below))
    };
    for (member, one) in input.members.iter().enumerate() {
        let mut missing: Vec<&String> = one
            .access
            .reads
            .iter()
            .filter(|path| !PROVIDED.contains(&root(path)) && *path != "cbstate" && !written(path))
            .collect();
        missing.sort();
        missing.dedup();
        for path in missing {
            let writes =
                |writes: &[String]| writes.iter().any(|write| overlap(write, path).is_some());
            let mut writers: Vec<String> = input
                .offers
                .iter()
                .filter(|offer| writes(&offer.writes))
                .map(|offer| offer.component.clone())
                .collect();
            writers.sort();
            writers.dedup();
            problems.push(Problem::MissingWriter { member, path: path.clone(), writers });
        }
    }
}
