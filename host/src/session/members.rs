//! Converts created instances to members of a composition: what they and their children declared.

use std::rc::Rc;

use fluxbay_plugin::abi::{callback::resolution, metric::direction};

use super::plugins::{declared, kind_of};
use crate::compose::figures::{Reported, Resolved, Watched};
use crate::compose::{Access, Member, Offer, Resolution};
use crate::learner::{Instance, ResolvedFigure, Runtime};
use crate::library::{Catalog, ComponentManifest, Kind};
use crate::record::Better;
use crate::run_file::InstanceSpec;

/// The member for a created instance.
pub fn member(
    runtime: &Rc<Runtime>,
    instance: &Rc<Instance>,
    spec: Option<&InstanceSpec>,
    phase_kind: &str,
) -> Member<'static> {
    let kind = kind_of(instance.kind()).unwrap_or(Kind::Callback);
    let mut member = Member::new(kind, &instance.id, &instance.component);
    member.events =
        instance.requested.events.iter().filter_map(|&number| runtime.event_name(number)).collect();
    member.emits = instance.declared.emits.clone();
    member.phase_kind = phase_kind.to_owned();
    member.place = spec.and_then(|spec| spec.place);
    gather(instance, &mut member);
    let asked = Rc::clone(instance);
    member.resolve = Box::new(move |other, path| resolve(&asked, other, path));
    member
}

/// Adds access and order of an instance and, recursively, of its children.
fn gather(instance: &Instance, member: &mut Member<'_>) {
    let add = |to: &mut Vec<String>, from: &[String]| {
        for text in from {
            if !to.contains(text) {
                to.push(text.clone());
            }
        }
    };
    add(&mut member.access.reads, &instance.requested.reads);
    add(&mut member.access.writes, &instance.requested.writes);
    add(&mut member.run_after, &instance.requested.run_after);
    add(&mut member.run_before, &instance.requested.run_before);
    member.reports.extend(instance.requested.reports.iter().map(|figure| Reported {
        phase: figure.phase.clone(),
        name: figure.name.clone(),
        better: better(figure.direction),
    }));
    member.watches.extend(instance.requested.watches.iter().map(|figure| Watched {
        metric: figure.metric.clone(),
        phase: figure.phase.clone(),
        better: better(figure.better),
    }));
    for child in &instance.children {
        if !member.stands_for.contains(&child.component) {
            member.stands_for.push(child.component.clone());
        }
        gather(child, member);
    }
}

/// The direction with a number of the contract.
fn better(number: u32) -> Option<Better> {
    match number {
        direction::LOWER => Some(Better::Lower),
        direction::HIGHER => Some(Better::Higher),
        _ => None,
    }
}

/// Sets what the figures that an instance and its children watch were resolved to, in the order in
/// which [`member`] lists them. Returns the rest of `resolved`.
pub fn set_watched<'a>(instance: &Instance, resolved: &'a [Resolved]) -> &'a [Resolved] {
    let (own, mut rest) = resolved.split_at(instance.requested.watches.len().min(resolved.len()));
    instance.set_watched(
        own.iter()
            .map(|figure| ResolvedFigure {
                phase: figure.phase.clone(),
                direction: match figure.better {
                    Better::Lower => direction::LOWER,
                    Better::Higher => direction::HIGHER,
                },
            })
            .collect(),
    );
    for child in &instance.children {
        rest = set_watched(child, rest);
    }
    rest
}

/// The conflict resolution of the instance, or of the first child that defines one.
fn resolve(instance: &Instance, other: &str, path: &str) -> Resolution {
    let own = match instance.plugin_side().callback_resolve(other, path) {
        resolution::UNRESOLVABLE => Resolution::Unresolvable,
        resolution::RUN_FIRST => Resolution::RunFirst,
        resolution::NO_CONFLICT => Resolution::NoConflict,
        _ => Resolution::NotDefined,
    };
    if own != Resolution::NotDefined {
        return own;
    }
    let children = instance.children.iter().map(|child| resolve(child, other, path));
    children
        .into_iter()
        .find(|answer| *answer != Resolution::NotDefined)
        .unwrap_or(Resolution::NotDefined)
}

/// The member for an instance that could not be created, from its manifest, so that the problems of
/// the other instances are reported correctly.
pub fn stand_in(spec: &InstanceSpec, manifest: &ComponentManifest) -> Member<'static> {
    let mut member = Member::new(spec.kind, &spec.id, &spec.component_id());
    let declared = declared(manifest);
    member.events = declared.events;
    member.access = Access { reads: declared.reads, writes: declared.writes };
    member.run_after = declared.run_after;
    member.run_before = declared.run_before;
    member.emits = declared.emits;
    member.phase_kind = manifest.phase_kind.clone();
    member.place = spec.place;
    // Its resolutions are unknown, so it causes no conflict.
    member.resolve = Box::new(|_, _| Resolution::NoConflict);
    member
}

/// Components that could be added to the run.
pub fn offers(catalog: &Catalog) -> Vec<Offer> {
    let offer = |component: crate::library::ComponentRef<'_>| Offer {
        component: component.id(),
        writes: component.manifest.writes.clone(),
        emits: component.manifest.emits.clone(),
    };
    catalog.components().map(offer).collect()
}
