//! Members from manifests, without loading any plugin.
//!
//! A manifest is the upper bound of what an instance asks for, and has no conflict resolutions. So
//! a composition of such members may have edges and problems that the created instances do not
//! have; listings say so.

use super::{Access, Input, Member, Offer};
use crate::library::{Catalog, ComponentManifest, Kind};
use crate::run_file::{InstanceSpec, RunDescription};

/// The members of a run according to their manifests, without instances of unknown components.
pub fn input(run: &RunDescription, catalog: &Catalog) -> Input<'static> {
    let mut members = Vec::new();
    for spec in run.instances() {
        if let Ok(found) = catalog.find(spec.kind, &spec.lookup()) {
            members.push(member(spec, found.manifest));
        }
    }
    Input { members, offers: offers(catalog), ranking: None }
}

/// All components that can write state or dispatch events, for the help of problems.
pub fn offers(catalog: &Catalog) -> Vec<Offer> {
    let gives =
        |manifest: &ComponentManifest| !manifest.writes.is_empty() || !manifest.emits.is_empty();
    let all =
        catalog.components().map(|component| component.manifest).filter(|manifest| gives(manifest));
    all.map(|manifest| Offer {
        component: manifest.id(),
        writes: manifest.writes.clone(),
        emits: manifest.emits.clone(),
    })
    .collect()
}

fn member(spec: &InstanceSpec, manifest: &ComponentManifest) -> Member<'static> {
    let mut member = Member::new(spec.kind, &spec.id, &spec.component_id());
    member.access = Access { reads: manifest.reads.clone(), writes: manifest.writes.clone() };
    member.run_after = manifest.run_after.clone();
    member.run_before = manifest.run_before.clone();
    member.phase_kind = manifest.phase_kind.clone();
    member.place = spec.component_place.or(spec.place);
    if spec.kind == Kind::Callback {
        member.events = manifest.events.clone();
    }
    if spec.kind == Kind::Phase {
        member.emits = manifest.emits.clone();
    }
    member
}
