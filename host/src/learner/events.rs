//! Events by number, and the dispatch lists: the callbacks of each event of each phase, computed
//! once per composition.

use std::rc::Rc;

use super::instance::Instance;
use crate::breadcrumb::{self, Line};
use crate::calls::EventHandler;
use crate::compose::{EventNames, column};

/// The number of an event; a name that is not known yet becomes a custom event.
pub(super) fn number_of(names: &mut EventNames, name: &str) -> u32 {
    let (number, is_new) = names.add(name);
    if is_new {
        breadcrumb::write(&Line::Event { number, name: name.to_owned() });
    }
    number
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
        let columns = names.columns();
        let mut lists =
            DispatchLists { columns, phases, lists: Vec::with_capacity((phases + 1) * columns) };
        for row in 0..=phases {
            for number in names.numbers() {
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
    use fluxbay_plugin::abi::event;

    use super::*;

    #[test]
    fn numbers_between_standard_and_custom_are_no_events() {
        let lists = DispatchLists::build(1, &EventNames::default(), |_, _| Vec::new());
        assert!(lists.of(0, event::STEP_END).is_some());
        assert!(lists.of(u32::MAX, event::FIT_END).is_some());
        assert!(lists.of(0, event::STANDARD).is_none());
        assert!(lists.of(0, event::CUSTOM).is_none());
    }
}
