//! Checks an ELF file before the dynamic linker opens it, which could otherwise kill the process.
//!
//! The `object` crate decodes the tables; this module checks that everything they refer to is inside
//! the file. `dlopen` maps segments without a look at the file's length, and access to a page past
//! its end raises SIGBUS. Nothing here opens, maps or runs anything, and no input causes a panic.

pub mod linking;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use object::Endianness;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _};

use super::escape;
use super::report::{Refusal, RefusalReason, Stage};

/// Limit of bytes of section names.
const MAX_NAMES: u64 = 16 << 20;
/// Limit of address space of one library.
const MAX_SPAN: u64 = 1 << 40;
/// Length of a 64-bit ELF header.
const HEADER: u64 = 64;

/// Properties of a valid shared library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// Position of its manifest section in the file; `None` for an ordinary library.
    pub manifest: Option<Range<u64>>,
}

type Header = FileHeader64<Endianness>;

fn refuse<T>(reason: RefusalReason, message: impl Into<String>) -> Result<T, Refusal> {
    let help = match reason {
        RefusalReason::NotElf => {
            "put only plugins built for this system here, or rename it so that it does not end in .so"
        }
        RefusalReason::Truncated => "copy or build it again; a copy was probably interrupted",
        RefusalReason::WrongArchitecture => "build it for this machine",
        RefusalReason::NotASharedLibrary => {
            "build it as a shared library (crate-type = [\"cdylib\"])"
        }
        RefusalReason::BadManifest => "build it again with the current export macro",
        _ => "build it again, or remove it",
    };
    Err(Refusal::new(Stage::Static, reason, message, help))
}

fn malformed<T>(message: impl Into<String>) -> Result<T, Refusal> {
    refuse(RefusalReason::MalformedElf, message)
}

fn truncated<T>(what: &str, end: u64, size: u64) -> Result<T, Refusal> {
    refuse(RefusalReason::Truncated, format!("{what} ends at byte {end}, the file has {size}"))
}

/// Returns the end of `length` bytes from `start`.
///
/// # Errors
/// They are not inside the file.
fn within(what: &str, start: u64, length: u64, size: u64) -> Result<u64, Refusal> {
    match start.checked_add(length) {
        Some(end) if end <= size => Ok(end),
        Some(end) => truncated(what, end, size),
        None => malformed(format!("{what} has an offset and a length that no file can have")),
    }
}

/// Checks a file of `size` bytes behind `data`.
///
/// # Errors
/// `not-elf`, `wrong-architecture`, `not-a-shared-library`, `truncated`, `malformed-elf` or
/// `bad-manifest`.
pub fn check<'data, R: ReadRef<'data>>(
    data: R,
    size: u64,
    name_of_section: &str,
) -> Result<Elf, Refusal> {
    let start = data.read_bytes_at(0, size.min(HEADER)).unwrap_or_default();
    check_ident(start, size)?;
    let Ok(header) = data.read_at::<Header>(0) else {
        return malformed("its ELF header cannot be read");
    };
    let Ok(endian) = header.endian() else {
        return malformed("its byte order is unknown");
    };
    check_kind(header, endian)?;
    let segments = program_headers(header, endian, data, size)?;
    check_segments(segments, endian, size)?;
    let sections = section_headers(header, endian, data, size)?;
    check_sections(sections, endian, size)?;
    check_dynamic(segments, endian, data)?;
    let manifest = find_section(header, sections, endian, data, name_of_section)?;
    Ok(Elf { manifest })
}

/// Checks magic number, word size and byte order.
fn check_ident(start: &[u8], size: u64) -> Result<(), Refusal> {
    if !start.starts_with(&elf::ELFMAG) {
        return refuse(RefusalReason::NotElf, looks_like(start, size));
    }
    if size < HEADER {
        return truncated("the ELF header", HEADER, size);
    }
    match start.get(4).copied() {
        Some(2) => {}
        Some(1) => {
            return refuse(
                RefusalReason::WrongArchitecture,
                "it is for 32-bit systems; wanted 64-bit",
            );
        }
        other => {
            return malformed(format!("its word size has the unknown code {}", other.unwrap_or(0)));
        }
    }
    let (wanted, wanted_name) =
        if cfg!(target_endian = "little") { (1, "little-endian") } else { (2, "big-endian") };
    match start.get(5).copied() {
        Some(order) if order == wanted => Ok(()),
        Some(1) => refuse(
            RefusalReason::WrongArchitecture,
            format!("it is little-endian; wanted {wanted_name}"),
        ),
        Some(2) => refuse(
            RefusalReason::WrongArchitecture,
            format!("it is big-endian; wanted {wanted_name}"),
        ),
        other => malformed(format!("its byte order has the unknown code {}", other.unwrap_or(0))),
    }
}

