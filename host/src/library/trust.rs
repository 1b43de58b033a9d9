//! The trust stage: could anybody but this user or root have put these bytes here, or swap them?
//!
//! A plugin runs with all rights of the user. So the file, every directory on the way to it and
//! every symbolic link followed must be under the control of root or the user alone. A
//! world-writable directory with the sticky bit, such as the system's temporary one, is no danger
//! to what lies in a private directory below it, because others cannot rename or remove that; a
//! plugin directly inside one is refused. What this stage does not protect from: the user's own
//! programs, and access lists that give rights without showing in the mode's group bits.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::inspect::{Inspected, Ownership};
use super::report::{Reason, Refusal, Stage};
use super::shown;

/// The most symbolic links that are followed on the way to one file, as in Linux.
const MAX_LINKS: usize = 40;

/// A plugin whose bytes only root or the user can have put where they are, or whose directory the
/// user vouched for.
#[derive(Clone, Debug)]
pub struct Trusted(pub(super) Inspected);

impl Trusted {
    /// The plugin as inspected.
    pub fn inspected(&self) -> &Inspected {
        &self.0
    }
}

/// Whom to trust; remembers the directories it has judged.
#[derive(Debug)]
pub struct Trust {
    user: u32,
    group: u32,
    allowed: Vec<PathBuf>,
    judged: Mutex<HashMap<PathBuf, Result<(), String>>>,
}

impl Trust {
    /// Trusts this process's user and root, and whatever lies directly in one of the directories
    /// `allowed`.
    pub fn new(allowed: &[PathBuf]) -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            allowed: allowed.iter().filter_map(|dir| std::fs::canonicalize(dir).ok()).collect(),
            judged: Mutex::default(),
        }
    }

    /// Why the owner or the mode of something are no good, if so.
    pub(super) fn judge(&self, what: Ownership) -> Result<(), String> {
        if what.user != self.user && what.user != 0 {
            return Err(format!(
                "it belongs to user {}, neither root nor user {}",
                what.user, self.user
            ));
        }
        if what.mode & 0o002 != 0 {
            return Err(format!("everybody may write to it (mode {:04o})", what.mode & 0o7777));
        }
        // A group of the same number as the user is, by convention, the user's private one.
        let private = what.group == 0 || (what.group == self.group && self.group == self.user);
        if what.mode & 0o020 != 0 && !private {
            return Err(format!(
                "group {} may write to it (mode {:04o})",
                what.group,
                what.mode & 0o7777
            ));
        }
        Ok(())
    }

    fn judge_dir(&self, dir: &Path, what: Ownership, role: Role) -> Result<(), String> {
        let sticky = what.mode & 0o1000 != 0 && (what.user == 0 || what.user == self.user);
        if sticky && role == Role::OnTheWay {
            return Ok(());
        }
        self.judge(what).map_err(|why| format!("the directory {}: {why}", shown::path(dir)))
    }

    /// Walks to `path` as the kernel does and judges every directory passed. Answers the last
    /// directory that was reached: `path` itself, if it is one, or what holds it.
    fn walk(&self, path: &Path) -> Result<Reached, String> {
        let absolute =
            std::path::absolute(path).map_err(|e| format!("{}: {e}", shown::path(path)))?;
        let mut left: VecDeque<OsString> = parts(&absolute);
        let mut here = Reached::root()?;
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                let mut above = here.path;
                above.pop();
                here = Reached::look(above)?;
                continue;
            }
            let next = here.path.join(&part);
            let metadata = look(&next)?;
            // Directly in a sticky directory anybody can make entries, so the entry's owner counts
            // there.
            let role =
                if left.is_empty() && !metadata.is_dir() { Role::Holder } else { Role::OnTheWay };
            self.judge_dir(&here.path, here.ownership, role)?;
            if metadata.is_symlink() {
                links += 1;
                if links > MAX_LINKS {
                    return Err(format!(
                        "{}: more than {MAX_LINKS} symbolic links",
                        shown::path(path)
                    ));
                }
                let owner = Ownership::of(&metadata).user;
                if owner != 0 && owner != self.user {
                    return Err(format!(
                        "the symbolic link {}: it belongs to user {owner}",
                        shown::path(&next)
                    ));
                }
                let target = std::fs::read_link(&next)
                    .map_err(|e| format!("{}: {e}", shown::path(&next)))?;
                if target.is_absolute() {
                    here = Reached::root()?;
                }
                for part in parts(&target).into_iter().rev() {
                    left.push_front(part);
                }
            } else if metadata.is_dir() {
                here = Reached { path: next, ownership: Ownership::of(&metadata) };
            } else if !left.is_empty() {
                return Err(format!("{} is no directory", shown::path(&next)));
            }
        }
        Ok(here)
    }

    /// Judges a directory and every one on the way to it.
    ///
    /// # Errors
    /// Which of them others could write to, and who.
    pub fn check_dir(&self, dir: &Path) -> Result<(), String> {
        let Reached { path, ownership } = self.walk(dir)?;
        self.judge_dir(&path, ownership, Role::Holder)
    }

    /// As [`Trust::walk`], judging each directory of plain files only once.
    fn walk_once(&self, path: &Path) -> Result<(), String> {
        let is_link = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
        let Some(parent) = path.parent().filter(|_| !is_link) else {
            return self.walk(path).map(drop);
        };
        if let Some(known) = self.judged.lock().unwrap_or_else(PoisonError::into_inner).get(parent)
        {
            return known.clone();
        }
        let verdict = self.walk(path).map(drop);
        self.judged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(parent.to_owned(), verdict.clone());
        verdict
    }

    pub(super) fn allows(&self, plugin: &Inspected) -> bool {
        if self.allowed.is_empty() {
            return false;
        }
        let real = |path: &Path| {
            path.parent().and_then(|dir| {
                std::fs::canonicalize(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })
                    .ok()
            })
        };
        let (found_in, lies_in) = (real(plugin.path()), plugin.resolved().parent());
        // Both, so that a link out of an allowed directory does not carry the allowance with it.
        let allowed = |dir: &Path| self.allowed.iter().any(|allowed| allowed == dir);
        found_in.as_deref().is_some_and(allowed) && lies_in.is_some_and(allowed)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Something private lies further down.
    OnTheWay,
    /// It holds the file itself.
    Holder,
}

