//! Checks an entry before anything in it is used.
//!
//! The entry is read as plain numbers. A pointer is followed only if it points into a loaded
//! library, and a function pointer must point to executable memory. So an invalid entry is an error
//! that names the field, not a crash.

use std::ptr;

use fluxbay_plugin::abi::entry::{CONTRACT, Component, Entry, MAGIC};
use fluxbay_plugin::abi::text::Text;
use fluxbay_plugin::abi::{
    callback::CallbackTable, communicator::CommunicatorTable, dataset::DatasetTable,
    logger::LoggerTable, loss::LossTable, metric::MetricTable, model::ModelTable,
    optimizer::OptimizerTable, phase::PhaseTable, sampler::SamplerTable, schedule::ScheduleTable,
    transform::TransformTable,
};

use super::image::Image;
use super::refuse;
use crate::library::escape;
use crate::library::inspect::Inspected;
use crate::library::manifest::{ComponentManifest, HEADER, Kind};
use crate::library::report::{Refusal, RefusalReason};

/// An entry whose pointers have all been checked.
pub(super) struct Checked {
    pub(super) entry: &'static Entry,
    /// Those of the kinds of contract 1.0, in the order of the manifest.
    pub(super) components: Vec<(Kind, &'static Component)>,
}

/// A function of a kind's table: its name, and whether it may be null.
pub(super) type Function = (&'static str, Need);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Must,
    May,
}
use Need::{May, Must};

/// The functions of the tables of contract 1.0 in their order, by the number of the kind.
const TABLES: [(Kind, &[Function]); 9] = [
    (Kind::Phase, &[("init", Must), ("step", Must), ("epoch", May)]),
    (Kind::Callback, &[("init", Must), ("on", Must), ("resolve", Must)]),
    (Kind::Model, &[("build", Must), ("forward", Must)]),
    (Kind::Loss, &[("forward", Must)]),
    (
        Kind::Dataset,
        &[
            ("open", Must),
            ("field_count", Must),
            ("field", Must),
            ("split_count", Must),
            ("split", Must),
            ("prepare", Must),
            ("fill", Must),
        ],
    ),
    (Kind::Metric, &[("reset", Must), ("update", Must), ("compute", Must), ("details", Must)]),
    (Kind::Schedule, &[("value", Must), ("length", Must)]),
    (Kind::Logger, &[("open", Must), ("write", Must), ("flush", Must), ("close", Must)]),
    (Kind::Optimizer, &[("begin", Must), ("update", Must)]),
];

/// The functions of the tables of later kinds in their order, behind the size of the table.
pub(super) const LATER_TABLES: [(Kind, &[Function]); 3] = [
    (Kind::Transform, &[("describe", Must), ("apply", Must)]),
    (Kind::Sampler, &[("open", Must), ("order", Must)]),
    (Kind::Communicator, &[("open", Must), ("gather", Must), ("exchange", Must), ("close", Must)]),
];

const fn words_behind_size<T>(index: usize) {
    assert!(
        (LATER_TABLES[index].1.len() + 1) * size_of::<usize>() == size_of::<T>(),
        "a table has other functions than are listed here"
    );
}

const fn words<T>(kind: usize) {
    assert!(
        TABLES[kind].1.len() * size_of::<usize>() == size_of::<T>(),
        "a table has other functions than are listed here"
    );
}
const _: () = {
    words::<PhaseTable>(0);
    words::<CallbackTable>(1);
    words::<ModelTable>(2);
    words::<LossTable>(3);
    words::<DatasetTable>(4);
    words::<MetricTable>(5);
    words::<ScheduleTable>(6);
    words::<LoggerTable>(7);
    words::<OptimizerTable>(8);
    words_behind_size::<TransformTable>(0);
    words_behind_size::<SamplerTable>(1);
    words_behind_size::<CommunicatorTable>(2);
};

fn violation<T>(field: &str, problem: impl std::fmt::Display) -> Result<T, Refusal> {
    refuse(
        RefusalReason::ContractViolation,
        format!("field `{field}` of its entry: {problem}"),
        "tell its author; a plugin made with the export macro has no such fault",
    )
}

fn mismatch<T>(field: &str, problem: impl std::fmt::Display) -> Result<T, Refusal> {
    let message =
        format!("field `{field}` differs between the file and the running plugin: {problem}");
    refuse(
        RefusalReason::ManifestMismatch,
        message,
        "build it again with the export macro; do not edit the section by hand",
    )
}

/// Checks the entry at `entry` and compares it with the manifest.
///
/// # Errors
/// `contract-violation` or `manifest-mismatch`, with the field.
pub(super) fn check(
    entry: *const Entry,
    image: &Image,
    plugin: &Inspected,
) -> Result<Checked, Refusal> {
    let address = entry as usize;
    if !image.has_data(address, 16, align_of::<Entry>()) {
        return violation("entry", "it is outside of all loaded libraries");
    }
    // SAFETY: 16 readable, aligned bytes; the fields are plain numbers.
    let (magic, size) = unsafe { ((*entry).magic, (*entry).size) };
    if magic != MAGIC {
        return violation("magic", format!("{magic:#018x}, expected {MAGIC:#018x}"));
    }
    if size < size_of::<Entry>() as u64
        || !image.has_data(address, size_of::<Entry>(), align_of::<Entry>())
    {
        return violation(
            "size",
            format!("{size} bytes, expected at least {}", size_of::<Entry>()),
        );
    }
    // SAFETY: the whole entry is readable; numbers.
    let contract = unsafe { (*entry).contract };
    if contract.major != CONTRACT.major {
        return violation(
            "contract",
            format!(
                "{}.{}, this host supports {}.{}",
                contract.major, contract.minor, CONTRACT.major, CONTRACT.minor
            ),
        );
    }
    let word = |field: *const *const ()| -> usize {
        // SAFETY: `field` is a pointer-sized field of the entry, read as a number.
        unsafe { field.cast::<usize>().read() }
    };
    // SAFETY: field places of a readable entry; nothing is read through a function pointer's type.
    let functions = unsafe {
        [
            ("init", (&raw const (*entry).init).cast()),
            ("set_log_level", (&raw const (*entry).set_log_level).cast()),
            ("extension", (&raw const (*entry).extension).cast()),
        ]
    };
    for (name, place) in functions {
        check_function(image, name, word(place), Must)?;
    }
    check_manifest(image, entry, plugin)?;
    let components = check_components(image, entry, plugin)?;
    // SAFETY: every field has been checked, function pointers are not null; a library is never
    // unmapped.
    Ok(Checked { entry: unsafe { &*entry }, components })
}

fn check_function(image: &Image, field: &str, address: usize, need: Need) -> Result<(), Refusal> {
    match address {
        0 if need == May => Ok(()),
        0 => violation(field, "a null pointer instead of a function"),
        _ if image.has_code(address) => Ok(()),
        _ => violation(field, format!("{address:#x} is no address of a function")),
    }
}

/// The bytes of a text, if it points into a loaded library.
fn text_bytes(image: &Image, text: Text) -> Option<&'static [u8]> {
    if text.len == 0 {
        return Some(&[]);
    }
    // SAFETY: the bytes lie in a segment of a library, which is never unmapped.
    image
        .has_data(text.ptr as usize, text.len, 1)
        .then(|| unsafe { std::slice::from_raw_parts(text.ptr, text.len) })
}

