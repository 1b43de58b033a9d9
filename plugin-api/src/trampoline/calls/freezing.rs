//! Freezing of parameters, in a host that has the extension `fluxbay.freezing/1`.

use super::{check, host};
use crate::{
    Error, Result,
    abi::{
        freezing::{FREEZING_EXTENSION, FreezingTable},
        text::Text,
    },
};

/// Freezes or unfreezes the parameters that match a pattern; returns their number.
pub(crate) fn freeze(pattern: &str, frozen: bool) -> Result<u64> {
    let host = host().ok_or_else(super::no_host)?;
    // SAFETY: the text is borrowed for the call.
    let table = unsafe { (host.extension)(Text::new(FREEZING_EXTENSION)) }.cast::<FreezingTable>();
    // SAFETY: null, or the host's static table of this id, which begins with its size.
    let table = unsafe { table.as_ref() }
        .filter(|table| table.size >= size_of::<FreezingTable>() as u64)
        .ok_or_else(|| {
            Error::new("the host cannot freeze parameters (`fluxbay.freezing/1`); a newer one does")
        })?;
    let mut count = 0;
    // SAFETY: text and place are lent for the call.
    check(unsafe { (table.freeze)(Text::new(pattern), u32::from(frozen), &mut count) })?;
    Ok(count)
}
