//! Launchers and libraries of MPI that are installed. No code of a library runs: they are found by their
//! names where the loader looks for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Serialize, Serializer};

use crate::cli::train::local_ranks;
use crate::library::escape;

/// Launchers that are looked for beside those of `--ranks`.
const MORE_LAUNCHERS: [&str; 4] = ["mpiexec.openmpi", "mpirun.mpich", "mpiexec.mpich", "srun"];
/// Names of libraries.
const LIBRARIES: [(&str, Family); 3] = [
    ("libmpi.so.40", Family::OpenMpi),
    ("libmpich.so.12", Family::Mpich),
    ("libmpi.so.12", Family::IntelMpi),
];

/// An implementation of MPI, or a launcher of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    OpenMpi,
    Mpich,
    IntelMpi,
    Slurm,
    Unknown,
}

impl Family {
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::OpenMpi => "Open MPI",
            Family::Mpich => "MPICH",
            Family::IntelMpi => "Intel MPI",
            Family::Slurm => "Slurm",
            Family::Unknown => "an unknown MPI",
        }
    }

    /// Libraries that processes of its launchers can use, in the order in which the plugin tries them.
    pub(super) fn libraries(self) -> &'static [&'static str] {
        match self {
            Family::OpenMpi => &["libmpi.so.40"],
            Family::Mpich | Family::IntelMpi => &["libmpich.so.12", "libmpi.so.12"],
            Family::Slurm | Family::Unknown => &["libmpi.so.40", "libmpich.so.12", "libmpi.so.12"],
        }
    }

    /// The one that a launcher describes with `--version`, with the version. `srun` says nothing where Slurm is
    /// not configured.
    fn of(launcher: &str, text: &str) -> (Family, String) {
        let family = if text.contains("Open MPI") || text.contains("OpenRTE") {
            Family::OpenMpi
        } else if text.contains("Intel") {
            Family::IntelMpi
        } else if text.contains("HYDRA") {
            Family::Mpich
        } else if launcher == "srun" {
            Family::Slurm
        } else {
            Family::Unknown
        };
        let words = text.split([' ', '\n', '\t']);
        let is_version =
            |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
        (family, words.into_iter().find(is_version).unwrap_or_default().to_owned())
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Launcher {
    /// The names that it is called by.
    pub names: Vec<String>,
    /// The program.
    pub path: String,
    /// What it belongs to.
    pub family: Family,
    /// Its version; empty if it does not say one.
    pub version: String,
    /// The library that its processes will use, if one is installed.
    pub library: Option<String>,
}

impl Launcher {
    pub(super) fn line(&self) -> String {
        let with = self.library.as_ref().map(|name| format!(", with {name}")).unwrap_or_default();
        let version = escape::text(&self.version);
        let said = format!("{} {version}", self.family.name());
        format!("{} ({}): {}{with}", self.names.join(", "), escape::text(&self.path), said.trim())
    }
}

/// A library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Library {
    /// The name that it is opened by.
    pub name: String,
    /// The file that the name leads to.
    pub path: String,
    /// What it belongs to.
    pub family: Family,
}

impl Library {
    pub(super) fn line(&self) -> String {
        format!("{} ({}): {}", self.name, escape::text(&self.path), self.family.name())
    }
}

/// What is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    pub launchers: Vec<Launcher>,
    pub libraries: Vec<Library>,
}

impl Installed {
    /// Looks in `PATH`, and where the loader looks for libraries.
    pub(super) fn look() -> Installed {
        let libraries = libraries(
            std::env::var_os("LD_LIBRARY_PATH").map(|text| std::env::split_paths(&text).collect()),
            &known_to_loader(),
        );
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let mut by_path: BTreeMap<PathBuf, Launcher> = BTreeMap::new();
        for name in local_ranks::LAUNCHERS.into_iter().chain(MORE_LAUNCHERS) {
            let Some(file) = folders.iter().map(|one| one.join(name)).find(|file| file.is_file())
            else {
                continue;
            };
            let path = std::fs::canonicalize(&file).unwrap_or(file);
            if let Some(known) = by_path.get_mut(&path) {
                known.names.push(name.to_owned());
                continue;
            }
            let Ok(output) = Command::new(name).arg("--version").output() else { continue };
            let (family, version) = Family::of(name, &String::from_utf8_lossy(&output.stdout));
            let is_there = |name: &&&str| libraries.iter().any(|library| library.name == ***name);
            let library = family.libraries().iter().find(is_there).map(|name| (*name).to_owned());
            let (names, shown) = (vec![name.to_owned()], path.to_string_lossy().into_owned());
            by_path.insert(path, Launcher { names, path: shown, family, version, library });
        }
        Installed { launchers: by_path.into_values().collect(), libraries }
    }