/// Checks machine and type of file.
fn check_kind(header: &Header, endian: Endianness) -> Result<(), Refusal> {
    let machine = header.e_machine(endian);
    let wanted = match std::env::consts::ARCH {
        "x86_64" => Some(elf::EM_X86_64),
        "aarch64" => Some(elf::EM_AARCH64),
        "riscv64" => Some(elf::EM_RISCV),
        "powerpc64" => Some(elf::EM_PPC64),
        "s390x" => Some(elf::EM_S390),
        "loongarch64" => Some(elf::EM_LOONGARCH),
        _ => None,
    };
    if wanted.is_some_and(|wanted| wanted != machine) {
        return refuse(
            RefusalReason::WrongArchitecture,
            format!("it is for {}; wanted {}", machine_name(machine), std::env::consts::ARCH),
        );
    }
    match header.e_type(endian) {
        elf::ET_DYN => Ok(()),
        elf::ET_EXEC => refuse(RefusalReason::NotASharedLibrary, "it is an executable program"),
        elf::ET_REL => {
            refuse(RefusalReason::NotASharedLibrary, "it is an object file that was not linked yet")
        }
        elf::ET_CORE => refuse(RefusalReason::NotASharedLibrary, "it is a core dump"),
        other => refuse(
            RefusalReason::NotASharedLibrary,
            format!("its ELF type {} is none of a shared library", other.0),
        ),
    }
}

fn machine_name(machine: elf::Machine) -> String {
    let name = match machine {
        elf::EM_X86_64 => "x86_64",
        elf::EM_386 => "x86 (32-bit)",
        elf::EM_AARCH64 => "aarch64",
        elf::EM_ARM => "arm (32-bit)",
        elf::EM_RISCV => "riscv64",
        elf::EM_PPC64 => "powerpc64",
        elf::EM_S390 => "s390x",
        elf::EM_LOONGARCH => "loongarch64",
        elf::EM_MIPS => "mips",
        elf::EM_CUDA => "cuda",
        elf::EM_BPF => "bpf",
        other => return format!("machine number {}", other.0),
    };
    name.to_owned()
}

fn program_headers<'data, R: ReadRef<'data>>(
    header: &Header,
    endian: Endianness,
    data: R,
    size: u64,
) -> Result<&'data [ProgramHeader64<Endianness>], Refusal> {
    let Ok(count) = header.phnum(endian, data) else {
        return malformed("the number of its program headers cannot be found");
    };
    if count == 0 || header.e_phoff(endian) == 0 {
        return malformed("it has no program headers, so nothing of it can be loaded");
    }
    let entry = u64::from(header.e_phentsize(endian));
    if entry != 56 {
        return malformed(format!("its program headers are {entry} bytes each; expected 56"));
    }
    within("the program header table", header.e_phoff(endian), u64::from(count) * entry, size)?;
    header
        .program_headers(endian, data)
        .or_else(|e| malformed(format!("its program headers cannot be read: {e}")))
}

