//! Messages between ranks.
//!
//! Ranks run the same program on the same state, so they send the same kinds of messages in the same
//! order, unless something happens on one of them alone: an error, a full disk, a cancel that depends
//! on the clock. So each message has a header that says what its sender does. If the headers differ,
//! the ranks that do the lesser thing give up and follow: the end of a step outranks what happens within
//! it, the end of the fit outranks both. Those that do the greater thing wait until they have come.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Ranks;
use crate::learner::control::{Stop, StopKind, StopReason};

/// What a rank does when it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doing {
    /// Compares the runs.
    Starting = 1,
    /// Puts a batch together.
    Batch = 2,
    /// Puts predictions together.
    Outputs = 3,
    /// Combines running statistics.
    Statistics = 4,
    /// Adds up gradients.
    Gradients = 5,
    /// Exchanges updated parameters.
    Parameters = 6,
    /// Is at a save point.
    Saving = 7,
    /// Combines the statistics of batch normalisation.
    Normalization = 8,
    /// Has ended a step.
    StepEnd = 16,
    /// Is between two phases or epochs.
    Pause = 17,
    /// Has ended the fit.
    FitEnd = 32,
}

impl Doing {
    const ALL: [Doing; 11] = [
        Doing::Starting,
        Doing::Batch,
        Doing::Outputs,
        Doing::Statistics,
        Doing::Gradients,
        Doing::Parameters,
        Doing::Saving,
        Doing::Normalization,
        Doing::StepEnd,
        Doing::Pause,
        Doing::FitEnd,
    ];

    fn from_number(number: u64) -> Option<Doing> {
        Doing::ALL.into_iter().find(|doing| *doing as u64 == number)
    }

    /// The greater counts.
    fn level(self) -> u64 {
        self as u64 / 16
    }

    /// In words, after "while it".
    fn phrase(self) -> &'static str {
        match self {
            Doing::Starting => "compares the runs",
            Doing::Batch => "takes a batch",
            Doing::Outputs => "puts predictions together",
            Doing::Statistics => "combines running statistics",
            Doing::Gradients => "adds up gradients",
            Doing::Parameters => "exchanges parameters",
            Doing::Saving => "is at a save point",
            Doing::Normalization => "normalises a batch",
            Doing::StepEnd => "ends a step",
            Doing::Pause => "is between two phases",
            Doing::FitEnd => "ends the fit",
        }
    }
}

/// Bytes of a header: what is done, a number, length of the message.
const HEADER: usize = 24;

/// What all ranks sent, in their order.
#[derive(Debug)]
pub(super) struct Met {
    /// The number of each.
    pub(super) numbers: Vec<u64>,
    /// The message of each.
    pub(super) messages: Vec<Vec<u8>>,
}

/// What has to be equal on all ranks of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Version of the host.
    pub host: String,
    /// Threads for tensor work.
    pub threads: usize,
    /// Hash of the resolved run file.
    pub run: String,
    /// The plugins with their hashes.
    pub plugins: String,
}

impl Fingerprint {
    /// The first thing that differs, with the values of both.
    fn difference(&self, other: &Fingerprint) -> Option<String> {
        let threads = [self.threads.to_string(), other.threads.to_string()];
        let all = [
            ("the version of fluxbay", &self.host, &other.host),
            ("run.threads", &threads[0], &threads[1]),
            ("the resolved run file", &self.run, &other.run),
            ("the plugins", &self.plugins, &other.plugins),
        ];
        let (what, own, others) = all.into_iter().find(|(_, own, others)| own != others)?;
        Some(format!("{what}: `{own}` and `{others}`"))
    }
}

impl Ranks {
    /// Sends a number and a message to all ranks, and returns those of all.
    ///
    /// # Errors
    /// What another rank has ended with, if it does something greater; that ranks do different things;
    /// or that the others cannot be reached.
    pub(super) fn meet(&self, doing: Doing, number: u64, message: &[u8]) -> Result<Met, Stop> {
        if self.link.is_none() {
            return Ok(Met { numbers: vec![number], messages: vec![message.to_vec()] });
        }
        loop {
            let mut header = Vec::with_capacity(HEADER);
            for word in [doing as u64, number, message.len() as u64] {
                header.extend_from_slice(&word.to_le_bytes());
            }
            let before = self.communicated.get();
            let headers = self.gather(doing, &header, &vec![HEADER as u64; self.ranks])?;
            self.waited.set(self.waited.get() + (self.communicated.get() - before));
            let mut words =
                headers.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
            let mut all = Vec::with_capacity(self.ranks);
            for _ in 0..self.ranks {
                let mut word = || words.next().unwrap_or_default();
                let (what, number, length) = (word(), word(), word());
                let what = Doing::from_number(what).ok_or_else(|| {
                    self.lost(doing, "a rank sent a message of another version of fluxbay")
                })?;
                all.push((what, number, length));
            }
            let greatest = all.iter().map(|(what, ..)| what.level()).max().unwrap_or(0);
            let counts: Vec<u64> = all
                .iter()
                .map(|(what, _, length)| if what.level() == greatest { *length } else { 0 })
                .collect();
            let sent = if doing.level() == greatest { message } else { &[] };
            let messages = self.gather_parts(doing, sent, &counts)?;
            let other = all.iter().position(|(what, ..)| {
                what.level() == greatest && (*what != doing || doing.level() < greatest)
            });
            match other {
                // Others still have to come.
                None if all.iter().any(|(what, ..)| what.level() < greatest) => {}
                None => {
                    let numbers = all.into_iter().map(|(_, number, _)| number).collect();
                    return Ok(Met { numbers, messages });
                }
                Some(rank) if doing.level() < greatest => {
                    let stop = decode(&messages[rank]);
                    return Err(match stop {
                        Some(stop) => of_rank(stop, rank),
                        None => self.apart(doing, rank, all[rank].0),
                    });
                }
                Some(rank) => return Err(self.apart(doing, rank, all[rank].0)),
            }
        }
    }

