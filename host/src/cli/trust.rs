//! `fluxbay trust`: whose plugins are used.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Exit, Failure, Outcome, print, print_json};
use crate::library::keys::{self, Keys, KeysError, TrustedKey};
use crate::library::shown;

/// Arguments of `fluxbay trust`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Trust a public key of minisign's; from then on plugins need a signature of a trusted key.
    Add {
        /// The key itself (56 characters that begin with RW) or a file such as minisign.pub.
        key: String,
        /// What to call it; by default the file's name.
        #[arg(long)]
        name: Option<String>,
    },
    /// Show the trusted keys.
    List {
        /// Write JSON, as `fluxbay schema trust-list` describes.
        #[arg(long)]
        json: bool,
    },
    /// Trust a key no more; without any key no signatures are asked for.
    Remove {
        /// Its name.
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
            known.remove(name).map_err(configuration)?;
            known.write(&path).map_err(|error| Failure::new(Exit::Failed, error))?;
            let rest = if known.list().is_empty() {
                " No key is left: plugins need no signature."
            } else {
                ""
            };
            print(&format!("`{}` is not trusted any more.{rest}\n", shown::text(name)))
        }
    }
}

fn configuration(error: KeysError) -> Failure {
    Failure::new(Exit::Configuration, error)
}

/// A key from its text, or from a file whose last line is it.
fn read_key(given: &str, name: Option<&str>) -> Result<TrustedKey, Failure> {
    let path = PathBuf::from(given);
    let (text, stem) = if path.is_file() {
        let unreadable = |error| {
            Failure::new(
                Exit::Configuration,
                format!("{}: the key cannot be read: {error}", shown::path(&path)),
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
        (given.to_owned(), None)
    };
    let name = name.map(str::to_owned).or(stem);
    let name =
        name.ok_or_else(|| Failure::new(Exit::Configuration, "give the key a name with --name"))?;
    TrustedKey::new(&name, &text).map_err(configuration)
}

fn text(known: &Keys, path: &Path) -> String {
    if known.list().is_empty() {
        return "No key is trusted, so plugins need no signature; `fluxbay trust add KEY` changes that.\n".to_owned();
    }
    let mut out = String::new();
    for key in known.list() {
        let _ = writeln!(out, "{}  {}", key.key, key.name);
    }
    let _ = writeln!(
        out,
        "\nKept in {}. Plugins need a signature of one of these keys.",
        shown::path(path)
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
        assert!(
            read_key("RWnonsense", Some("team")).expect_err("no key").text.contains("minisign.pub")
        );
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("team.pub");
        fs::write(&path, format!("untrusted comment: minisign public key\n{KEY}\n"))
            .expect("writable");
        let key = read_key(&path.to_string_lossy(), None).expect("a key");
        assert_eq!((key.name.as_str(), key.key.as_str()), ("team", KEY));
    }

    #[test]
    fn without_keys_the_listing_says_so() {
        insta::assert_snapshot!(text(&Keys::default(), Path::new("x")), @"No key is trusted, so plugins need no signature; `fluxbay trust add KEY` changes that.");
    }
}
