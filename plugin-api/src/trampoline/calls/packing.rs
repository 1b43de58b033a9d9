//! Rows of a batch that hold several samples, in a host that has the extension `fluxbay.packing/1`.

use super::{check, host};
use crate::{
    Result,
    abi::{
        handle::Handle,
        packing::{PACKING_EXTENSION, PackingTable},
        text::Text,
    },
};

/// Segments and positions of the rows of `xs`, owned by the caller; nothing if each row is one sample,
/// as in a host without the extension.
pub(crate) fn packing_of(xs: Handle) -> Result<Option<[Handle; 2]>> {
    let host = host().ok_or_else(super::no_host)?;
    // SAFETY: the text is borrowed for the call.
    let table = unsafe { (host.extension)(Text::new(PACKING_EXTENSION)) }.cast::<PackingTable>();
    // SAFETY: null, or the host's static table of this id, which begins with its size.
    let table =
        unsafe { table.as_ref() }.filter(|table| table.size >= size_of::<PackingTable>() as u64);
    let Some(table) = table else { return Ok(None) };
    let [mut segments, mut positions] = [Handle::NONE; 2];
    // SAFETY: the places are lent for the call.
    check(unsafe { (table.of)(xs, &mut segments, &mut positions) })?;
    Ok((segments != Handle::NONE && positions != Handle::NONE).then_some([segments, positions]))
}
