//! From numbers in shared memory to words: who was being called, for what, where in the run, and
//! what ended the process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::crumb::unpack;
use super::page::word;
use super::roster::Roster;
use crate::learner::instances::{Doing, place};
use crate::library::escape;
use fluxbay_plugin::abi::event;

/// How near the stack pointer an address lies that only a full stack can explain.
const STACK_REACH: u64 = 1 << 20;

/// One thread's breadcrumb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crumb {
    /// 0 for the training thread.
    thread: u64,
    instance: u32,
    doing: Doing,
    calls: u64,
}

/// The shared numbers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scene {
    training: Option<Crumb>,
    others: Vec<Crumb>,
    epoch: u64,
    step: u64,
    phase: u32,
    /// The worker's own exit code, once it is done.
    pub(super) ended: Option<u8>,
    pub(super) limit: Duration,
    signal: i32,
    address: u64,
    stack: u64,
    fault_thread: u64,
    exit_thread: u64,
    training_thread: u64,
}

impl Scene {
    /// Reads the numbers, each by its place.
    pub(super) fn of(read: impl Fn(usize) -> u64) -> Self {
        let crumb = |thread, now, calls| {
            unpack(now).map(|(instance, doing)| Crumb { thread, instance, doing, calls })
        };
        let lanes = (0..word::LANE_COUNT)
            .map(|number| word::LANES + word::LANE * number)
            .filter(|&lane| read(lane) != 0);
        Self {
            training: crumb(0, read(word::NOW), read(word::CALLS)),
            others: lanes
                .filter_map(|lane| crumb(read(lane), read(lane + 1), read(lane + 2)))
                .collect(),
            epoch: read(word::EPOCH),
            step: read(word::STEP),
            phase: read(word::PHASE) as u32,
            ended: read(word::ENDED).checked_sub(1).map(|code| u8::try_from(code).unwrap_or(1)),
            limit: Duration::from_millis(read(word::LIMIT)),
            signal: i32::try_from(read(word::SIGNAL)).unwrap_or(0),
            address: read(word::ADDRESS),
            stack: read(word::STACK),
            fault_thread: read(word::THREAD),
            exit_thread: read(word::EXIT_THREAD),
            training_thread: read(word::TRAINING_THREAD),
        }
    }

    /// A breadcrumb in words, as the beginning of a sentence: who, of which plugin, doing what,
    /// where.
    pub(super) fn told(&self, crumb: Crumb, roster: &Roster) -> String {
        let who = match roster.instances.get(&crumb.instance) {
            Some((id, component, plugin)) => {
                format!(
                    "`{}` ({} of {})",
                    escape::text(id),
                    escape::text(component),
                    escape::text(plugin)
                )
            }
            None => format!("instance {}", crumb.instance),
        };
        let standard =
            |number: u32| event::NAMES.get(number as usize).map(|name| (*name).to_owned());
        let what = crumb.doing.phrase(|number| {
            roster.events.get(&number).map(|name| escape::text(name)).or_else(|| standard(number))
        });
        let phase = roster.phases.get(&self.phase).map(|id| escape::text(id)).unwrap_or_default();
        format!("{who}, {what}{},", place(&phase, self.epoch, self.step))
    }

    /// The breadcrumb of the thread that ended the process; the training thread's where that is not
    /// known.
    fn culprit(&self, thread: u64) -> Culprit {
        if let Some(crumb) = self.others.iter().find(|crumb| thread != 0 && crumb.thread == thread)
        {
            return Culprit::Called(*crumb);
        }
        match self.training {
            Some(crumb) if thread == 0 || thread == self.training_thread => Culprit::Called(crumb),
            None if thread == self.training_thread => Culprit::Host,
            crumb if thread == 0 => {
                crumb.or(self.others.first().copied()).map_or(Culprit::Host, Culprit::Called)
            }
            crumb => Culprit::Thread(crumb),
        }
    }
}

enum Culprit {
    /// It was being called.
    Called(Crumb),
    /// No plugin was being called.
    Host,
    /// A thread that the host did not start or that was not in a call; what the training thread was
    /// doing meanwhile.
    Thread(Option<Crumb>),
}

/// What ended the worker before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A signal.
    Signal(i32),
    /// It left with this code.
    Exit(i32),
    /// A call did not return for this long and the supervisor ended it.
    TooLong(Duration),
}

/// What is said of a worker that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// What happened and who did it, one sentence.
    pub(super) text: String,
    /// What to do about it.
    pub(super) help: String,
    /// Id of the instance; empty where it is not known.
    pub(super) by: String,
    /// Its plugin; empty where it is not known.
    pub(super) plugin: String,
}

