//! Names that the dynamic linker shares between plugins, although each is opened with `RTLD_LOCAL`.
//!
//! A library that two plugins need is loaded once per process, found by its name: the second plugin
//! uses the file of the first one, even if its run path leads to another. And there is one
//! definition of each symbol of the binding `STB_GNU_UNIQUE` (static variables of inline functions
//! and templates in C++). Both are reported when the second plugin is loaded.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::elf::linking::{COMMON_LIBRARIES, Linking};

/// Number of symbols that a warning names.
const SHOWN: usize = 3;

/// The names of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SharedNames {
    /// Needed libraries that not every system has.
    needed: Vec<String>,
    run_path: Option<String>,
    /// Unique symbols outside of the C++ standard library.
    unique_symbols: Vec<String>,
}

impl SharedNames {
    /// Reads the names of a file; none if it cannot be read.
    pub(super) fn read(path: &Path) -> Self {
        Linking::read(path).map(Self::of).unwrap_or_default()
    }

    fn of(linking: Linking) -> Self {
        let Linking { mut needed, run_path, mut unique_symbols, .. } = linking;
        needed.retain(|name| !COMMON_LIBRARIES.contains(&name.as_str()));
        unique_symbols.retain(|symbol| !is_standard(symbol));
        Self { needed, run_path, unique_symbols }
    }

    /// What a plugin called `name` shares with `other`, which was loaded before.
    pub(super) fn warnings(&self, name: &str, other: &Self, other_name: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        let library = self.needed.iter().find(|library| other.needed.contains(library));
        if let Some(library) = library.filter(|_| self.run_path != other.run_path) {
            let folder = |path: &Option<String>| {
                path.clone().unwrap_or_else(|| "the folders of the system".to_owned())
            };
            warnings.push(format!(
                "the plugins {other_name} and {name} both need the library {library}, but search it in different places ({}; {}): {name} uses \
                 the one of {other_name}; link it statically, or give the two libraries different names",
                folder(&other.run_path),
                folder(&self.run_path)
            ));
        }
        let shared: Vec<&str> = self
            .unique_symbols
            .iter()
            .filter(|symbol| other.unique_symbols.contains(symbol))
            .map(String::as_str)
            .collect();
        if !shared.is_empty() {
            let more = if shared.len() > SHOWN { ", ..." } else { "" };
            warnings.push(format!(
                "the plugins {other_name} and {name} share {} static variables, because their symbols are unique in the process: {}{more}; \
                 compile them with -fno-gnu-unique",
                shared.len(),
                shared[..shared.len().min(SHOWN)].join(", ")
            ));
        }
        warnings
    }
}

/// Whether a mangled name belongs to the C++ standard library, whose variables may be shared: it
/// begins with the namespace `std` (`St`) or `__gnu_cxx`, nested (`N`, `NK`) or not.
fn is_standard(symbol: &str) -> bool {
    ["St", "NSt", "NKSt", "N9__gnu_cxx", "NK9__gnu_cxx"].iter().any(|scope| {
        ["_Z", "_ZZ", "_ZGV", "_ZGVZ", "_ZTV", "_ZTI", "_ZTS"]
            .iter()
            .any(|kind| symbol.strip_prefix(kind).is_some_and(|rest| rest.starts_with(scope)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(needed: &[&str], run_path: &str, unique: &[&str]) -> SharedNames {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let run_path = Some(run_path.to_owned()).filter(|path| !path.is_empty());
        let (needed, unique_symbols) = (texts(needed), texts(unique));
        SharedNames::of(Linking { needed, run_path, unique_symbols, ..Linking::default() })
    }

    #[test]
    fn a_library_of_one_name_in_two_places_is_reported() {
        let first = names(&["libdep.so", "libc.so.6"], "/one", &[]);
        let second = names(&["libdep.so"], "/two", &[]);
        let warnings = second.warnings("b", &first, "a");
        assert_eq!(warnings.len(), 1);
        for part in ["a and b", "libdep.so", "/one", "/two"] {
            assert!(warnings[0].contains(part), "{warnings:?}");
        }
        assert!(names(&["libdep.so"], "", &[]).warnings("b", &first, "a").len() == 1);
        for other in [
            names(&["libdep.so"], "/one", &[]),
            names(&["libother.so"], "/two", &[]),
            names(&["libc.so.6"], "/two", &[]),
        ] {
            assert!(other.warnings("b", &first, "a").is_empty(), "{other:?}");
        }
    }

    #[test]
    fn unique_symbols_of_two_plugins_are_reported_but_not_those_of_the_standard_library() {
        let first = names(&[], "", &["_ZZN4mine7counterEvE5count", "_ZZNSt3fooEvE1x"]);
        let same = names(&[], "", &["_ZZN4mine7counterEvE5count"]);
        let warnings = same.warnings("b", &first, "a");
        assert!(warnings.len() == 1 && warnings[0].contains("_ZZN4mine7counterEvE5count"));
        let standard = [
            "_ZZNSt3fooEvE1x",
            "_ZNSt6locale2idE",
            "_ZTVN9__gnu_cxx3barE",
            "_ZGVNSt7collateIcE2idE",
        ];
        assert!(names(&[], "", &standard).unique_symbols.is_empty());
        let own = ["_ZN5Stack4sizeE", "counter", "_ZZ4initvE4once"];
        assert_eq!(names(&[], "", &own).unique_symbols.len(), 3);
    }
}
