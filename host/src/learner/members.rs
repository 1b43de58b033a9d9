//! The instances of a run, its callbacks in their order, and its events.

use std::cell::RefCell;
use std::rc::Rc;

use super::events::DispatchLists;
use super::instance::Instance;
use crate::compose::EventNames;

/// The instances of a run, its callbacks in their order, and its events.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// By number; `None` while an instance is created and after it was removed.
    instances: RefCell<Vec<Option<Rc<Instance>>>>,
    callbacks: RefCell<Vec<Rc<Instance>>>,
    lists: RefCell<Rc<DispatchLists>>,
    pub(super) events: RefCell<EventNames>,
}

impl Members {
    /// A number for a new instance.
    pub(super) fn reserve(&self) -> u32 {
        let mut instances = self.instances.borrow_mut();
        instances.push(None);
        instances.len() as u32 - 1
    }

    /// Adds an instance under the number that was reserved for it.
    pub(super) fn add(&self, instance: &Rc<Instance>) {
        self.instances.borrow_mut()[instance.number as usize] = Some(Rc::clone(instance));
    }

    /// Removes an instance and its children. It is destroyed when its last owner drops it.
    pub(super) fn remove(&self, instance: &Instance) {
        for child in &instance.children {
            self.remove(child);
        }
        if let Some(place) = self.instances.borrow_mut().get_mut(instance.number as usize) {
            *place = None;
        }
    }

    /// The instance with a number.
    pub(super) fn get(&self, number: u32) -> Option<Rc<Instance>> {
        self.instances.borrow().get(number as usize).cloned().flatten()
    }

    /// The kind of the instance with a number.
    pub(super) fn kind(&self, number: u32) -> Option<u32> {
        let instances = self.instances.borrow();
        instances.get(number as usize)?.as_ref().map(|instance| instance.kind())
    }

    /// The instance with an id.
    pub(super) fn named(&self, id: &str) -> Option<Rc<Instance>> {
        self.instances.borrow().iter().flatten().find(|instance| instance.id == id).cloned()
    }

    /// All instances, including children.
    pub(super) fn all(&self) -> Vec<Rc<Instance>> {
        self.instances.borrow().iter().flatten().cloned().collect()
    }

    /// The callbacks in their order.
    pub(super) fn callbacks(&self) -> Vec<Rc<Instance>> {
        self.callbacks.borrow().clone()
    }

    /// Sets the callbacks in their order, and computes the dispatch lists for `phases` phases.
    pub(super) fn set_callbacks(&self, phases: usize, callbacks: Vec<Rc<Instance>>) {
        let lists = DispatchLists::build(phases, &self.events.borrow(), |_, number| {
            callbacks.iter().filter(|callback| callback.handles(number)).cloned().collect()
        });
        *self.lists.borrow_mut() = Rc::new(lists);
        *self.callbacks.borrow_mut() = callbacks;
    }

    /// The dispatch lists.
    #[inline]
    pub(super) fn lists(&self) -> Rc<DispatchLists> {
        Rc::clone(&self.lists.borrow())
    }

    /// The name of an event.
    pub(super) fn event_name(&self, number: u32) -> Option<String> {
        self.events.try_borrow().ok()?.name(number).map(str::to_owned)
    }
}
