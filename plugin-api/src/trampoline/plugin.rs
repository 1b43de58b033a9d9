//! What [`plugin!`](crate::plugin!) is made of: the entry, the root module, the connection to the host.

use std::{mem::MaybeUninit, ptr};

use abi_stable::{
    library::{__call_root_module_loader, RootModuleResult},
    prefix_type::PrefixTypeTrait,
};

use super::{calls, guard};
use crate::{
    abi::{
        entry::{CONTRACT, Component, Entry, EntryPointer, MAGIC, Root, RootRef},
        host::HostTable,
        metric::MetricRows,
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

/// A table of a plugin beyond contract 1.0. All of them begin as `MetricRows` does: the size of a row,
/// the first row, the number of rows.
#[derive(Debug)]
pub struct Extension {
    id: &'static str,
    table: MetricRows,
}

impl Extension {
    /// The table with this id and these rows. `R` is the type of row that the contract has for `id`.
    pub const fn new<R>(id: &'static str, rows: &'static [R]) -> Extension {
        let table = MetricRows {
            size: size_of::<R>() as u64,
            first: rows.as_ptr().cast(),
            count: rows.len(),
        };
        Extension { id, table }
    }
}

/// The table with this id; null if there is none, or it has no rows.
pub fn extension(extensions: &'static [Extension], id: Text) -> *const () {
    // SAFETY: the host lends the text for the call.
    let id = unsafe { id.as_bytes() };
    extensions
        .iter()
        .find(|known| known.id.as_bytes() == id && known.table.count > 0)
        .map_or(ptr::null(), |known| ptr::from_ref(&known.table).cast())
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
