//! The one table that every plugin gets.

use fluxbay_plugin::abi::{
    anomaly::ANOMALY_EXTENSION, entry::CONTRACT, figures::FIGURES_EXTENSION,
    freezing::FREEZING_EXTENSION, host::HostTable, packing::PACKING_EXTENSION,
    position::POSITION_EXTENSION, text::Text,
};

use super::{
    anomaly, child, display, figures, freezing, learner, log, packing, position, record, setup,
    state, tensor,
};
use crate::calls::context;

/// The host's functions, for the entry's `init` of every plugin.
pub static HOST: HostTable = HostTable {
    size: size_of::<HostTable>() as u64,
    contract: CONTRACT,
    fail,
    last_error,
    log: log::log,
    extension,
    setup: &setup::TABLE,
    tensor: &tensor::TABLE,
    state: &state::TABLE,
    learner: &learner::TABLE,
    record: &record::TABLE,
    display: &display::TABLE,
    child: &child::TABLE,
};

unsafe extern "C" fn fail(text: Text) {
    // SAFETY: the contract lends the text for the call.
    let text = unsafe { text.to_text() };
    context::set_error(&text);
}

unsafe extern "C" fn last_error(text: *mut Text) {
    if !text.is_null() {
        // SAFETY: not null, and the contract lends the place for the call.
        unsafe { text.write(context::last_error()) }
    }
}

unsafe extern "C" fn extension(id: Text) -> *const () {
    // SAFETY: the contract lends the text for the call.
    match &*unsafe { id.to_text() } {
        FIGURES_EXTENSION => (&raw const figures::TABLE).cast(),
        ANOMALY_EXTENSION => (&raw const anomaly::TABLE).cast(),
        FREEZING_EXTENSION => (&raw const freezing::TABLE).cast(),
        POSITION_EXTENSION => (&raw const position::TABLE).cast(),
        PACKING_EXTENSION => (&raw const packing::TABLE).cast(),
        _ => std::ptr::null(),
    }
}