/// The words for an end that was none of the worker's own.
pub(super) fn report(cause: Cause, scene: &Scene, stuck: Option<Crumb>, roster: &Roster) -> Report {
    let thread = match cause {
        Cause::Signal(_) => scene.fault_thread,
        Cause::Exit(_) => scene.exit_thread,
        Cause::TooLong(_) => 0,
    };
    let culprit = stuck.map_or_else(|| scene.culprit(thread), Culprit::Called);
    let did = match cause {
        Cause::Signal(signal) => format!("ended the process by {}", signal_words(signal, scene)),
        Cause::Exit(code) => format!("ended the process with exit code {code}, as no plugin may"),
        Cause::TooLong(limit) => {
            format!(
                "did not return for {} s, the limit that `run.handler-limit` sets, and was ended",
                limit.as_secs_f64()
            )
        }
    };
    let instance =
        |crumb: &Crumb| roster.instances.get(&crumb.instance).cloned().unwrap_or_default();
    let tell_author = "leave it out, or tell the author of its plugin";
    match culprit {
        Culprit::Called(crumb) => {
            let (by, _, plugin) = instance(&crumb);
            let help = if plugin.is_empty() {
                tell_author.to_owned()
            } else {
                format!("leave it out, or tell the author of {}", escape::text(&plugin))
            };
            Report { text: format!("{} {did}", scene.told(crumb, roster)), help, by, plugin }
        }
        Culprit::Thread(meanwhile) => {
            let meanwhile = meanwhile.map(|crumb| {
                format!(
                    "; meanwhile {} was being called",
                    scene.told(crumb, roster).trim_end_matches(',')
                )
            });
            let text =
                format!("a thread that a plugin started {did}{}", meanwhile.unwrap_or_default());
            Report {
                text,
                help: "find out which plugin starts threads, and leave it out".into(),
                by: String::new(),
                plugin: String::new(),
            }
        }
        Culprit::Host => {
            let phase =
                roster.phases.get(&scene.phase).map(|id| escape::text(id)).unwrap_or_default();
            let did = if let Cause::Exit(code) = cause {
                format!("left with exit code {code} before it was done")
            } else {
                did
            };
            let text = format!(
                "the host itself, with no plugin being called{}, {did}",
                place(&phase, scene.epoch, scene.step)
            );
            let help = match cause {
                Cause::Signal(signal) if signal == Signal::KILL.as_raw() => {
                    "somebody or something killed it: often the system does, for want of memory"
                        .to_owned()
                }
                _ => "a plugin may have damaged its memory earlier; otherwise please report this"
                    .to_owned(),
            };
            Report { text, help, by: String::new(), plugin: String::new() }
        }
    }
}

fn signal_words(signal: i32, scene: &Scene) -> String {
    let is_noted = scene.signal == signal;
    // Rust's own handler turns a full stack into an abort.
    let overflowed = scene.stack != 0
        && [Signal::SEGV, Signal::BUS].iter().any(|known| known.as_raw() == scene.signal)
        && scene.address.abs_diff(scene.stack) < STACK_REACH;
    if overflowed {
        return "SIGSEGV: its stack overflowed, most likely by calls without end".to_owned();
    }
    let address = if is_noted { format!(" (at {:#x})", scene.address) } else { String::new() };
    match Signal::from_named_raw(signal) {
        Some(Signal::SEGV) => format!("SIGSEGV, an access to memory that is not there{address}"),
        Some(Signal::BUS) => format!("SIGBUS, an access to memory that cannot be had{address}"),
        Some(Signal::ILL) => "SIGILL, an instruction that this processor does not know".to_owned(),
        Some(Signal::FPE) => "SIGFPE, such as a division by zero".to_owned(),
        Some(Signal::ABORT) => {
            "SIGABRT: it gave up (`abort`, an exception that nobody caught, or a panic that could not unwind)".to_owned()
        }
        Some(Signal::KILL) => "SIGKILL, which comes from outside: somebody, or the system for want of memory".to_owned(),
        Some(Signal::TRAP) => "SIGTRAP".to_owned(),
        Some(Signal::SYS) => "SIGSYS, a system call that is not allowed".to_owned(),
        _ => format!("signal {signal}"),
    }
}

/// Since when each thread has been in the call that it is in.
#[derive(Debug, Default)]
pub(super) struct Stuck(BTreeMap<u64, (Crumb, Instant)>);

