//! Tests of the ELF checks, and a small library to break.

use proptest::prelude::*;

use super::*;
use crate::library::manifest::SECTION;

/// Offsets within [`library`], which tests edit.
pub(crate) mod at {
    pub(crate) const TYPE: usize = 16;
    pub(crate) const MACHINE: usize = 18;
    pub(crate) const SECTION_TABLE: usize = 40;
    /// First program header, the loadable segment.
    pub(crate) const SEGMENT: usize = 64;
    pub(crate) const SEGMENT_FILE_SIZE: usize = SEGMENT + 32;
    pub(crate) const DYNAMIC: usize = 64 + 2 * 56;
}

/// A sound shared library in one segment, with `sections` beside the table of names.
pub(crate) fn library(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    for half in [3u16, machine, 1, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend([0; 64 - 24]);
    // Program headers (filled in below), then a dynamic section with its end alone.
    bytes.extend([0; 2 * 56 + 16]);
    let mut names = vec![0u8];
    let mut headers = vec![[0u64; 5]];
    for (name, content) in sections {
        headers.push([names.len() as u64, 1, 2, bytes.len() as u64, content.len() as u64]);
        names.extend(name.bytes().chain([0]));
        bytes.extend(*content);
    }
    let own_name = names.len() as u64;
    names.extend(b".shstrtab\0");
    headers.push([own_name, 3, 0, bytes.len() as u64, names.len() as u64]);
    bytes.extend(&names);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let table = bytes.len() as u64;
    for [name, kind, flags, offset, size] in &headers {
        bytes.extend((*name as u32).to_le_bytes());
        bytes.extend((*kind as u32).to_le_bytes());
        for word in [*flags, 0, *offset, *size, 0, 1, 0] {
            bytes.extend(word.to_le_bytes());
        }
    }
    let size = bytes.len() as u64;
    put(&mut bytes, 32, &64u64.to_le_bytes());
    put(&mut bytes, at::SECTION_TABLE, &table.to_le_bytes());
    for (index, half) in
        [64u16, 56, 2, 64, headers.len() as u16, headers.len() as u16 - 1].into_iter().enumerate()
    {
        put(&mut bytes, 52 + 2 * index, &half.to_le_bytes());
    }
    segment(&mut bytes, at::SEGMENT, 1, 0, size);
    segment(&mut bytes, at::SEGMENT + 56, 2, at::DYNAMIC as u64, 16);
    bytes
}

fn segment(bytes: &mut [u8], at: usize, kind: u32, offset: u64, size: u64) {
    put(bytes, at, &kind.to_le_bytes());
    put(bytes, at + 4, &4u32.to_le_bytes());
    for (index, word) in [offset, offset, offset, size, size, 8].into_iter().enumerate() {
        put(bytes, at + 8 + 8 * index, &word.to_le_bytes());
    }
}

pub(crate) fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn verdict(bytes: &[u8]) -> Result<Elf, Refusal> {
    check(bytes, bytes.len() as u64, SECTION)
}

fn reason(bytes: &[u8]) -> RefusalReason {
    verdict(bytes).expect_err("it is broken").reason
}

fn edited(at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = library(&[(SECTION, b"content")]);
    put(&mut bytes, at, new);
    bytes
}

#[test]
fn a_sound_library_is_accepted_and_its_section_found() {
    let bytes = library(&[(".text", b"xy"), (SECTION, b"content")]);
    let range = verdict(&bytes).expect("sound").manifest.expect("has one");
    assert_eq!(&bytes[range.start as usize..range.end as usize], b"content");
    assert_eq!(verdict(&library(&[(".fluxbay.manifest2", b"")])).expect("sound").manifest, None);
}

#[test]
fn the_executable_of_this_test_is_no_library() {
    let bytes = std::fs::read(std::env::current_exe().expect("known")).expect("readable");
    assert_eq!(reason(&bytes), RefusalReason::NotASharedLibrary);
}

#[test]
fn what_is_not_elf_is_said_with_what_it_looks_like() {
    let looks = |bytes: &[u8]| {
        let refusal = verdict(bytes).expect_err("not ELF");
        assert_eq!(refusal.reason, RefusalReason::NotElf);
        refusal.message
    };
    assert!(looks(b"").contains("empty"));
    assert!(looks(b"#!/bin/sh\n").contains("script"));
    assert!(looks(b"PK\x03\x04...").contains("zip"));
    assert!(looks(b"\xcf\xfa\xed\xfe\x07\0\0\x01").contains("Mach-O"));
    assert!(looks(b"MZ\x90\0").contains("PE"));
    assert!(looks("naïve text\n".as_bytes()).contains("text"));
    assert!(looks(&[0; 4096]).contains("zeros"));
    assert!(looks(b"\x1b[2J\xff").contains("\\x1b[2J\\xff"));
}

#[test]
fn every_truncation_is_refused_before_anything_is_mapped() {
    let bytes = library(&[(SECTION, b"content")]);
    for length in 4..bytes.len() {
        assert_eq!(reason(&bytes[..length]), RefusalReason::Truncated, "at {length}");
    }
}

#[test]
fn a_segment_past_the_end_is_said_with_both_numbers() {
    let refusal =
        verdict(&edited(at::SEGMENT_FILE_SIZE, &100_000u64.to_le_bytes())).expect_err("too long");
    assert_eq!(refusal.reason, RefusalReason::Truncated);
    let size = library(&[(SECTION, b"content")]).len();
    assert_eq!(refusal.message, format!("segment 0 ends at byte 100000, the file has {size}"));
}

#[test]
fn files_for_others_are_refused() {
    assert_eq!(reason(&edited(4, &[1])), RefusalReason::WrongArchitecture);
    assert_eq!(reason(&edited(5, &[2])), RefusalReason::WrongArchitecture);
    assert_eq!(reason(&edited(at::MACHINE, &[8, 0])), RefusalReason::WrongArchitecture);
    for kind in [1u8, 2, 4] {
        assert_eq!(reason(&edited(at::TYPE, &[kind, 0])), RefusalReason::NotASharedLibrary);
    }
    // DT_FLAGS_1 with DF_1_PIE.
    let mut flags = 0x6fff_fffbu64.to_le_bytes().to_vec();
    flags.extend(0x0800_0000u64.to_le_bytes());
    assert_eq!(reason(&edited(at::DYNAMIC, &flags)), RefusalReason::NotASharedLibrary);
}

#[test]
fn contradictory_tables_are_refused() {
    let huge = u64::MAX.to_le_bytes();
    for (at, new) in [
        (at::SEGMENT + 8, &huge[..]), // offset of the segment
        (at::SEGMENT + 16, &(u64::MAX - 7).to_le_bytes()[..]), // its address
        (at::SEGMENT + 40, &huge[..]), // its size in memory
        (at::SEGMENT + 40, &[0; 8][..]),
        (at::SEGMENT + 48, &[3, 0, 0, 0, 0, 0, 0, 0][..]), // alignment
        (at::SEGMENT, &[0; 4][..]),                        // no loadable segment
        (54, &[1, 0][..]),                                 // size of a program header
        (58, &[1, 0][..]),                                 // size of a section header
        (62, &[99, 0][..]),                                // table of names
        (32, &[0; 8][..]),                                 // no program headers
    ] {
        assert_eq!(reason(&edited(at, new)), RefusalReason::MalformedElf, "{at}");
    }
    assert_eq!(
        reason(&edited(at::SEGMENT + 56, &[0; 4])),
        RefusalReason::NotASharedLibrary,
        "no dynamic section"
    );
    assert_eq!(
        reason(&edited(at::DYNAMIC, &[1])),
        RefusalReason::MalformedElf,
        "the dynamic section has no end"
    );
}

#[test]
fn two_manifests_are_refused() {
    assert_eq!(reason(&library(&[(SECTION, b"a"), (SECTION, b"b")])), RefusalReason::BadManifest);
}

#[test]
fn a_manifest_without_bytes_in_the_file_is_refused_wherever_it_says_that_it_lies() {
    let mut bytes = library(&[(SECTION, b"content")]);
    let table = u64::from_le_bytes(bytes[at::SECTION_TABLE..][..8].try_into().unwrap()) as usize;
    // Section 1: its type, and beyond the file where it ends.
    let (kind, size) = (table + 64 + 4, table + 64 + 32);
    put(&mut bytes, size, &(1_u64 << 40).to_le_bytes());
    assert_eq!(reason(&bytes), RefusalReason::Truncated);
    for (name, number) in [("SHT_NULL", 0_u32), ("SHT_NOBITS", 8)] {
        put(&mut bytes, kind, &number.to_le_bytes());
        assert_eq!(reason(&bytes), RefusalReason::BadManifest, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn damaged_files_never_panic_and_never_reach_outside(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        words in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![Just(u64::MAX), Just(0), Just(1 << 63), any::<u64>()]), 0..3),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = library(&[(".text", b"some code"), (SECTION, b"content")]);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for (at, word) in words {
            let at = at.index(bytes.len() / 8) * 8;
            put(&mut bytes, at, &word.to_le_bytes());
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        match verdict(&bytes) {
            Ok(Elf { manifest: Some(range) }) => prop_assert!(range.start <= range.end && range.end <= bytes.len() as u64),
            Ok(Elf { manifest: None }) => {}
            Err(refusal) => prop_assert!(!refusal.message.chars().any(char::is_control)),
        }
    }

    #[test]
    fn arbitrary_bytes_behind_the_magic_never_panic(tail in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.extend(tail);
        let _ = verdict(&bytes);
    }
}
