//! How a plugin was built, read from its file without loading it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use object::read::elf::{ElfFile64, FileHeader};
use object::{Endianness, Object as _, ObjectSection as _};
use serde::Serialize;

/// Size limit of a file that is read, in bytes.
const LARGEST: u64 = 256 << 20;
/// Length limit of a compiler's text, in characters.
const LONGEST: usize = 200;

/// Build information for display. The file's author can write anything here, so nothing depends on
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Built {
    /// Compilers and linkers, from the section `.comment`.
    pub compilers: Vec<String>,
    /// Target machine.
    pub machine: &'static str,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Whether it contains debug information.
    pub debug_info: bool,
}

impl Built {
    /// Reads a file; `None` if it cannot be read or is no ELF file of 64 bits.
    pub fn read(path: &Path) -> Option<Built> {
        let file = File::open(path).ok().filter(|file| {
            file.metadata().is_ok_and(|about| about.is_file() && about.len() <= LARGEST)
        })?;
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).ok()?;
        Built::of(&bytes)
    }

    /// As [`Built::read`], from the bytes of the file.
    pub fn of(bytes: &[u8]) -> Option<Built> {
        let elf = ElfFile64::<Endianness>::parse(bytes).ok()?;
        let comment = elf
            .section_by_name(".comment")
            .and_then(|section| section.data().ok())
            .unwrap_or_default();
        let mut compilers: Vec<String> = Vec::new();
        for text in comment.split(|byte| *byte == 0).filter(|text| !text.is_empty()) {
            let text: String = String::from_utf8_lossy(text).chars().take(LONGEST).collect();
            if !compilers.contains(&text) {
                compilers.push(text);
            }
        }
        let machine = match elf.elf_header().e_machine(elf.endian()) {
            object::elf::EM_X86_64 => "x86_64",
            object::elf::EM_AARCH64 => "aarch64",
            _ => "another",
        };
        Some(Built {
            compilers,
            machine,
            bytes: bytes.len() as u64,
            debug_info: elf.section_by_name(".debug_info").is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_rust_names_its_compiler_and_other_bytes_nothing() {
        let built = Built::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(built.compilers.iter().any(|text| text.contains("rustc")), "{built:?}");
        assert_eq!((Built::of(b"no ELF"), Built::of(&[])), (None, None));
    }
}
