//! Merges one layer over those before it.
//!
//! Tables merge key by key. A list of instances merges by instance id, new instances are appended.
//! Every other value is replaced. Naming another component drops the configuration of the former
//! one.

use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::layout::{self, COMPONENT, ID, SectionForm};
use super::nearest;
use super::source::{Place, Sources};
use super::tree::{Entry, Node, Table, Value};

/// The merged layers: their texts, one tree, and the defaults to remove.
#[derive(Clone, Debug, Default)]
pub struct Layered {
    /// All texts.
    pub sources: Sources,
    /// The merged tree.
    pub root: Table,
    /// Ids given to `--remove` that are not in the tree; they may name default callbacks.
    pub removed: Vec<(String, Place)>,
    /// The folder of the first run file; relative paths start there.
    pub base_dir: PathBuf,
}

/// Merges a layer over the ones before it.
pub(super) fn merge_root(layered: &mut Layered, over: Table, diagnostics: &mut Diagnostics) {
    for entry in over.entries {
        let form = layout::section(&entry.key).map(|section| section.form);
        match (form, layered.root.get_mut(&entry.key), entry) {
            (
                Some(SectionForm::List),
                base,
                Entry { key, node: Node { value: Value::Table(patches), .. }, key_place },
            ) => {
                patch_list(&layered.sources, &key, key_place, base, patches, diagnostics);
            }
            (_, None, entry) => layered.root.entries.push(entry),
            (Some(SectionForm::List), Some(base), entry) => merge_list(base, entry.node),
            (Some(SectionForm::One), Some(base), entry) => merge_instance(base, entry.node),
            (Some(SectionForm::OneOrNamed), Some(base), entry) => {
                merge_one_or_named(base, entry.node)
            }
            (_, Some(base), entry) => merge_value(base, entry.node),
        }
    }
}

fn merge_value(base: &mut Node, over: Node) {
    match (&mut base.value, over) {
        (Value::Table(base), Node { value: Value::Table(over), .. }) => {
            for entry in over.entries {
                match base.get_mut(&entry.key) {
                    Some(node) => merge_value(node, entry.node),
                    None => base.entries.push(entry),
                }
            }
        }
        (_, over) => *base = over,
    }
}

/// Merges two instances. With another component, the former settings are dropped.
fn merge_instance(base: &mut Node, over: Node) {
    let named = over.table().and_then(|table| table.text(COMPONENT));
    let changes = named.is_some() && named != base.table().and_then(|table| table.text(COMPONENT));
    if changes {
        let id = base.table().and_then(|table| table.entry(ID)).cloned();
        *base = over;
        if let (Value::Table(table), Some(id)) = (&mut base.value, id)
            && table.get(ID).is_none()
        {
            table.entries.push(id);
        }
    } else {
        merge_value(base, over);
    }
}

fn is_single(node: &Node) -> bool {
    node.table().is_some_and(|table| table.get(COMPONENT).is_some())
}

/// Whether a table of this section holds named instances.
pub(super) fn is_named(node: &Node) -> bool {
    let has_instances = |table: &Table| table.entries.iter().any(|entry| is_single(&entry.node));
    !is_single(node) && node.table().is_some_and(has_instances)
}

fn merge_one_or_named(base: &mut Node, over: Node) {
    if (is_single(base) && is_named(&over)) || (is_named(base) && is_single(&over)) {
        *base = over;
    } else if is_named(base) {
        if let (Value::Table(base), Node { value: Value::Table(over), .. }) =
            (&mut base.value, over)
        {
            for entry in over.entries {
                match base.get_mut(&entry.key) {
                    Some(node) => merge_instance(node, entry.node),
                    None => base.entries.push(entry),
                }
            }
        }
    } else {
        merge_instance(base, over);
    }
}

/// The id of an instance in a list: the given one, or its component's name.
pub(super) fn listed_id(node: &Node) -> Option<&str> {
    let table = node.table()?;
    table.text(ID).or_else(|| {
        table.text(COMPONENT).map(|name| name.rsplit([':', '/']).next().unwrap_or(name))
    })
}

fn merge_list(base: &mut Node, over: Node) {
    let (Value::List(have), Value::List(_)) = (&mut base.value, &over.value) else {
        *base = over;
        return;
    };
    let Value::List(items) = over.value else { return };
    let mut free: Vec<bool> = vec![true; have.len()];
    for item in items {
        let id = listed_id(&item);
        let same =
            (0..free.len()).find(|at| free[*at] && id.is_some() && listed_id(&have[*at]) == id);
        match same {
            Some(at) => {
                free[at] = false;
                merge_instance(&mut have[at], item);
            }
            None => have.push(item),
        }
    }
}

/// Applies `[callback.recorder]` or `--set callback.recorder.every=2` to listed instances.
fn patch_list(
    sources: &Sources,
    section: &str,
    section_place: Option<Place>,
    base: Option<&mut Node>,
    patches: Table,
    diagnostics: &mut Diagnostics,
) {
    if patches.get(COMPONENT).is_some() {
        let mut found = Diagnostic::error(
            "not-a-list",
            format!("`{section}` is a list, but is written as one table"),
        )
        .help(format!("write `[[{section}]]` with two brackets on each side"));
        if let Some(place) = section_place {
            found = found.at(sources, place, "one table");
        }
        diagnostics.push(found);
        return;
    }
    let mut nothing = Vec::new();
    let have = match base {
        Some(Node { value: Value::List(have), .. }) => have,
        _ => &mut nothing,
    };
    for patch in patches.entries {
        if let Some(node) = have.iter_mut().find(|node| listed_id(node) == Some(&patch.key)) {
            merge_instance(node, patch.node);
            continue;
        }
        let known = have.iter().filter_map(listed_id);
        let mut found = Diagnostic::error(
            "unknown-instance",
            format!("no {section} of this run has the id `{}`", patch.key),
        )
        .help(match nearest::suggestion(&patch.key, known) {
            Some(text) => format!(
                "{text}\nto add one: `--add '{section}/{}{{...}}'` or a `[[{section}]]` table",
                patch.key
            ),
            None => format!(
                "add it with a `[[{section}]]` table or `--add '{section}/{}{{...}}'`",
                patch.key
            ),
        });
        if let Some(place) = patch.key_place {
            found = found.at(sources, place, "");
        }
        diagnostics.push(found);
    }
}
