//! Events by number, and the dispatch lists: the callbacks of each event of each phase, computed
//! once per composition.

use std::rc::Rc;

use fluxbay_plugin::abi::event;

use super::instance::Instance;
use crate::breadcrumb::{self, Line};
use crate::calls::EventHandler;

/// Names of custom events, numbered from [`event::CUSTOM`] in the order in which they were first
/// named.
#[derive(Debug, Default)]
pub struct EventNames {
    custom: Vec<String>,
}

impl EventNames {
    /// The number of an event; a name that is not a standard one becomes a custom event.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.known(name) {
            return number;
        }
        let number = event::CUSTOM + self.custom.len() as u32;
        self.custom.push(name.to_owned());
        breadcrumb::write(&Line::Event { number, name: name.to_owned() });
        number
    }

    /// The number of an event that was named before.
    pub fn known(&self, name: &str) -> Option<u32> {
        let standard =
            event::NAMES.iter().position(|known| *known == name).map(|index| index as u32);
        standard.or_else(|| {
            self.custom
                .iter()
                .position(|known| known == name)
                .map(|index| event::CUSTOM + index as u32)
        })
    }

    /// The name of an event.
    pub fn name(&self, number: u32) -> Option<&str> {
        match number.checked_sub(event::CUSTOM) {
            Some(custom) => self.custom.get(custom as usize).map(String::as_str),
            None => event::NAMES.get(number as usize).copied(),
        }
    }

    /// Number of custom events.
    pub fn custom_count(&self) -> usize {
        self.custom.len()
    }
}

/// Position of an event in a row of the lists; `None` for numbers that are no event.
#[inline]
fn column(number: u32, columns: usize) -> Option<usize> {
    let column = match number.checked_sub(event::CUSTOM) {
        Some(custom) => event::STANDARD as usize + custom as usize,
        None if number < event::STANDARD => number as usize,
        None => return None,
    };
    (column < columns).then_some(column)
}

/// One instance in a dispatch list.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// Its function for events.
    pub handler: EventHandler,
    /// The instance.
    pub instance: Rc<Instance>,
}

/// The instances to call for each event of each phase, in their order. The last row is for events
/// outside phases.
#[derive(Debug, Default)]
pub struct DispatchLists {
    columns: usize,
    phases: usize,
    /// Row after row.
    lists: Vec<Box<[Subscriber]>>,
}

impl DispatchLists {
    /// Lists for `phases` phases. `subscribers` gives the instances of a phase (`None`: outside
    /// phases) and an event.
    pub fn build(
        phases: usize,
        names: &EventNames,
        mut subscribers: impl FnMut(Option<usize>, u32) -> Vec<Rc<Instance>>,
    ) -> DispatchLists {
        let columns = event::STANDARD as usize + names.custom_count();
        let mut lists =
            DispatchLists { columns, phases, lists: Vec::with_capacity((phases + 1) * columns) };
        for row in 0..=phases {
            for column in 0..columns {
                let standard = event::STANDARD as usize;
                let number = if column < standard {
                    column as u32
                } else {
                    event::CUSTOM + (column - standard) as u32
                };
                let instances = subscribers((row < phases).then_some(row), number).into_iter();
                let ready = instances.filter_map(|instance| {
                    Some(Subscriber { handler: instance.plugin_side().event_handler()?, instance })
                });
                lists.lists.push(ready.collect());
            }
        }
        lists
    }

    /// The instances to call; `None` if the number is no event of this run.
    #[inline]
    pub fn of(&self, phase: u32, number: u32) -> Option<&[Subscriber]> {
        let row = (phase as usize).min(self.phases) * self.columns;
        self.lists.get(row + column(number, self.columns)?).map(|list| &**list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_events_get_numbers_of_their_own() {
        let mut names = EventNames::default();
        assert_eq!(names.number("step-end"), event::STEP_END);
        assert_eq!(names.number("loss-low"), 64);
        assert_eq!(names.number("other"), 65);
        assert_eq!(names.number("loss-low"), 64);
        assert_eq!(names.name(65), Some("other"));
        assert_eq!(names.name(66), None);
        assert_eq!(names.name(20), None);
        assert_eq!(names.name(event::CHECKPOINT), Some("checkpoint"));
    }

    #[test]
    fn numbers_between_standard_and_custom_are_no_events() {
        let lists = DispatchLists::build(1, &EventNames::default(), |_, _| Vec::new());
        assert!(lists.of(0, event::STEP_END).is_some());
        assert!(lists.of(u32::MAX, event::FIT_END).is_some());
        assert!(lists.of(0, event::STANDARD).is_none());
        assert!(lists.of(0, event::CUSTOM).is_none());
    }
}
