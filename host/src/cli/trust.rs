//! `fluxbay trust`: adds, lists and removes the keys whose plugins are used.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::outcome::{Exit, Failure, Outcome};
use super::output::{print, print_json};
use crate::library::escape;
use crate::library::keys::{self, Keys, KeysError, TrustedKey};

/// Arguments of `fluxbay trust`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Trust a public key of minisign.
    ///
    /// From then on, plugins need a signature of a trusted key.
    Add {
        /// The key itself (56 characters that begin with RW) or a file such as minisign.pub.
        key: String,
        /// Name of the key; by default the name of the file.
        #[arg(long)]
        name: Option<String>,
    },
    /// Show the trusted keys.
    List {
        /// Write JSON, as `fluxbay schema trust-list` describes.
        #[arg(long)]
        json: bool,
    },
    /// Remove a key.
    ///
    /// Once no key is left, plugins need no signature.
    Remove {
        /// Its name, or the key itself.
        #[arg(value_name = "NAME|KEY")]
        name: String,
    },
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let path = keys::file().ok_or_else(|| configuration(KeysError::NoPlace))?;
    let mut known = Keys::read(&path).map_err(configuration)?;
    match &arguments.action {
        Action::Add { key, name } => {
            let new = read_key(key, name.as_deref())?;
            known.add(new.clone()).map_err(configuration)?;
            known.write(&path).map_err(|error| Failure::new(Exit::Failed, error))?;
            print(&format!(
                "`{}` is trusted. Plugins are now used only with a signature of a trusted key (FILE.minisig beside FILE).\n",
                new.name
            ))
        }
        Action::List { json: true } => {
            print_json(&serde_json::json!({ "schema": 1, "keys": known.list() }))
        }
        Action::List { json: false } => print(&text(&known, &path)),
        Action::Remove { name } => {
            let removed = known.remove(name).map_err(configuration)?;
            known.write(&path).map_err(|error| Failure::new(Exit::Failed, error))?;
            let rest = if known.list().is_empty() {
                " No key is left: plugins need no signature."
            } else {
                ""
            };
            print(&format!("`{}` is not trusted any more.{rest}\n", removed.name))
        }
    }
}

fn configuration(error: KeysError) -> Failure {
    Failure::new(Exit::Configuration, error)
}

/// Reads a key from its text, or from the last line of a file.
fn read_key(given: &str, name: Option<&str>) -> Result<TrustedKey, Failure> {
    let path = PathBuf::from(given);
    let (text, stem) = if path.is_file() {
        let unreadable = |error| {
            Failure::new(
                Exit::Configuration,
                format!("{}: the key cannot be read: {error}", escape::path(&path)),
            )
        };
        let text = fs::read_to_string(&path).map_err(unreadable)?;
        let key = text
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
        (
            key.unwrap_or_default().to_owned(),
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        )
    } else {
        if !is_key(given) {
            return Err(Failure::new(
                Exit::Configuration,
                format!("{} is neither a file nor a public key of minisign", escape::text(given)),
            ));
        }
        (given.to_owned(), None)
    };
    let name = name.map(str::to_owned).or(stem);
    let name =
        name.ok_or_else(|| Failure::new(Exit::Configuration, "give the key a name with --name"))?;
    TrustedKey::new(&name, &text).map_err(configuration)
}

/// Whether a text has the form of a public key: 56 characters that begin with RW.
fn is_key(text: &str) -> bool {
    text.starts_with("RW") && text.len() == 56 && !text.contains(['/', '.'])
}

fn text(known: &Keys, path: &Path) -> String {
    if known.list().is_empty() {
        return "No key is trusted, so plugins need no signature; `fluxbay trust add KEY` changes that.\n".to_owned();
    }
    let mut out = String::new();
    let width = known.list().iter().map(|key| key.name.len()).max().unwrap_or(0);
    for key in known.list() {
        let _ = writeln!(out, "{:width$}  {}", key.name, key.key);
    }
    let _ = writeln!(
        out,
        "\nKept in {}. Plugins need a signature of one of these keys.",
        escape::path(path)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn keys_are_taken_from_their_text_or_from_minisigns_file() {
        assert_eq!(read_key(KEY, Some("team")).expect("a key").name, "team");
        assert!(read_key(KEY, None).is_err());
        let nonsense = format!("RW{}", "!".repeat(54));
        assert!(
            read_key(&nonsense, Some("team"))
                .expect_err("no key")
                .to_string()
                .contains("minisign.pub")
        );
        for missing in ["missing.pub", "RWnonsense", "keys/RWmissing"] {
            let text = read_key(missing, None).expect_err("no key").to_string();
            assert!(text.contains(missing) && text.contains("neither a file nor"), "{text}");
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("team.pub");
        fs::write(&path, format!("untrusted comment: minisign public key\n{KEY}\n"))
            .expect("writable");
        let key = read_key(&path.to_string_lossy(), None).expect("a key");
        assert_eq!((key.name.as_str(), key.key.as_str()), ("team", KEY));
    }

    #[test]
    fn the_listing_shows_the_name_first_and_a_key_is_removed_by_either() {
        let mut keys = Keys::default();
        keys.add(read_key(KEY, Some("team")).expect("a key")).expect("new");
        assert!(text(&keys, Path::new("x")).starts_with(&format!("team  {KEY}\n")));
        assert_eq!(keys.remove(KEY).expect("known").name, "team");
        assert!(keys.remove("team").is_err());
    }

    #[test]
    fn without_keys_the_listing_says_so() {
        insta::assert_snapshot!(text(&Keys::default(), Path::new("x")), @"No key is trusted, so plugins need no signature; `fluxbay trust add KEY` changes that.");
    }
}