    /// Checks that all ranks train the same run.
    ///
    /// # Errors
    /// The first difference to rank 0.
    pub fn compare(&self, fingerprint: &Fingerprint) -> Result<(), Stop> {
        let text = serde_json::to_vec(fingerprint).unwrap_or_default();
        let met = self.meet(Doing::Starting, 0, &text)?;
        for (rank, message) in met.messages.iter().enumerate() {
            let other: Fingerprint = serde_json::from_slice(message).map_err(|_| {
                self.lost(Doing::Starting, "a rank is of another version of fluxbay")
            })?;
            let first: Option<Fingerprint> = serde_json::from_slice(&met.messages[0]).ok();
            let difference = first.and_then(|first| first.difference(&other));
            if let Some(difference) = difference {
                return Err(Stop::host(format!(
                    "rank {rank} does not train the same run as rank 0, they differ in {difference}; \
                     all ranks need the same run file, plugins and settings"
                )));
            }
        }
        Ok(())
    }

    /// A text of rank 0, on all ranks.
    ///
    /// # Errors
    /// If the others cannot be reached.
    pub fn text_of_first(&self, text: &str) -> Result<String, Stop> {
        let own = if self.rank == 0 { text.as_bytes() } else { &[] };
        let met = self.meet(Doing::Starting, 0, own)?;
        Ok(String::from_utf8_lossy(&met.messages[0]).into_owned())
    }

    /// Whether the others cannot be reached any more.
    pub fn are_lost(&self) -> bool {
        self.broken.borrow().is_some()
    }

    /// That ranks which should do the same do not.
    fn apart(&self, doing: Doing, rank: usize, other: Doing) -> Stop {
        Stop::host(format!(
            "the ranks do different things: rank {} {}, while rank {rank} {}; a plugin depends on \
             something that differs between them, such as the clock",
            self.rank,
            doing.phrase(),
            other.phrase()
        ))
    }

    /// That the others cannot be reached; nothing is sent any more.
    fn lost(&self, doing: Doing, why: &str) -> Stop {
        let text = format!(
            "rank {} cannot reach the other ranks, while it {}: {why}",
            self.rank,
            doing.phrase()
        );
        self.broken.borrow_mut().get_or_insert_with(|| text.clone());
        Stop::host(text)
    }

    /// Runs a call of the communicator; after one that failed there are no others.
    fn through<T>(
        &self,
        doing: Doing,
        call: impl FnOnce(&dyn crate::learner::ports::Communication) -> Result<T, String>,
    ) -> Result<T, Stop> {
        if let Some(text) = &*self.broken.borrow() {
            return Err(Stop::host(text.clone()));
        }
        let Some(link) = &self.link else {
            return Err(Stop::host("a process alone has no other ranks"));
        };
        let begin = Instant::now();
        let result = call(&**link);
        self.communicated.set(self.communicated.get() + begin.elapsed());
        result.map_err(|why| self.lost(doing, &why))
    }

    pub(super) fn gather(
        &self,
        doing: Doing,
        sent: &[u8],
        counts: &[u64],
    ) -> Result<Vec<u8>, Stop> {
        self.through(doing, |link| link.gather(sent, counts))
    }

    pub(super) fn exchange(
        &self,
        doing: Doing,
        sent: &[u8],
        sent_counts: &[u64],
        counts: &[u64],
    ) -> Result<Vec<u8>, Stop> {
        self.through(doing, |link| link.exchange(sent, sent_counts, counts))
    }

    fn gather_parts(
        &self,
        doing: Doing,
        sent: &[u8],
        counts: &[u64],
    ) -> Result<Vec<Vec<u8>>, Stop> {
        if counts.iter().all(|count| *count == 0) {
            return Ok(vec![Vec::new(); counts.len()]);
        }
        let all = self.gather(doing, sent, counts)?;
        let mut rest = all.as_slice();
        let parts = counts.iter().map(|&count| {
            let (part, behind) = rest.split_at((count as usize).min(rest.len()));
            rest = behind;
            part.to_vec()
        });
        Ok(parts.collect())
    }
}

/// A stop as a message.
#[derive(Serialize, Deserialize)]
struct Sent {
    status: i32,
    by: String,
    component: String,
    plugin: String,
    activity: String,
    text: String,
}

/// A stop as a message; empty for none.
pub(super) fn encode(flow: Result<(), &Stop>) -> Vec<u8> {
    let Err(Stop(reason)) = flow else { return Vec::new() };
    let StopReason { kind, by, component, plugin, activity, text } = &**reason;
    let own = |text: &String| text.clone();
    let sent = Sent {
        status: kind.status(),
        by: own(by),
        component: own(component),
        plugin: own(plugin),
        activity: own(activity),
        text: own(text),
    };
    serde_json::to_vec(&sent).unwrap_or_default()
}

/// The stop of a message; `None` for an empty one.
pub(super) fn decode(message: &[u8]) -> Option<Stop> {
    let Sent { status, by, component, plugin, activity, text } =
        serde_json::from_slice(message).ok()?;
    let kind = StopKind::from_status(status);
    Some(Stop(Box::new(StopReason { kind, by, component, plugin, activity, text })))
}

/// A stop that happened on another rank.
pub(super) fn of_rank(mut stop: Stop, rank: usize) -> Stop {
    if !stop.0.text.starts_with("on rank ") {
        stop.0.text = format!("on rank {rank}: {}", stop.0.text);
    }
    stop
}
