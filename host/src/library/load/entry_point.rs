//! Finds the entry of an open library: in an abi_stable root module (Rust), or as an exported table
//! (C).

use std::ffi::CString;

use abi_stable::library::{
    AbiHeader, AbiHeaderRef, LibHeader, ROOT_MODULE_LOADER_NAME_WITH_NUL, RootModuleError,
};
use fluxbay_plugin::abi::entry::{C_SYMBOL, Entry, RootRef};
use libloading::os::unix::Library;

use super::image::Image;
use super::{layout, refuse};
use crate::library::escape;
use crate::library::report::{Refusal, RefusalReason};
use crate::library::store::Note;

/// Returns the address of the entry. The layout of a Rust root module has been compared by then; for
/// a C table, only its magic number, size and contract version can be checked later.
///
/// # Errors
/// `no-entry`, `layout-mismatch`, `contract-violation`, `contract-too-new` or `init-failed`.
pub(super) fn find(
    library: &'static Library,
    image: &Image,
    note: &mut Note,
) -> Result<*const Entry, Refusal> {
    if let Some(address) = address_of(library, ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()) {
        return rust_root(library, address, image, note);
    }
    let symbol = CString::new(C_SYMBOL).unwrap_or_default();
    match address_of(library, symbol.as_bytes_with_nul()) {
        Some(address) => Ok(address as *const Entry),
        None => refuse(
            RefusalReason::NoEntry,
            format!("it has a manifest, but exports neither a root module nor `{C_SYMBOL}`"),
            "export it with the macro of fluxbay-plugin, and do not hide its symbols when linking",
        ),
    }
}

fn address_of(library: &'static Library, symbol: &[u8]) -> Option<usize> {
    // SAFETY: only the address is used; the memory is checked before it is read.
    unsafe { library.get::<*const u8>(symbol) }
        .ok()
        .map(|symbol| *symbol as usize)
        .filter(|&address| address != 0)
}

fn rust_root(
    library: &'static Library,
    address: usize,
    image: &Image,
    note: &mut Note,
) -> Result<*const Entry, Refusal> {
    let rebuild = "build it with the same fluxbay-plugin as this host";
    if !image.has_data(address, size_of::<AbiHeader>(), align_of::<AbiHeader>()) {
        return refuse(
            RefusalReason::ContractViolation,
            "the header of its root module is outside of all loaded libraries",
            rebuild,
        );
    }
    // SAFETY: the symbol's address is readable for an `AbiHeader`, which is plain data.
    let header =
        match unsafe { library.get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()) } {
            Ok(symbol) => *symbol,
            Err(error) => {
                return refuse(RefusalReason::NoEntry, escape::text(&error.to_string()), rebuild);
            }
        };
    if header.magic_string != AbiHeader::VALUE.magic_string {
        return refuse(
            RefusalReason::NoEntry,
            "its root module was not made by abi_stable",
            rebuild,
        );
    }
    if !header.is_valid() {
        let (theirs, ours) = (*header, AbiHeader::VALUE);
        let message = format!(
            "it uses abi_stable {}.{}, this host {}.{}",
            theirs.abi_major, theirs.abi_minor, ours.abi_major, ours.abi_minor
        );
        return refuse(RefusalReason::LayoutMismatch, message, rebuild);
    }
    if !image.has_data(address, size_of::<LibHeader>(), align_of::<LibHeader>()) {
        return refuse(
            RefusalReason::ContractViolation,
            "the header of its root module is cut short",
            rebuild,
        );
    }
    let header = match header.upgrade() {
        Ok(header) => header,
        Err(error) => {
            return refuse(
                RefusalReason::LayoutMismatch,
                escape::text(&first_line(&error.to_string())),
                rebuild,
            );
        }
    };
    layout::check(header, note)?;
    // SAFETY: the layout was compared above, or earlier by this executable for the same bytes.
    match unsafe { header.unchecked_layout::<RootRef>() } {
        Ok(root) => Ok(root.entry().0),
        Err(RootModuleError::Unwound) => refuse(
            RefusalReason::InitFailed,
            "the constructor of its root module panicked",
            "tell its author",
        ),
        Err(RootModuleError::Returned(error)) => refuse(
            RefusalReason::InitFailed,
            format!(
                "the constructor of its root module failed: {}",
                escape::text(&first_line(&error.to_string()))
            ),
            "tell its author",
        ),
    }
}

fn first_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("no reason is given")
        .to_owned()
}
