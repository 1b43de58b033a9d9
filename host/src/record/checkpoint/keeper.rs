//! Writes checkpoints on a thread of its own, one at a time, so that training waits only until the
//! bytes are copied.

use std::{
    fs::File,
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::JoinHandle,
};

use super::{CheckpointData, Keep, write};
use crate::record::RecordError;

/// Puts a checkpoint's files together, away from the training thread.
pub type Produce = Box<dyn FnOnce() -> Result<CheckpointData, RecordError> + Send>;

/// What is to be written, the files that must be on the disk before it, and what is kept
/// afterwards.
struct Job {
    produce: Produce,
    before: Vec<File>,
    keep: Keep,
}

/// What became of a checkpoint that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is being written.
    Handed,
    /// The one before is still being written: this one was left out.
    LeftOut,
}

/// The writer of a run's checkpoints. Dropping it waits for what is being written.
#[derive(Debug)]
pub struct Keeper {
    jobs: Option<Sender<Job>>,
    done: Receiver<Result<PathBuf, RecordError>>,
    thread: Option<JoinHandle<()>>,
    busy: bool,
    newest: Option<PathBuf>,
}

impl Keeper {
    /// A writer into the folder of a run's checkpoints.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn new(folder: PathBuf) -> std::io::Result<Keeper> {
        let (jobs, queue) = channel::<Job>();
        let (report, done) = channel();
        let thread =
            std::thread::Builder::new().name("checkpoints".to_owned()).spawn(move || {
                for Job { produce, before, keep } in queue {
                    let synced = before
                        .iter()
                        .try_for_each(File::sync_data)
                        .map_err(RecordError::io("sync the record beside", &folder));
                    let written = synced.and_then(|()| write(&folder, &produce()?, &keep));
                    if report.send(written).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Keeper { jobs: Some(jobs), done, thread: Some(thread), busy: false, newest: None })
    }

    /// Whether the one before is written, so that another can be handed over.
    ///
    /// # Errors
    /// Where writing it failed.
    pub fn is_free(&mut self) -> Result<bool, RecordError> {
        if self.busy {
            match self.done.try_recv() {
                Ok(written) => {
                    self.busy = false;
                    self.newest = Some(written?);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.busy = false,
            }
        }
        Ok(!self.busy)
    }

    /// Waits until the one before is written.
    ///
    /// # Errors
    /// Where writing it failed.
    pub fn wait(&mut self) -> Result<(), RecordError> {
        if self.busy {
            self.busy = false;
            if let Ok(written) = self.done.recv() {
                self.newest = Some(written?);
            }
        }
        Ok(())
    }

    /// Hands a checkpoint over; `before` are files whose content it relies on, `keep` decides on
    /// older ones afterwards.
    ///
    /// # Errors
    /// Where writing the one before failed.
    pub fn keep(
        &mut self,
        produce: Produce,
        before: Vec<File>,
        keep: Keep,
    ) -> Result<Kept, RecordError> {
        if !self.is_free()? {
            return Ok(Kept::LeftOut);
        }
        let handed =
            self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job { produce, before, keep }).is_ok());
        self.busy = handed;
        Ok(if handed { Kept::Handed } else { Kept::LeftOut })
    }

    /// The newest that is known to be whole.
    pub fn newest(&self) -> Option<&PathBuf> {
        self.newest.as_ref()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread leaves the checkpoints before whole.
            let _ = thread.join();
        }
    }
}
