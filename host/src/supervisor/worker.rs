//! The worker's side: shared memory, names, and a thread that warns about calls that hang.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::fault;
use super::report::{Scene, Stuck};
use crate::breadcrumb::memory::{PAGE, adopt, word};
use crate::breadcrumb::{self, HostThread, Line};

/// Interval of the check for calls that hang.
const TICK: Duration = Duration::from_millis(500);

/// Makes this process the worker of the supervisor that passed descriptor `number`. Called on the
/// training thread.
///
/// # Errors
/// If a user gave the hidden option by hand.
pub fn begin(number: i32) -> io::Result<()> {
    breadcrumb::open(adopt(number)?);
    fault::install();
    // Without its supervisor, a run would continue without anyone noticing.
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

/// Records that the command is done and exits with `code`, whatever plugins do while the process
/// ends.
pub fn done(code: u8) {
    PAGE.words[word::ENDED].store(u64::from(code) + 1, Relaxed);
}

/// Records the folder of the run's record.
pub fn record_in(directory: &Path) {
    breadcrumb::write(&Line::Directory(
        std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()),
    ));
}

/// Records the file with the state of this process, in a run on several.
pub fn rank_in(file: &Path) {
    breadcrumb::write(&Line::Rank(std::path::absolute(file).unwrap_or_else(|_| file.to_owned())));
}

/// Limits for calls that do not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Time after which a warning is logged; zero for never.
    pub warning: Duration,
    /// Time after which the supervisor ends the process; zero for never. Without a supervisor it has
    /// no effect.
    pub limit: Duration,
}

impl Patience {
    /// The default of `run.handler-warning` and `run.handler-limit`.
    pub const DEFAULT: Patience =
        Patience { warning: Duration::from_secs(60), limit: Duration::ZERO };
}

/// Time in milliseconds after which a call is warned about; 0 for never.
static WARNING: AtomicU64 = AtomicU64::new(0);

/// Watches calls until the process ends. Called first when the process starts, since a plugin can hang
/// while it is loaded, and again with the limits of the run file.
///
/// # Errors
/// If no thread can be started.
pub fn watch(patience: Patience) -> io::Result<()> {
    static STARTED: AtomicBool = AtomicBool::new(false);
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    PAGE.words[word::LIMIT].store(milliseconds(patience.limit), Relaxed);
    WARNING.store(milliseconds(patience.warning), Relaxed);
    if STARTED.swap(true, Relaxed) {
        return Ok(());
    }
    std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(|| {
            breadcrumb::host_thread(HostThread::Watchdog);
            warn();
        })
        .map(drop)
}

fn warn() {
    let mut stuck = Stuck::default();
    let mut after = Duration::ZERO;
    let mut next = after;
    loop {
        std::thread::sleep(if after.is_zero() { TICK } else { TICK.min(after) });
        let wanted = Duration::from_millis(WARNING.load(Relaxed));
        if wanted != after {
            (after, next) = (wanted, wanted);
        }
        if after.is_zero() {
            continue;
        }
        let scene = Scene::of(|place| PAGE.words[place].load(Relaxed));
        match stuck.look(&scene, Instant::now()) {
            Some((since, breadcrumb)) if since >= next => {
                let call = breadcrumb::here().map(|names| scene.describe(breadcrumb, &names));
                let call = call.unwrap_or_else(|| "a plugin".to_owned());
                log::warn!(
                    "{call} has not returned for {} s; the run waits for it",
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
