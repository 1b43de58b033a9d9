//! The folder of a run: created or opened, used by one process at a time, never overwritten.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use super::{RecordError, RunState, Status, Timestamp, atomic};

/// File with the state of the run; a folder with this file is a run.
pub const STATE: &str = "state.json";
/// File that is locked by the process that uses the folder.
const LOCK: &str = ".lock";

/// The folder of a run, locked by this process until dropped.
#[derive(Debug)]
pub struct RunDirectory {
    /// Absolute, so that a change of the working folder does not matter.
    path: PathBuf,
    /// As it was given, for messages.
    shown: PathBuf,
    /// Open for the lock, which ends with the file, also if the process is killed.
    _lock: File,
}

/// How long to wait for the lock of a process that no longer exists.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The process id in a lock file.
fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether a process exists.
fn is_there(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

impl RunDirectory {
    /// Creates a new folder `RUNS/TIMESTAMP-NAME`.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn fresh(runs: &Path, name: &str) -> Result<RunDirectory, RecordError> {
        fs::create_dir_all(runs).map_err(RecordError::io("create the folder", runs))?;
        let stem = format!("{}-{}", Timestamp::now().compact(), folder_name(name));
        for number in 1_u32.. {
            let path =
                runs.join(if number == 1 { stem.clone() } else { format!("{stem}-{number}") });
            match fs::create_dir(&path) {
                Ok(()) => return RunDirectory::lock(&path),
                // Another run started in the same second.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(RecordError::io("create the folder", &path)(error)),
            }
        }
        unreachable!("some number is free")
    }

    /// Locks the folder `path`, creating it if needed.
    ///
    /// # Errors
    /// If it is not empty, is in use, or cannot be created.
    pub fn at(path: &Path) -> Result<RunDirectory, RecordError> {
        fs::create_dir_all(path).map_err(RecordError::io("create the folder", path))?;
        if path.join(STATE).exists() {
            let state = match RunDirectory::open(path) {
                Err(locked @ RecordError::Locked { .. }) => return Err(locked),
                _ => RunState::read(&path.join(STATE))
                    .map_or_else(|error| error.to_string(), |state| described(&state)),
            };
            return Err(RecordError::Occupied { path: path.to_owned(), state });
        }
        let entries = fs::read_dir(path).map_err(RecordError::io("read the folder", path))?;
        for entry in entries {
            let name = entry.map_err(RecordError::io("read the folder", path))?.file_name();
            // A process that ended before writing anything leaves a lock file.
            if name != LOCK {
                return Err(RecordError::NotOurs {
                    path: path.to_owned(),
                    found: name.to_string_lossy().into_owned(),
                });
            }
        }
        RunDirectory::lock(path)
    }

    /// Locks the folder of an existing run.
    ///
    /// # Errors
    /// If it holds no run, or is in use.
    pub fn open(path: &Path) -> Result<RunDirectory, RecordError> {
        if !path.join(STATE).exists() {
            return Err(RecordError::NoRun { path: path.to_owned() });
        }
        RunDirectory::lock(path)
    }

    fn lock(path: &Path) -> Result<RunDirectory, RecordError> {
        let lock = path.join(LOCK);
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&lock);
        let mut file = open.map_err(RecordError::io("open", &lock))?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let pid = holder(&mut file);
                    // The worker of a killed supervisor ends a moment later.
                    if pid.is_some_and(is_there) || begin.elapsed() > LOCK_WAIT {
                        return Err(RecordError::Locked { path: path.to_owned(), pid });
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(RecordError::io("lock", &lock)(error));
                }
            }
        }
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", crate::breadcrumb::command_process()));
        noted.map_err(RecordError::io("write", &lock))?;
        atomic::sync_folder(path)?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(RunDirectory { path: absolute, shown: path.to_owned(), _lock: file })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path as it was given, for messages.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Writes the state and the run files, before anything is loaded: from here on the run can be
    /// resumed, however it ends.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn announce(&self, run_files: &[String], resolved: &str) -> Result<(), RecordError> {
        RunState::begin().write(&self.file(STATE))?;
        for (number, text) in run_files.iter().enumerate() {
            let name = if number == 0 {
                super::file::RUN.to_owned()
            } else {
                format!("run-{}.toml", number + 1)
            };
            atomic::replace(&self.file(&name), text.as_bytes())?;
        }
        atomic::replace(&self.file(super::file::RESOLVED), resolved.as_bytes())
    }

    /// Removes the folder again, if it holds nothing but the lock and the files of
    /// [`RunDirectory::announce`].
    pub fn discard(self) {
        let entries = fs::read_dir(&self.path)
            .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect());
        let names: Vec<std::ffi::OsString> = entries.unwrap_or_default();
        let is_ours = |name: &std::ffi::OsString| {
            let name = name.to_string_lossy();
            name == LOCK
                || name == STATE
                || name == super::file::RESOLVED
                || (name.starts_with("run") && name.ends_with(".toml"))
        };
        if names.iter().all(is_ours) {
            names.iter().for_each(|name| drop(fs::remove_file(self.path.join(name))));
        }
        // Fails for a folder that is not empty, which stays.
        let _ = fs::remove_file(self.path.join(LOCK));
        let _ = fs::remove_dir(&self.path);
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Whether a process uses the folder of a run.
pub(super) fn is_held(path: &Path) -> bool {
    // Trying a shared lock does not disturb the owner, and is released at once.
    File::open(path.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn described(state: &RunState) -> String {
    match state.status {
        Status::Running => format!("broken off in epoch {}", state.epoch),
        status if state.reason.is_empty() => format!("{} in epoch {}", status.name(), state.epoch),
        status => format!("{} in epoch {}: {}", status.name(), state.epoch, state.reason),
    }
}

/// Bytes of a run's name in a folder's name; file systems allow 255 for the whole.
const LONGEST_NAME: usize = 200;

/// A run's name as part of a folder's name.
fn folder_name(name: &str) -> String {
    let plain = |ch: char| if ch.is_alphanumeric() || matches!(ch, '-' | '_') { ch } else { '-' };
    let mut bytes = 0;
    let fits = |ch: &char| {
        bytes += ch.len_utf8();
        bytes <= LONGEST_NAME
    };
    let name: String = name.chars().take(60).map(plain).take_while(fits).collect();
    if name.trim_matches('-').is_empty() { "run".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_other_files_is_refused_and_untouched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years").unwrap();
        let error = RunDirectory::at(folder.path()).unwrap_err();
        assert!(matches!(error, RecordError::NotOurs { .. }), "{error}");
        assert!(error.to_string().contains("thesis.txt"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_run_is_never_overwritten_and_only_one_process_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/run");
        let held = RunDirectory::at(&path).unwrap();
        assert!(
            matches!(RunDirectory::at(&path), Err(RecordError::Locked { pid: Some(pid), .. }) if pid == std::process::id())
        );
        let mut state = RunState::begin();
        (state.status, state.epoch, state.reason) = (Status::Stopped, 3, "loss is low".to_owned());
        state.write(&held.file(STATE)).unwrap();
        assert_eq!(RunState::read(&held.file(STATE)).unwrap(), state);
        assert!(matches!(RunDirectory::at(&path), Err(RecordError::Locked { .. })));
        drop(held);
        let error = RunDirectory::at(&path).unwrap_err().to_string();
        assert!(
            error.contains("stopped in epoch 3: loss is low") && error.contains("fluxbay resume"),
            "{error}"
        );
        assert_eq!(RunDirectory::open(&path).unwrap().path(), path);
        assert!(matches!(RunDirectory::open(folder.path()), Err(RecordError::NoRun { .. })));
    }

    #[test]
    fn fresh_folders_of_one_second_differ() {
        let runs = tempfile::tempdir().unwrap();
        let all: Vec<_> =
            (0..3).map(|_| RunDirectory::fresh(runs.path(), "../my run").unwrap()).collect();
        assert!(all.iter().all(|run| run.path().parent() == Some(runs.path())));
        assert!(all[0].path().to_string_lossy().ends_with("-my-run"));
        for (name, folder) in [("ü", "-ü"), ("größe/2 µm", "-größe-2-µm"), ("実験", "-実験")]
        {
            let run = RunDirectory::fresh(runs.path(), name).unwrap();
            assert!(run.path().to_string_lossy().ends_with(folder), "{name}: {:?}", run.path());
        }
        assert_ne!(all[0].path(), all[1].path());
    }
}
