//! References to tensors that instances own, by owner: an instance can release and return only what
//! it owns itself, not what was lent to it.

use fluxbay_plugin::abi::handle::Handle;

/// The references of one tensor. Nearly always one instance owns all of them.
#[derive(Debug)]
struct Owned {
    handle: Handle,
    owner: u32,
    count: u32,
    /// Counts of further owners.
    others: Vec<(u32, u32)>,
}

/// See the module. The host's own references are not counted here.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// By the slot index of the handle. An entry of an earlier handle of the slot counts as empty.
    slots: Vec<Owned>,
}

impl References {
    #[inline]
    fn slot(&mut self, handle: Handle) -> &mut Owned {
        let index = handle.0 as u32 as usize;
        if index >= self.slots.len() {
            self.grow(index);
        }
        let slot = &mut self.slots[index];
        if slot.handle != handle {
            slot.handle = handle;
            slot.count = 0;
            slot.others.clear();
        }
        slot
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        let empty = || Owned { handle: Handle::NONE, owner: 0, count: 0, others: Vec::new() };
        self.slots.resize_with((index + 1).next_power_of_two(), empty);
    }

    /// Counts a reference that instance `owner` got. The handle must be a tensor of the engine.
    #[inline]
    pub(crate) fn add(&mut self, handle: Handle, owner: u32) {
        let slot = self.slot(handle);
        if slot.count == 0 {
            slot.owner = owner;
        }
        if slot.owner == owner {
            slot.count += 1;
        } else {
            slot.add_other(owner);
        }
    }

    /// Takes a reference from instance `owner`; false if it owns none.
    #[inline]
    pub(crate) fn remove(&mut self, handle: Handle, owner: u32) -> bool {
        let Some(slot) = self.slots.get_mut(handle.0 as u32 as usize) else { return false };
        if slot.handle != handle {
            return false;
        }
        if slot.owner == owner && slot.count > 0 {
            slot.count -= 1;
            return true;
        }
        slot.remove_other(owner)
    }

    /// Passes a reference from one instance to another; false if `from` owns none.
    pub(crate) fn transfer(&mut self, handle: Handle, from: u32, to: u32) -> bool {
        let owned = self.remove(handle, from);
        if owned {
            self.add(handle, to);
        }
        owned
    }
}

impl Owned {
    #[cold]
    fn add_other(&mut self, owner: u32) {
        match self.others.iter_mut().find(|(other, _)| *other == owner) {
            Some((_, count)) => *count += 1,
            None => self.others.push((owner, 1)),
        }
    }

    #[cold]
    fn remove_other(&mut self, owner: u32) -> bool {
        let Some(place) = self.others.iter().position(|(other, _)| *other == owner) else {
            return false;
        };
        self.others[place].1 -= 1;
        if self.others[place].1 == 0 {
            self.others.swap_remove(place);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_releases_its_own_references_only() {
        let mut references = References::default();
        let (tensor, other) = (Handle(5), Handle(1 << 32 | 5));
        references.add(tensor, 1);
        references.add(tensor, 1);
        references.add(tensor, 2);
        assert!(!references.remove(tensor, 3));
        assert!(references.remove(tensor, 2) && !references.remove(tensor, 2));
        assert!(references.remove(tensor, 1) && references.remove(tensor, 1));
        assert!(!references.remove(tensor, 1));
        references.add(tensor, 1);
        assert!(!references.remove(other, 1), "another generation");
        assert!(!references.remove(Handle::NONE, 1), "no tensor");
    }

    #[test]
    fn an_owner_that_takes_the_place_of_the_first_does_not_disturb_others() {
        let mut references = References::default();
        let tensor = Handle(0);
        references.add(tensor, 1);
        references.add(tensor, 2);
        assert!(references.remove(tensor, 1));
        references.add(tensor, 2);
        assert!(references.remove(tensor, 2) && references.remove(tensor, 2));
        assert!(!references.remove(tensor, 2));
    }

    #[test]
    fn a_transferred_reference_belongs_to_the_receiver() {
        let mut references = References::default();
        let tensor = Handle(7);
        references.add(tensor, 1);
        assert!(references.transfer(tensor, 1, 2));
        assert!(!references.transfer(tensor, 1, 2), "a second time");
        assert!(references.remove(tensor, 2));
    }
}
