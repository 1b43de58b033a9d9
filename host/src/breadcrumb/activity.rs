//! What an instance is called for, and where in the run, as numbers and as words.

macro_rules! activities {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $phrase:literal,)+) => {
        /// What an instance is called for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Activity {
            /// Handling an event, by its number.
            Event(u32),
            $($(#[$doc])* $variant,)+
        }

        /// All but events, with their numbers and phrases.
        const ACTIVITIES: &[(Activity, u32, &str)] = &[$((Activity::$variant, $number, $phrase),)+];

        impl Activity {
            /// Its number in the breadcrumb; never 0.
            #[inline]
            pub fn code(self) -> u32 {
                match self {
                    Activity::Event(number) => EVENTS.saturating_add(number),
                    $(Activity::$variant => $number,)+
                }
            }
        }
    };
}

activities! {
    /// `create`.
    Creating = 1, "while it was created",
    /// A phase's or callback's `init`.
    Init = 2, "in its init",
    /// A data set's `open`.
    OpeningData = 3, "while its data was opened",
    /// A data set's `prepare`.
    PreparingData = 4, "while it prepared an epoch",
    /// A data set's `fill`.
    Filling = 5, "filling a batch",
    /// A logger's `open`.
    Opening = 6, "while it was opened",
    /// A logger's `write`.
    Recording = 7, "writing a record",
    /// A logger's `flush` and `close`.
    Closing = 8, "while it was closed",
    /// A model's `build`.
    Building = 9, "while it was built",
    /// A model's `forward`.
    Forward = 10, "in its forward pass",
    /// A loss's `forward`.
    Loss = 11, "computing the loss",
    /// A phase's `step`.
    Step = 12, "in its step",
    /// A phase's `epoch`.
    Epoch = 13, "in its epoch",
    /// An optimizer's `begin`.
    BeginningUpdate = 14, "at the begin of an update",
    /// An optimizer's `update`.
    Updating = 15, "updating a parameter",
    /// A metric's `reset`.
    Resetting = 16, "in its reset",
    /// A metric's `update`.
    Measuring = 17, "taking in a step",
    /// A metric's `compute`.
    Computing = 18, "computing its value",
    /// A metric's `details`.
    Details = 19, "giving details",
    /// A schedule's `value`.
    Value = 20, "giving a value",
    /// A schedule's `length`.
    Length = 21, "giving its length",
    /// A callback's `resolve`.
    Resolving = 22, "answering a conflict",
    /// `save`.
    Saving = 23, "while its state was saved",
    /// `load`.
    Loading = 24, "while its state was loaded",
    /// `destroy`.
    Destroying = 25, "while it was destroyed",
    /// A plugin's constructors and `init`, before it has instances.
    LoadingPlugin = 26, "while it was loaded",
    /// A transform's `describe`.
    Describing = 27, "describing a field",
    /// A transform's `apply`.
    Transforming = 28, "transforming a sample",
    /// A sampler's `open` and `order`.
    Ordering = 29, "ordering the samples",
    /// A communicator's functions.
    Communicating = 30, "exchanging bytes with the other ranks",
}

/// Codes from here on are events.
const EVENTS: u32 = 0x100;

impl Activity {
    /// The activity with a code; `None` for the host itself.
    pub fn from_code(code: u32) -> Option<Activity> {
        match code.checked_sub(EVENTS) {
            Some(number) => Some(Activity::Event(number)),
            None => ACTIVITIES
                .iter()
                .find(|(_, number, _)| *number == code)
                .map(|(activity, ..)| *activity),
        }
    }

    /// Whether such a call happens a few times in a run, so that a thorough check around it costs
    /// nothing.
    #[inline]
    pub fn is_rare(self) -> bool {
        matches!(
            self,
            Activity::Init
                | Activity::OpeningData
                | Activity::Opening
                | Activity::Building
                | Activity::Loading
        )
    }

    /// The activity in words, with the names of the standard events.
    pub fn standard_phrase(self) -> String {
        self.phrase(|number| {
            fluxbay_plugin::abi::event::NAMES.get(number as usize).map(|&name| name.to_owned())
        })
    }

    /// The activity in words, for a message; `event_name` gives the name of an event.
    pub fn phrase(self, event_name: impl FnOnce(u32) -> Option<String>) -> String {
        match self {
            Activity::Event(number) => {
                let name = event_name(number).unwrap_or_else(|| format!("event {number}"));
                format!("handling {name}")
            }
            activity => ACTIVITIES
                .iter()
                .find(|(known, ..)| *known == activity)
                .map(|(.., phrase)| (*phrase).to_owned())
                .unwrap_or_default(),
        }
    }
}

/// The position in words, such as ` in epoch 2, step 17 of phase training`; begins with a space
/// unless empty.
pub fn location(phase: &str, epoch: u64, step: u64) -> String {
    match (phase, epoch, step) {
        ("", 0, _) => String::new(),
        ("", epoch, _) => format!(" after epoch {epoch}"),
        (phase, epoch, 0) => format!(" in epoch {epoch} of phase {phase}"),
        (phase, epoch, step) => format!(" in epoch {epoch}, step {step} of phase {phase}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_lead_back_to_the_activity() {
        for (activity, code, _) in ACTIVITIES {
            assert_eq!(Activity::from_code(*code), Some(*activity));
        }
        assert_eq!(Activity::from_code(Activity::Event(70).code()), Some(Activity::Event(70)));
        assert_eq!(Activity::from_code(0), None);
    }
}
