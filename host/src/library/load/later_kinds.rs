//! Components of kinds that the entry has no table for: the extension `fluxbay.kinds/1`, checked as
//! the entry is.

use std::ptr;

use fluxbay_plugin::abi::entry::{Component, Entry};
use fluxbay_plugin::abi::kinds::{KINDS_EXTENSION, KindRow};
use fluxbay_plugin::abi::text::Text;

use super::entry::{LATER_TABLES, Need};
use super::image::Image;
use super::{refuse, rows};
use crate::library::manifest::{ComponentManifest, Kind};
use crate::library::report::{Refusal, RefusalReason};

/// The functions of a row in their order, behind kind, version and name.
const FUNCTIONS: [&str; 4] = ["create", "destroy", "save", "load"];
/// Bytes of a row before its functions.
const HEAD: usize = 8 + size_of::<Text>();
const _: () = assert!(size_of::<KindRow>() == HEAD + (FUNCTIONS.len() + 1) * size_of::<usize>());

fn violation<T>(field: &str, problem: impl std::fmt::Display) -> Result<T, Refusal> {
    rows::violation(KINDS_EXTENSION, field, problem)
}

/// The rows of all components of later kinds, which are those of the manifest.
///
/// # Errors
/// `contract-violation` or `manifest-mismatch`, with the field.
pub(super) fn read(
    entry: &'static Entry,
    image: &Image,
    described: &[ComponentManifest],
) -> Result<Vec<(Kind, String, &'static KindRow)>, Refusal> {
    let expected = described.iter().filter(|one| !one.kind.is_of_the_entry()).count();
    let mut found: Vec<(Kind, String, &'static KindRow)> = Vec::new();
    for (index, row) in
        rows::read::<KindRow>(KINDS_EXTENSION, entry, image)?.into_iter().enumerate()
    {
        let (kind, name) = check(image, index, row, described)?;
        if found.iter().any(|known| known.0 == kind && known.1 == name) {
            return violation(
                &format!("[{index}].component"),
                format_args!("{kind}/{name} has two rows"),
            );
        }
        // SAFETY: every field has been checked, and a library is never unmapped.
        found.push((kind, name, unsafe { &*row }));
    }
    if found.len() == expected {
        return Ok(found);
    }
    refuse(
        RefusalReason::ManifestMismatch,
        format!(
            "the file has {expected} components of later kinds, the running plugin {} in \
             `{KINDS_EXTENSION}`",
            found.len()
        ),
        "build it again with the export macro; do not edit the section by hand",
    )
}

/// Checks a readable row; returns kind and name of its component.
fn check(
    image: &Image,
    index: usize,
    row: *const KindRow,
    described: &[ComponentManifest],
) -> Result<(Kind, String), Refusal> {
    let field = |name: &str| format!("[{index}].{name}");
    // SAFETY: the row is readable and begins with these fields: numbers, and a pointer with a length.
    let (number, version, name) = unsafe {
        (
            (&raw const (*row).kind).read(),
            (&raw const (*row).state_version).read(),
            (&raw const (*row).component).read(),
        )
    };
    let Some((kind, functions)) = LATER_TABLES.iter().find(|(kind, _)| kind.number() == number)
    else {
        return violation(&field("kind"), format_args!("{number} is no later kind"));
    };
    let component =
        rows::component(KINDS_EXTENSION, &field("component"), image, (*kind, name), described)?;
    if version != component.state_version {
        return violation(
            &field("state_version"),
            format_args!("{version}, but {} in its manifest", component.state_version),
        );
    }
    // SAFETY: words of the readable row, and a readable table: pointers, read as numbers.
    let word = |place: *const u8| unsafe { place.cast::<usize>().read() };
    let row = row.cast::<u8>();
    for (place, function) in FUNCTIONS.iter().enumerate() {
        let address = word(row.wrapping_add(HEAD + place * size_of::<usize>()));
        if !image.has_code(address) {
            return violation(
                &field(function),
                format_args!("{address:#x} is no address of a function"),
            );
        }
    }
    let table = word(row.wrapping_add(HEAD + FUNCTIONS.len() * size_of::<usize>()));
    let size = (functions.len() + 1) * size_of::<usize>();
    if !image.has_data(table, size, align_of::<u64>()) {
        return violation(
            &field("table"),
            format_args!("{table:#x} is outside of all loaded libraries"),
        );
    }
    let table = ptr::with_exposed_provenance::<u8>(table);
    let stated = word(table);
    if stated < size {
        return violation(
            &field("table.size"),
            format_args!("{stated} bytes, expected at least {size}"),
        );
    }
    for (place, (function, need)) in functions.iter().enumerate() {
        let address = word(table.wrapping_add((place + 1) * size_of::<usize>()));
        let absent = address == 0 && *need == Need::May;
        if !absent && !image.has_code(address) {
            return violation(
                &field(&format!("table.{function}")),
                format_args!("{address:#x} is no address of a function"),
            );
        }
    }
    Ok((*kind, component.name.clone()))
}

/// A row as a component of the entry, without a table.
pub(super) fn component(row: &'static KindRow) -> &'static Component {
    let KindRow { kind, state_version, component, create, destroy, save, load, .. } = *row;
    let mut made = Component::new(kind, "", state_version, create, destroy, save, load);
    made.name = component;
    // As long as the plugin, which is never unloaded.
    Box::leak(Box::new(made))
}
