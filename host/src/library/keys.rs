//! Keys that a team signs its plugins with.
//!
//! Once a key is trusted, a plugin is used only if `FILE.minisig` beside it is a minisign signature
//! of its bytes by one of the trusted keys. That is decided before any code of the plugin runs, on
//! the bytes whose hash is compared again when they are copied and loaded. What lies beside the
//! executable came with it and needs no signature: whoever can write there can replace the host
//! itself. The list of keys must itself be kept from others.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use minisign_verify::{Error as Minisign, PublicKey, Signature};
use serde::{Deserialize, Serialize};

use super::discover::{self, Origin};
use super::inspect::{self, Inspected, Ownership, Sha256};
use super::report::{Reason, Refusal, Stage};
use super::shown;
use super::trust::Trust;

/// Name of the file.
const FILE_NAME: &str = "trusted-keys.toml";
/// The longest signature and the longest list that are read, in bytes.
const MOST: u64 = 64 << 10;

/// A public key with the name that the user gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// What the user calls it.
    pub name: String,
    /// The key as minisign writes it, in base 64.
    pub key: String,
}

impl TrustedKey {
    /// A key with its name.
    ///
    /// # Errors
    /// Where the text is no public key of minisign's.
    pub fn new(name: &str, key: &str) -> Result<Self, KeysError> {
        let key = key.trim();
        PublicKey::from_base64(key).map_err(|_| KeysError::NoKey(shown::text(key)))?;
        let plain = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
        if !plain {
            return Err(KeysError::Name(shown::text(name)));
        }
        Ok(Self { name: name.to_owned(), key: key.to_owned() })
    }

    fn public(&self) -> Option<PublicKey> {
        PublicKey::from_base64(&self.key).ok()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, rename = "key")]
    keys: Vec<TrustedKey>,
}

/// Why the list of keys cannot be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is no place for it.
    #[error("there is no configuration directory: set HOME or XDG_CONFIG_HOME")]
    NoPlace,
    /// The system refuses.
    #[error("{}: {source}", shown::path(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could have changed it.
    #[error("{}: {why}; check its keys, then take the right to write from others", shown::path(.path))]
    Open {
        /// The file.
        path: PathBuf,
        /// Who could.
        why: String,
    },
    /// It is no list of keys.
    #[error("{}: {problem}; repair it, or remove it and add the keys again", shown::path(.path))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A text is no key.
    #[error(
        "`{0}` is no public key of minisign's: it begins with RW and has 56 characters, the second line of a file such as minisign.pub"
    )]
    NoKey(String),
    /// A name cannot be used.
    #[error("`{0}` is no name for a key: use letters, digits, `-`, `_`, `.` and `@`")]
    Name(String),
    /// A name or key is there already.
    #[error("there is a key `{0}` already: remove it first, or give the new one another name")]
    Taken(String),
    /// There is none of that name.
    #[error("there is no key `{0}`; `fluxbay trust list` shows them")]
    Unknown(String),
}

/// The keys that the user trusts.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    list: Vec<TrustedKey>,
    /// Why the list cannot be read: then no plugin that would need a signature has one.
    broken: Option<String>,
}

/// `$XDG_CONFIG_HOME/fluxbay/trusted-keys.toml`.
pub fn file() -> Option<PathBuf> {
    discover::user_config_dir().map(|dir| dir.join(FILE_NAME))
}

