//! Changing the callbacks of a session between fits. A change that does not compose leaves
//! everything as it was.

use std::rc::Rc;

use serde_json::Value as Json;

use super::Session;
use super::members::{member, offers};
use crate::compose::{Input, compose};
use crate::learner::{Instance, NewInstance, Stop};
use crate::library::Kind;
use crate::run_file::Diagnostics;

/// Why a change of the callbacks was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The component cannot be had.
    #[error("{0}")]
    Component(String),
    /// There is one with that id.
    #[error("there is a callback `{0}` already: give the new one another id, or replace it")]
    Taken(String),
    /// The plugin refused.
    #[error(transparent)]
    Refused(#[from] Stop),
    /// The callbacks do not fit together.
    #[error("{}", .0.iter().map(|one| one.message.clone()).collect::<Vec<_>>().join("; "))]
    Composition(Diagnostics),
}

impl Session {
    /// The callbacks in their order.
    pub fn callbacks(&self) -> Vec<Rc<Instance>> {
        self.runtime().callbacks()
    }

    /// Adds a callback: a component of the catalog with a configuration, a JSON object, under an id
    /// of its own.
    ///
    /// # Errors
    /// [`ChangeError`]; the session is as before then.
    pub fn add_callback(
        &self,
        id: &str,
        component: &str,
        config: &Json,
    ) -> Result<Rc<Instance>, ChangeError> {
        if self.callback(id).is_some() {
            return Err(ChangeError::Taken(id.to_owned()));
        }
        let new = self.new_callback(id, component, config)?;
        let mut callbacks = self.callbacks();
        callbacks.push(Rc::clone(&new));
        self.take_over(callbacks, &new)?;
        Ok(new)
    }

    /// Puts a callback in the place of another and gives back the old one.
    ///
    /// # Errors
    /// [`ChangeError`]; the session is as before then. Where there is no callback `id`, nothing is
    /// done and none is given back.
    pub fn replace_callback(
        &self,
        id: &str,
        component: &str,
        config: &Json,
    ) -> Result<Option<Rc<Instance>>, ChangeError> {
        let mut callbacks = self.callbacks();
        let Some(place) = callbacks.iter().position(|callback| callback.id == id) else {
            return Ok(None);
        };
        let new = self.new_callback(id, component, config)?;
        let old = std::mem::replace(&mut callbacks[place], Rc::clone(&new));
        self.take_over(callbacks, &new)?;
        self.runtime().forget(&old);
        Ok(Some(old))
    }

    /// Removes a callback and gives it back; none where there is none of that id.
    ///
    /// # Errors
    /// [`ChangeError::Composition`] where another needs it; the session is as before then.
    pub fn remove_callback(&self, id: &str) -> Result<Option<Rc<Instance>>, ChangeError> {
        let mut callbacks = self.callbacks();
        let Some(place) = callbacks.iter().position(|callback| callback.id == id) else {
            return Ok(None);
        };
        let old = callbacks.remove(place);
        let ordered = self.ordered(callbacks)?;
        self.runtime().set_callback_order(ordered);
        self.runtime().forget(&old);
        Ok(Some(old))
    }

    /// Sets all callbacks, each as (id, component, configuration).
    ///
    /// # Errors
    /// [`ChangeError`]; the session is as before then.
    pub fn set_callbacks(&self, callbacks: &[(&str, &str, Json)]) -> Result<(), ChangeError> {
        let mut new = Vec::with_capacity(callbacks.len());
        let made = callbacks.iter().try_for_each(|(id, component, config)| {
            if new.iter().any(|known: &Rc<Instance>| known.id == *id) {
                return Err(ChangeError::Taken((*id).to_owned()));
            }
            new.push(self.new_callback(id, component, config)?);
            Ok(())
        });
        let outcome = made.and_then(|()| self.ordered(new.clone())).and_then(|ordered| {
            new.iter().try_for_each(|callback| self.runtime().init_callback(callback))?;
            Ok(ordered)
        });
        match outcome {
            Ok(ordered) => {
                let old = self.callbacks();
                self.runtime().set_callback_order(ordered);
                old.iter().for_each(|callback| self.runtime().forget(callback));
                Ok(())
            }
            Err(error) => {
                new.iter().for_each(|callback| self.runtime().forget(callback));
                Err(error)
            }
        }
    }

    fn new_callback(
        &self,
        id: &str,
        component: &str,
        config: &Json,
    ) -> Result<Rc<Instance>, ChangeError> {
        let components = &self.runtime().ports.components;
        let kind = crate::library::Kind::ALL
            .iter()
            .position(|kind| *kind == Kind::Callback)
            .unwrap_or_default() as u32;
        let prepared = components
            .prepare(kind, component, &config.to_string())
            .map_err(ChangeError::Component)?;
        Ok(self.runtime().create(NewInstance::named(id), prepared)?)
    }

    /// Composes anew and initialises the new callback.
    fn take_over(
        &self,
        callbacks: Vec<Rc<Instance>>,
        new: &Rc<Instance>,
    ) -> Result<(), ChangeError> {
        let outcome = self.ordered(callbacks).and_then(|ordered| {
            self.runtime().init_callback(new)?;
            Ok(ordered)
        });
        match outcome {
            Ok(ordered) => {
                self.runtime().set_callback_order(ordered);
                Ok(())
            }
            Err(error) => {
                self.runtime().forget(new);
                Err(error)
            }
        }
    }

    fn ordered(&self, callbacks: Vec<Rc<Instance>>) -> Result<Vec<Rc<Instance>>, ChangeError> {
        let mut members: Vec<_> = self
            .composed
            .members()
            .into_iter()
            .filter(|member| member.kind != Kind::Callback)
            .collect();
        let others = members.len();
        members.extend(callbacks.iter().map(|callback| {
            let spec = self
                .run()
                .instance(&callback.id)
                .filter(|spec| spec.component_id() == callback.component);
            member(&self.composed.runtime, callback, spec, "")
        }));
        let input = Input { members, offers: offers(self.composed.shelf.catalog()) };
        match compose(&input) {
            Ok(composition) => Ok(composition
                .order
                .iter()
                .filter_map(|&index| callbacks.get(index.checked_sub(others)?).cloned())
                .collect()),
            Err(problems) => {
                let mut diagnostics = Diagnostics::new();
                problems.iter().for_each(|problem| {
                    diagnostics.push(problem.diagnostic(&input.members, &self.run().sources))
                });
                Err(ChangeError::Composition(diagnostics))
            }
        }
    }
}
