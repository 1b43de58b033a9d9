//! The state tree as plugins use it: by slot, with rights checked and tensors reference-counted.
//! Called by the bridge.

use std::cell::{RefCell, RefMut};

use fluxbay_plugin::abi::{entry::kind, handle::Handle, state::Point, state::value};

use super::measured::Measured;
use super::members::Members;
use super::refusal::{Answer, Refusal};
use super::roles::Roles;
use super::state::{NodeId, Rights, State, StateError, TensorSet, Value, release_dropped};
use crate::tensor::{Engine, Kind, ParameterInfo};

/// Which tensor of a set.
#[derive(Clone, Copy)]
enum Which<'a> {
    Index(usize),
    Name(&'a str),
}

/// A tensor of a set, found.
#[derive(Clone, Copy)]
struct Found {
    set: TensorSet,
    parameter: usize,
    handle: Handle,
}

/// The state tree for plugins, and what it needs of a run.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(super) engine: &'a RefCell<Engine>,
    pub(super) state: &'a RefCell<State>,
    pub(super) members: &'a Members,
    /// `None` until the run is composed.
    pub(super) roles: Option<&'a Roles>,
    pub(super) has_gradients: bool,
    pub(super) measured: &'a Measured,
}

impl Values<'_> {
    /// Type of the value behind a slot.
    pub(crate) fn value_kind(&self, caller: u32, slot: u32) -> Answer<u32> {
        let state = self.state.borrow();
        let node = state.reach(caller, slot, Rights::Read)?;
        Ok(match state.value(node) {
            Value::Tensors(TensorSet::Gradients(_)) if !self.has_gradients => value::ABSENT,
            Value::Member(set, name) => match self.find(*set, Which::Name(name)) {
                Some(found) if self.is_there(found) => value::TENSOR,
                _ => value::ABSENT,
            },
            Value::Absent if state.has_value(node) => value::NODE,
            value => value.code(),
        })
    }

    /// A number, a flag, or a tensor with one element.
    #[inline]
    pub(crate) fn get_number(&self, caller: u32, slot: u32) -> Answer<f64> {
        let state = self.state.borrow();
        let node = state.reach(caller, slot, Rights::Read)?;
        match state.value(node) {
            Value::Number(number) => Ok(*number),
            Value::Flag(flag) => Ok(f64::from(u8::from(*flag))),
            Value::Tensor(handle) => Ok(self.engine.borrow().scalar(*handle)?),
            _ => Err(state.wrong_type(caller, node, "a number").into()),
        }
    }

    /// Writes a number.
    #[inline]
    pub(crate) fn set_number(&self, caller: u32, slot: u32, number: f64) -> Answer {
        let mut state = self.state.borrow_mut();
        let node = state.reach(caller, slot, Rights::Write)?;
        if state.renumber(node, number) {
            return Ok(());
        }
        drop(state);
        self.set_value(caller, slot, Value::Number(number))
    }

    /// Writes a number, a flag, text or bytes.
    #[inline]
    pub(crate) fn set_value(&self, caller: u32, slot: u32, value: Value) -> Answer {
        let state = self.state.borrow_mut();
        let node = self.writable(&state, caller, slot)?;
        state.check_range(caller, node, &value)?;
        self.overwrite(state, node, value)
    }

    /// Replaces the value of a node, and releases the tensor that was there.
    #[inline]
    fn overwrite(&self, mut state: RefMut<'_, State>, node: NodeId, value: Value) -> Answer {
        let held = matches!(state.value(node), Value::Tensor(_));
        state.set(node, value);
        drop(state);
        if held {
            release_dropped(self.state, self.engine)?;
        }
        Ok(())
    }

    /// A node that the caller may replace.
    fn writable(&self, state: &State, caller: u32, slot: u32) -> Answer<NodeId> {
        let node = state.reach(caller, slot, Rights::Write)?;
        if state.value(node).is_hosted() {
            return Err(state.hosted(caller, node).into());
        }
        Ok(node)
    }

    /// Where the text or the bytes are; they stay there until the tree changes.
    pub(crate) fn get_bytes(&self, caller: u32, slot: u32) -> Answer<(*const u8, usize)> {
        let state = self.state.borrow();
        let node = state.reach(caller, slot, Rights::Read)?;
        match state.value(node) {
            Value::Text(text) => Ok((text.as_ptr(), text.len())),
            Value::Bytes(bytes) => Ok((bytes.as_ptr(), bytes.len())),
            _ => Err(state.wrong_type(caller, node, "a text or bytes").into()),
        }
    }

    /// Where the points are; they stay there until the tree changes.
    pub(crate) fn get_series(&self, caller: u32, slot: u32) -> Answer<(*const Point, usize)> {
        let state = self.state.borrow();
        let node = state.reach(caller, slot, Rights::Read)?;
        match state.value(node) {
            Value::Series(points) => Ok((points.as_ptr(), points.len())),
            Value::Absent if !state.has_value(node) => {
                Ok((std::ptr::NonNull::dangling().as_ptr(), 0))
            }
            _ => Err(state.wrong_type(caller, node, "a series").into()),
        }
    }

    /// Appends a point.
    pub(crate) fn push_point(&self, caller: u32, slot: u32, point: Point) -> Answer {
        let mut state = self.state.borrow_mut();
        let node = self.writable(&state, caller, slot)?;
        state.check_range(caller, node, &Value::Series(Vec::new()))?;
        Ok(state.push(caller, node, point)?)
    }

    /// Forgets a value and all below it.
    pub(crate) fn clear_value(&self, caller: u32, slot: u32) -> Answer {
        let mut state = self.state.borrow_mut();
        let node = self.writable(&state, caller, slot)?;
        state.check_range(caller, node, &Value::Absent)?;
        state.clear(node);
        drop(state);
        Ok(release_dropped(self.state, self.engine)?)
    }

    /// A slot for a child.
    pub(crate) fn child_slot(&self, caller: u32, slot: u32, name: &str) -> Answer<u32> {
        Ok(self.state.borrow_mut().child_slot(caller, slot, name)?)
    }

    /// A tensor, with one reference for the caller.
    pub(crate) fn get_tensor(&self, caller: u32, slot: u32) -> Answer<Handle> {
        let state = self.state.borrow();
        let node = state.reach(caller, slot, Rights::Read)?;
        match state.value(node) {
            Value::Tensor(handle) => {
                self.engine.borrow_mut().retain(*handle)?;
                Ok(*handle)
            }
            Value::Member(set, name) => self.take_member(*set, name, state.path(node)),
            _ => Err(state.wrong_type(caller, node, "a tensor").into()),
        }
    }

    /// The member of a set that lies at `path`, with one reference for the caller.
    #[inline(never)]
    fn take_member(&self, set: TensorSet, name: &str, path: &str) -> Answer<Handle> {
        let handle = self.take(self.member(set, name)?)?;
        if handle == Handle::NONE {
            return Err(Refusal::Text(format!(
                "`{path}` has no value: its parameter got no gradient"
            )));
        }
        Ok(handle)
    }

    #[inline(never)]
    fn member(&self, set: TensorSet, name: &str) -> Answer<Found> {
        self.find(set, Which::Name(name)).ok_or_else(|| self.no_member(set, name))
    }

    fn no_member(&self, set: TensorSet, name: &str) -> Refusal {
        let names = self.member_names(set);
        let near = names
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        let near = near.map(|near| format!("; the nearest is `{near}`")).unwrap_or_default();
        Refusal::Text(format!(
            "there is no tensor called `{name}` among the {} of the model{near}",
            names.len()
        ))
    }

    /// Writes a tensor; the tree keeps a reference of its own.
    pub(crate) fn set_tensor(&self, caller: u32, slot: u32, tensor: Handle) -> Answer {
        let state = self.state.borrow_mut();
        let node = state.reach(caller, slot, Rights::Write)?;
        match state.value(node) {
            Value::Member(set, name) => return self.replace(self.member(*set, name)?, tensor),
            value if value.is_hosted() => return Err(state.hosted(caller, node).into()),
            _ => {}
        }
        state.check_range(caller, node, &Value::Tensor(tensor))?;
        self.engine.borrow_mut().retain(tensor)?;
        self.overwrite(state, node, Value::Tensor(tensor))
    }

    /// Number of children with a value, or of tensors of a map.
    pub(crate) fn count(&self, caller: u32, slot: u32) -> Answer<usize> {
        let state = self.state.borrow();
        let node = state.reach(caller, slot, Rights::Read)?;
        Ok(match state.value(node) {
            Value::Tensors(set) => self.members(&self.engine.borrow(), *set).count(),
            _ => state.count(node),
        })
    }

    /// Name of a child or tensor.
    pub(crate) fn name_at(&self, caller: u32, slot: u32, index: usize) -> Answer<String> {
        let state = self.state.borrow();
        let node = state.reach(caller, slot, Rights::Read)?;
        let past = |count| state.past_the_end(caller, node, count, index);
        match state.value(node) {
            Value::Tensors(set) => {
                let names = self.member_names(*set);
                Ok(names.get(index).ok_or_else(|| past(names.len()))?.clone())
            }
            _ => {
                Ok(state.child_name(node, index).ok_or_else(|| past(state.count(node)))?.to_owned())
            }
        }
    }

    /// Tensor `index` of a map, with one reference for the caller; [`Handle::NONE`] for a gradient
    /// that is not there.
    pub(crate) fn tensor_at(&self, caller: u32, slot: u32, index: usize) -> Answer<Handle> {
        self.take(self.found_at(caller, slot, index, Rights::Read)?)
    }

    /// Replaces tensor `index` of a map; a gradient may also be taken away.
    pub(crate) fn set_tensor_at(
        &self,
        caller: u32,
        slot: u32,
        index: usize,
        tensor: Handle,
    ) -> Answer {
        self.replace(self.found_at(caller, slot, index, Rights::Write)?, tensor)
    }

    fn found_at(&self, caller: u32, slot: u32, index: usize, rights: Rights) -> Answer<Found> {
        let state = self.state.borrow();
        let node = state.reach(caller, slot, rights)?;
        let Value::Tensors(set) = state.value(node) else {
            return Err(state.wrong_type(caller, node, "a map of tensors").into());
        };
        let found = self.find(*set, Which::Index(index));
        Ok(found.ok_or_else(|| {
            state.past_the_end(caller, node, self.member_names(*set).len(), index)
        })?)
    }

    fn members<'e>(
        &self,
        engine: &'e Engine,
        set: TensorSet,
    ) -> impl Iterator<Item = ParameterInfo<'e>> {
        let all = matches!(set, TensorSet::Model(_));
        engine.parameters().filter(move |p| {
            set.model().is_none_or(|model| model == p.model) && (all || p.kind == Kind::Trainable)
        })
    }

    fn model_count(&self) -> usize {
        self.roles.map_or(1, |roles| roles.models.len())
    }

    fn member_names(&self, set: TensorSet) -> Vec<String> {
        let engine = self.engine.borrow();
        let plain = set.model().is_some() || self.model_count() == 1;
        let name = |p: ParameterInfo<'_>| {
            if plain {
                p.path.to_owned()
            } else {
                format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path)
            }
        };
        self.members(&engine, set).map(name).collect()
    }

    fn find(&self, set: TensorSet, which: Which<'_>) -> Option<Found> {
        let engine = self.engine.borrow();
        let parameter = match which {
            Which::Index(index) => self.members(&engine, set).nth(index),
            Which::Name(name) => {
                let (model, path) = match set.model() {
                    Some(model) => (model, name),
                    None if self.model_count() == 1 => (0, name),
                    None => {
                        let (model, path) = name.split_once('.')?;
                        (
                            (0..self.model_count())
                                .find(|&index| engine.model_name(index) == Some(model))?,
                            path,
                        )
                    }
                };
                engine.find_parameter(model, path)
            }
        }?;
        Some(Found { set, parameter: parameter.index, handle: parameter.handle })
    }

    fn is_there(&self, found: Found) -> bool {
        match found.set {
            TensorSet::Gradients(_) => self
                .engine
                .borrow()
                .parameters()
                .any(|p| p.index == found.parameter && p.has_gradient),
            _ => true,
        }
    }

    /// One reference to it for the caller.
    fn take(&self, found: Found) -> Answer<Handle> {
        let mut engine = self.engine.borrow_mut();
        match found.set {
            TensorSet::Gradients(_) => {
                Ok(engine.gradient(found.parameter)?.unwrap_or(Handle::NONE))
            }
            _ => {
                engine.retain(found.handle)?;
                Ok(found.handle)
            }
        }
    }

    fn replace(&self, found: Found, tensor: Handle) -> Answer {
        let mut engine = self.engine.borrow_mut();
        match found.set {
            TensorSet::Gradients(_) => {
                let gradient = (tensor != Handle::NONE).then_some(tensor);
                Ok(engine.set_gradient(found.parameter, gradient)?)
            }
            // Callbacks that write all parameters, such as averages, leave frozen ones as they are.
            _ if engine.is_frozen(found.parameter) => Ok(()),
            _ => {
                let value = engine.value(tensor)?;
                self.measured.note_write();
                Ok(engine.set_parameter(found.parameter, &value)?)
            }
        }
    }

    /// Checks that `caller` may change `tensor` in place: what belongs to the model or lies in the
    /// state tree needs a write grant there, whatever the way to its handle was.
    pub(crate) fn check_target(&self, caller: u32, tensor: Handle) -> Answer {
        let kind = self.members.kind(caller);
        if kind == Some(kind::OPTIMIZER) {
            // It changes what it was given for an update; it reaches nothing else.
            return Ok(());
        }
        self.check_grants(caller, kind, tensor)
    }

    #[inline(never)]
    fn check_grants(&self, caller: u32, kind: Option<u32>, tensor: Handle) -> Answer {
        let parameter = self
            .engine
            .borrow()
            .parameters()
            .find(|p| p.handle == tensor)
            .map(|p| (p.kind, p.path.to_owned()));
        let state = self.state.borrow();
        if let Some((parameter, path)) = parameter {
            let allowed = match kind {
                // Running statistics are changed by the model's own forward pass.
                Some(kind::MODEL) => parameter == Kind::Buffer,
                _ => {
                    state.may(caller, "model", Rights::Write)
                        || (parameter == Kind::Trainable
                            && state.may(caller, "params", Rights::Write))
                }
            };
            return if allowed {
                Ok(())
            } else {
                Err(named(state.refuse_write(caller, "params"), &path))
            };
        }
        let gradient = self.has_gradients && self.is_gradient(tensor);
        if gradient && !state.may(caller, "step.grads", Rights::Write) {
            return Err(state.refuse_write(caller, "step.grads").into());
        }
        let refused = state.holders(tensor).find(|path| !state.may(caller, path, Rights::Write));
        match refused {
            Some(path) => Err(state.refuse_write(caller, path).into()),
            None => Ok(()),
        }
    }

    fn is_gradient(&self, tensor: Handle) -> bool {
        let engine = self.engine.borrow();
        engine.parameters().any(|p| engine.lent_gradient(p.index) == Some(tensor))
    }
}

fn named(error: StateError, path: &str) -> Refusal {
    Refusal::Text(format!("{error} (the tensor is parameter `{path}`)"))
}
