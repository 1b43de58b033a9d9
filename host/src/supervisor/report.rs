//! Reports in words: the plugin that was being called, for what, where in the run, and what ended
//! the process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::breadcrumb::memory::word;
use crate::breadcrumb::{Activity, HostThread, LastCall, Names, location, unpack, unpack_last};
use crate::library::escape;
use fluxbay_plugin::abi::event;

/// A faulting address this close to the stack pointer means a stack overflow.
const STACK_REACH: u64 = 1 << 20;

/// One thread's breadcrumb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breadcrumb {
    /// 0 for the training thread.
    thread: u64,
    instance: u32,
    activity: Activity,
    calls: u64,
}

impl Breadcrumb {
    /// Whether it is a communicator's call, which waits for other ranks.
    pub(super) fn is_communicating(self) -> bool {
        self.activity == Activity::Communicating
    }
}

/// The shared memory at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scene {
    pub(super) training: Option<Breadcrumb>,
    /// Calls in progress on other threads.
    others: Vec<Breadcrumb>,
    /// What is known of threads that are in no call.
    idle: Vec<(u64, LastCall)>,
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
    /// Reads the words by their index.
    pub(super) fn of(read: impl Fn(usize) -> u64) -> Self {
        let breadcrumb = |thread, now, calls| {
            unpack(now).map(|(instance, activity)| Breadcrumb { thread, instance, activity, calls })
        };
        let lanes = || {
            (0..word::LANE_COUNT)
                .map(|number| word::LANES + word::LANE * number)
                .filter(|&lane| read(lane) != 0)
        };
        let call = |lane| {
            breadcrumb(read(lane), read(lane + word::LANE_NOW), read(lane + word::LANE_CALLS))
        };
        let last = |lane| Some((read(lane), unpack_last(read(lane + word::LANE_LAST))?));
        Self {
            training: breadcrumb(0, read(word::NOW), read(word::CALLS)),
            others: lanes().filter_map(call).collect(),
            idle: lanes().filter_map(last).collect(),
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

    /// A breadcrumb in words, as the beginning of a sentence: instance, component, plugin, activity,
    /// position.
    pub(super) fn describe(&self, breadcrumb: Breadcrumb, names: &Names) -> String {
        let instance = match names.instances.get(&breadcrumb.instance) {
            Some((id, component, plugin)) => {
                format!(
                    "`{}` ({} of {})",
                    escape::text(id),
                    escape::text(component),
                    escape::text(plugin)
                )
            }
            None => format!("instance {}", breadcrumb.instance),
        };
        let standard =
            |number: u32| event::NAMES.get(number as usize).map(|name| (*name).to_owned());
        let what = breadcrumb.activity.phrase(|number| {
            names.events.get(&number).map(|name| escape::text(name)).or_else(|| standard(number))
        });
        let phase = names.phases.get(&self.phase).map(|id| escape::text(id)).unwrap_or_default();
        format!("{instance}, {what}{},", location(&phase, self.epoch, self.step))
    }

    /// The breadcrumb of the thread that ended the process; the training thread's if that is
    /// unknown.
    fn culprit(&self, thread: u64) -> Culprit {
        if let Some(breadcrumb) =
            self.others.iter().find(|breadcrumb| thread != 0 && breadcrumb.thread == thread)
        {
            return Culprit::Instance(*breadcrumb);
        }
        let last = self.idle.iter().find(|(idle, _)| thread != 0 && *idle == thread);
        match last {
            Some((_, LastCall::Host(host))) => return Culprit::HostThread(*host),
            Some((_, LastCall::Instance(instance, activity))) if thread != self.training_thread => {
                return Culprit::LoaderThread(Breadcrumb {
                    thread,
                    instance: *instance,
                    activity: *activity,
                    calls: 0,
                });
            }
            _ => {}
        }
        match self.training {
            Some(breadcrumb) if thread == 0 || thread == self.training_thread => {
                Culprit::Instance(breadcrumb)
            }
            None if thread == self.training_thread => Culprit::Host,
            breadcrumb if thread == 0 => {
                breadcrumb.or(self.others.first().copied()).map_or(Culprit::Host, Culprit::Instance)
            }
            breadcrumb => Culprit::Thread(breadcrumb),
        }
    }
}

enum Culprit {
    /// The instance that was being called.
    Instance(Breadcrumb),
    /// No plugin was being called.
    Host,
    /// A thread that the host did not start or that was not in a call; with the breadcrumb of the
    /// training thread.
    Thread(Option<Breadcrumb>),
    /// A thread of the loader between two calls; with its last call.
    LoaderThread(Breadcrumb),
    /// A thread of the host that calls no plugin.
    HostThread(HostThread),
}

/// What ended the worker before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A signal.
    Signal(i32),
    /// It exited with this code.
    Exit(i32),
    /// A call did not return for this long, the limit that something sets, and the supervisor ended it.
    TooLong(Duration, &'static str),
    /// A call did not return while the other ranks waited, until they gave up.
    Hung,
    /// It was stopped while the other ranks waited, until they gave up.
    Stopped,
}

/// The report about a worker that did not end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// What happened and which instance caused it, one sentence.
    pub(super) text: String,
    /// What to do about it.
    pub(super) help: String,
    /// Id of the instance; empty if unknown.
    pub(super) by: String,
    /// Its plugin; empty if unknown.
    pub(super) plugin: String,
}

