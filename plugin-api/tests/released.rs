//! The plugin that was compiled when contract 1.0 was frozen still has the layout of the tables here:
//! abi_stable compares every type that its root module reaches. `tests/old_contracts.rs` of the
//! workspace trains with the same file.

use std::path::Path;

use abi_stable::library::lib_header_from_path;
use fluxbay_plugin::abi::entry::{CONTRACT, MAGIC, RootRef};

#[test]
fn the_plugin_of_contract_1_0_has_the_layout_of_these_tables() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/contract-1.0/plugin.so");
    let header = lib_header_from_path(&file).unwrap();
    let root = header.check_layout::<RootRef>().unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: the layout of the root and of everything it reaches was compared just now, and the
    // library is never unloaded.
    let entry = unsafe { &*root.entry().0 };
    assert_eq!((entry.magic, entry.contract.major), (MAGIC, CONTRACT.major));
    assert!(entry.component_count > 0);
}