/// Checks that every loadable segment is inside the file, and that together they need a plausible
/// amount of address space.
fn check_segments(
    segments: &[ProgramHeader64<Endianness>],
    endian: Endianness,
    size: u64,
) -> Result<(), Refusal> {
    let mut last: Option<(u64, u64)> = None;
    let mut first = 0;
    for (index, segment) in segments.iter().enumerate() {
        let what = format!("segment {index}");
        let (offset, in_file, in_memory) =
            (segment.p_offset(endian), segment.p_filesz(endian), segment.p_memsz(endian));
        let (address, align) = (segment.p_vaddr(endian), segment.p_align(endian));
        let kind = segment.p_type(endian);
        if kind == elf::PT_LOAD || in_file > 0 {
            within(&what, offset, in_file, size)?;
        }
        if kind != elf::PT_LOAD {
            continue;
        }
        if in_file > in_memory {
            return malformed(format!(
                "{what} takes {in_file} bytes of the file but {in_memory} of memory"
            ));
        }
        if align > 1 && (!align.is_power_of_two() || offset % align != address % align) {
            return malformed(format!("{what} is not aligned as it says"));
        }
        let Some(end) = address.checked_add(in_memory) else {
            return malformed(format!("{what} ends beyond the address space"));
        };
        match last {
            None => first = address,
            Some((_, end_before)) if address < end_before => {
                return malformed(format!("{what} overlaps the one before it or is out of order"));
            }
            Some(_) => {}
        }
        if end - first > MAX_SPAN {
            return malformed(format!(
                "its segments span {} bytes of memory; at most {MAX_SPAN} are allowed",
                end - first
            ));
        }
        last = Some((address, end));
    }
    if last.is_none() {
        return malformed("it has no loadable segment");
    }
    Ok(())
}

fn section_headers<'data, R: ReadRef<'data>>(
    header: &Header,
    endian: Endianness,
    data: R,
    size: u64,
) -> Result<&'data [SectionHeader64<Endianness>], Refusal> {
    let offset = header.e_shoff(endian);
    if offset == 0 {
        return Ok(&[]);
    }
    let entry = u64::from(header.e_shentsize(endian));
    if entry != 64 {
        return malformed(format!("its section headers are {entry} bytes each; expected 64"));
    }
    let at_least = u64::from(header.e_shnum(endian)).max(1);
    within("the section header table", offset, at_least * entry, size)?;
    let Ok(count) = header.shnum(endian, data) else {
        return malformed("the number of its section headers cannot be found");
    };
    within("the section header table", offset, u64::from(count) * entry, size)?;
    header
        .section_headers(endian, data)
        .or_else(|e| malformed(format!("its section headers cannot be read: {e}")))
}

fn check_sections(
    sections: &[SectionHeader64<Endianness>],
    endian: Endianness,
    size: u64,
) -> Result<(), Refusal> {
    for (index, section) in sections.iter().enumerate().skip(1) {
        let kind = section.sh_type(endian);
        if kind != elf::SHT_NOBITS && kind != elf::SHT_NULL {
            within(
                &format!("section {index}"),
                section.sh_offset(endian),
                section.sh_size(endian),
                size,
            )?;
        }
    }
    Ok(())
}

/// Checks the dynamic section. Position-independent executables are refused: they have the type of a
/// shared library, but `dlopen` rejects them.
fn check_dynamic<'data, R: ReadRef<'data>>(
    segments: &[ProgramHeader64<Endianness>],
    endian: Endianness,
    data: R,
) -> Result<(), Refusal> {
    let mut tables = segments.iter().filter(|s| s.p_type(endian) == elf::PT_DYNAMIC);
    let Some(table) = tables.next() else {
        return refuse(
            RefusalReason::NotASharedLibrary,
            "it has no dynamic section, so it cannot be linked at run time",
        );
    };
    if tables.next().is_some() {
        return malformed("it has more than one dynamic section");
    }
    let Ok(Some(entries)) = table.dynamic(endian, data) else {
        return malformed("its dynamic section cannot be read");
    };
    for entry in entries {
        let (tag, value) = (entry.d_tag.get(endian), entry.d_val.get(endian));
        if tag == elf::DT_NULL {
            return Ok(());
        }
        if tag == elf::DT_FLAGS_1 && value & elf::DF_1_PIE.0 != 0 {
            return refuse(
                RefusalReason::NotASharedLibrary,
                "it is an executable program (position-independent)",
            );
        }
    }
    malformed("its dynamic section has no end")
}

