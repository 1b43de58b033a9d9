//! `fluxbay check`: checks a plugin for its author.
//!
//! Each [`Check`] has a name and a line that says what it checks. Checks of the file alone are done
//! here (`file`). All others run in a child process (`child`), which announces each check over a
//! private channel before it begins: a crash or a hang is the result of that check, and the next one
//! runs in a new process (`parent`). Generated inputs are determined by a seed.

#![forbid(unsafe_code)]

mod budget;
mod child;
mod data;
mod endings;
mod file;
mod fuzz;
mod harness;
mod instance;
mod log_counter;
mod parent;
mod report;
mod resuming;
mod task;
mod training;
mod troublemaker;

pub use child::run as run_child;
pub use parent::{Options, Progress, check};
pub use report::{CheckOutcome, CheckReport, Verdict};

/// Name of the hidden command that is the child.
pub const COMMAND: &str = "__check";

/// What a check applies to.
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

            /// What it checks, in one line.
            pub fn about(self) -> &'static str {
                match self { $(Check::$variant => $about),+ }
            }

            /// What it applies to.
            pub fn scope(self) -> Scope {
                match self { $(Check::$variant => $scope),+ }
            }
        }
    };
}

use crate::library::Kind;

checks! {
    FileReadable = "file-readable", Scope::File, "the file is a complete shared library for this machine, with a manifest that can be read";
    FileKeptFromOthers = "file-kept-from-others", Scope::File, "only its owner can change the file";
    FileSmall = "file-small", Scope::File, "the file has less than 32 MiB";
    StackNotExecutable = "stack-not-executable", Scope::File, "the library does not ask for an executable stack";
    NoRunPath = "no-run-path", Scope::File, "the library has no run path";
    CommonLibrariesOnly = "common-libraries-only", Scope::File, "the library needs only libraries that every system has";
    SummaryGiven = "summary-given", Scope::File, "plugin and components have a summary";
    LicenceGiven = "licence-given", Scope::File, "the plugin names its licence";
    SettingsDescribed = "settings-described", Scope::File, "every setting has a description";
    DefaultsFit = "defaults-fit", Scope::File, "every default is allowed by its own schema";
    ExampleFits = "example-fits", Scope::File, "every example is TOML that the component's schema allows";
    SubscriptionsKnown = "subscriptions-known", Scope::File, "callbacks handle events, and only they do";
    Loads = "loads", Scope::Plugin, "the file loads: symbols, layout, and a description at run time equal to the manifest";
    LoadsQuickly = "loads-quickly", Scope::Plugin, "loading takes less than 200 ms";
    InitTwice = "init-twice", Scope::Plugin, "a second call of init succeeds";
    UnknownExtension = "unknown-extension", Scope::Plugin, "it returns no table for an unknown extension";
    LogLevels = "log-levels", Scope::Plugin, "any log level can be set";
    SurroundingsKept = "surroundings-kept", Scope::Plugin, "loading leaves the state of the process as it was: folder, signals, descriptors, umask, rounding, threads";
    Created = "created", Scope::Component, "an instance can be created with its defaults or its example, and destroyed";
    CreatedOften = "created-often", Scope::Component, "100 instances can be created and destroyed, one after the other and together";
    MemoryGivenBack = "memory-given-back", Scope::Component, "destroyed instances leak no memory";
    ThreadsEnded = "threads-ended", Scope::Component, "destroyed instances leave no threads behind";
    DescriptorsClosed = "descriptors-closed", Scope::Component, "destroyed instances leave no files open";
    AccessUsed = "access-used", Scope::Component, "every declared read and write is requested by an instance";
    AccessRefused = "access-refused", Scope::Component, "creating an instance fails if its access is refused";
    SettingsFuzzed = "settings-fuzzed", Scope::Component, "200 generated configurations that the schema allows give an instance or an error with a text";
    SettingsHostile = "settings-hostile", Scope::Component, "invalid configurations are refused without a panic";
    StateRoundTrip = "state-round-trip", Scope::Component, "saved state, loaded into a new instance, is saved as the same bytes";
    StateRandomRefused = "state-random-refused", Scope::Component, "300 random and damaged states are accepted or refused with a text, without a panic; a refused one changes nothing";
    StateEmptyRefused = "state-empty-refused", Scope::Component, "an empty state is refused by a component that has state";
    Trains = "trains", Scope::Component, "a small training with it finishes";
    SurroundingsKeptInUse = "surroundings-kept-in-use", Scope::Component, "instances and trainings leave the state of the process as it was";
    ThreadsOfTrainingEnded = "threads-of-training-ended", Scope::Component, "a training leaves no threads behind";
    TrainsTwiceTheSame = "trains-twice-the-same", Scope::Component, "the same training gives the same bits again";
    ResumesTheSame = "resumes-the-same", Scope::Component, "a training resumed from a checkpoint gives the same bits as an uninterrupted one";
    VerifyResume = "verify-resume", Scope::Component, "a training interrupted within epochs and resumed ends the same: parameters, optimizer, state, counters, every instance";
    StepCancelled = "step-cancelled", Scope::Component, "a step cancelled by another callback does not make it fail";
    EpochCancelled = "epoch-cancelled", Scope::Component, "an epoch cancelled by another callback does not make it fail";
    FitCancelled = "fit-cancelled", Scope::Component, "a fit cancelled by another callback ends without an error";
    Interrupted = "interrupted", Scope::Component, "a signal ends the fit without an error";
    ErrorElsewhere = "error-elsewhere", Scope::Component, "an error of another callback is reported unchanged";
    NotANumber = "not-a-number", Scope::Component, "inputs that are NaN give at most an error with a text";
    EmptyEpoch = "empty-epoch", Scope::Component, "an epoch without steps does not make it fail";
    SmallBatches = "small-batches", Scope::Component, "batches of one sample do not make it fail; a model may refuse them in training";
    TensorsGivenBack = "tensors-given-back", Scope::Component, "it has no more tensors after four epochs than after two";
    TimePerStep = "time-per-step", Scope::Kind(Kind::Callback), "it takes less than 1 ms of each step of a small training";
    LogsLittle = "logs-little", Scope::Component, "it logs less than one line per step";
    SamplesSameAgain = "samples-same-again", Scope::Kind(Kind::Dataset), "a sample read twice has the same bytes";
    SamplesInAnyOrder = "samples-in-any-order", Scope::Kind(Kind::Dataset), "a sample does not depend on the others in its batch";
    SamplesOnThreads = "samples-on-threads", Scope::Kind(Kind::Dataset), "several threads read the same samples as one thread";
    SamplesBeyondRefused = "samples-beyond-refused", Scope::Kind(Kind::Dataset), "an index beyond the last sample is refused with a text";
    ScheduleSameAgain = "schedule-same-again", Scope::Kind(Kind::Schedule), "the same time gives the same value, in any order";
    ScheduleFinite = "schedule-finite", Scope::Kind(Kind::Schedule), "values are finite from 1 to a million and do not change after its length";
    TransformSameAgain = "transform-same-again", Scope::Kind(Kind::Transform), "a sample transformed twice has the same bytes";
    OrderSameAgain = "order-same-again", Scope::Kind(Kind::Sampler), "an epoch asked for twice has the same order";
    MetricForgets = "metric-forgets", Scope::Kind(Kind::Metric), "a reset discards everything that was gathered";
    DetailsAreJson = "details-are-json", Scope::Kind(Kind::Metric), "its details are JSON or empty";
    ConflictsResolved = "conflicts-resolved", Scope::Kind(Kind::Callback), "resolve answers for every component and path";
    RecordsWritten = "records-written", Scope::Kind(Kind::Logger), "records of every kind are written without an error";
    ParametersFinite = "parameters-finite", Scope::Kind(Kind::Optimizer), "parameters stay finite in a small training";
    GradientsReachAll = "gradients-reach-all", Scope::Kind(Kind::Model), "every trainable parameter gets a gradient";
    LossLowered = "loss-lowered", Scope::Kind(Kind::Optimizer), "training with it lowers the loss";
    Quiet = "quiet", Scope::Plugin, "nothing is written to standard output";
}

/// An entry of the plan: one check of the plugin or of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    check: Check,
    /// Index of the component in the manifest.
    component: Option<usize>,
}

/// All checks that the child runs for a plugin with these kinds of components, in order. `Quiet` is
/// decided by the parent.
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
