//! Trusted keys and signatures of plugins.
//!
//! Once a key is trusted, a plugin is used only if `FILE.minisig` beside it is a minisign signature
//! of its bytes by a trusted key. This is checked before any code of the plugin runs, on the bytes
//! whose hash is compared again when they are copied and loaded. Plugins beside the executable need
//! no signature: whoever can write there can also replace the host. The list of keys is refused if
//! others can write to it.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use minisign_verify::{Error as Minisign, PublicKey, Signature};
use serde::{Deserialize, Serialize};

use super::file::{self, Ownership, Sha256};
use super::inspect::Inspected;
use super::report::{Refusal, RefusalReason, SearchOrigin, Stage};
use super::trust::Trust;
use super::{directories, escape};

/// Name of the file.
const FILE_NAME: &str = "trusted-keys.toml";
/// Size limit of a signature and of the list of keys, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// A public key with the name that the user gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// The user's name for it.
    pub name: String,
    /// The key as minisign writes it, in Base64.
    pub key: String,
}

impl TrustedKey {
    /// A key with its name.
    ///
    /// # Errors
    /// The text is no public key of minisign, or the name has characters that are not allowed.
    pub fn new(name: &str, key: &str) -> Result<Self, KeysError> {
        let key = key.trim();
        PublicKey::from_base64(key).map_err(|_| KeysError::NoKey(escape::text(key)))?;
        let plain = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
        if !plain {
            return Err(KeysError::Name(escape::text(name)));
        }
        Ok(Self { name: name.to_owned(), key: key.to_owned() })
    }

    fn public(&self) -> Option<PublicKey> {
        PublicKey::from_base64(&self.key).ok()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    #[serde(default, rename = "key")]
    keys: Vec<TrustedKey>,
}

/// Why the list of keys cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is no configuration directory.
    #[error("there is no configuration directory: set HOME or XDG_CONFIG_HOME")]
    NoPlace,
    /// The file cannot be read or written.
    #[error("{}: {source}", escape::path(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can change it.
    #[error("{}: {why}; check its keys, then take the right to write from others", escape::path(.path))]
    Open {
        /// The file.
        path: PathBuf,
        /// Who can.
        why: String,
    },
    /// It is no valid list of keys.
    #[error("{}: {problem}; repair it, or remove it and add the keys again", escape::path(.path))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The text is no public key.
    #[error(
        "`{0}` is no public key of minisign: a key begins with RW and has 56 characters; it is the second line of a file such as minisign.pub"
    )]
    NoKey(String),
    /// The name has characters that are not allowed.
    #[error("`{0}` cannot be the name of a key: use letters, digits, `-`, `_`, `.` and `@`")]
    Name(String),
    /// The name or the key is in the list already.
    #[error("the list has a key `{0}` already: remove it first, or give the new one another name")]
    Taken(String),
    /// No key has that name.
    #[error("there is no key `{0}`; `fluxbay trust list` shows them")]
    Unknown(String),
}

/// The keys that the user trusts.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    list: Vec<TrustedKey>,
    /// Why the list cannot be read; every plugin that needs a signature is refused then.
    broken: Option<String>,
}

/// `$XDG_CONFIG_HOME/fluxbay/trusted-keys.toml`.
pub fn file() -> Option<PathBuf> {
    directories::user_config_dir().map(|dir| dir.join(FILE_NAME))
}

