//! `fluxbay check`: tries a plugin the way hosts and bad luck will, for its author.
//!
//! Each [`Check`] has a name that people type and a line that says what it is about. What can be
//! seen in the file alone is looked at here (`file`); everything else runs in a child process
//! (`child`), one check after the other, each announced over a private channel before it begins, so
//! that a crash or an endless call is the result of the check that it happened in, and the next one
//! goes on in a new process (`parent`). Inputs that are made up follow from one seed.

#![forbid(unsafe_code)]

mod bench;
mod child;
mod data;
mod file;
mod fuzz;
mod inside;
mod instance;
mod parent;
mod report;
mod resuming;
mod training;

pub use child::run as run_child;
pub use parent::{Options, check};
pub use report::{Outcome, Report, Verdict};

/// Name of the hidden command that is the child.
pub const COMMAND: &str = "__check";

/// What a check is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The file, without running it.
    File,
    /// The loaded plugin.
    Plugin,
    /// Each component.
    Component,
    /// Each component of this kind.
    Kind(crate::library::Kind),
}

macro_rules! checks {
    ($($variant:ident = $name:literal, $scope:expr, $about:literal;)+) => {
        /// The checks, in their order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check { $(#[doc = $about] $variant,)+ }

        impl Check {
            /// All of them.
            pub const ALL: &[Check] = &[$(Check::$variant),+];

            /// Its name, in kebab-case.
            pub fn name(self) -> &'static str {
                match self { $(Check::$variant => $name),+ }
            }

            /// What it is about, in one line.
            pub fn about(self) -> &'static str {
                match self { $(Check::$variant => $about),+ }
            }

            /// What it is applied to.
            pub fn scope(self) -> Scope {
                match self { $(Check::$variant => $scope),+ }
            }
        }
    };
}

use crate::library::Kind;

checks! {
    FileReadable = "file-readable", Scope::File, "the file is a complete shared library for this machine, with a manifest that can be read";
    FileKeptFromOthers = "file-kept-from-others", Scope::File, "nobody but its owner can change the file";
    FileSmall = "file-small", Scope::File, "the file has less than 32 MiB";
    StackNotExecutable = "stack-not-executable", Scope::File, "the library does not ask for an executable stack";
    NoRunPath = "no-run-path", Scope::File, "the library does not bring folders to search for other libraries";
    CommonLibrariesOnly = "common-libraries-only", Scope::File, "the library needs no others than every system has";
    SummaryGiven = "summary-given", Scope::File, "plugin and components say in a line what they are for";
    LicenceGiven = "licence-given", Scope::File, "the plugin names its licence";
    SettingsDescribed = "settings-described", Scope::File, "every setting says what it means";
    DefaultsFit = "defaults-fit", Scope::File, "every default is allowed by its own schema";
    ExampleFits = "example-fits", Scope::File, "every example is TOML that the component's schema allows";
    SubscriptionsKnown = "subscriptions-known", Scope::File, "callbacks handle events, and only they do";
    Loads = "loads", Scope::Plugin, "the file loads: symbols, layout, and a running description equal to the manifest";
    LoadsQuickly = "loads-quickly", Scope::Plugin, "loading takes less than 200 ms";
    InitTwice = "init-twice", Scope::Plugin, "being handed the host's functions twice changes nothing";
    UnknownExtension = "unknown-extension", Scope::Plugin, "asked for an extension that nobody has, it answers with none";
    LogLevels = "log-levels", Scope::Plugin, "any log level can be set";
    SurroundingsKept = "surroundings-kept", Scope::Plugin, "loading leaves working folder, signal handlers and threads as they were";
    Created = "created", Scope::Component, "an instance can be created with its defaults or its example, and ended";
    CreatedOften = "created-often", Scope::Component, "100 instances can be created and ended, one after the other and together";
    MemoryGivenBack = "memory-given-back", Scope::Component, "instances that have ended leave no memory behind";
    ThreadsEnded = "threads-ended", Scope::Component, "instances that have ended leave no threads behind";
    DescriptorsClosed = "descriptors-closed", Scope::Component, "instances that have ended leave no files open";
    AccessUsed = "access-used", Scope::Component, "every declared read and write is asked for by an instance";
    AccessRefused = "access-refused", Scope::Component, "an instance that is refused access fails to be created, instead of going on without";
    SettingsFuzzed = "settings-fuzzed", Scope::Component, "200 made-up configurations that the schema allows end in an instance or in an error with words";
    SettingsHostile = "settings-hostile", Scope::Component, "texts that are no configuration are refused without a panic";
    StateRoundTrip = "state-round-trip", Scope::Component, "saved state, loaded into a new instance, is saved as the same bytes";
    StateRandomRefused = "state-random-refused", Scope::Component, "300 random and damaged states are refused with words, or taken, never with a panic, and a refused one changes nothing";
    StateEmptyRefused = "state-empty-refused", Scope::Component, "an empty text is refused where there is a state";
    Trains = "trains", Scope::Component, "a small training with it finishes";
    TrainsTwiceTheSame = "trains-twice-the-same", Scope::Component, "the same training gives the same bits again";
    ResumesTheSame = "resumes-the-same", Scope::Component, "a training resumed from a checkpoint gives the same bits as one without a stop";
    VerifyResume = "verify-resume", Scope::Component, "a training that is interrupted within epochs and resumed leaves the same behind: parameters, optimizer, state, counters, every instance";
    StepCancelled = "step-cancelled", Scope::Component, "a step that somebody else cancels does not disturb it";
    EpochCancelled = "epoch-cancelled", Scope::Component, "an epoch that somebody else cancels does not disturb it";
    FitCancelled = "fit-cancelled", Scope::Component, "a fit that somebody else ends early ends orderly";
    Interrupted = "interrupted", Scope::Component, "a signal ends the fit orderly";
    ErrorElsewhere = "error-elsewhere", Scope::Component, "an error of somebody else is passed on, and no other comes in its place";
    NotANumber = "not-a-number", Scope::Component, "inputs that are not numbers end in an error with words at worst";
    EmptyEpoch = "empty-epoch", Scope::Component, "an epoch without steps is survived";
    SmallBatches = "small-batches", Scope::Component, "batches of one sample are survived";
    TensorsGivenBack = "tensors-given-back", Scope::Component, "it holds no more tensors after four epochs than after two";
    TimePerStep = "time-per-step", Scope::Kind(Kind::Callback), "it takes less than 1 ms of each step of a small training";
    LogsLittle = "logs-little", Scope::Component, "it logs less than one line a step";
    SamplesSameAgain = "samples-same-again", Scope::Kind(Kind::Dataset), "the same sample is the same bytes when it is read again";
    SamplesInAnyOrder = "samples-in-any-order", Scope::Kind(Kind::Dataset), "a sample does not depend on those it is read with";
    SamplesOnThreads = "samples-on-threads", Scope::Kind(Kind::Dataset), "several threads at once read the same samples as one";
    SamplesBeyondRefused = "samples-beyond-refused", Scope::Kind(Kind::Dataset), "a sample that is not there is refused with words";
    ScheduleSameAgain = "schedule-same-again", Scope::Kind(Kind::Schedule), "the same time gives the same value again, in any order";
    ScheduleFinite = "schedule-finite", Scope::Kind(Kind::Schedule), "values are finite from 1 to a million and do not change after its length";
    MetricForgets = "metric-forgets", Scope::Kind(Kind::Metric), "after a reset nothing is left of what was gathered";
    GradientsReachAll = "gradients-reach-all", Scope::Kind(Kind::Model), "every trainable parameter gets a gradient";
    LossLowered = "loss-lowered", Scope::Kind(Kind::Optimizer), "training with it lowers the loss";
    Quiet = "quiet", Scope::Plugin, "nothing is written to standard output";
}

