//! Tests of loading, with plugins in C that the test compiles.

use super::fixtures::{MANIFEST, compile, compile_as, has_compiler, scan};
use super::*;
use crate::bridge::HOST;
use crate::library::{Store, load_from};

/// Loads the fixture that was compiled with `options`.
fn load_fixture(options: &[&str], run_time: &str) -> Result<Loaded, Refusal> {
    load_as(options, MANIFEST, run_time)
}

/// As [`load_fixture`], with another manifest in the file.
fn load_as(options: &[&str], manifest: &str, run_time: &str) -> Result<Loaded, Refusal> {
    let dir = tempfile::tempdir().expect("temporary directory");
    compile_as(dir.path(), "fixture", options, manifest, run_time);
    let catalog = scan(dir.path());
    assert_eq!(catalog.plugins().len(), 1, "{:?}", catalog.reports());
    let store = Store::at(&dir.path().join("store")).expect("private");
    load_from(&catalog.plugins()[0], &HOST, &store).map_err(|error| error.refusal)
}

#[test]
fn a_plugin_in_c_is_loaded_and_its_functions_can_be_called() {
    if !has_compiler() {
        return;
    }
    let loaded = load_fixture(&[], MANIFEST).expect("sound");
    assert_eq!(loaded.entry().contract, fluxbay_plugin::abi::entry::CONTRACT);
    assert!(
        loaded.component(Kind::Loss, "other").is_none()
            && loaded.component(Kind::Model, "c-loss").is_none()
    );
    let loss = loaded.component(Kind::Loss, "c-loss").expect("offered");
    let mut value = fluxbay_plugin::abi::handle::Handle::NONE;
    let handle = fluxbay_plugin::abi::handle::Handle(7);
    // SAFETY: the fixture's table was checked, and its function writes the first handle to the last
    // argument.
    let answer = unsafe {
        let instance = fluxbay_plugin::abi::entry::Instance(std::ptr::null_mut());
        ((*loss.loss).forward)(instance, handle, fluxbay_plugin::abi::handle::Handle(8), &mut value)
    };
    assert_eq!((answer, value), (0, handle));
}

#[test]
fn every_fault_of_the_entry_is_named_by_its_field_and_nothing_is_followed() {
    if !has_compiler() {
        return;
    }
    for (fault, reason, word) in [
        ("FAULT_MAGIC", RefusalReason::ContractViolation, "`magic`"),
        ("FAULT_SIZE", RefusalReason::ContractViolation, "`size`"),
        ("FAULT_CONTRACT", RefusalReason::ContractViolation, "`contract`"),
        ("FAULT_LONG_MANIFEST", RefusalReason::ContractViolation, "`manifest`"),
        ("FAULT_COUNT", RefusalReason::ManifestMismatch, "`components`"),
        ("FAULT_KIND", RefusalReason::ContractViolation, "`components[0].kind`"),
        ("FAULT_NAME", RefusalReason::ContractViolation, "`components[0].name`"),
        ("FAULT_STATE_VERSION", RefusalReason::ManifestMismatch, "`components[0].state_version`"),
        ("FAULT_NULL_CREATE", RefusalReason::ContractViolation, "`components[0].create`"),
        ("FAULT_DATA_AS_CODE", RefusalReason::ContractViolation, "`components[0].create`"),
        ("FAULT_NO_TABLE", RefusalReason::ContractViolation, "`components[0].loss`"),
        ("FAULT_TWO_TABLES", RefusalReason::ContractViolation, "`components[0].model`"),
        ("FAULT_WILD_TABLE", RefusalReason::ContractViolation, "`components[0].loss`"),
        ("FAULT_NULL_FUNCTION", RefusalReason::ContractViolation, "`components[0].loss.forward`"),
        ("FAULT_NO_ENTRY", RefusalReason::NoEntry, "fluxbay_entry"),
        ("FAULT_UNRESOLVED", RefusalReason::LinkFailed, "`nobody_has_this_symbol`"),
        ("FAULT_INIT", RefusalReason::InitFailed, "no\\x1b luck"),
    ] {
        let refusal = load_fixture(&[&format!("-D{fault}")], MANIFEST).expect_err(fault);
        assert_eq!(refusal.reason, reason, "{fault}: {refusal}");
        assert!(refusal.message.contains(word), "{fault}: {refusal}");
    }
}

#[test]
fn every_fault_of_an_extension_is_named_by_its_field() {
    if !has_compiler() {
        return;
    }
    for (fault, word) in [
        ("ROWS_SIZE", "`fluxbay.metric/1.size`"),
        ("ROWS_WILD", "`fluxbay.metric/1.first`"),
        ("ROWS_COUNT", "`fluxbay.metric/1.first`"),
        ("ROWS_KIND", "`fluxbay.metric/1[0].kind`"),
        ("ROWS_TEXT", "`fluxbay.metric/1[0].component`"),
        // The fixture's only component is a loss: a row for a metric belongs to nothing.
        ("ROWS_OF_NOTHING", "there is no metric/c-loss"),
    ] {
        let options = ["-DROWS".to_owned(), format!("-D{fault}")];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let refusal = load_fixture(&options, MANIFEST).expect_err(fault);
        assert_eq!(refusal.reason, RefusalReason::ContractViolation, "{fault}: {refusal}");
        assert!(refusal.message.contains(word), "{fault}: {refusal}");
    }
}