/// Returns the file range of the section with this name.
fn find_section<'data, R: ReadRef<'data>>(
    header: &Header,
    sections: &'data [SectionHeader64<Endianness>],
    endian: Endianness,
    data: R,
    wanted: &str,
) -> Result<Option<Range<u64>>, Refusal> {
    if sections.is_empty() || header.e_shstrndx(endian) == elf::SHN_UNDEF {
        return Ok(None);
    }
    let names = header
        .shstrndx(endian, data)
        .ok()
        .and_then(|index| sections.get(usize::try_from(index).ok()?));
    let Some(names) = names else {
        return malformed("the table of its sections' names is not one of its sections");
    };
    if names.sh_size(endian) > MAX_NAMES {
        return malformed(format!(
            "its sections' names take {} bytes; at most {MAX_NAMES} are read",
            names.sh_size(endian)
        ));
    }
    let Ok(names) = data.read_bytes_at(names.sh_offset(endian), names.sh_size(endian)) else {
        return malformed("its sections' names cannot be read");
    };
    let mut found: Option<Range<u64>> = None;
    for section in sections.iter().skip(1) {
        let Some(name) =
            usize::try_from(section.sh_name(endian)).ok().and_then(|at| names.get(at..))
        else {
            return malformed("the name of one of its sections lies outside the table of names");
        };
        if name.strip_prefix(wanted.as_bytes()).is_none_or(|rest| rest.first() != Some(&0)) {
            continue;
        }
        if found.is_some() {
            return refuse(
                RefusalReason::BadManifest,
                format!("it has more than one section {wanted}"),
            );
        }
        // Sections without type or bytes were not checked above.
        let is_there = !matches!(section.sh_type(endian), elf::SHT_NOBITS | elf::SHT_NULL);
        if !is_there || section.sh_flags(endian) & elf::SHF_COMPRESSED != elf::SectionFlags(0) {
            return refuse(
                RefusalReason::BadManifest,
                format!("its section {wanted} is compressed or has no bytes"),
            );
        }
        let start = section.sh_offset(endian);
        found = Some(start..start.saturating_add(section.sh_size(endian)));
    }
    Ok(found)
}

/// Describes a file that is not ELF by its first bytes.
fn looks_like(start: &[u8], size: u64) -> String {
    if size == 0 {
        return "the file is empty".to_owned();
    }
    const SIGNATURES: [(&[u8], &str); 22] = [
        (b"#!", "a script"),
        (b"PK\x03\x04", "a zip archive"),
        (b"PK\x05\x06", "an empty zip archive"),
        (b"\xfe\xed\xfa\xce", "a Mach-O library (macOS, 32-bit)"),
        (b"\xfe\xed\xfa\xcf", "a Mach-O library (macOS)"),
        (b"\xce\xfa\xed\xfe", "a Mach-O library (macOS, 32-bit)"),
        (b"\xcf\xfa\xed\xfe", "a Mach-O library (macOS)"),
        (b"\xca\xfe\xba\xbe", "a universal Mach-O library (macOS) or a Java class"),
        (b"MZ", "a PE library (Windows)"),
        (b"!<arch>\n", "a static library"),
        (b"!<thin>\n", "a thin static library"),
        (b"\x1f\x8b", "gzip data"),
        (b"\xfd7zXZ\0", "xz data"),
        (b"\x28\xb5\x2f\xfd", "zstd data"),
        (b"BZh", "bzip2 data"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"BC\xc0\xde", "LLVM bitcode"),
        (b"\0asm", "WebAssembly"),
        (b"version https://git-lfs", "a Git LFS pointer, whose file was not fetched"),
        (b"/* GNU ld script", "a linker script"),
        (b"<!DOCTYPE", "a web page, perhaps from a failed download"),
        (b"<html", "a web page, perhaps from a failed download"),
    ];
    for (signature, name) in SIGNATURES {
        if start.starts_with(signature) {
            return format!("it looks like {name}");
        }
    }
    if start.iter().all(|&byte| byte == 0) {
        return "it begins with zeros; a copy was probably interrupted".to_owned();
    }
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&start[..e.valid_up_to()]).ok(),
        Err(_) => None,
    };
    match text {
        Some(text) if !text.chars().any(|c| c.is_control() && !c.is_whitespace()) => {
            "it looks like text".to_owned()
        }
        _ => format!("it begins with the bytes {}", escape::bytes(&start[..start.len().min(8)])),
    }
}
