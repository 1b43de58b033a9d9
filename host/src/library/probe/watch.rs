//! The parent's side: start the child, listen, kill, reap, judge.
//!
//! One thread, one loop. Nothing waits for an end of file, because a process that the plugin forked
//! may keep a descriptor open for ever; what counts is the end frame, the child's own end, or the
//! time.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use super::frame::{self, Kind, NONCE};
use super::verdict::{self, Answer};
use super::{COMMAND, Failure, ProbeLimits, refuse};
use crate::library::report::{Reason, Refusal};
use crate::library::shown;

/// Name of the variable that marks the child and all that it starts.
const MARK: &str = "FLUXBAY_PROBE_MARK";
/// How often the child's end and its memory are looked at.
const TICK: Duration = Duration::from_millis(5);

pub(super) fn probe(program: &Path, copy: &Path, limits: &ProbeLimits) -> Result<(), Failure> {
    let unavailable = |error: io::Error| Failure {
        refusal: refuse(
            Reason::ProbeUnavailable,
            format!("the process that tries plugins cannot be started: {error}"),
            "free some processes, memory or descriptors, then try again",
        ),
        output: String::new(),
    };
    let mut watch = Watch::start(program, copy, limits).map_err(unavailable)?;
    let verdict = watch.listen();
    let _ = watch.end();
    watch.drain_output();
    let output = shown::paragraph(&String::from_utf8_lossy(&watch.output));
    verdict.map_err(|refusal| Failure { refusal, output })
}

struct Watch<'a> {
    limits: &'a ProbeLimits,
    child: Child,
    channel: UnixStream,
    printed: File,
    nonce: [u8; NONCE],
    /// An environment variable by which processes are known that left the group.
    mark: Vec<u8>,
    received: Vec<u8>,
    output: Vec<u8>,
    /// What the child said that it is doing.
    doing: &'static str,
    answer: Option<Vec<u8>>,
    reaped: bool,
}

