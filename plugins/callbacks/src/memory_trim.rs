//! Returns unused memory to the operating system every few steps, and records the resident memory
//! of the process afterwards.

use fluxbay_plugin::prelude::*;

config! {
    /// How often.
    pub struct Config {
        /// Number of steps of a phase between two trims.
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