#[test]
fn components_of_later_kinds_are_loaded_and_every_fault_of_them_is_named_by_its_field() {
    if !has_compiler() {
        return;
    }
    // A transform before the loss: components are found whatever their order.
    let transform = r#""components":[{"kind":"transform","name":"c-flip"},"#;
    let manifest = MANIFEST.replace("\"components\":[", transform);
    let loaded = load_as(&["-DKINDS"], &manifest, &manifest).expect("sound");
    assert!(loaded.component(Kind::Loss, "c-loss").is_some_and(|it| !it.loss.is_null()));
    let found = loaded.component(Kind::Transform, "c-flip").expect("offered");
    let row = loaded.rows(Kind::Transform, "c-flip").kind.expect("its row");
    assert_eq!((found.kind, found.create as usize), (9, row.create as usize));
    for (fault, reason, word) in [
        ("KINDS_KIND", RefusalReason::ContractViolation, "`fluxbay.kinds/1[0].kind`"),
        ("KINDS_VERSION", RefusalReason::ContractViolation, "`fluxbay.kinds/1[0].state_version`"),
        ("KINDS_NAME", RefusalReason::ContractViolation, "there is no transform/other"),
        ("KINDS_CREATE", RefusalReason::ContractViolation, "`fluxbay.kinds/1[0].create`"),
        ("KINDS_TABLE", RefusalReason::ContractViolation, "`fluxbay.kinds/1[0].table`"),
        ("KINDS_TABLE_SIZE", RefusalReason::ContractViolation, "`fluxbay.kinds/1[0].table.size`"),
        ("KINDS_FUNCTION", RefusalReason::ContractViolation, "`fluxbay.kinds/1[0].table.apply`"),
        ("KINDS_SIZE", RefusalReason::ContractViolation, "`fluxbay.kinds/1.size`"),
        ("KINDS_NONE", RefusalReason::ManifestMismatch, "1 components of later kinds"),
    ] {
        let refusal = load_as(&["-DKINDS", &format!("-D{fault}")], &manifest, &manifest);
        let refusal = refusal.expect_err(fault);
        assert_eq!(refusal.reason, reason, "{fault}: {refusal}");
        assert!(refusal.message.contains(word), "{fault}: {refusal}");
    }
    let refusal = load_as(&[], &manifest, &manifest).expect_err("no row");
    assert_eq!(refusal.reason, RefusalReason::ManifestMismatch);
}

#[test]
fn a_running_plugin_that_says_something_else_than_its_file_is_refused_with_the_field() {
    if !has_compiler() {
        return;
    }
    let other = MANIFEST.replace("c-loss", "d-loss");
    let refusal = load_fixture(&[], &other).expect_err("differs");
    assert_eq!(refusal.reason, RefusalReason::ManifestMismatch);
    assert!(refusal.message.contains("`components[0].name`"), "{refusal}");
}

#[test]
fn a_missing_library_is_named() {
    if !has_compiler() {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let needed = dir.path().join("libgone-for-ever.so");
    let status = std::process::Command::new("cc")
        .args(["-shared", "-o"])
        .arg(&needed)
        .args(["-x", "c", "/dev/null"])
        .status();
    assert!(status.expect("the compiler runs").success());
    let option = format!("-L{}", dir.path().display());
    let refusal = load_fixture(&["-Wl,--no-as-needed", &option, "-lgone-for-ever"], MANIFEST)
        .expect_err("needs a library");
    assert_eq!(refusal.reason, RefusalReason::LinkFailed);
    assert!(refusal.message.contains("libgone-for-ever.so"), "{refusal}");
}

#[test]
fn the_run_path_and_unique_symbols_of_a_compiled_plugin_are_read() {
    if !has_compiler() {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = ["-DUNIQUE", "-Wl,-soname,libfixture.so", "-Wl,-rpath,$ORIGIN/lib"];
    let file = compile(dir.path(), "fixture", &options, MANIFEST);
    let linking = crate::library::elf::linking::Linking::read(&file).expect("a shared library");
    assert_eq!(linking.soname.as_deref(), Some("libfixture.so"));
    assert_eq!(linking.run_path.as_deref(), Some("$ORIGIN/lib"));
    assert_eq!(linking.unique_symbols, ["shared_counter"]);
}

#[test]
fn a_library_beside_the_plugin_is_not_found_and_the_error_says_why() {
    if !has_compiler() {
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let status = std::process::Command::new("cc")
        .args(["-shared", "-x", "c", "/dev/null", "-o"])
        .arg(dir.path().join("libbeside.so"))
        .status();
    assert!(status.expect("the compiler runs").success());
    let library = format!("-L{}", dir.path().display());
    let options = ["-Wl,--no-as-needed", &library, "-lbeside", "-Wl,-rpath,$ORIGIN"];
    let refusal = load_fixture(&options, MANIFEST).expect_err("needs a library");
    assert_eq!(refusal.reason, RefusalReason::LinkFailed);
    assert!(
        refusal.message.contains("libbeside.so") && refusal.message.contains("$ORIGIN"),
        "{refusal}"
    );
}
