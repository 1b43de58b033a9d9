//! The callbacks of a run, and its dispatch lists; utilities for embedders.

use std::rc::Rc;

use fluxbay_plugin::abi::entry::kind;

use super::control::{Flow, Worst};
use super::events::DispatchLists;
use super::instances::{Doing, Instance};
use super::ports::Data;
use super::runtime::{Parts, Runtime};
use super::state::Value;
use super::step::engine_error;
use crate::supervisor::{self, Line};

impl Runtime {
    /// Takes the composed run in: its parts, its callbacks in their order. Models are built for the
    /// data's fields, state tensors of optimizers are made, loggers opened, and phases and
    /// callbacks initialised.
    ///
    /// # Errors
    /// What a plugin refused.
    pub fn assemble(
        &self,
        parts: Parts,
        callbacks: Vec<Rc<Instance>>,
        data: Option<Rc<dyn Data>>,
    ) -> Flow {
        if let Some(data) = &data {
            self.describe_data(&**data)?;
        }
        let fields = data.as_ref().map(|data| data.fields().to_vec()).unwrap_or_default();
        *self.data.borrow_mut() = data;
        self.build_models(&parts.models, &fields)?;
        for model in &parts.models {
            if let Some(optimizer) = &model.optimizer {
                optimizer.prepare(self)?;
            }
        }
        for logger in &parts.loggers {
            let dir = if self.folders.run.is_empty() {
                String::new()
            } else {
                format!("{}/{}", self.folders.run, logger.id)
            };
            logger.call(self, Doing::Opening, |plugin| {
                plugin.logger_open(self, logger.number, &dir)
            })?;
        }
        for (number, phase) in (0..).zip(&parts.phases) {
            supervisor::write(&Line::Phase { number, id: phase.instance.id.clone() });
        }
        if self.parts.set(parts).is_err() {
            return Err(super::control::Stop::host("a run is assembled once"));
        }
        self.set_callback_order(callbacks);
        for phase in &self.parts()?.phases {
            let instance = &phase.instance;
            instance.call(self, Doing::Init, |plugin| plugin.phase_init(self, instance.number))?;
        }
        for callback in self.callbacks() {
            self.init_callback(&callback)?;
        }
        Ok(())
    }

    /// Puts the sizes of the data into the state tree: `data.training.samples` and so on.
    fn describe_data(&self, data: &dyn Data) -> Flow {
        let mut state = self.state.borrow_mut();
        for split in ["training", "validation"] {
            let Some(size) = data.split(split) else { continue };
            for (name, value) in [("samples", size.samples), ("steps", size.steps)] {
                let node = state.node(&format!("data.{split}.{name}")).map_err(engine_error)?;
                state.set(node, Value::Number(value as f64));
            }
        }
        for field in data.fields() {
            let node = state.node(&format!("data.{}.classes", field.name)).map_err(engine_error)?;
            state.set(node, Value::Number(field.classes as f64));
        }
        Ok(())
    }

    /// The callbacks in their order.
    pub fn callbacks(&self) -> Vec<Rc<Instance>> {
        self.callbacks.borrow().clone()
    }

    /// The callback with an id.
    pub fn callback(&self, id: &str) -> Option<Rc<Instance>> {
        self.callbacks.borrow().iter().find(|callback| callback.id == id).cloned()
    }

    /// Sets the callbacks, in an order that composition found, and builds the dispatch lists.
    pub fn set_callback_order(&self, callbacks: Vec<Rc<Instance>>) {
        let phases = self.parts.get().map_or(0, |parts| parts.phases.len());
        let lists = DispatchLists::build(phases, &self.events.borrow(), |_, number| {
            callbacks.iter().filter(|callback| callback.handles(number)).cloned().collect()
        });
        *self.lists.borrow_mut() = Rc::new(lists);
        *self.callbacks.borrow_mut() = callbacks;
    }

    /// Lets a callback, and the callbacks inside it, prepare. Calling it again changes nothing for
    /// the plugin's side that keeps to the contract.
    ///
    /// # Errors
    /// What the callback refused.
    pub fn init_callback(&self, callback: &Rc<Instance>) -> Flow {
        for child in callback.children.iter().filter(|child| child.kind() == kind::CALLBACK) {
            self.init_callback(child)?;
        }
        callback.call(self, Doing::Init, |plugin| plugin.callback_init(self, callback.number))
    }

    /// Forgets an instance that was removed, and its children; the plugin's side ends when nobody
    /// holds it any more.
    pub fn forget(&self, instance: &Instance) {
        for child in &instance.children {
            self.forget(child);
        }
        if let Some(place) = self.instances.borrow_mut().get_mut(instance.number as usize) {
            *place = None;
        }
    }

    /// Flushes and closes the loggers; the last call to them.
    ///
    /// # Errors
    /// The first failure; all are closed nevertheless.
    pub fn close_loggers(&self) -> Flow {
        let mut worst = Worst::default();
        for logger in self.parts.get().map(|parts| parts.loggers.as_slice()).unwrap_or_default() {
            worst.note(
                logger
                    .call(self, Doing::Closing, |plugin| plugin.logger_close(self, logger.number)),
            );
        }
        worst.flow()
    }
}
