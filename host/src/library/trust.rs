//! Whether anybody but the user or root can change or replace a file.
//!
//! A plugin runs with all rights of the user. So the file, every directory on the path to it and
//! every symbolic link on the way must belong to root or the user, and nobody else may write to
//! them. A world-writable directory with the sticky bit, such as the system's temporary one, is
//! accepted above a private directory, because others cannot rename or remove that; a plugin
//! directly inside one is refused. Not covered: other programs of the user, and access control
//! lists that give rights without showing in the mode's group bits.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::escape;
use super::file::Ownership;

/// Limit of symbolic links on one path, as in Linux.
const MAX_LINKS: usize = 40;

/// Checks owners and modes against one user; caches the results for directories.
#[derive(Debug)]
pub struct Trust {
    user: u32,
    group: u32,
    allowed: Vec<PathBuf>,
    checked: Mutex<HashMap<PathBuf, Result<(), String>>>,
}

impl Trust {
    /// Trusts root, the effective user of this process, and all files directly in one of the
    /// directories `allowed`.
    pub fn new(allowed: &[PathBuf]) -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            allowed: allowed.iter().filter_map(|dir| std::fs::canonicalize(dir).ok()).collect(),
            checked: Mutex::default(),
        }
    }

    /// Checks owner and mode of a file or directory.
    ///
    /// # Errors
    /// Who else could change it.
    pub(super) fn check_ownership(&self, what: Ownership) -> Result<(), String> {
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

    fn check_ownership_of_dir(
        &self,
        dir: &Path,
        what: Ownership,
        role: Role,
    ) -> Result<(), String> {
        let sticky = what.mode & 0o1000 != 0 && (what.user == 0 || what.user == self.user);
        if sticky && role == Role::Ancestor {
            return Ok(());
        }
        self.check_ownership(what)
            .map_err(|why| format!("the directory {}: {why}", escape::path(dir)))
    }

    /// Resolves `path` component by component, as the kernel does, and checks every directory on the
    /// way. Returns the last directory: `path` itself if it is one, otherwise its parent.
    fn walk(&self, path: &Path) -> Result<Reached, String> {
        let absolute =
            std::path::absolute(path).map_err(|e| format!("{}: {e}", escape::path(path)))?;
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
            // Anybody can create entries in a sticky directory, so it may not hold the file itself.
            let role =
                if left.is_empty() && !metadata.is_dir() { Role::Parent } else { Role::Ancestor };
            self.check_ownership_of_dir(&here.path, here.ownership, role)?;
            if metadata.is_symlink() {
                links += 1;
                if links > MAX_LINKS {
                    return Err(format!(
                        "{}: more than {MAX_LINKS} symbolic links",
                        escape::path(path)
                    ));
                }
                let owner = Ownership::of(&metadata).user;
                if owner != 0 && owner != self.user {
                    return Err(format!(
                        "the symbolic link {}: it belongs to user {owner}",
                        escape::path(&next)
                    ));
                }
                let target = std::fs::read_link(&next)
                    .map_err(|e| format!("{}: {e}", escape::path(&next)))?;
                if target.is_absolute() {
                    here = Reached::root()?;
                }
                for part in parts(&target).into_iter().rev() {
                    left.push_front(part);
                }
            } else if metadata.is_dir() {
                here = Reached { path: next, ownership: Ownership::of(&metadata) };
            } else if !left.is_empty() {
                return Err(format!("{} is no directory", escape::path(&next)));
            }
        }
        Ok(here)
    }

    /// Checks a directory and all its ancestors.
    ///
    /// # Errors
    /// Which of them others could write to, and who.
    pub fn check_dir(&self, dir: &Path) -> Result<(), String> {
        let Reached { path, ownership } = self.walk(dir)?;
        self.check_ownership_of_dir(&path, ownership, Role::Parent)
    }

    /// Checks every directory on the path to a file. The result for the parent of a file that is no
    /// symbolic link is cached.
    ///
    /// # Errors
    /// Which directory or link others could change, and who.
    pub(super) fn check_path(&self, path: &Path) -> Result<(), String> {
        let is_link = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
        let Some(parent) = path.parent().filter(|_| !is_link) else {
            return self.walk(path).map(drop);
        };
        if let Some(known) = self.checked.lock().unwrap_or_else(PoisonError::into_inner).get(parent)
        {
            return known.clone();
        }
        let verdict = self.walk(path).map(drop);
        self.checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(parent.to_owned(), verdict.clone());
        verdict
    }

    /// Whether a file, found at `path` and lying at `resolved`, is in an allowed directory.
    pub(super) fn allows(&self, path: &Path, resolved: &Path) -> bool {
        if self.allowed.is_empty() {
            return false;
        }
        let real = |path: &Path| {
            path.parent().and_then(|dir| {
                std::fs::canonicalize(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })
                    .ok()
            })
        };
        let (found_in, lies_in) = (real(path), resolved.parent());
        // Both: a link in an allowed directory does not make its target allowed.
        let allowed = |dir: &Path| self.allowed.iter().any(|allowed| allowed == dir);
        found_in.as_deref().is_some_and(allowed) && lies_in.is_some_and(allowed)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A private directory lies between it and the file.
    Ancestor,
    /// It contains the file itself.
    Parent,
}

/// A directory that [`Trust::walk`] has come to.
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

/// Metadata of `path`; links are not followed.
fn look(path: &Path) -> Result<Metadata, String> {
    std::fs::symlink_metadata(path).map_err(|e| format!("{}: {e}", escape::path(path)))
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
        trust.check_ownership(Ownership::of(&metadata)).and_then(|()| trust.check_path(path))
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
        assert!(Trust::new(&[]).check_ownership(nobody).is_err_and(|why| why.contains("65534")));
        // Only root can give a file away for real.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(65_534), None).expect("root may");
            assert!(judge(&file).is_err());
        }
    }
}