/// A directory on a walk.
struct Reached {
    path: PathBuf,
    ownership: Ownership,
}

impl Reached {
    fn look(path: PathBuf) -> Result<Self, String> {
        let ownership = Ownership::of(&look(&path)?);
        Ok(Self { path, ownership })
    }

    fn root() -> Result<Self, String> {
        Self::look(PathBuf::from("/"))
    }
}

/// What lies at `path`, links not followed.
fn look(path: &Path) -> Result<Metadata, String> {
    std::fs::symlink_metadata(path).map_err(|e| format!("{}: {e}", shown::path(path)))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

impl Inspected {
    /// Judges owner and modes of the file and of everything on the way to it.
    ///
    /// # Errors
    /// `untrusted`, naming the file, directory or link and who could change it. The plugin is
    /// handed back, so that listings can still show it.
    pub fn trust(self, trust: &Trust) -> Result<Trusted, (Box<Inspected>, Refusal)> {
        if trust.allows(&self) {
            return Ok(Trusted(self));
        }
        let verdict = trust
            .judge(self.ownership)
            .map_err(|why| format!("the file: {why}"))
            .and_then(|()| trust.walk_once(self.path()));
        match verdict {
            Ok(()) => Ok(Trusted(self)),
            Err(message) => {
                let dir = self.path().parent().map(shown::path).unwrap_or_default();
                let help = format!(
                    "check where it comes from, then take the right to write from others (chmod go-w), or allow its directory with --allow-untrusted {dir}"
                );
                Err((
                    Box::new(self),
                    Refusal::fixed(Stage::Trust, Reason::Untrusted, message, help),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("own file");
    }

    /// A private directory with a file in it.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let sub = dir.path().join("plugins");
        fs::create_dir(&sub).expect("writable");
        mode(&sub, 0o755);
        let file = sub.join("x.so");
        fs::write(&file, b"x").expect("writable");
        mode(&file, 0o644);
        (dir, file)
    }

    fn judge(path: &Path) -> Result<(), String> {
        let trust = Trust::new(&[]);
        let metadata = fs::metadata(path).expect("exists");
        trust.judge(Ownership::of(&metadata)).and_then(|()| trust.walk_once(path))
    }

    #[test]
    fn a_private_file_below_the_sticky_temporary_directory_is_trusted() {
        let (_dir, file) = place();
        assert_eq!(judge(&file), Ok(()));
    }

    #[test]
    fn a_file_or_any_parent_that_others_can_write_is_not() {
        let (dir, file) = place();
        mode(&file, 0o666);
        assert!(judge(&file).is_err_and(|why| why.contains("everybody")));
        mode(&file, 0o644);
        mode(dir.path(), 0o777);
        let why = judge(&file).expect_err("the parent's parent is open to all");
        assert!(why.contains(&*dir.path().to_string_lossy()), "{why}");
        mode(dir.path(), 0o1777);
        assert_eq!(judge(&file), Ok(()), "sticky and ours: no danger to what lies deeper");
        mode(file.parent().expect("has one"), 0o1777);
        assert!(judge(&file).is_err(), "directly inside a sticky directory");
    }

    #[test]
    fn a_link_is_only_as_good_as_what_it_leads_through() {
        let (dir, file) = place();
        let (open, _target) = place();
        let link = dir.path().join("link.so");
        symlink(&file, &link).expect("writable");
        assert_eq!(judge(&link), Ok(()));
        let far = open.path().join("plugins/x.so");
        fs::remove_file(&link).expect("ours");
        symlink(&far, &link).expect("writable");
        mode(open.path(), 0o777);
        assert!(judge(&link).is_err_and(|why| why.contains(&*open.path().to_string_lossy())));
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let (_dir, file) = place();
        let nobody = Ownership { user: 65_534, group: 65_534, mode: 0o644 };
        assert!(Trust::new(&[]).judge(nobody).is_err_and(|why| why.contains("65534")));
        // Only root can give a file away for real.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(65_534), None).expect("root may");
            assert!(judge(&file).is_err());
        }
    }
}
