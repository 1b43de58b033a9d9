//! Where a new crate finds the author's crate, `fluxbay-plugin`.

use std::path::{Path, PathBuf};

use crate::library::escape;

/// The folder `host` of the clone that this program was built from. Packages know none: they are the same
/// wherever they are built.
const CLONE: Option<&str> = match option_env!("FLUXBAY_PACKAGED") {
    Some(_) => None,
    None => Some(env!("CARGO_MANIFEST_DIR")),
};

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// Where cargo finds published crates, in this fluxbay's version.
    Published,
}

impl Author {
    /// The folder that the user named.
    pub(super) fn at(path: &Path) -> Result<Author, String> {
        if !is_it(path) {
            let text = format!(
                "{} is not the author's crate: name the folder `plugin-api` of a clone of fluxbay",
                escape::path(path)
            );
            return Err(text);
        }
        Ok(Author::Folder(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())))
    }

    /// The clone that this program was built from, if it still exists; else what its package installed;
    /// else the published crate.
    pub(super) fn of_this_build() -> Author {
        let clone = CLONE.and_then(|host| Path::new(host).parent());
        let found = clone.map(|clone| clone.join("plugin-api")).filter(|path| is_it(path));
        found.or_else(installed).map_or(Author::Published, Author::Folder)
    }

    /// The value of `fluxbay-plugin =` in a manifest.
    pub(super) fn dependency(&self) -> String {
        match self {
            Author::Folder(path) => {
                format!("{{ path = {} }}", toml::Value::from(path.to_string_lossy().into_owned()))
            }
            Author::Published => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
        }
    }

    /// The lock file of the clone.
    pub(super) fn lock_file(&self) -> Option<PathBuf> {
        let Author::Folder(path) = self else { return None };
        path.parent().map(|clone| clone.join("Cargo.lock")).filter(|lock| lock.is_file())
    }
}

/// The folder that the package of this program installed.
fn installed() -> Option<PathBuf> {
    crate::library::installed("share/fluxbay/plugin-api").filter(|path| is_it(path))
}

/// Whether a folder holds the author's crate.
fn is_it(path: &Path) -> bool {
    let manifest = std::fs::read_to_string(path.join("Cargo.toml")).unwrap_or_default();
    let manifest: toml::Table = manifest.parse().unwrap_or_default();
    manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str)
        == Some("fluxbay-plugin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_authors_crate_is_taken() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let author = Author::at(&repository.join("plugin-api")).unwrap();
        assert!(author.dependency().starts_with("{ path = ") && author.lock_file().is_some());
        assert_eq!(author, Author::of_this_build());
        assert!(Author::at(repository).unwrap_err().contains("plugin-api"));
        assert_eq!(Author::Published.dependency(), format!("\"{}\"", env!("CARGO_PKG_VERSION")));
    }
}