impl Keys {
    /// The user's keys; none where there is no list.
    ///
    /// # Errors
    /// Where the list is there and cannot be used.
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
        let judged = trust.judge(ownership).and_then(|()| trust.check_dir(dir));
        judged.map_err(|why| KeysError::Open { path: path.to_owned(), why })?;
        let invalid = |problem: String| KeysError::Invalid { path: path.to_owned(), problem };
        let mut text = String::new();
        io::Read::by_ref(&mut file).take(MOST).read_to_string(&mut text).map_err(io)?;
        let form: Form =
            toml::from_str(&text).map_err(|error| invalid(shown::paragraph(error.message())))?;
        for key in &form.keys {
            TrustedKey::new(&key.name, &key.key).map_err(|error| invalid(error.to_string()))?;
        }
        Ok(Self { list: form.keys, broken: None })
    }

    /// The user's keys for a scan: a list that cannot be used lets nothing through rather than
    /// everything.
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
    /// Where its name or the key itself is there already.
    pub fn add(&mut self, key: TrustedKey) -> Result<(), KeysError> {
        if let Some(known) =
            self.list.iter().find(|known| known.name == key.name || known.key == key.key)
        {
            return Err(KeysError::Taken(known.name.clone()));
        }
        self.list.push(key);
        Ok(())
    }

    /// Removes the key of a name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn remove(&mut self, name: &str) -> Result<TrustedKey, KeysError> {
        let place = self
            .list
            .iter()
            .position(|key| key.name == name)
            .ok_or_else(|| KeysError::Unknown(shown::text(name)))?;
        Ok(self.list.remove(place))
    }

    /// Writes the list: aside, then renamed.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn write(&self, path: &Path) -> Result<(), KeysError> {
        let io = |source| KeysError::Io { path: path.to_owned(), source };
        let dir = path.parent().ok_or(KeysError::NoPlace)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        let mut text = String::from(
            "# Keys whose plugins are used. With any key here, plugins without a signature are refused.\n",
        );
        text.push_str(&toml::to_string(&Form { keys: self.list.clone() }).unwrap_or_default());
        let mut aside = tempfile::Builder::new().prefix(".keys-").tempfile_in(dir).map_err(io)?;
        aside.write_all(text.as_bytes()).map_err(io)?;
        aside.as_file().set_permissions(Permissions::from_mode(0o600)).map_err(io)?;
        aside.as_file().sync_all().map_err(io)?;
        aside.persist(path).map_err(|error| io(error.error))?;
        Ok(())
    }

    /// Whether a plugin may be used: signed by one of the keys, or no signature is asked for.
    ///
    /// # Errors
    /// `unsigned`, `bad-signature` or `unknown-key`.
    pub fn check(&self, plugin: &Inspected) -> Result<(), Refusal> {
        if plugin.origin() == Origin::Executable {
            return Ok(());
        }
        if let Some(why) = &self.broken {
            return refuse(
                Reason::Unsigned,
                format!("no signature can be checked: {why}"),
                "repair the list of trusted keys",
            );
        }
        if self.list.is_empty() {
            return Ok(());
        }
        let signature = read_signature(plugin.path())?;
        let mut opened = inspect::open(plugin.path())?;
        let bytes = inspect::read_all(&mut opened.file, &opened.id)?;
        if Sha256::of(&bytes) != plugin.sha256() {
            return refuse(
                Reason::Changed,
                "it changed while it was looked at",
                "wait until it is written, then try again",
            );
        }
        self.verify(&bytes, &signature).map(drop)
    }

    /// The key that made a signature of `bytes`.
    fn verify(&self, bytes: &[u8], signature: &Signature) -> Result<&TrustedKey, Refusal> {
        for (key, public) in self.list.iter().filter_map(|key| Some((key, key.public()?))) {
            match public.verify(bytes, signature, true) {
                Ok(()) => return Ok(key),
                Err(Minisign::UnexpectedKeyId) => {}
                Err(_) => {
                    return refuse(
                        Reason::BadSignature,
                        format!(
                            "its signature by the key `{}` does not belong to these bytes",
                            key.name
                        ),
                        "do not use it: get it again from where it was published, with its signature",
                    );
                }
            }
        }
        refuse(
            Reason::UnknownKey,
            "its signature was made with a key that is not trusted",
            "if you trust who signed it, add their key with `fluxbay trust add`",
        )
    }
}

fn refuse<T>(
    reason: Reason,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal::fixed(Stage::Trust, reason, message, help))
}

/// The signature beside a plugin.
fn read_signature(plugin: &Path) -> Result<Signature, Refusal> {
    let mut path = plugin.as_os_str().to_owned();
    path.push(".minisig");
    let path = PathBuf::from(path);
    let Ok(mut opened) = inspect::open(&path) else {
        return refuse(
            Reason::Unsigned,
            format!(
                "keys are trusted, but it has no signature: there is no {}",
                shown::path(&path)
            ),
            "get its signature, have it signed (minisign -Sm FILE), or vouch for its directory with --allow-untrusted",
        );
    };
    let text = if opened.id.size <= MOST {
        inspect::read_all(&mut opened.file, &opened.id).ok()
    } else {
        None
    };
    let signature = text
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| Signature::decode(&text).ok());
    signature.map_or_else(
        || {
            refuse(
                Reason::BadSignature,
                format!("{} is no signature of minisign's", shown::path(&path)),
                "get its signature again",
            )
        },
        Ok,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn verdict(trusted: &[u8], signed: &[u8], signer: u8, given: &[u8]) -> Result<String, Reason> {
        let signature = Signature::decode(&sign(signer, signed)).expect("whole");
        keys(trusted)
            .verify(given, &signature)
            .map(|key| key.name.clone())
            .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn only_the_bytes_that_a_trusted_key_signed_are_let_through() {
        assert_eq!(verdict(&[1, 2], b"plugin", 2, b"plugin"), Ok("k2".to_owned()));
        assert_eq!(verdict(&[1, 2], b"plugin", 3, b"plugin"), Err(Reason::UnknownKey));
        assert_eq!(verdict(&[1, 2], b"plugin", 2, b"plugIn"), Err(Reason::BadSignature));
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
        use crate::library::{Catalog, ScanOptions, SearchPath, State, manifest};
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
            assert!(catalog.reports().iter().all(|report| report.state == State::Ok
                || report.refusal.as_ref().is_some_and(|r| r.stage == Stage::Trust)));
            catalog.reports().iter().map(verdict).collect::<Vec<_>>()
        };
        let found = scan(keys(&[1]), Origin::CommandLine);
        let expected = [
            ("garbled", "bad-signature"),
            ("signed", "ok"),
            ("swapped", "bad-signature"),
            ("unsigned", "unsigned"),
        ];
        assert_eq!(found, expected.map(|(name, verdict)| (name.to_owned(), verdict)));
        assert!(
            scan(keys(&[2]), Origin::CommandLine)
                .iter()
                .any(|(name, verdict)| name == "signed" && *verdict == "unknown-key")
        );
        // No key, or beside the executable: no signature is asked for.
        for found in
            [scan(Keys::default(), Origin::CommandLine), scan(keys(&[1]), Origin::Executable)]
        {
            assert!(found.iter().all(|(_, verdict)| *verdict == "ok"), "{found:?}");
        }
    }
}
