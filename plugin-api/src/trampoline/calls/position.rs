//! The place of the first token of a forward pass, in a host that has the extension
//! `fluxbay.position/1`.

use super::{check, host};
use crate::{
    Result,
    abi::{
        position::{POSITION_EXTENSION, PositionTable},
        text::Text,
    },
};

/// Tokens that earlier forward passes have seen; 0 in a host without the extension.
pub(crate) fn first_position() -> Result<usize> {
    let host = host().ok_or_else(super::no_host)?;
    // SAFETY: the text is borrowed for the call.
    let table = unsafe { (host.extension)(Text::new(POSITION_EXTENSION)) }.cast::<PositionTable>();
    // SAFETY: null, or the host's static table of this id, which begins with its size.
    let table =
        unsafe { table.as_ref() }.filter(|table| table.size >= size_of::<PositionTable>() as u64);
    let Some(table) = table else { return Ok(0) };
    let mut first = 0;
    // SAFETY: the place is lent for the call.
    check(unsafe { (table.first)(&mut first) })?;
    Ok(first as usize)
}
