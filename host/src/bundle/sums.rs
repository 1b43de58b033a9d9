//! `SHA256SUMS`: the hashes of a bundle's files.

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use sha2::Digest as _;

use super::{CARD, INFO, SUMS};
use crate::library::{Sha256, escape};
use crate::record::file;
use crate::session::{CONFIG, DATA, DATA_STATE};

/// Files of a bundle that are never read unless their hash is listed.
const KNOWN: [&str; 8] =
    [INFO, CARD, file::MODEL, file::RESOLVED, file::PLUGINS, DATA, DATA_STATE, CONFIG];

/// The line of a file, as `sha256sum` writes it.
pub(super) fn line(name: &str, hash: &str) -> String {
    format!("{hash}  {name}\n")
}

/// The hash of a file in hexadecimal, read in pieces.
pub(super) fn of_file(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let (mut hash, mut piece) = (sha2::Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut piece)? {
            0 => break,
            length => hash.update(&piece[..length]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Checks that every file of a bundle is the one that was written.
///
/// # Errors
/// A file that is missing, changed or not listed, by name.
pub fn verify(folder: &Path) -> Result<(), String> {
    let place = escape::path(folder);
    let text = fs::read_to_string(folder.join(SUMS)).map_err(|error| {
        format!("the bundle {place} cannot be checked: `{SUMS}` cannot be read: {error}; copy the whole folder again")
    })?;
    let mut listed = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.split_once("  ").filter(|(hash, name)| {
            Sha256::from_hex(hash).is_some() && !name.is_empty() && !name.contains(['/', '\\'])
        });
        let Some((hash, name)) = entry else {
            return Err(format!(
                "line {number} of `{SUMS}` of the bundle {place} is no hash and name of a file; copy the whole folder again"
            ));
        };
        listed.insert(name, hash);
    }
    if let Some(missing) = [INFO, file::MODEL, file::RESOLVED, file::PLUGINS]
        .into_iter()
        .find(|name| !listed.contains_key(name))
    {
        return Err(format!("`{SUMS}` of the bundle {place} does not list `{missing}`"));
    }
    if let Some(extra) =
        KNOWN.into_iter().find(|name| !listed.contains_key(name) && folder.join(name).exists())
    {
        return Err(format!(
            "the bundle {place} has a file `{extra}` that `{SUMS}` does not list: remove it, or copy the whole folder again"
        ));
    }
    for (name, expected) in listed {
        let found = of_file(&folder.join(name)).map_err(|error| {
            format!("`{name}` of the bundle {place} cannot be read: {error}; copy the whole folder again")
        })?;
        if found != expected {
            return Err(format!(
                "`{name}` of the bundle {place} was changed: its sha256 is {found}, `{SUMS}` has {expected}; copy the whole folder again, or export the run anew"
            ));
        }
    }
    Ok(())
}
