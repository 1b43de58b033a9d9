//! Figures of the run, in a host that has the extension `fluxbay.figures/1`.

use super::{check, host};
use crate::{
    Error, Result,
    abi::{
        figures::{FIGURES_EXTENSION, FiguresTable},
        text::Text,
    },
};

/// The host's table; none in a host without the extension.
fn figures() -> Result<Option<&'static FiguresTable>> {
    let host = host().ok_or_else(super::no_host)?;
    // SAFETY: the text is borrowed for the call.
    let table = unsafe { (host.extension)(Text::new(FIGURES_EXTENSION)) }.cast::<FiguresTable>();
    // SAFETY: null, or the host's static table of this id, which begins with its size.
    Ok(unsafe { table.as_ref() }.filter(|table| table.size >= size_of::<FiguresTable>() as u64))
}

pub(crate) fn figure_declare(phase: &str, name: &str, direction: u32) -> Result<()> {
    match figures()? {
        Some(table) => {
            // SAFETY: the texts are borrowed for the call.
            check(unsafe { (table.declare)(Text::new(phase), Text::new(name), direction) })
        }
        // A host that does not know figures needs no declarations.
        None => Ok(()),
    }
}

pub(crate) fn figure_declare_child(phase: &str, name: &str, child: u32) -> Result<()> {
    match figures()? {
        Some(table) => {
            // SAFETY: the texts are borrowed for the call.
            check(unsafe { (table.declare_child)(Text::new(phase), Text::new(name), child) })
        }
        None => Ok(()),
    }
}

pub(crate) fn figure_watch(metric: &str, phase: &str, better: u32) -> Result<u32> {
    let table = figures()?.ok_or_else(too_old)?;
    let mut watched = 0;
    // SAFETY: the texts are borrowed for the call, `watched` is valid for the write.
    check(unsafe { (table.watch)(Text::new(metric), Text::new(phase), better, &mut watched) })?;
    Ok(watched)
}

pub(crate) fn figure_watched(watched: u32) -> Result<(String, u32)> {
    let table = figures()?.ok_or_else(too_old)?;
    let (mut phase, mut direction) = (Text::EMPTY, 0);
    // SAFETY: both places are valid for the write.
    check(unsafe { (table.watched)(watched, &mut phase, &mut direction) })?;
    // SAFETY: valid until the next call of the host on this thread; copied here.
    Ok((unsafe { phase.to_text() }.into_owned(), direction))
}

#[cold]
fn too_old() -> Error {
    Error::new(format!(
        "this fluxbay is older than the plugin: it lacks the extension {FIGURES_EXTENSION}"
    ))
}
