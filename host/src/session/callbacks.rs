//! Changes the callbacks of a session between fits. If a change does not compose, the session stays
//! unchanged.

use std::rc::Rc;

use serde_json::Value as Json;

use super::Session;
use super::composed::ranking;
use super::members::{member, offers, set_watched};
use crate::compose::{self, Input};
use crate::learner::{Instance, NewInstance, Stop};
use crate::library::Kind;
use crate::run_file::Diagnostics;

/// Why the callbacks were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The component is not available.
    #[error("{0}")]
    Component(String),
    /// The id is in use.
    #[error(
        "the id `{0}` is used by another callback: choose another id, or replace that callback"
    )]
    Taken(String),
    /// The plugin returned an error.
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

    /// Adds a callback with a new id: a component of the catalog with a configuration, which is a
    /// JSON object.
    ///
    /// # Errors
    /// [`ChangeError`]; the session is unchanged then.
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
        self.apply(callbacks, &new)?;
        Ok(new)
    }

    /// Replaces a callback and returns the old one; returns none and does nothing if there is no
    /// callback `id`.
    ///
    /// # Errors
    /// [`ChangeError`]; the session is unchanged then.
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
        self.apply(callbacks, &new)?;
        self.runtime().remove(&old);
        Ok(Some(old))
    }

    /// Removes a callback and returns it; none if there is no callback `id`.
    ///
    /// # Errors
    /// [`ChangeError::Composition`] if another callback needs it; the session is unchanged then.
    pub fn remove_callback(&self, id: &str) -> Result<Option<Rc<Instance>>, ChangeError> {
        let mut callbacks = self.callbacks();
        let Some(place) = callbacks.iter().position(|callback| callback.id == id) else {
            return Ok(None);
        };
        let old = callbacks.remove(place);
        let ordered = self.ordered(callbacks)?;
        self.runtime().set_callback_order(ordered);
        self.runtime().remove(&old);
        Ok(Some(old))
    }

    /// Replaces all callbacks with the given (id, component, configuration).
    ///
    /// # Errors
    /// [`ChangeError`]; the session is unchanged then.
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
                old.iter().for_each(|callback| self.runtime().remove(callback));
                Ok(())
            }
            Err(error) => {
                new.iter().for_each(|callback| self.runtime().remove(callback));
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

    /// Composes the run with these callbacks and initialises the new one.
    fn apply(&self, callbacks: Vec<Rc<Instance>>, new: &Rc<Instance>) -> Result<(), ChangeError> {
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
                self.runtime().remove(new);
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
        let input = Input {
            members,
            offers: offers(self.composed.plugins.catalog()),
            ranking: ranking(self.run()),
        };
        match compose::compose(&input) {
            Ok(composition) => {
                let watched = composition.figures.watched.iter().skip(others);
                for (callback, resolved) in callbacks.iter().zip(watched) {
                    set_watched(callback, resolved);
                }
                Ok(composition
                    .order
                    .iter()
                    .filter_map(|&index| callbacks.get(index.checked_sub(others)?).cloned())
                    .collect())
            }
            Err(problems) => Err(ChangeError::Composition(compose::diagnostics(
                &problems,
                &input.members,
                &self.run().sources,
            ))),
        }
    }
}
