//! The parent's side of the probe: starts the child, reads its answer, kills and reaps it.
//!
//! One loop on one thread. It does not wait for the end of the stream, because a process that the
//! plugin forked may keep the descriptor open; it ends at the end frame, at the child's end, or at
//! the time limit.

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
use super::{COMMAND, ProbeFailure, ProbeLimits, refuse};
use crate::library::escape;
use crate::library::report::{Refusal, RefusalReason};

/// Environment variable that marks the child and all processes that it starts.
const MARK: &str = "FLUXBAY_PROBE_MARK";
/// Interval at which the child's state and memory are checked.
const TICK: Duration = Duration::from_millis(5);

pub(super) fn probe(program: &Path, copy: &Path, limits: &ProbeLimits) -> Result<(), ProbeFailure> {
    let unavailable = |error: io::Error| ProbeFailure {
        refusal: refuse(
            RefusalReason::ProbeUnavailable,
            format!("the probe process cannot be started: {error}"),
            "free some processes, memory or descriptors, then try again",
        ),
        output: String::new(),
    };
    let mut watch = Watch::start(program, copy, limits).map_err(unavailable)?;
    let verdict = watch.listen();
    let _ = watch.end();
    watch.drain_output();
    let output = escape::paragraph(&String::from_utf8_lossy(&watch.output));
    verdict.map_err(|refusal| ProbeFailure { refusal, output })
}

struct Watch<'a> {
    limits: &'a ProbeLimits,
    child: Child,
    channel: UnixStream,
    printed: File,
    nonce: [u8; NONCE],
    /// The environment entry that identifies processes which left the group.
    mark: Vec<u8>,
    received: Vec<u8>,
    output: Vec<u8>,
    /// What the child does, by its last [`Kind::Step`] frame.
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
        // The command, with this process's copies of the child's descriptors, is dropped at the end
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
            // If the child has already ended, its status is reported.
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

    /// Waits for the answer, the end of the child, or a limit.
    fn listen(&mut self) -> Result<(), Refusal> {
        let deadline = Instant::now() + self.limits.time;
        loop {
            self.wait_for_bytes();
            self.drain_output();
            // Checked before `receive`, which then reads everything that the child wrote before its
            // end.
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
                        RefusalReason::ProbeUnavailable,
                        format!("its exit status cannot be read: {error}"),
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
        // A closed descriptor is always ready: do not spin until the child ends.
        if descriptors
            .iter()
            .all(|d| d.revents().contains(PollFlags::HUP) && !d.revents().contains(PollFlags::IN))
        {
            std::thread::sleep(TICK / 5);
        }
    }

    /// Reads the child's output and keeps its end. Reads at most a megabyte per call, so that much
    /// output does not block the loop.
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

    /// Reads frames; returns true at the end frame.
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

    /// Whether the child has ended. It is not reaped here, so its process id stays valid.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.pid().is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    /// Resident memory of the child in bytes; 0 if unknown.
    fn resident(&self) -> u64 {
        let text =
            std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap_or_default();
        let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        pages * rustix::param::page_size() as u64
    }

    /// Kills the process group and reaps the child. Returns the status with which the child ended.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if self.reaped {
            return self.child.wait();
        }
        if let Some(pid) = self.pid() {
            // Not reaped yet, so the process id is still valid.
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
    /// Kills processes that the plugin started and that left the process group, found by the mark in
    /// their environment. Repeated, because they may fork meanwhile.
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

/// Whether the environment that a process was started with has this entry; false for processes of
/// other users.
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

/// What the child does, as the beginning of a sentence.
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
