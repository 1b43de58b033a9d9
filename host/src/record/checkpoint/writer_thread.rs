//! Writes checkpoints on a thread, one at a time, while training continues.

use std::{
    fs::File,
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::JoinHandle,
};

use super::{CheckpointData, Retentions, write};
use crate::breadcrumb::{self, HostThread};
use crate::record::RecordError;

/// Builds the files of a checkpoint on the writer thread.
pub type Produce = Box<dyn FnOnce() -> Result<CheckpointData, RecordError> + Send>;

/// One checkpoint to write.
struct Job {
    produce: Produce,
    /// Files to sync before.
    before: Vec<File>,
    /// Decides which older checkpoints are removed afterwards.
    keep: Retentions,
}

/// The writer of a run's checkpoints. Dropping it waits for the checkpoint in progress.
#[derive(Debug)]
pub struct WriterThread {
    jobs: Option<Sender<Job>>,
    done: Receiver<Result<PathBuf, RecordError>>,
    thread: Option<JoinHandle<()>>,
    busy: bool,
    newest: Option<PathBuf>,
}

impl WriterThread {
    /// Starts a writer into the folder of a run's checkpoints.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn new(folder: PathBuf) -> std::io::Result<WriterThread> {
        let (jobs, queue) = channel::<Job>();
        let (report, done) = channel();
        let thread =
            std::thread::Builder::new().name("checkpoints".to_owned()).spawn(move || {
                breadcrumb::host_thread(HostThread::Checkpoints);
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
        Ok(WriterThread { jobs: Some(jobs), done, thread: Some(thread), busy: false, newest: None })
    }

    /// Whether no checkpoint is being written.
    ///
    /// # Errors
    /// If writing the previous one failed.
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

    /// Waits for the checkpoint in progress.
    ///
    /// # Errors
    /// If writing it failed.
    pub fn wait(&mut self) -> Result<(), RecordError> {
        if self.busy {
            self.busy = false;
            if let Ok(written) = self.done.recv() {
                self.newest = Some(written?);
            }
        }
        Ok(())
    }

    /// Waits for the checkpoint in progress and starts the next one. `before` are files to sync
    /// first; `keep` decides which older checkpoints are removed afterwards.
    ///
    /// # Errors
    /// If writing the previous one failed.
    pub fn submit(
        &mut self,
        produce: Produce,
        before: Vec<File>,
        keep: Retentions,
    ) -> Result<(), RecordError> {
        self.wait()?;
        let job = Job { produce, before, keep };
        self.busy = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        Ok(())
    }

    /// The newest checkpoint that was written.
    pub fn newest(&self) -> Option<&PathBuf> {
        self.newest.as_ref()
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread leaves the earlier checkpoints complete.
            let _ = thread.join();
        }
    }
}
