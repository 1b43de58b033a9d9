//! Gives memory that nobody uses back to the system every so many steps, and keeps how much the
//! process then occupies.

use fluxbay_plugin::prelude::*;

config! {
    /// How often.
    pub struct Config {
        /// Every how many steps of a phase.
        every: u64 = 100 => 1..,
    }
}

/// The callback `memory-trim`.
pub struct MemoryTrim {
    every: u64,
    memory: Write<Node>,
}

impl Component for MemoryTrim {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(MemoryTrim { every: config.every, memory: setup.write("cbstate.memory")? })
    }
}

impl Callback for MemoryTrim {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.total_steps().is_multiple_of(self.every) {
            return Ok(());
        }
        match learner.trim_memory()? {
            Some(resident) => self
                .memory
                .child::<Series>(&event.phase_name()?)?
                .push(event.total_steps() as f64, resident as f64),
            None => Ok(()),
        }
    }
}
