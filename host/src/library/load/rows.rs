//! The list of rows that a plugin returns for an extension of components: read as plain numbers and
//! checked before any row is used.

use fluxbay_plugin::abi::entry::Entry;
use fluxbay_plugin::abi::text::Text;

use super::image::Image;
use super::refuse;
use crate::library::escape;
use crate::library::manifest::{ComponentManifest, Kind};
use crate::library::report::{Refusal, RefusalReason};

/// A list of rows of any type.
#[repr(C)]
#[derive(Clone, Copy)]
struct List {
    size: u64,
    first: *const u8,
    count: usize,
}

/// Requests extension `id`, whose rows are of type `T`; returns readable rows, none if the plugin
/// has no such extension.
///
/// # Errors
/// `contract-violation`, with the field.
pub(super) fn read<T>(
    id: &'static str,
    entry: &'static Entry,
    image: &Image,
) -> Result<Vec<*const T>, Refusal> {
    // SAFETY: `entry::check` found the function in executable memory of a loaded library; the text is
    // lent for the call.
    let table = unsafe { (entry.extension)(Text::new(id)) };
    if table.is_null() {
        return Ok(Vec::new());
    }
    if !image.has_data(table as usize, size_of::<List>(), align_of::<List>()) {
        return violation(id, "", format_args!("{table:p} lies in no loaded library"));
    }
    // SAFETY: the whole table is readable; numbers and a pointer.
    let List { size, first, count } = unsafe { table.cast::<List>().read() };
    let expected = size_of::<T>();
    if size != expected as u64 {
        return violation(
            id,
            "size",
            format_args!("rows of {size} bytes, this host knows rows of {expected}"),
        );
    }
    let bytes = count.saturating_mul(expected);
    if count > 0 && !image.has_data(first as usize, bytes, align_of::<T>()) {
        return violation(
            id,
            "first",
            format_args!("{count} rows at {first:p} lie in no loaded library"),
        );
    }
    Ok((0..count).map(|index| first.cast::<T>().wrapping_add(index)).collect())
}

/// The component of a `kind` that a row names.
///
/// # Errors
/// `contract-violation` if the text is not readable or the manifest has no such component.
pub(super) fn component<'a>(
    id: &str,
    field: &str,
    image: &Image,
    (kind, name): (Kind, Text),
    components: &'a [ComponentManifest],
) -> Result<&'a ComponentManifest, Refusal> {
    if !image.has_data(name.ptr as usize, name.len, 1) {
        return violation(id, field, "its text lies in no loaded library");
    }
    // SAFETY: the bytes lie in a segment of a library, which is never unmapped.
    let name = unsafe { name.as_bytes() };
    let known = |one: &&ComponentManifest| one.kind == kind && one.name.as_bytes() == name;
    match components.iter().find(known) {
        Some(component) => Ok(component),
        None => {
            let name = escape::bytes(&name[..name.len().min(64)]);
            violation(id, field, format_args!("there is no {kind}/{name} in its manifest"))
        }
    }
}

/// Refuses a plugin for a field of extension `id`.
pub(super) fn violation<R>(
    id: &str,
    field: &str,
    problem: impl std::fmt::Display,
) -> Result<R, Refusal> {
    let dot = if field.is_empty() || field.starts_with('[') { "" } else { "." };
    refuse(
        RefusalReason::ContractViolation,
        format!("field `{id}{dot}{field}` of its extensions: {problem}"),
        "tell its author; a plugin made with the export macro has no such fault",
    )
}