impl Stuck {
    /// Looks once more; tells the longest call and since when it goes on. A thread of the loader
    /// comes before the one that trains, which may be waiting for it.
    pub(super) fn look(&mut self, scene: &Scene, now: Instant) -> Option<(Duration, Crumb)> {
        let mut seen = BTreeMap::new();
        for crumb in scene.others.iter().chain(&scene.training) {
            let since = self
                .0
                .get(&crumb.thread)
                .filter(|(before, _)| before == crumb)
                .map_or(now, |(_, since)| *since);
            seen.insert(crumb.thread, (*crumb, since));
        }
        self.0 = seen;
        let longest = |others: bool| {
            let of = self.0.values().filter(move |(crumb, _)| (crumb.thread != 0) == others);
            of.min_by_key(|(_, since)| *since)
                .map(|(crumb, since)| (now.duration_since(*since), *crumb))
        };
        let (other, training) = (longest(true), longest(false));
        match (other, training) {
            // Within a second of each other: the one waits for the other.
            (Some(other), Some(training)) if other.0 + Duration::from_secs(1) >= training.0 => {
                Some(other)
            }
            (other, training) => training.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn scene(words: &[(usize, u64)]) -> Scene {
        let words: HashMap<usize, u64> = words.iter().copied().collect();
        Scene::of(|place| words.get(&place).copied().unwrap_or(0))
    }

    fn crumb(instance: u64, doing: Doing) -> u64 {
        instance << 32 | u64::from(doing.code())
    }

    fn roster() -> Roster {
        let name = |id: &str| (id.to_owned(), format!("callback/{id}"), "bad-plugin".to_owned());
        Roster {
            instances: [(3, name("crasher")), (4, name("data"))].into(),
            phases: [(0, "training".to_owned())].into(),
            events: [(64, "half\u{1b}way".to_owned())].into(),
            directory: None,
        }
    }

    #[test]
    fn a_signal_names_instance_component_plugin_event_epoch_and_step() {
        let now = crumb(3, Doing::Event(event::STEP_END));
        let words = [
            (word::NOW, now),
            (word::EPOCH, 2),
            (word::STEP, 17),
            (word::TRAINING_THREAD, 9),
            (word::THREAD, 9),
            (word::SIGNAL, 11),
        ];
        let report = report(Cause::Signal(11), &scene(&words), None, &roster());
        let text = "`crasher` (callback/crasher of bad-plugin), handling step-end in epoch 2, step 17 of phase training, ended the process by \
                    SIGSEGV, an access to memory that is not there (at 0x0)";
        assert_eq!(
            (report.text.as_str(), report.by.as_str(), report.plugin.as_str()),
            (text, "crasher", "bad-plugin")
        );
    }

    #[test]
    fn the_thread_that_fell_is_blamed_and_not_the_one_that_trains() {
        let lane = word::LANES + word::LANE;
        let mut words = vec![
            (word::NOW, crumb(3, Doing::Epoch)),
            (word::TRAINING_THREAD, 9),
            (word::THREAD, 12),
            (lane, 12),
            (lane + 1, crumb(4, Doing::Filling)),
        ];
        assert_eq!(report(Cause::Signal(6), &scene(&words), None, &roster()).by, "data");
        words[2].1 = 77;
        let of_nobody = report(Cause::Signal(6), &scene(&words), None, &roster());
        assert!(
            of_nobody.by.is_empty() && of_nobody.text.contains("a thread that a plugin started"),
            "{}",
            of_nobody.text
        );
        assert!(of_nobody.text.contains("meanwhile `crasher`"), "{}", of_nobody.text);
    }

    #[test]
    fn leaving_within_a_custom_event_is_told_with_its_escaped_name() {
        let words = [(word::NOW, crumb(3, Doing::Event(64))), (word::PHASE, u64::from(u32::MAX))];
        let report = report(Cause::Exit(0), &scene(&words), None, &roster());
        assert!(
            report.text.contains("handling half\\x1bway, ended the process with exit code 0"),
            "{}",
            report.text
        );
    }

    #[test]
    fn without_a_breadcrumb_the_host_is_named() {
        let report = report(Cause::Signal(9), &scene(&[]), None, &roster());
        assert!(
            report.text.starts_with("the host itself") && report.help.contains("want of memory"),
            "{report:?}"
        );
    }

    #[test]
    fn a_full_stack_is_told_from_other_faults() {
        let words = [
            (word::NOW, crumb(3, Doing::Forward)),
            (word::SIGNAL, 11),
            (word::ADDRESS, 0x7000_0000),
            (word::STACK, 0x7000_0100),
        ];
        let report = report(Cause::Signal(6), &scene(&words), None, &roster());
        assert!(report.text.contains("its stack overflowed"), "{}", report.text);
    }

    #[test]
    fn a_call_is_stuck_only_while_it_is_the_same_call() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let at = |calls| scene(&[(word::NOW, crumb(3, Doing::Updating)), (word::CALLS, calls)]);
        let mut stuck = Stuck::default();
        assert_eq!(stuck.look(&at(1), after(0)).map(|found| found.0.as_secs()), Some(0));
        assert_eq!(stuck.look(&at(1), after(7)).map(|found| found.0.as_secs()), Some(7));
        assert_eq!(stuck.look(&at(2), after(9)).map(|found| found.0.as_secs()), Some(0));
        assert_eq!(stuck.look(&scene(&[]), after(10)), None);
    }

    #[test]
    fn the_loaders_thread_is_named_where_the_training_thread_waits_for_it() {
        let lane = word::LANES;
        let words = scene(&[
            (word::NOW, crumb(3, Doing::Epoch)),
            (lane, 12),
            (lane + 1, crumb(4, Doing::Filling)),
        ]);
        let mut stuck = Stuck::default();
        let begin = Instant::now();
        stuck.look(&words, begin);
        let (since, found) = stuck.look(&words, begin + Duration::from_secs(5)).expect("two calls");
        assert_eq!((since.as_secs(), found.instance), (5, 4));
    }
}
