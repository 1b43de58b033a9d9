//! What a shared library tells the dynamic linker: needed libraries, run path, stack, and symbols that
//! are unique in the process.

use std::path::Path;

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, Sym as _};

use crate::library::{escape, file};

/// Libraries that every supported system has.
pub const COMMON_LIBRARIES: &[&str] = &[
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];
/// Size limit of a file that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Data from the dynamic section, the program headers and the dynamic symbols.
#[derive(Clone, Debug, Default)]
pub struct Linking {
    /// Libraries that it needs (`DT_NEEDED`).
    pub needed: Vec<String>,
    /// Folders that are searched for them (`DT_RUNPATH` or `DT_RPATH`).
    pub run_path: Option<String>,
    /// Its own name for other libraries (`DT_SONAME`).
    pub soname: Option<String>,
    /// Whether it requests an executable stack for the whole process.
    pub executable_stack: bool,
    /// Symbols of the binding `STB_GNU_UNIQUE` that it defines: static variables of inline functions
    /// and templates in C++. The dynamic linker uses one definition for the whole process.
    pub unique_symbols: Vec<String>,
}

impl Linking {
    /// Reads a file; `None` if that fails.
    pub fn read(path: &Path) -> Option<Linking> {
        Linking::of(&file::read_at_most(path, MAX_BYTES)?).ok()
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// The file is no 64-bit ELF file, or its tables are invalid.
    pub fn of(bytes: &[u8]) -> object::Result<Linking> {
        let header = FileHeader64::<Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        let mut found = Linking::default();
        let sections = header.sections(endian, bytes)?;
        for segment in header.program_headers(endian, bytes)? {
            if segment.p_type(endian) == elf::PT_GNU_STACK {
                found.executable_stack = segment.p_flags(endian).0 & elf::PF_X.0 != 0;
            }
        }
        if let Some((entries, strings)) = sections.dynamic(endian, bytes)? {
            let strings = sections.strings(endian, bytes, strings)?;
            let text = |offset: u64| {
                let offset = u32::try_from(offset).unwrap_or(u32::MAX);
                strings.get(offset).map(escape::bytes).unwrap_or_default()
            };
            for entry in entries {
                let value = entry.d_val(endian);
                match entry.d_tag(endian) {
                    tag if tag == elf::DT_NEEDED => found.needed.push(text(value)),
                    tag if tag == elf::DT_SONAME => found.soname = Some(text(value)),
                    tag if tag == elf::DT_RPATH || tag == elf::DT_RUNPATH => {
                        found.run_path = Some(text(value));
                    }
                    _ => {}
                }
            }
        }
        let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
        for symbol in symbols.iter() {
            if symbol.st_bind() == elf::STB_GNU_UNIQUE && !symbol.is_undefined(endian) {
                found.unique_symbols.push(escape::bytes(symbol.name(endian, symbols.strings())?));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_libraries_and_the_stack_of_a_program_are_read() {
        let own = std::fs::read(std::env::current_exe().expect("known")).expect("readable");
        let linking = Linking::of(&own).expect("a whole program");
        assert!(linking.needed.iter().any(|name| name == "libc.so.6"), "{linking:?}");
        assert!(!linking.executable_stack);
    }
}
