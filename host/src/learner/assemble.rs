//! Assembling a run from its instances, and changing its callbacks.

use std::rc::Rc;

use fluxbay_plugin::abi::entry::kind;

use super::control::{Flow, Stop, Worst};
use super::instance::Instance;
use super::ports::Data;
use super::roles::Roles;
use super::runtime::Runtime;
use crate::breadcrumb::{self, Activity, Line};

impl Runtime {
    /// Assembles the composed run: its instances by role, its callbacks in their order. Builds the
    /// models for the fields of the data, creates the state tensors of the optimizers, opens the
    /// loggers, and calls the init of phases and callbacks.
    ///
    /// # Errors
    /// What a plugin refused.
    pub fn assemble(
        &self,
        roles: Roles,
        callbacks: Vec<Rc<Instance>>,
        data: Option<Rc<dyn Data>>,
    ) -> Flow {
        self.build(&roles, data)?;
        let mut shares = self.shares();
        for model in &roles.models {
            model.prepare_optimizers(&mut self.engine.borrow_mut(), &mut shares)?;
            model.optimizers.iter().try_for_each(|optimizer| optimizer.scale(self))?;
        }
        for logger in &roles.loggers {
            let dir = if self.folders.run.is_empty() {
                String::new()
            } else {
                format!("{}/{}", self.folders.run, logger.id)
            };
            logger.call(self, Activity::Opening, |call| call.logger_open(&dir))?;
        }
        for (number, phase) in (0..).zip(&roles.phases) {
            breadcrumb::write(&Line::Phase { number, id: phase.instance.id.clone() });
        }
        if self.roles.set(roles).is_err() {
            return Err(Stop::host("a run is assembled once"));
        }
        self.set_callback_order(callbacks);
        for phase in &self.roles()?.phases {
            let instance = &phase.instance;
            instance.call(self, Activity::Init, |call| call.phase_init())?;
        }
        for callback in self.callbacks() {
            self.init_callback(&callback)?;
        }
        Ok(())
    }

    /// Builds the models for the fields of the data, and nothing else.
    ///
    /// # Errors
    /// What a model refused.
    pub fn build(&self, roles: &Roles, data: Option<Rc<dyn Data>>) -> Flow {
        self.data.set(data);
        self.data.describe(&mut self.state.borrow_mut())?;
        self.build_models(&roles.models, &self.data.fields())
    }

    /// The callbacks in their order.
    pub fn callbacks(&self) -> Vec<Rc<Instance>> {
        self.members.callbacks()
    }

    /// The callback with an id.
    pub fn callback(&self, id: &str) -> Option<Rc<Instance>> {
        self.members.callbacks().into_iter().find(|callback| callback.id == id)
    }

    /// Sets the callbacks, in the order of the composition, and computes the dispatch lists.
    pub fn set_callback_order(&self, callbacks: Vec<Rc<Instance>>) {
        let phases = self.roles.get().map_or(0, |roles| roles.phases.len());
        self.members.set_callbacks(phases, callbacks);
    }

    /// Calls the init of a callback and of its child callbacks. The contract allows to call it
    /// again.
    ///
    /// # Errors
    /// What the callback refused.
    pub fn init_callback(&self, callback: &Rc<Instance>) -> Flow {
        for child in callback.children.iter().filter(|child| child.kind() == kind::CALLBACK) {
            self.init_callback(child)?;
        }
        callback.call(self, Activity::Init, |call| call.callback_init())
    }

    /// Removes an instance and its children from the run. It is destroyed when its last owner drops
    /// it.
    pub fn remove(&self, instance: &Instance) {
        self.members.remove(instance);
    }

    /// Flushes and closes the loggers. They are not called afterwards.
    ///
    /// # Errors
    /// The first failure; all loggers are closed in any case.
    pub fn close_loggers(&self) -> Flow {
        let mut worst = Worst::default();
        for logger in self.roles.get().map(|roles| roles.loggers.as_slice()).unwrap_or_default() {
            worst.note(logger.call(self, Activity::Closing, |call| call.logger_close()));
        }
        worst.flow()
    }
}
