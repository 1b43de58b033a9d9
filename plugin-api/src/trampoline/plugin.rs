//! What the export macro puts together: the entry, the root module, the connection to the host.

use abi_stable::{
    library::{__call_root_module_loader, RootModuleResult},
    prefix_type::PrefixTypeTrait,
};

use super::{calls, guard};
use crate::{
    abi::{
        entry::{CONTRACT, Component, Entry, EntryPointer, MAGIC, Root, RootRef},
        host::HostTable,
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

/// This SDK offers no extension beyond contract 1.0.
///
/// # Safety
/// None is needed; it is a function of the contract.
pub unsafe extern "C" fn extension(_id: Text) -> *const () {
    std::ptr::null()
}

/// The entry of a plugin.
pub const fn entry(
    manifest: &'static [u8],
    components: &'static [Component],
    init: unsafe extern "C" fn(*const HostTable) -> i32,
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
    /// The export macro has to spell the symbol's name; abi_stable decides it.
    #[test]
    fn the_exported_symbol_is_the_one_that_abi_stable_looks_for() {
        assert_eq!(crate::trampoline::plugin::SYMBOL, abi_stable::library::ROOT_MODULE_LOADER_NAME);
    }
}
