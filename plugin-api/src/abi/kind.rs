//! Kinds of components.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The table of the kinds: documentation, constant, number, variant of [`Kind`], name, plural.
///
/// Constants, [`Kind`], the C header, completions, `fluxbay new` and the help follow from it. A
/// released number never changes its meaning.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $constant:ident = $number:literal, $variant:ident, $name:literal, $plural:literal;)+) => {
        $( $(#[doc = $doc])+ pub const $constant: u32 = $number; )+

        /// Names of the kinds, by number.
        pub const NAMES: [&str; Kind::ALL.len()] = [ $($name),+ ];

        /// A kind of component.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind { $( $(#[doc = $doc])+ $variant, )+ }

        impl Kind {
            /// All kinds, by number: the order in which listings show them.
            pub const ALL: [Kind; [$($number),+].len()] = [ $(Kind::$variant),+ ];

            /// The number in the contract.
            pub const fn number(self) -> u32 {
                match self { $( Kind::$variant => $number, )+ }
            }

            /// The name as written in run files and manifests.
            pub const fn name(self) -> &'static str {
                match self { $( Kind::$variant => $name, )+ }
            }

            /// The heading of a list of components of this kind.
            pub const fn plural(self) -> &'static str {
                match self { $( Kind::$variant => $plural, )+ }
            }

            /// Name of its constant in this module.
            pub const fn constant(self) -> &'static str {
                match self { $( Kind::$variant => stringify!($constant), )+ }
            }

            /// What components of this kind are for, in one sentence.
            pub fn summary(self) -> &'static str {
                match self { $( Kind::$variant => concat!($($doc),+), )+ }.trim_start()
            }
        }
    };
}

kinds! {
    /// What a step and an epoch do: training, validation, or anything else.
    PHASE = 0, Phase, "phase", "phases";
    /// Code that handles events of the loop.
    CALLBACK = 1, Callback, "callback", "callbacks";
    /// Layers over parameters that the host keeps.
    MODEL = 2, Model, "model", "models";
    /// The number that training minimises, from predictions and targets.
    LOSS = 3, Loss, "loss", "losses";
    /// Samples by index.
    DATASET = 4, Dataset, "dataset", "data sets";
    /// A number gathered over the steps of an epoch.
    METRIC = 5, Metric, "metric", "metrics";
    /// A hyper-parameter's value over time.
    SCHEDULE = 6, Schedule, "schedule", "schedules";
    /// Writes what callbacks log: to a file, a service, a terminal.
    LOGGER = 7, Logger, "logger", "loggers";
    /// The rule that updates a parameter from its gradient.
    OPTIMIZER = 8, Optimizer, "optimizer", "optimizers";
    /// Changes one field of a sample before it becomes part of a batch, such as an augmentation.
    TRANSFORM = 9, Transform, "transform", "transforms";
    /// The order in which an epoch reads the training samples.
    SAMPLER = 10, Sampler, "sampler", "samplers";
    /// Moves bytes between the processes of a run that trains on several at once.
    COMMUNICATOR = 11, Communicator, "communicator", "communicators";
}

/// Number of kinds that [`Component`](super::entry::Component) has a table for. Components of later
/// kinds are listed in the extension `fluxbay.kinds/1`.
pub const KINDS_OF_THE_ENTRY: u32 = 9;

impl Kind {
    /// Whether the entry of a plugin has a table for this kind; the tables of other kinds are in the
    /// extension `fluxbay.kinds/1`.
    pub const fn is_of_the_entry(self) -> bool {
        self.number() < KINDS_OF_THE_ENTRY
    }

    /// The kind with this number in the contract.
    pub fn from_number(number: u32) -> Option<Kind> {
        Kind::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A text that names no kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind(pub String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no kind of component; kinds are {}", self.0, NAMES.join(", "))
    }
}

impl std::error::Error for UnknownKind {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_listed_by_number_and_known_by_name() {
        for (number, kind) in (0..).zip(Kind::ALL) {
            assert_eq!((kind.number(), Kind::from_number(number)), (number, Some(kind)));
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(NAMES[number as usize], kind.name());
        }
        assert_eq!(Kind::from_number(NAMES.len() as u32), None);
        assert_eq!(
            "calback".parse::<Kind>().unwrap_err().to_string(),
            "`calback` is no kind of component; kinds are phase, callback, model, loss, dataset, \
             metric, schedule, logger, optimizer, transform, sampler, communicator"
        );
    }
}
