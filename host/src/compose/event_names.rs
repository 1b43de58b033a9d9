//! Numbers of the events of a run: standard events have the numbers of the contract, custom ones are
//! numbered in the order in which they are named. Used by the composition and by the learner.

use std::collections::HashMap;

use fluxbay_plugin::abi::event;

/// Names and numbers of the events. Without custom events it holds the standard ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventNames {
    /// The first has the number [`event::CUSTOM`].
    custom: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl EventNames {
    /// The number of an event, and whether this call has added it as a custom event.
    pub fn add(&mut self, name: &str) -> (u32, bool) {
        if let Some(number) = self.number(name) {
            return (number, false);
        }
        let number = event::CUSTOM + self.custom.len() as u32;
        self.custom.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        (number, true)
    }

    /// The number of an event, if there is one of that name.
    pub fn number(&self, name: &str) -> Option<u32> {
        let standard = event::EVENTS.iter().find(|known| known.name == name);
        standard.map(|known| known.number).or_else(|| self.numbers.get(name).copied())
    }

    /// The name of an event.
    pub fn name(&self, number: u32) -> Option<&str> {
        match number.checked_sub(event::CUSTOM) {
            Some(index) => self.custom.get(index as usize).map(String::as_str),
            None => event::NAMES.get(number as usize).copied(),
        }
    }

    /// All numbers in ascending order: those of `column` 0, 1, and so on.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        (0..event::STANDARD).chain((event::CUSTOM..).take(self.custom.len()))
    }

    /// Number of events, standard and custom: the columns of a table of them.
    pub fn columns(&self) -> usize {
        event::STANDARD as usize + self.custom.len()
    }
}

/// The column of an event in a table of `columns` events; none for numbers that are no event.
#[inline]
pub fn column(number: u32, columns: usize) -> Option<usize> {
    let column = match number.checked_sub(event::CUSTOM) {
        Some(custom) => event::STANDARD as usize + custom as usize,
        None if number < event::STANDARD => number as usize,
        None => return None,
    };
    (column < columns).then_some(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_events_get_numbers_of_their_own() {
        let mut names = EventNames::default();
        assert_eq!(names.add("step-end"), (event::STEP_END, false));
        assert_eq!(names.add("loss-low"), (64, true));
        assert_eq!(names.add("other"), (65, true));
        assert_eq!(names.add("loss-low"), (64, false));
        assert_eq!(names.name(65), Some("other"));
        assert_eq!((names.name(66), names.name(20)), (None, None));
        assert_eq!(names.name(event::CHECKPOINT), Some("checkpoint"));
    }

    #[test]
    fn every_event_has_a_column_and_other_numbers_have_none() {
        let mut names = EventNames::default();
        names.add("loss-low");
        let columns: Vec<usize> =
            names.numbers().filter_map(|number| column(number, names.columns())).collect();
        assert_eq!(columns, (0..names.columns()).collect::<Vec<_>>());
        assert_eq!(column(event::STANDARD, names.columns()), None);
        assert_eq!(column(event::CUSTOM + 1, names.columns()), None);
    }
}