    /// The launcher of this name.
    pub(super) fn launcher(&self, name: &str) -> Option<&Launcher> {
        self.launchers.iter().find(|launcher| launcher.names.iter().any(|known| known == name))
    }
}

/// What the loader's cache lists, in the form of `ldconfig -p`.
fn known_to_loader() -> String {
    let found = ["ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig"].into_iter().find_map(|name| {
        let output = Command::new(name).arg("-p").output().ok()?;
        output.status.success().then_some(output.stdout)
    });
    String::from_utf8_lossy(&found.unwrap_or_default()).into_owned()
}

/// The libraries that are in one of the folders, or known to the loader.
fn libraries(folders: Option<Vec<PathBuf>>, known: &str) -> Vec<Library> {
    let in_folders = |name: &str| {
        folders.iter().flatten().map(|folder| folder.join(name)).find(|file| file.exists())
    };
    let in_cache = |name: &str| {
        let line = known.lines().find(|line| line.split_whitespace().next() == Some(name))?;
        Some(PathBuf::from(line.split_once("=> ")?.1.trim()))
    };
    let found = LIBRARIES.into_iter().filter_map(|(name, family)| {
        let file = in_folders(name).or_else(|| in_cache(name))?;
        let path = std::fs::canonicalize(&file).unwrap_or(file);
        Some(Library { name: name.to_owned(), path: shown(&path), family })
    });
    found.collect()
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The launcher that started this process, by its variables.
pub(super) fn started_by(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let launchers = [
        ("OMPI_COMM_WORLD_SIZE", Family::OpenMpi),
        ("PMI_SIZE", Family::Mpich),
        ("SLURM_STEP_ID", Family::Slurm),
    ];
    launchers.into_iter().find(|(name, _)| has(name)).map(|(_, family)| family.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_what_they_say_about_themselves() {
        let of = |text: &str| Family::of("mpirun", text);
        let version = |text: &str| text.to_owned();
        assert_eq!(of("mpirun (Open MPI) 4.1.4\n\nReport"), (Family::OpenMpi, version("4.1.4")));
        assert_eq!(
            of("HYDRA build details:\n    Version:   4.0.2\n"),
            (Family::Mpich, version("4.0.2"))
        );
        assert_eq!(
            of("Intel(R) MPI Library for Linux* OS, Version 2021.9 Build 20230307\n").0,
            Family::IntelMpi
        );
        assert_eq!(Family::of("srun", "slurm 22.05.8\n"), (Family::Slurm, version("22.05.8")));
        assert_eq!(Family::of("srun", ""), (Family::Slurm, String::new()));
        assert_eq!(of("something else"), (Family::Unknown, String::new()));
        assert_eq!(started_by(|name| name == "PMI_SIZE"), Some("MPICH"));
        assert_eq!(started_by(|_| false), None);
    }

    #[test]
    fn libraries_of_the_folders_come_before_those_of_the_cache() {
        let cache = "\tlibmpi.so.40 (libc6,x86-64) => /lib/libmpi.so.40\n\
                     \tlibmpich.so.12 (libc6,x86-64) => /nowhere/libmpich.so.12\n";
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libmpi.so.40"), "").unwrap();
        let found = libraries(Some(vec![folder.path().to_owned()]), cache);
        let names: Vec<&str> = found.iter().map(|library| library.name.as_str()).collect();
        assert_eq!(names, ["libmpi.so.40", "libmpich.so.12"]);
        let own = std::fs::canonicalize(folder.path().join("libmpi.so.40")).unwrap();
        assert_eq!(found[0].path, shown(&own));
        assert_eq!(found[1].path, "/nowhere/libmpich.so.12");
        assert!(libraries(None, "").is_empty());
    }
}