impl Keys {
    /// Reads the list at `path`; empty if there is no such file.
    ///
    /// # Errors
    /// The file exists, but cannot be read, is invalid, or can be changed by others.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let io = |source| KeysError::Io { path: path.to_owned(), source };
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io(error)),
        };
        let trust = Trust::new(&[]);
        let ownership = Ownership::of(&file.metadata().map_err(io)?);
        let dir = path.parent().unwrap_or(Path::new("/"));
        let checked = trust.check_ownership(ownership).and_then(|()| trust.check_dir(dir));
        checked.map_err(|why| KeysError::Open { path: path.to_owned(), why })?;
        let invalid = |problem: String| KeysError::Invalid { path: path.to_owned(), problem };
        let mut text = String::new();
        io::Read::by_ref(&mut file).take(MAX_BYTES).read_to_string(&mut text).map_err(io)?;
        let file: KeysFile =
            toml::from_str(&text).map_err(|error| invalid(escape::paragraph(error.message())))?;
        for key in &file.keys {
            TrustedKey::new(&key.name, &key.key).map_err(|error| invalid(error.to_string()))?;
        }
        Ok(Self { list: file.keys, broken: None })
    }

    /// The user's keys for a scan. If the list cannot be used, every plugin that needs a signature is
    /// refused.
    pub fn of_user() -> Self {
        match file().map(|path| Self::read(&path)) {
            None => Self::default(),
            Some(Ok(keys)) => keys,
            Some(Err(error)) => Self { list: Vec::new(), broken: Some(error.to_string()) },
        }
    }

    /// The keys.
    pub fn list(&self) -> &[TrustedKey] {
        &self.list
    }

    /// Adds a key.
    ///
    /// # Errors
    /// The list has its name or the same key already.
    pub fn add(&mut self, key: TrustedKey) -> Result<(), KeysError> {
        if let Some(known) =
            self.list.iter().find(|known| known.name == key.name || known.key == key.key)
        {
            return Err(KeysError::Taken(known.name.clone()));
        }
        self.list.push(key);
        Ok(())
    }

    /// Removes the key with this name, or this key.
    ///
    /// # Errors
    /// The list has no such key.
    pub fn remove(&mut self, name: &str) -> Result<TrustedKey, KeysError> {
        let place = self
            .list
            .iter()
            .position(|key| key.name == name || key.key == name)
            .ok_or_else(|| KeysError::Unknown(escape::text(name)))?;
        Ok(self.list.remove(place))
    }

    /// Writes the list, readable by the user alone.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), KeysError> {
        let io = |source| KeysError::Io { path: path.to_owned(), source };
        let dir = path.parent().ok_or(KeysError::NoPlace)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        let mut text = String::from(
            "# Keys whose plugins are used. With any key here, plugins without a signature are refused.\n",
        );
        text.push_str(&toml::to_string(&KeysFile { keys: self.list.clone() }).unwrap_or_default());
        file::replace_durably(path, text.as_bytes(), 0o600).map_err(io)
    }

    /// Checks that a plugin is signed by a trusted key, or needs no signature.
    ///
    /// # Errors
    /// `unsigned`, `bad-signature` or `unknown-key`.
    pub fn check(&self, plugin: &Inspected) -> Result<(), Refusal> {
        if plugin.origin() == SearchOrigin::Executable {
            return Ok(());
        }
        if let Some(why) = &self.broken {
            return refuse(
                RefusalReason::Unsigned,
                format!("no signature can be checked: {why}"),
                "repair the list of trusted keys",
            );
        }
        if self.list.is_empty() {
            return Ok(());
        }
        let signature = read_signature(plugin.path())?;
        let mut opened = file::open(plugin.path())?;
        let bytes = file::read_all(&mut opened.file, &opened.id)?;
        if Sha256::of(&bytes) != plugin.sha256() {
            return refuse(
                RefusalReason::Changed,
                "it changed while its signature was checked",
                "wait until it is written, then try again",
            );
        }
        self.verify(&bytes, &signature).map(drop)
    }

    /// Returns the trusted key that `signature` of `bytes` was made with.
    fn verify(&self, bytes: &[u8], signature: &Signature) -> Result<&TrustedKey, Refusal> {
        for (key, public) in self.list.iter().filter_map(|key| Some((key, key.public()?))) {
            match public.verify(bytes, signature, true) {
                Ok(()) => return Ok(key),
                Err(Minisign::UnexpectedKeyId) => {}
                Err(_) => {
                    return refuse(
                        RefusalReason::BadSignature,
                        format!("its signature by the key `{}` does not match its bytes", key.name),
                        "do not use it: get it again from where it was published, with its signature",
                    );
                }
            }
        }
        refuse(
            RefusalReason::UnknownKey,
            "its signature was made with a key that is not trusted",
            "if you trust its author, add the author's key with `fluxbay trust add`",
        )
    }
}

fn refuse<T>(
    reason: RefusalReason,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal::new(Stage::Trust, reason, message, help))
}