/// The report about a worker that did not end by itself.
pub(super) fn report(
    cause: Cause,
    scene: &Scene,
    stuck: Option<Breadcrumb>,
    names: &Names,
) -> Report {
    let thread = match cause {
        Cause::Signal(_) => scene.fault_thread,
        Cause::Exit(_) => scene.exit_thread,
        Cause::TooLong(..) | Cause::Hung | Cause::Stopped => 0,
    };
    let culprit = stuck.map_or_else(|| scene.culprit(thread), Culprit::Instance);
    let did = match cause {
        Cause::Signal(signal) => format!("ended the process by {}", signal_words(signal, scene)),
        Cause::Exit(code) => format!("ended the process with exit code {code}, as no plugin may"),
        Cause::TooLong(limit, by) => {
            format!(
                "did not return for {} s, the limit that {by} sets, and was ended",
                limit.as_secs_f64()
            )
        }
        Cause::Hung => {
            "did not return until the other ranks gave up waiting, and was ended".to_owned()
        }
        Cause::Stopped => {
            "was stopped, as by SIGSTOP, until the other ranks gave up waiting, and was ended"
                .to_owned()
        }
    };
    let instance = |breadcrumb: &Breadcrumb| {
        names.instances.get(&breadcrumb.instance).cloned().unwrap_or_default()
    };
    let of_instance = |breadcrumb: Breadcrumb, text: String| {
        let (by, _, plugin) = instance(&breadcrumb);
        let help = if plugin.is_empty() {
            "leave it out, or tell the author of its plugin".to_owned()
        } else {
            format!("leave it out, or tell the author of {}", escape::text(&plugin))
        };
        Report { text, help, by, plugin }
    };
    match culprit {
        Culprit::Instance(breadcrumb) => {
            of_instance(breadcrumb, format!("{} {did}", scene.describe(breadcrumb, names)))
        }
        Culprit::LoaderThread(breadcrumb) => {
            let last = scene.describe(breadcrumb, names);
            let text = format!("a thread of the loader, last used by {last} {did}");
            of_instance(breadcrumb, text)
        }
        Culprit::HostThread(thread) => Report {
            text: format!("the thread of the host that {} {did}", thread.task()),
            help: "often the process has too little memory; otherwise please report this".into(),
            by: String::new(),
            plugin: String::new(),
        },
        Culprit::Thread(meanwhile) => {
            let meanwhile = meanwhile.map(|breadcrumb| {
                format!(
                    "; meanwhile {} was being called",
                    scene.describe(breadcrumb, names).trim_end_matches(',')
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
                names.phases.get(&scene.phase).map(|id| escape::text(id)).unwrap_or_default();
            let did = if let Cause::Exit(code) = cause {
                format!("left with exit code {code} before it was done")
            } else {
                did
            };
            let text = format!(
                "the host itself, with no plugin being called{}, {did}",
                location(&phase, scene.epoch, scene.step)
            );
            let help = match cause {
                Cause::Signal(signal) if signal == Signal::KILL.as_raw() => {
                    "something outside killed it: often the system does, for want of memory"
                        .to_owned()
                }
                Cause::Stopped => "find out what stops the process, then resume the run".to_owned(),
                _ => "a plugin may have damaged its memory earlier; otherwise please report this"
                    .to_owned(),
            };
            Report { text, help, by: String::new(), plugin: String::new() }
        }
    }
}

fn signal_words(signal: i32, scene: &Scene) -> String {
    let is_noted = scene.signal == signal;
    // Rust's handler turns a stack overflow into an abort.
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
            "SIGABRT: it gave up (`abort`, an uncaught exception, or a panic that could not unwind)"
                .to_owned()
        }
        Some(Signal::KILL) => {
            "SIGKILL, which comes from outside: a user, or the system for want of memory".to_owned()
        }
        Some(Signal::TRAP) => "SIGTRAP".to_owned(),
        Some(Signal::SYS) => "SIGSYS, a system call that is not allowed".to_owned(),
        _ => signal_hook::low_level::signal_name(signal)
            .map_or_else(|| format!("signal {signal}"), str::to_owned),
    }
}

/// For each thread, its current call and since when it has been in it.
#[derive(Debug, Default)]
pub(super) struct Stuck(BTreeMap<u64, (Breadcrumb, Instant)>);

impl Stuck {
    /// Updates the calls, and returns the longest one with its duration. A loader thread has
    /// priority over the training thread, which may be waiting for it.
    pub(super) fn look(&mut self, scene: &Scene, now: Instant) -> Option<(Duration, Breadcrumb)> {
        let mut seen = BTreeMap::new();
        for breadcrumb in scene.others.iter().chain(&scene.training) {
            let since = self
                .0
                .get(&breadcrumb.thread)
                .filter(|(before, _)| before == breadcrumb)
                .map_or(now, |(_, since)| *since);
            seen.insert(breadcrumb.thread, (*breadcrumb, since));
        }
        self.0 = seen;
        let longest = |others: bool| {
            let of =
                self.0.values().filter(move |(breadcrumb, _)| (breadcrumb.thread != 0) == others);
            of.min_by_key(|(_, since)| *since)
                .map(|(breadcrumb, since)| (now.duration_since(*since), *breadcrumb))
        };
        let (other, training) = (longest(true), longest(false));
        match (other, training) {
            // Within a second of each other: the training thread waits for the loader thread.
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

    fn breadcrumb(instance: u64, activity: Activity) -> u64 {
        instance << 32 | u64::from(activity.code())
    }

    fn names() -> Names {
        let name = |id: &str| (id.to_owned(), format!("callback/{id}"), "bad-plugin".to_owned());
        Names {
            instances: [(3, name("crasher")), (4, name("data"))].into(),
            phases: [(0, "training".to_owned())].into(),
            events: [(64, "half\u{1b}way".to_owned())].into(),
            directory: None,
            rank: None,
        }
    }

    #[test]
    fn a_signal_names_instance_component_plugin_event_epoch_and_step() {
        let now = breadcrumb(3, Activity::Event(event::STEP_END));
        let words = [
            (word::NOW, now),
            (word::EPOCH, 2),
            (word::STEP, 17),
            (word::TRAINING_THREAD, 9),
            (word::THREAD, 9),
            (word::SIGNAL, 11),
        ];
        let report = report(Cause::Signal(11), &scene(&words), None, &names());
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
            (word::NOW, breadcrumb(3, Activity::Epoch)),
            (word::TRAINING_THREAD, 9),
            (word::THREAD, 12),
            (lane, 12),
            (lane + 1, breadcrumb(4, Activity::Filling)),
        ];
        assert_eq!(report(Cause::Signal(6), &scene(&words), None, &names()).by, "data");
        words[2].1 = 77;
        let of_none = report(Cause::Signal(6), &scene(&words), None, &names());
        assert!(
            of_none.by.is_empty() && of_none.text.contains("a thread that a plugin started"),
            "{}",
            of_none.text
        );
        assert!(of_none.text.contains("meanwhile `crasher`"), "{}", of_none.text);
    }

    #[test]
    fn threads_between_calls_are_attributed_to_the_data_set_or_to_the_host() {
        let lane = word::LANES + word::LANE;
        let mut words = vec![
            (word::NOW, breadcrumb(3, Activity::Epoch)),
            (word::TRAINING_THREAD, 9),
            (word::THREAD, 12),
            (lane, 12),
            (lane + word::LANE_LAST, breadcrumb(4, Activity::Filling)),
        ];
        let loader = report(Cause::Signal(6), &scene(&words), None, &names());
        assert_eq!(loader.by, "data");
        assert!(
            loader.text.starts_with("a thread of the loader, last used by `data`"),
            "{loader:?}"
        );
        words[4].1 = u64::from(u32::MAX) << 32 | HostThread::Checkpoints as u64;
        let host = report(Cause::Signal(6), &scene(&words), None, &names());
        assert!(host.by.is_empty() && host.text.contains("that writes checkpoints"), "{host:?}");
    }

    #[test]
    fn signals_have_names() {
        for (signal, name) in
            [(libc::SIGALRM, "SIGALRM"), (libc::SIGUSR1, "SIGUSR1"), (libc::SIGXCPU, "SIGXCPU")]
        {
            assert_eq!(signal_words(signal, &Scene::default()), name);
        }
    }

    #[test]
    fn an_exit_within_a_custom_event_is_reported_with_its_escaped_name() {
        let words =
            [(word::NOW, breadcrumb(3, Activity::Event(64))), (word::PHASE, u64::from(u32::MAX))];
        let report = report(Cause::Exit(0), &scene(&words), None, &names());
        assert!(
            report.text.contains("handling half\\x1bway, ended the process with exit code 0"),
            "{}",
            report.text
        );
    }

    #[test]
    fn without_a_breadcrumb_the_host_is_named() {
        let report = report(Cause::Signal(9), &scene(&[]), None, &names());
        assert!(
            report.text.starts_with("the host itself") && report.help.contains("want of memory"),
            "{report:?}"
        );
    }

    #[test]
    fn a_stack_overflow_is_distinguished_from_other_faults() {
        let words = [
            (word::NOW, breadcrumb(3, Activity::Forward)),
            (word::SIGNAL, 11),
            (word::ADDRESS, 0x7000_0000),
            (word::STACK, 0x7000_0100),
        ];
        let report = report(Cause::Signal(6), &scene(&words), None, &names());
        assert!(report.text.contains("its stack overflowed"), "{}", report.text);
    }

    #[test]
    fn a_call_is_stuck_only_while_it_is_the_same_call() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let at =
            |calls| scene(&[(word::NOW, breadcrumb(3, Activity::Updating)), (word::CALLS, calls)]);
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
            (word::NOW, breadcrumb(3, Activity::Epoch)),
            (lane, 12),
            (lane + 1, breadcrumb(4, Activity::Filling)),
        ]);
        let mut stuck = Stuck::default();
        let begin = Instant::now();
        stuck.look(&words, begin);
        let (since, found) = stuck.look(&words, begin + Duration::from_secs(5)).expect("two calls");
        assert_eq!((since.as_secs(), found.instance), (5, 4));
    }
}
