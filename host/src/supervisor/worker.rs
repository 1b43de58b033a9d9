//! The worker's side: shared memory, names, and a thread that says when a call takes long.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::fault;
use super::page::{PAGE, adopt, word};
use super::report::{Scene, Stuck};
use super::roster::{self, Line};

/// How often calls that take long are looked for.
const TICK: Duration = Duration::from_millis(500);

/// Becomes the worker of the supervisor that handed on descriptor `number`. Called on the training
/// thread.
///
/// # Errors
/// Somebody called the hidden option by hand.
pub fn begin(number: i32) -> io::Result<()> {
    roster::open(adopt(number)?);
    fault::install();
    // A run that nobody watches any more would train on unseen.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let supervisor = PAGE.words[word::SUPERVISOR].load(Relaxed);
    if rustix::process::getppid()
        .map(|parent| u64::from(parent.as_raw_nonzero().get().unsigned_abs()))
        != Some(supervisor)
    {
        return Err(io::Error::other("its supervisor has gone"));
    }
    Ok(())
}

/// Number of the process that people know: the command that they started, which is the supervisor's
/// where there is one.
pub fn process() -> u32 {
    match u32::try_from(PAGE.words[word::SUPERVISOR].load(Relaxed)) {
        Ok(supervisor) if supervisor != 0 => supervisor,
        _ => std::process::id(),
    }
}

/// The command is done and answers with `code`; what plugins do when the process ends changes
/// nothing any more.
pub fn done(code: u8) {
    PAGE.words[word::ENDED].store(u64::from(code) + 1, Relaxed);
}

/// Where the record of the run is kept.
pub fn record_in(directory: &Path) {
    roster::write(&Line::Directory(
        std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()),
    ));
}

/// What is done about calls that do not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After this time it is said; zero for never.
    pub warning: Duration,
    /// After this time the process is ended; zero for never. Only where there is a supervisor to do
    /// it.
    pub limit: Duration,
}

/// Watches calls for the rest of the process.
///
/// # Errors
/// Where no thread can be started.
pub fn watch(patience: Patience) -> io::Result<()> {
    PAGE.words[word::LIMIT]
        .store(u64::try_from(patience.limit.as_millis()).unwrap_or(u64::MAX), Relaxed);
    if patience.warning.is_zero() {
        return Ok(());
    }
    std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || warn(patience.warning))
        .map(drop)
}

fn warn(after: Duration) {
    let mut stuck = Stuck::default();
    let mut next = after;
    loop {
        std::thread::sleep(TICK.min(after));
        let scene = Scene::of(|place| PAGE.words[place].load(Relaxed));
        match stuck.look(&scene, Instant::now()) {
            Some((since, crumb)) if since >= next => {
                let who = roster::here().map(|roster| scene.told(crumb, &roster));
                let who = who.unwrap_or_else(|| "a plugin".to_owned());
                log::warn!(
                    "{who} has not returned for {} s; the run waits for it",
                    since.as_secs()
                );
                next *= 2;
            }
            Some((since, _)) if since < after => next = after,
            Some(_) => {}
            None => next = after,
        }
    }
}