/// Reads the signature beside a plugin.
fn read_signature(plugin: &Path) -> Result<Signature, Refusal> {
    let mut path = plugin.as_os_str().to_owned();
    path.push(".minisig");
    let path = PathBuf::from(path);
    let Ok(mut opened) = file::open(&path) else {
        return refuse(
            RefusalReason::Unsigned,
            format!(
                "keys are trusted, but it has no signature: there is no {}",
                escape::path(&path)
            ),
            "get its signature, have it signed (minisign -Sm FILE), or allow its directory with --allow-untrusted",
        );
    };
    let text = if opened.id.size <= MAX_BYTES {
        file::read_all(&mut opened.file, &opened.id).ok()
    } else {
        None
    };
    let signature = text
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| Signature::decode(&text).ok());
    signature.map_or_else(
        || {
            refuse(
                RefusalReason::BadSignature,
                format!("{} is no signature of minisign", escape::path(&path)),
                "get its signature again",
            )
        },
        Ok,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use ed25519_compact::{KeyPair, Seed};

    /// A key pair with the public key as minisign writes it.
    fn key(number: u8) -> (KeyPair, String) {
        let pair = KeyPair::from_seed(Seed::new([number; 32]));
        let mut bytes = b"Ed".to_vec();
        bytes.extend([number; 8]);
        bytes.extend(pair.pk.as_ref());
        (pair, base64(&bytes))
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for place in 0..4 {
                let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63] as char;
                text.push(if place <= chunk.len() { digit } else { '=' });
            }
        }
        text
    }

    /// What `minisign -S` writes, in its older form that needs no second hash.
    fn sign(number: u8, bytes: &[u8]) -> String {
        let (pair, _) = key(number);
        let signature = pair.sk.sign(bytes, None);
        let mut body = b"Ed".to_vec();
        body.extend([number; 8]);
        body.extend(signature.as_ref());
        let comment = "timestamp:1";
        let global = pair.sk.sign([signature.as_ref(), comment.as_bytes()].concat(), None);
        format!(
            "untrusted comment: test\n{}\ntrusted comment: {comment}\n{}\n",
            base64(&body),
            base64(global.as_ref())
        )
    }

    fn keys(numbers: &[u8]) -> Keys {
        let mut keys = Keys::default();
        for number in numbers {
            keys.add(TrustedKey::new(&format!("k{number}"), &key(*number).1).expect("a key"))
                .expect("new");
        }
        keys
    }

    fn verdict(
        trusted: &[u8],
        signed: &[u8],
        signer: u8,
        given: &[u8],
    ) -> Result<String, RefusalReason> {
        let signature = Signature::decode(&sign(signer, signed)).expect("whole");
        keys(trusted)
            .verify(given, &signature)
            .map(|key| key.name.clone())
            .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn only_the_bytes_that_a_trusted_key_signed_are_let_through() {
        assert_eq!(verdict(&[1, 2], b"plugin", 2, b"plugin"), Ok("k2".to_owned()));
        assert_eq!(verdict(&[1, 2], b"plugin", 3, b"plugin"), Err(RefusalReason::UnknownKey));
        assert_eq!(verdict(&[1, 2], b"plugin", 2, b"plugIn"), Err(RefusalReason::BadSignature));
    }

    #[test]
    fn the_list_is_written_for_its_owner_alone_and_read_back() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("fluxbay/trusted-keys.toml");
        assert!(Keys::read(&path).expect("none yet").list().is_empty());
        let mut written = keys(&[1, 2]);
        written.write(&path).expect("writable");
        assert_eq!(Keys::read(&path).expect("whole").list(), written.list());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(matches!(written.add(written.list()[0].clone()), Err(KeysError::Taken(_))));
        assert!(matches!(written.remove("k9"), Err(KeysError::Unknown(_))));
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("ours");
        assert!(matches!(Keys::read(&path), Err(KeysError::Open { .. })));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
        fs::write(&path, "[[key]]\nname = \"x\"\nkey = \"RW\"\n").expect("writable");
        assert!(matches!(Keys::read(&path), Err(KeysError::Invalid { .. })));
    }

    #[test]
    fn a_plugin_without_a_signature_or_with_another_files_is_refused_in_a_scan() {
        use crate::library::{Catalog, FileState, ScanOptions, SearchPath, manifest};
        let dir = tempfile::tempdir().expect("temporary directory");
        let manifest = |name: &str| {
            manifest::encode(&format!(
                r#"{{"schema":1,"contract":"1.0","plugin":{{"name":"{name}","version":"1.0.0"}},"components":[]}}"#
            ))
        };
        for name in ["signed", "unsigned", "swapped", "garbled"] {
            let bytes =
                crate::library::elf::tests::library(&[(manifest::SECTION, &manifest(name))]);
            let path = dir.path().join(format!("{name}.so"));
            fs::write(&path, &bytes).expect("writable");
            fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("ours");
            let signature = match name {
                "signed" => sign(1, &bytes),
                "swapped" => sign(1, b"something else"),
                _ => "garbage".to_owned(),
            };
            if name != "unsigned" {
                fs::write(dir.path().join(format!("{name}.so.minisig")), signature)
                    .expect("writable");
            }
        }
        let scan = |keys: Keys, origin| {
            let mut path = SearchPath::new();
            path.push(dir.path(), origin);
            let catalog = Catalog::scan(&path, &ScanOptions { keys, ..ScanOptions::default() });
            let verdict = |report: &crate::library::FileReport| {
                let name = report.path.file_stem().expect("named").to_string_lossy().into_owned();
                (name, report.refusal.as_ref().map_or("ok", |refusal| refusal.reason.code()))
            };
            assert!(catalog.reports().iter().all(|report| report.state == FileState::Ok
                || report.refusal.as_ref().is_some_and(|r| r.stage == Stage::Trust)));
            catalog.reports().iter().map(verdict).collect::<Vec<_>>()
        };
        let found = scan(keys(&[1]), SearchOrigin::CommandLine);
        let expected = [
            ("garbled", "bad-signature"),
            ("signed", "ok"),
            ("swapped", "bad-signature"),
            ("unsigned", "unsigned"),
        ];
        assert_eq!(found, expected.map(|(name, verdict)| (name.to_owned(), verdict)));
        assert!(
            scan(keys(&[2]), SearchOrigin::CommandLine)
                .iter()
                .any(|(name, verdict)| name == "signed" && *verdict == "unknown-key")
        );
        // No key, or beside the executable: no signature is asked for.
        for found in [
            scan(Keys::default(), SearchOrigin::CommandLine),
            scan(keys(&[1]), SearchOrigin::Executable),
        ] {
            assert!(found.iter().all(|(_, verdict)| *verdict == "ok"), "{found:?}");
        }
    }
}
