//! Turns what the parent observed into a refusal.

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{LIMIT_VARIABLE, refuse};
use crate::library::escape;
use crate::library::report::{Refusal, RefusalReason, Stage};

/// The child's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Whether the plugin loaded.
    passed: bool,
    reason: Option<String>,
    message: Option<String>,
    help: Option<String>,
}

impl From<Result<(), Refusal>> for Answer {
    fn from(result: Result<(), Refusal>) -> Self {
        match result {
            Ok(()) => Self { passed: true, reason: None, message: None, help: None },
            Err(refusal) => Self {
                passed: false,
                reason: Some(refusal.reason.code().to_owned()),
                message: Some(refusal.message),
                help: Some(refusal.help),
            },
        }
    }
}

impl Answer {
    /// Reads an answer; its texts are escaped.
    pub(super) fn read(json: &[u8]) -> Result<(), Refusal> {
        let Ok(answer) = serde_json::from_slice::<Answer>(json) else {
            return Err(protocol("an answer that cannot be read"));
        };
        if answer.passed {
            return Ok(());
        }
        let text = |text: Option<String>| escape::controls(&text.unwrap_or_default());
        let Some(reason) = RefusalReason::ALL
            .iter()
            .find(|reason| Some(reason.code()) == answer.reason.as_deref())
        else {
            return Err(protocol("an answer with an unknown reason"));
        };
        Err(Refusal {
            stage: Stage::Probe,
            reason: *reason,
            message: text(answer.message),
            help: text(answer.help),
        })
    }
}

pub(super) fn protocol(what: &str) -> Refusal {
    refuse(
        RefusalReason::ProtocolError,
        format!("the probe process received or sent {what}"),
        "do not use it: it writes to descriptors that are not its own",
    )
}

pub(super) fn timed_out(doing: &str, seconds: u64) -> Refusal {
    refuse(
        RefusalReason::TimedOut,
        format!("{doing} took longer than {seconds} s"),
        format!(
            "tell its author: loading must not wait, sleep or compute; on a slow machine, {LIMIT_VARIABLE}=SECONDS gives it more time"
        ),
    )
}

pub(super) fn out_of_memory(doing: &str, bytes: u64) -> Refusal {
    refuse(
        RefusalReason::OutOfMemory,
        format!("{doing} it took more than {} MiB of memory", bytes >> 20),
        "tell its author: loading must not allocate without bounds",
    )
}

/// The refusal for a child that ended before its answer was complete.
pub(super) fn ended(doing: &str, status: std::process::ExitStatus, seconds: u64) -> Refusal {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.signal(), status.code()) {
        (Some(signal), _) if signal == Signal::XCPU.as_raw() => timed_out(doing, seconds),
        (Some(signal), _) => {
            let core = format!("{doing} ended the process by {}", signal_name(signal));
            refuse(RefusalReason::Crashed, core, "tell its author, with what it printed")
        }
        (None, code) => {
            let code = code.unwrap_or_default();
            refuse(
                RefusalReason::Exited,
                format!("{doing} ended the process with exit code {code}"),
                "tell its author: a plugin must never exit the process",
            )
        }
    }
}

fn signal_name(number: i32) -> String {
    let known = [
        (Signal::SEGV, "SIGSEGV, an access to memory that is not there"),
        (Signal::BUS, "SIGBUS, an access to memory that cannot be had"),
        (Signal::ILL, "SIGILL, an instruction that this processor does not know"),
        (Signal::FPE, "SIGFPE, such as a division by zero"),
        (Signal::ABORT, "SIGABRT, such as a call of abort()"),
        (Signal::KILL, "SIGKILL"),
        (Signal::TERM, "SIGTERM"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::SYS, "SIGSYS, a system call that is not allowed"),
        (Signal::XFSZ, "SIGXFSZ, a file larger than allowed"),
        (Signal::PIPE, "SIGPIPE"),
    ];
    let name = known
        .iter()
        .find(|(signal, _)| signal.as_raw() == number)
        .map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| format!("signal {number}"))
}