/// Checks that the description at run time is equal to the manifest section.
fn check_manifest(image: &Image, entry: *const Entry, plugin: &Inspected) -> Result<(), Refusal> {
    // SAFETY: readable entry; a pointer and a number.
    let text = unsafe { (*entry).manifest };
    let Some(theirs) = text_bytes(image, text) else {
        return violation(
            "manifest",
            format!("{} bytes at {:p} are outside of all loaded libraries", text.len, text.ptr),
        );
    };
    let length = plugin
        .section
        .get(12..HEADER)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_le_bytes) as usize;
    let ours = plugin.section.get(HEADER..).and_then(|json| json.get(..length)).unwrap_or_default();
    if ours == theirs {
        return Ok(());
    }
    let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    match (parse(ours), parse(theirs)) {
        (Some(ours), Some(theirs)) => {
            let field = first_difference(&ours, &theirs).unwrap_or_else(|| "manifest".to_owned());
            mismatch(&field, "the two descriptions differ")
        }
        _ => mismatch("manifest", "the running plugin's description is not JSON"),
    }
}

/// Path of the first field in which two JSON values differ.
fn first_difference(a: &serde_json::Value, b: &serde_json::Value) -> Option<String> {
    use serde_json::Value::{Array, Object};
    let join = |head: String, tail: Option<String>| match tail {
        Some(tail) if !tail.is_empty() && !tail.starts_with('[') => Some(format!("{head}.{tail}")),
        Some(tail) => Some(head + &tail),
        None => None,
    };
    match (a, b) {
        (Object(a), Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.map(|key| match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) => join(escape::text(key), first_difference(a, b)),
                _ => Some(escape::text(key)),
            })
            .find_map(|found| found)
        }
        (Array(a), Array(b)) => {
            let shorter = a.len().min(b.len());
            let within = a
                .iter()
                .zip(b)
                .enumerate()
                .find_map(|(i, (a, b))| join(format!("[{i}]"), first_difference(a, b)));
            within.or_else(|| (a.len() != b.len()).then(|| format!("[{shorter}]")))
        }
        _ => (a != b).then(String::new),
    }
}

