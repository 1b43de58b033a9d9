//! The user's directories for data, caches and configuration, and directories that only the user
//! can write to.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::escape;
use super::report::{Refusal, RefusalReason, Stage};
use super::trust::Trust;

/// `$XDG_DATA_HOME/fluxbay` or `~/.local/share/fluxbay`.
pub(super) fn user_data_dir() -> Option<PathBuf> {
    base_dir("XDG_DATA_HOME", ".local/share")
}

/// `$XDG_CACHE_HOME/fluxbay` or `~/.cache/fluxbay`.
pub fn user_cache_dir() -> Option<PathBuf> {
    base_dir("XDG_CACHE_HOME", ".cache")
}

/// `$XDG_CONFIG_HOME/fluxbay` or `~/.config/fluxbay`.
pub(super) fn user_config_dir() -> Option<PathBuf> {
    base_dir("XDG_CONFIG_HOME", ".config")
}

/// A directory of the package that this program was installed from, relative to its prefix: programs
/// are in `bin` there. None if it is not there.
pub fn installed(name: &str) -> Option<PathBuf> {
    installed_beside(&std::env::current_exe().ok()?, name)
}

fn installed_beside(program: &Path, name: &str) -> Option<PathBuf> {
    let bin = program.parent().filter(|folder| folder.ends_with("bin"))?;
    bin.parent().map(|prefix| prefix.join(name)).filter(|dir| dir.is_dir())
}

fn base_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    // The XDG specification says to ignore a relative path.
    let absolute =
        |value: std::ffi::OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    let base = std::env::var_os(variable).and_then(absolute);
    let base = base.or_else(|| {
        std::env::var_os("HOME").and_then(absolute).map(|home| home.join(below_home))
    })?;
    Some(base.join("fluxbay"))
}

/// Creates a directory that only the user can write to, or checks that an existing one is private.
///
/// # Errors
/// `store-failed`: it cannot be created, belongs to somebody else, or others could replace it.
pub(super) fn private_dir(dir: &Path) -> Result<(), Refusal> {
    let unusable = |e: io::Error| {
        failed(
            format!("the directory {} cannot be used: {e}", escape::path(dir)),
            "set XDG_CACHE_HOME to a directory of yours",
        )
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    let metadata = fs::symlink_metadata(dir).map_err(unusable)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(failed(
            format!("{} is not a directory of yours", escape::path(dir)),
            "remove it, or set XDG_CACHE_HOME",
        ));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    Trust::new(&[])
        .check_dir(dir)
        .map_err(|why| failed(why, "take the right to write from others, or set XDG_CACHE_HOME"))?;
    Ok(())
}

fn failed(message: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal::new(Stage::Store, RefusalReason::StoreFailed, message, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_a_package_are_beside_the_one_of_its_programs() {
        let prefix = tempfile::tempdir().unwrap();
        let plugins = prefix.path().join("lib/fluxbay/plugins");
        let program = prefix.path().join("bin/fluxbay");
        assert_eq!(installed_beside(&program, "lib/fluxbay/plugins"), None);
        fs::create_dir_all(&plugins).unwrap();
        assert_eq!(installed_beside(&program, "lib/fluxbay/plugins"), Some(plugins));
        let elsewhere = prefix.path().join("target/fluxbay");
        assert_eq!(installed_beside(&elsewhere, "lib/fluxbay/plugins"), None);
    }
}