/// One check of one thing: an entry of a plugin's plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    check: Check,
    /// Place of the component in the manifest.
    component: Option<usize>,
}

/// All that is done in the child for a plugin with these kinds of components, in order. `Quiet` is
/// the parent's own.
fn plan(kinds: &[Kind]) -> Vec<Item> {
    let mut items = Vec::new();
    let of_scope = |wanted: fn(Scope) -> bool| {
        Check::ALL.iter().copied().filter(move |check| wanted(check.scope()))
    };
    for check in of_scope(|scope| scope == Scope::Plugin).filter(|check| *check != Check::Quiet) {
        items.push(Item { check, component: None });
    }
    for (place, &kind) in kinds.iter().enumerate() {
        for check in of_scope(|scope| matches!(scope, Scope::Component | Scope::Kind(_))) {
            if check.scope() == Scope::Component || check.scope() == Scope::Kind(kind) {
                items.push(Item { check, component: Some(place) });
            }
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_and_distinct_and_the_texts_are_lines() {
        let names: std::collections::BTreeSet<_> =
            Check::ALL.iter().map(|check| check.name()).collect();
        assert_eq!(names.len(), Check::ALL.len());
        assert!(names.len() >= 50);
        for check in Check::ALL {
            assert!(
                check.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{}",
                check.name()
            );
            assert!(!check.about().ends_with('.') && !check.about().contains('\n'));
        }
    }

    #[test]
    fn the_plan_goes_through_the_plugin_and_then_each_component() {
        let plan = plan(&[Kind::Loss, Kind::Dataset]);
        assert_eq!(plan[0], Item { check: Check::Loads, component: None });
        assert!(plan.contains(&Item { check: Check::SamplesSameAgain, component: Some(1) }));
        assert!(
            !plan
                .iter()
                .any(|item| item.check == Check::SamplesSameAgain && item.component == Some(0))
        );
        assert!(
            plan.iter().all(|item| item.check.scope() != Scope::File && item.check != Check::Quiet)
        );
    }
}
