//! What a new instance declares.

use super::{ask, ask_text, check, setup, tell};
use crate::{
    Error, Result,
    abi::{setup::Slot, text::Text},
};

pub(crate) fn setup_read(path: &str) -> Result<Slot> {
    ask!(setup.read(Text::new(path)), 0)
}

pub(crate) fn setup_write(path: &str) -> Result<Slot> {
    ask!(setup.write(Text::new(path)), 0)
}

pub(crate) fn setup_run_after(name: &str) -> Result<()> {
    tell!(setup.run_after(Text::new(name)))
}

pub(crate) fn setup_run_before(name: &str) -> Result<()> {
    tell!(setup.run_before(Text::new(name)))
}

pub(crate) fn setup_subscribe(event: &str) -> Result<()> {
    tell!(setup.subscribe(Text::new(event)))
}

pub(crate) fn setup_event(name: &str) -> Result<u32> {
    ask!(setup.event(Text::new(name)), 0)
}

pub(crate) fn setup_hyper_parameter(name: &str, initial: f64) -> Result<Slot> {
    ask!(setup.hyper_parameter(Text::new(name), initial), 0)
}

pub(crate) fn setup_child(kind: u32, component: &str, config: &str) -> Result<u32> {
    ask!(setup.child(kind, Text::new(component), Text::new(config)), 0)
}

pub(crate) fn setup_optimizer_state(name: &str) -> Result<()> {
    tell!(setup.optimizer_state(Text::new(name)))
}

pub(crate) fn setup_instance_id() -> Result<String> {
    ask_text!(setup.instance_id())
}

pub(crate) fn setup_base_dir() -> Result<String> {
    ask_text!(setup.base_dir())
}

pub(crate) fn setup_run_dir() -> Result<String> {
    ask_text!(setup.run_dir())
}
