//! Detection of NaN and infinities, in a host that has the extension `fluxbay.anomaly/1`.

use super::{check, host};
use crate::{
    Error, Result,
    abi::{
        anomaly::{ANOMALY_EXTENSION, AnomalyRaw, AnomalyTable},
        text::Text,
    },
    anomaly::Anomaly,
};

/// The host's table.
fn table() -> Result<&'static AnomalyTable> {
    let host = host().ok_or_else(super::no_host)?;
    // SAFETY: the text is borrowed for the call.
    let table = unsafe { (host.extension)(Text::new(ANOMALY_EXTENSION)) }.cast::<AnomalyTable>();
    // SAFETY: null, or the host's static table of this id, which begins with its size.
    unsafe { table.as_ref() }
        .filter(|table| table.size >= size_of::<AnomalyTable>() as u64)
        .ok_or_else(too_old)
}

pub(crate) fn anomaly_watch(elements: u32) -> Result<()> {
    // SAFETY: the function takes a number.
    check(unsafe { (table()?.watch)(elements) })
}

pub(crate) fn anomaly_first() -> Result<Option<Anomaly>> {
    let mut raw = AnomalyRaw {
        size: size_of::<AnomalyRaw>() as u64,
        found: 0,
        backward: 0,
        nan: 0,
        from_input: 0,
        direct: 0,
        reserved: 0,
        number: 0,
        operation: Text::EMPTY,
        parameter: Text::EMPTY,
    };
    // SAFETY: `raw` is valid for the write and has its size set.
    check(unsafe { (table()?.first)(&mut raw) })?;
    // SAFETY: the texts are valid until the next call of the host on this thread; copied here.
    let text = |text: Text| unsafe { text.to_text() }.into_owned();
    Ok((raw.found == 1).then(|| Anomaly {
        operation: text(raw.operation),
        backward: raw.backward == 1,
        nan: raw.nan == 1,
        from_input: raw.from_input == 1,
        parameter: Some(text(raw.parameter)).filter(|path| !path.is_empty()),
        direct: raw.direct == 1,
        number: raw.number,
    }))
}

#[cold]
fn too_old() -> Error {
    Error::new("the host does not detect anomalies (`fluxbay.anomaly/1`); a newer one does")
}
