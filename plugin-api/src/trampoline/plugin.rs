//! What [`plugin!`](crate::plugin!) is made of: the entry, the root module, the connection to the host.

use std::{mem::MaybeUninit, ptr};

use abi_stable::{
    library::{__call_root_module_loader, RootModuleResult},
    prefix_type::PrefixTypeTrait,
};

use super::{calls, guard};
use crate::{
    abi::{
        dataset::{
            DATASET_FILL_EXTENSION, DATASET_INPUTS_EXTENSION, DATASET_STATE_EXTENSION,
            DatasetFillRow, DatasetFillRows, DatasetInputsRow, DatasetInputsRows, DatasetStateRow,
            DatasetStateRows,
        },
        entry::{CONTRACT, Component, Entry, EntryPointer, MAGIC, Root, RootRef},
        host::HostTable,
        kinds::{KINDS_EXTENSION, KindRow, KindRows},
        metric::{METRIC_EXTENSION, MetricRow, MetricRows},
        model::{MODEL_NAMES_EXTENSION, ModelNamesRow, ModelNamesRows},
        status,
        text::Text,
    },
    log_bridge,
};

pub use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult as ConstructorResult};

/// Name of the one symbol that a plugin exports.
pub const SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";

/// Connects the plugin called `name` to the host.
pub fn init(name: &'static str, host: *const HostTable) -> i32 {
    if !calls::connect(host) {
        return status::ERROR;
    }
    guard::install_hook();
    log_bridge::install(name);
    status::OK
}

/// Sets the most verbose level that is forwarded.
///
/// # Safety
/// None is needed; it is a function of the contract.
pub unsafe extern "C" fn set_log_level(level: u32) {
    log_bridge::set_level(level);
}

/// The tables of a plugin beyond contract 1.0.
#[derive(Debug)]
pub struct Extensions {
    metrics: MetricRows,
    dataset_states: DatasetStateRows,
    dataset_inputs: DatasetInputsRows,
    model_names: ModelNamesRows,
    dataset_fills: DatasetFillRows,
    kinds: KindRows,
}

impl Extensions {
    /// The tables with these rows.
    pub const fn new(
        metrics: &'static [MetricRow],
        dataset_states: &'static [DatasetStateRow],
        dataset_inputs: &'static [DatasetInputsRow],
        model_names: &'static [ModelNamesRow],
        dataset_fills: &'static [DatasetFillRow],
        kinds: &'static [KindRow],
    ) -> Extensions {
        Extensions {
            metrics: MetricRows {
                size: size_of::<MetricRow>() as u64,
                first: metrics.as_ptr(),
                count: metrics.len(),
            },
            dataset_states: DatasetStateRows {
                size: size_of::<DatasetStateRow>() as u64,
                first: dataset_states.as_ptr(),
                count: dataset_states.len(),
            },
            dataset_inputs: DatasetInputsRows {
                size: size_of::<DatasetInputsRow>() as u64,
                first: dataset_inputs.as_ptr(),
                count: dataset_inputs.len(),
            },
            model_names: ModelNamesRows {
                size: size_of::<ModelNamesRow>() as u64,
                first: model_names.as_ptr(),
                count: model_names.len(),
            },
            dataset_fills: DatasetFillRows {
                size: size_of::<DatasetFillRow>() as u64,
                first: dataset_fills.as_ptr(),
                count: dataset_fills.len(),
            },
            kinds: KindRows {
                size: size_of::<KindRow>() as u64,
                first: kinds.as_ptr(),
                count: kinds.len(),
            },
        }
    }
}

/// The table with this id; null if there is none, or it has no rows.
pub fn extension(extensions: &'static Extensions, id: Text) -> *const () {
    let Extensions { metrics, dataset_states, dataset_inputs, model_names, dataset_fills, kinds } =
        extensions;
    let tables: [(&str, *const (), usize); 6] = [
        (MODEL_NAMES_EXTENSION, ptr::from_ref(model_names).cast(), model_names.count),
        (METRIC_EXTENSION, ptr::from_ref(metrics).cast(), metrics.count),
        (DATASET_STATE_EXTENSION, ptr::from_ref(dataset_states).cast(), dataset_states.count),
        (DATASET_INPUTS_EXTENSION, ptr::from_ref(dataset_inputs).cast(), dataset_inputs.count),
        (DATASET_FILL_EXTENSION, ptr::from_ref(dataset_fills).cast(), dataset_fills.count),
        (KINDS_EXTENSION, ptr::from_ref(kinds).cast(), kinds.count),
    ];
    // SAFETY: the host lends the text for the call.
    let id = unsafe { id.as_bytes() };
    tables
        .into_iter()
        .find(|(known, _, rows)| known.as_bytes() == id && *rows > 0)
        .map_or(ptr::null(), |(_, table, _)| table)
}

/// Number of components that have a row.
pub const fn count<T: Copy>(all: &[Option<T>]) -> usize {
    let (mut index, mut count) = (0, 0);
    while index < all.len() {
        count += all[index].is_some() as usize;
        index += 1;
    }
    count
}

/// The rows, without the components that have none. `N` is [`count`] of them.
pub const fn rows<T: Copy, const N: usize>(all: &[Option<T>]) -> [T; N] {
    let mut rows = [const { MaybeUninit::<T>::uninit() }; N];
    let (mut index, mut next) = (0, 0);
    while index < all.len() {
        if let Some(row) = all[index] {
            rows[next] = MaybeUninit::new(row);
            next += 1;
        }
        index += 1;
    }
    assert!(next == N, "fewer rows than places");
    // SAFETY: all `N` places were written, and `MaybeUninit<T>` has the layout of `T`.
    unsafe { ptr::read(ptr::from_ref(&rows).cast()) }
}

/// The entry of a plugin.
pub const fn entry(
    manifest: &'static [u8],
    components: &'static [Component],
    init: unsafe extern "C" fn(*const HostTable) -> i32,
    extension: unsafe extern "C" fn(Text) -> *const (),
) -> Entry {
    Entry {
        magic: MAGIC,
        size: size_of::<Entry>() as u64,
        contract: CONTRACT,
        manifest: Text::bytes(manifest),
        components: components.as_ptr(),
        component_count: components.len(),
        init,
        set_log_level,
        extension,
    }
}

/// The root module that holds `entry`.
pub fn root(entry: &'static Entry) -> RootModuleResult {
    thread_local! {
        static ENTRY: std::cell::Cell<Option<&'static Entry>> = const { std::cell::Cell::new(None) };
    }
    fn make() -> RootRef {
        let entry = ENTRY.take().map_or(std::ptr::null(), std::ptr::from_ref);
        Root { entry: EntryPointer(entry) }.leak_into_prefix()
    }
    ENTRY.set(Some(entry));
    __call_root_module_loader(make)
}

/// The header that abi_stable looks for.
pub const fn header(constructor: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: `constructor` is made by the export macro from `root`, which gives a `RootRef`.
    unsafe { LibHeader::from_constructor::<RootRef>(constructor, CheckTypeLayout::Yes) }
}

#[cfg(test)]
mod tests {
    /// `plugin!` writes the name as a literal, but abi_stable defines it.
    #[test]
    fn the_exported_symbol_is_the_one_that_abi_stable_looks_for() {
        assert_eq!(crate::trampoline::plugin::SYMBOL, abi_stable::library::ROOT_MODULE_LOADER_NAME);
    }
}