fn check_components(
    image: &Image,
    entry: *const Entry,
    plugin: &Inspected,
) -> Result<Vec<(Kind, &'static Component)>, Refusal> {
    let described = &plugin.manifest.components;
    // SAFETY: readable entry; a pointer and a number.
    let (first, count) = unsafe { ((*entry).components, (*entry).component_count) };
    let expected = described.iter().filter(|one| one.kind.is_of_the_entry()).count();
    if count != expected {
        return mismatch(
            "components",
            format!("{expected} in the file, {count} in the running plugin"),
        );
    }
    let bytes = count.saturating_mul(size_of::<Component>());
    if count > 0 && !image.has_data(first as usize, bytes, align_of::<Component>()) {
        return violation(
            "components",
            format!("{count} of them at {first:p} are outside of all loaded libraries"),
        );
    }
    let mut found: Vec<Option<(Kind, &'static Component)>> = vec![None; described.len()];
    for index in 0..count {
        let (place, kind, component) =
            check_component(image, first.wrapping_add(index), index, described)?;
        if found[place].replace((kind, component)).is_some() {
            return mismatch(
                &format!("components[{index}]"),
                format!("{} is in it twice", described[place].id()),
            );
        }
    }
    // As many as in the manifest and none twice, so all are found; later kinds have no place here.
    Ok(found.into_iter().flatten().collect())
}

/// Checks one component; returns its index in the manifest.
fn check_component(
    image: &Image,
    component: *const Component,
    index: usize,
    described: &[ComponentManifest],
) -> Result<(usize, Kind, &'static Component), Refusal> {
    let field = |name: &str| format!("components[{index}].{name}");
    // SAFETY: the component is readable; numbers and a pointer with a length.
    let (number, state_version, name) =
        unsafe { ((*component).kind, (*component).state_version, (*component).name) };
    let Some((kind, functions)) =
        usize::try_from(number).ok().and_then(|number| TABLES.get(number))
    else {
        return violation(&field("kind"), format!("{number} is no kind"));
    };
    let Some(name) = text_bytes(image, name) else {
        return violation(
            &field("name"),
            format!("{} bytes at {:p} are outside of all loaded libraries", name.len, name.ptr),
        );
    };
    let Some(place) = described.iter().position(|c| c.kind == *kind && c.name.as_bytes() == name)
    else {
        return mismatch(
            &field("name"),
            format!("{kind}/{} is not in the file", escape::bytes(&name[..name.len().min(64)])),
        );
    };
    if state_version != described[place].state_version {
        return mismatch(
            &field("state_version"),
            format!(
                "{} in the file, {state_version} in the running plugin",
                described[place].state_version
            ),
        );
    }
    // SAFETY: field places of a readable component; function pointers are read as numbers.
    let (own, tables): ([(&str, usize); 4], [*const usize; 9]) = unsafe {
        let number = |place: *const usize| place.read();
        (
            [
                ("create", number((&raw const (*component).create).cast())),
                ("destroy", number((&raw const (*component).destroy).cast())),
                ("save", number((&raw const (*component).save).cast())),
                ("load", number((&raw const (*component).load).cast())),
            ],
            [
                (*component).phase.cast(),
                (*component).callback.cast(),
                (*component).model.cast(),
                (*component).loss.cast(),
                (*component).dataset.cast(),
                (*component).metric.cast(),
                (*component).schedule.cast(),
                (*component).logger.cast(),
                (*component).optimizer.cast(),
            ],
        )
    };
    for (name, address) in own {
        check_function(image, &field(name), address, Must)?;
    }
    for (other, table) in tables.into_iter().enumerate() {
        let (table_kind, _) = TABLES[other];
        if table_kind != *kind && !table.is_null() {
            return violation(
                &field(table_kind.name()),
                format!("not null, although it is a {kind}"),
            );
        }
        if table_kind == *kind {
            check_table(image, &field(kind.name()), table, functions)?;
        }
    }
    // SAFETY: every field has been checked, function pointers are not null; a library is never
    // unmapped.
    Ok((place, *kind, unsafe { &*component }))
}

fn check_table(
    image: &Image,
    field: &str,
    table: *const usize,
    functions: &[Function],
) -> Result<(), Refusal> {
    if !image.has_data(table as usize, functions.len() * size_of::<usize>(), align_of::<usize>()) {
        return violation(
            field,
            format!("its table at {table:p} is outside of all loaded libraries"),
        );
    }
    for (index, (name, need)) in functions.iter().enumerate() {
        // SAFETY: as many readable words as there are functions.
        let address = unsafe { ptr::read(table.add(index)) };
        check_function(image, &format!("{field}.{name}"), address, *need)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_of_two_descriptions_is_named() {
        let a = json!({"plugin": {"name": "a"}, "components": [{"kind": "loss"}, {"kind": "model", "reads": ["x"]}]});
        let mut b = a.clone();
        assert_eq!(first_difference(&a, &b), None);
        b["components"][1]["reads"] = json!(["x", "y"]);
        assert_eq!(first_difference(&a, &b).as_deref(), Some("components[1].reads[1]"));
        b["plugin"]["name"] = json!("b");
        assert_eq!(first_difference(&a, &b).as_deref(), Some("plugin.name"));
        b = a.clone();
        b["more"] = json!(1);
        assert_eq!(first_difference(&a, &b).as_deref(), Some("more"));
    }

    #[test]
    fn tables_are_listed_by_the_numbers_of_their_kinds() {
        for (number, (kind, _)) in TABLES.iter().chain(&LATER_TABLES).enumerate() {
            assert_eq!(kind.number() as usize, number);
        }
        assert_eq!(TABLES.len(), fluxbay_plugin::abi::kind::KINDS_OF_THE_ENTRY as usize);
    }
}
