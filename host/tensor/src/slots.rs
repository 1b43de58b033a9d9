//! The table behind the handles: slot index and generation, reference counts.

use fluxbay_plugin::abi::handle::Handle;

use super::error::{DisplayHandle, Result, TensorError};
use super::tape::Source;
use super::value::Value;

/// The tensor behind a handle.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub value: Value,
    pub source: Source,
    /// Whether it is a frozen parameter or buffer: operations do not overwrite it.
    pub frozen: bool,
    /// Whether its buffer is returned, see `Engine::insert_lent`.
    pub lent: bool,
    /// The block that it is a parameter or buffer of, see `Engine::recompute`.
    pub block: Block,
    /// Value and source in the blocks of samples after the first, see `Engine::begin_joint_blocks`.
    pub further: Box<[(Value, Source)]>,
}

/// The block of a model that a tensor is a parameter or buffer of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Block {
    /// It is no parameter.
    #[default]
    None,
    /// A parameter outside of the blocks.
    Outside,
    /// The block with this number.
    Number(u32),
}

impl Entry {
    pub fn new(value: Value, source: Source) -> Entry {
        let further = Box::default();
        Entry { value, source, frozen: false, lent: false, block: Block::None, further }
    }

    /// Its value and source in a block of samples; those of a tensor that all blocks share are the same in
    /// each.
    pub fn of_block(&self, block: usize) -> (Value, Source) {
        let further = block.checked_sub(1).and_then(|place| self.further.get(place));
        further.cloned().unwrap_or_else(|| (self.value.clone(), self.source))
    }
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    references: u32,
    entry: Option<Entry>,
}

/// All tensors with a reference.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    pub fn insert(&mut self, entry: Entry) -> Handle {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, references: 0, entry: None });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.references = 1;
        slot.entry = Some(entry);
        Handle(u64::from(slot.generation) << 32 | u64::from(index))
    }

    #[inline]
    pub fn get(&self, handle: Handle) -> Result<&Entry> {
        match self.slots.get(handle.0 as u32 as usize) {
            Some(Slot { generation, entry: Some(entry), .. })
                if u64::from(*generation) == handle.0 >> 32 =>
            {
                Ok(entry)
            }
            slot => Err(bad(handle, slot.is_some())),
        }
    }

    #[inline]
    fn slot(&mut self, handle: Handle) -> Result<&mut Slot> {
        match self.slots.get_mut(handle.0 as u32 as usize) {
            Some(slot) if slot.entry.is_some() && u64::from(slot.generation) == handle.0 >> 32 => {
                Ok(slot)
            }
            slot => Err(bad(handle, slot.is_some())),
        }
    }

    #[inline]
    pub fn get_mut(&mut self, handle: Handle) -> Result<&mut Entry> {
        self.slot(handle)?.entry.as_mut().ok_or_else(|| bad(handle, true))
    }

    #[inline]
    pub fn retain(&mut self, handle: Handle) -> Result<()> {
        let slot = self.slot(handle)?;
        slot.references = slot.references.checked_add(1).ok_or_else(too_many)?;
        Ok(())
    }

    /// Releases a reference; the last one returns the entry.
    pub fn release(&mut self, handle: Handle) -> Result<Option<Entry>> {
        let index = handle.0 as u32;
        let slot = self.slot(handle)?;
        slot.references -= 1;
        if slot.references > 0 {
            return Ok(None);
        }
        slot.generation = slot.generation.wrapping_add(1);
        // A slot whose generations are used up is not reused, so that no old handle becomes valid.
        let again = slot.generation != 0 && slot.generation != u32::MAX;
        let entry = slot.entry.take();
        if again {
            self.free.push(index);
        }
        Ok(entry)
    }

    /// How many tensors are alive.
    pub fn living(&self) -> usize {
        self.slots.iter().filter(|slot| slot.entry.is_some()).count()
    }
}

#[cold]
#[inline(never)]
fn bad(handle: Handle, known: bool) -> Box<TensorError> {
    let why = match known {
        _ if handle == Handle::NONE => "empty",
        true => "stale",
        false => "unknown",
    };
    TensorError::BadHandle { handle: DisplayHandle(handle), why }.into()
}

#[cold]
#[inline(never)]
fn too_many() -> Box<TensorError> {
    TensorError::request("a tensor has more than four thousand million references")
}
