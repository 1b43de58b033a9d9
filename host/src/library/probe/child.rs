//! The child's side of the probe: loads the plugin, sends the answer, and waits to be killed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use fluxbay_plugin::abi::host::HostTable;

use super::frame::{self, Kind, NONCE};
use super::verdict::Answer;
use super::{ProbeLimits, limits, refuse};
use crate::library::shared_names::SharedNames;
use crate::library::store::{Note, Stored};
use crate::library::{Candidate, HostContract, Inspection, Limits, Refusal, RefusalReason};
use crate::surroundings::process;

/// Runs the child for the copy at `path`. The channel is the standard input.
///
/// # Errors
/// The channel is missing or broken, because the command was called by hand.
pub fn run(path: &Path, host: &'static HostTable) -> io::Result<std::convert::Infallible> {
    let mut channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut nonce = [0; NONCE];
    channel.read_exact(&mut nonce)?;
    // The plugin cannot reach the channel through its standard input.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    limits::apply(&ProbeLimits::of_environment());
    let mut say =
        |kind: Kind, payload: &[u8]| channel.write_all(&frame::encode(&nonce, kind, payload));
    say(Kind::Step, b"inspecting")?;
    let answer = match inspect(path) {
        Ok(stored) => {
            say(Kind::Step, b"loading")?;
            process::mark_copies();
            let loaded = stored.load(host).map(drop);
            // A copy that the plugin forked would answer as well, in between.
            if process::is_copy() {
                process::end_copy();
            }
            loaded
        }
        Err(refusal) => Err(refusal),
    };
    let json = serde_json::to_vec(&Answer::from(answer)).unwrap_or_default();
    say(Kind::Answer, &json)?;
    say(Kind::End, b"")?;
    // The parent kills this process, so that no destructor or exit handler of the plugin runs.
    loop {
        std::thread::park();
    }
}

fn inspect(path: &Path) -> Result<Stored, Refusal> {
    let limits = Limits { file_size: u64::MAX / 2, host: HostContract::default() };
    match Candidate::named(path).inspect(&limits)? {
        Inspection::Plugin(plugin) => Ok(Stored {
            path: plugin.resolved().to_owned(),
            plugin: *plugin,
            note: Note::default(),
            shared_names: SharedNames::default(),
        }),
        Inspection::OrdinaryLibrary => {
            Err(refuse(RefusalReason::Changed, "the copy is no plugin", "run the command again"))
        }
    }
}