impl<'a> Watch<'a> {
    fn start(program: &Path, copy: &Path, limits: &'a ProbeLimits) -> io::Result<Self> {
        let nonce = random()?;
        let mark: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let mark = format!("{MARK}={mark}");
        let (mut channel, theirs) = UnixStream::pair()?;
        let (printed, stdout) = io::pipe()?;
        let printed = File::from(OwnedFd::from(printed));
        let stderr = stdout.try_clone()?;
        // The command, and with it this process's copies of the child's ends, goes away at the end
        // of the statement.
        let child = Command::new(program)
            .arg(COMMAND)
            .arg(copy)
            .current_dir("/")
            .env(MARK, &mark[MARK.len() + 1..])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr))
            .process_group(0)
            .spawn()?;
        let watch = Self {
            limits,
            child,
            channel: channel.try_clone()?,
            printed,
            nonce,
            mark: mark.into_bytes(),
            received: Vec::new(),
            output: Vec::new(),
            doing: "starting",
            answer: None,
            reaped: false,
        };
        let prepared = channel
            .write_all(&nonce)
            // A child that has ended already is told by its status.
            .or_else(
                |error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) },
            )
            .and_then(|()| channel.set_nonblocking(true))
            .and_then(|()| Ok(fcntl_setfl(&watch.printed, OFlags::NONBLOCK)?));
        prepared.map(|()| watch)
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Until the answer is complete, or something makes one impossible.
    fn listen(&mut self) -> Result<(), Refusal> {
        let deadline = Instant::now() + self.limits.time;
        loop {
            self.wait_for_bytes();
            self.drain_output();
            // The end is looked for first, so that whatever the child wrote before it is there to
            // be received.
            let ended = self.has_ended();
            if self.receive()? {
                return match self.answer.take() {
                    Some(answer) => Answer::read(&answer),
                    None => Err(verdict::protocol("an end without an answer")),
                };
            }
            if ended {
                let doing = doing(self.doing);
                return Err(match self.end() {
                    Ok(status) => verdict::ended(doing, status, self.limits.time.as_secs()),
                    Err(error) => refuse(
                        Reason::ProbeUnavailable,
                        format!("how it ended cannot be told: {error}"),
                        "try again",
                    ),
                });
            }
            if self.resident() > self.limits.memory {
                return Err(verdict::out_of_memory(doing(self.doing), self.limits.memory));
            }
            if Instant::now() >= deadline {
                return Err(verdict::timed_out(doing(self.doing), self.limits.time.as_secs()));
            }
        }
    }

    fn wait_for_bytes(&self) {
        let mut descriptors = [
            PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.printed.as_fd(), PollFlags::IN),
        ];
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::try_from(TICK.as_nanos()).unwrap_or(0) };
        let _ = poll(&mut descriptors, Some(&tick));
        // A closed descriptor is always ready; this keeps the loop from spinning until the child's
        // end is seen.
        if descriptors
            .iter()
            .all(|d| d.revents().contains(PollFlags::HUP) && !d.revents().contains(PollFlags::IN))
        {
            std::thread::sleep(TICK / 5);
        }
    }

    /// Keeps the end of what was printed; reads at most a megabyte at a time, so that a flood
    /// cannot hold the loop.
    fn drain_output(&mut self) {
        let mut buffer = [0; 16 << 10];
        for _ in 0..64 {
            match self.printed.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    self.output.extend(&buffer[..count]);
                    let surplus = self.output.len().saturating_sub(self.limits.output);
                    self.output.drain(..surplus);
                }
            }
        }
    }

    /// Reads frames; true when the end frame has come.
    fn receive(&mut self) -> Result<bool, Refusal> {
        let mut buffer = [0; 16 << 10];
        for _ in 0..64 {
            match self.channel.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.received.extend(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
            while let Some(frame) =
                frame::take(&mut self.received, &self.nonce).map_err(verdict::protocol)?
            {
                match (frame.kind, &self.answer) {
                    (Kind::Step, None) => {
                        self.doing =
                            if frame.payload == b"loading" { "loading" } else { "inspecting" }
                    }
                    (Kind::Answer, None) => self.answer = Some(frame.payload),
                    (Kind::End, _) => return Ok(true),
                    _ => return Err(verdict::protocol("frames out of order")),
                }
            }
        }
        Ok(false)
    }

    /// Whether the child has ended; it is not reaped, so its number cannot belong to anyone else
    /// yet.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.pid().is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    /// Resident memory of the child in bytes; 0 where it cannot be told.
    fn resident(&self) -> u64 {
        let text =
            std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap_or_default();
        let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        pages * rustix::param::page_size() as u64
    }

    /// Kills the whole process group and reaps the child. Its status is that of its own end, if
    /// that came first.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if self.reaped {
            return self.child.wait();
        }
        if let Some(pid) = self.pid() {
            // Not reaped yet, so the number is still this group's.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        self.reaped = true;
        let status = self.child.wait();
        self.end_strays();
        status
    }
}

impl Watch<'_> {
    /// Kills what the plugin started and took out of the process group: it still has the mark in
    /// its environment. More than once, because one that forks may just have done so.
    fn end_strays(&self) {
        for _ in 0..5 {
            let strays: Vec<Pid> = processes().filter(|pid| has_mark(*pid, &self.mark)).collect();
            if strays.is_empty() {
                return;
            }
            for stray in strays {
                let _ = kill_process(stray, Signal::KILL);
            }
        }
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
}

/// Whether a variable stands in the environment that a process was started with. Of other users'
/// processes it cannot be told.
fn has_mark(pid: Pid, mark: &[u8]) -> bool {
    let environment =
        std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark)
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What the child was doing, as the beginning of a sentence.
fn doing(step: &str) -> &'static str {
    match step {
        "loading" => "loading it",
        "inspecting" => "inspecting it",
        _ => "starting the process that tries it",
    }
}

fn random() -> io::Result<[u8; NONCE]> {
    let mut nonce = [0; NONCE];
    File::open("/dev/urandom")?.read_exact(&mut nonce)?;
    Ok(nonce)
}
