//! The data of a run, and the state paths of its fields.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use fluxbay_plugin::abi::handle::Handle;

use super::control::{Flow, Stop};
use super::ports::{Data, DataField, SplitSize};
use super::state::{NodeId, State, Value};
use crate::tensor::Engine;

/// The data of a run, and the nodes of its fields.
#[derive(Default)]
pub(crate) struct RunData {
    source: RefCell<Option<Rc<dyn Data>>>,
    /// Nodes of a batch's fields; filled when they are first needed.
    nodes: RefCell<Vec<NodeId>>,
}

impl RunData {
    /// Sets the data.
    pub(super) fn set(&self, source: Option<Rc<dyn Data>>) {
        *self.source.borrow_mut() = source;
    }

    /// The data; `None` for a run without.
    pub(super) fn source(&self) -> Option<Rc<dyn Data>> {
        self.source.borrow().clone()
    }

    /// The size of a split.
    pub(super) fn split(&self, name: &str) -> Option<SplitSize> {
        self.source.borrow().as_ref()?.split(name)
    }

    /// The fields of every sample.
    pub(super) fn fields(&self) -> Vec<DataField> {
        self.source.borrow().as_ref().map(|data| data.fields().to_vec()).unwrap_or_default()
    }

    /// Where the fields of these names are in a batch, if there are all.
    pub(super) fn places<const N: usize>(&self, names: [&str; N]) -> Option<[usize; N]> {
        let source = self.source.borrow();
        let fields = source.as_ref()?.fields();
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(names) {
            *place = fields.iter().position(|field| field.name == name)?;
        }
        Some(places)
    }

    /// Writes the sizes of the data to the state tree: `data.training.samples` and so on.
    pub(super) fn describe(&self, state: &mut State) -> Flow {
        let source = self.source.borrow();
        let Some(data) = &*source else { return Ok(()) };
        for split in ["training", "validation"] {
            let Some(size) = data.split(split) else { continue };
            for (name, value) in [("samples", size.samples), ("steps", size.steps)] {
                let node = state.node(&format!("data.{split}.{name}")).map_err(Stop::engine)?;
                state.set(node, Value::Number(value as f64));
            }
        }
        for field in data.fields() {
            let path = format!("data.{}.classes", field.name);
            let node = state.node(&path).map_err(Stop::engine)?;
            state.set(node, Value::Number(field.classes as f64));
        }
        Ok(())
    }

    /// Writes a batch's tensors to the state tree: `step.xs`, `step.ys`.
    pub(super) fn put_batch(
        &self,
        state: &RefCell<State>,
        engine: &RefCell<Engine>,
        fields: &[Handle],
    ) -> Flow {
        for (index, &handle) in fields.iter().enumerate() {
            engine.borrow_mut().retain(handle).map_err(Stop::engine)?;
            let mut state = state.borrow_mut();
            let node = self.node(&mut state, index)?;
            state.set(node, Value::Tensor(handle));
        }
        Ok(())
    }

    fn node(&self, state: &mut State, index: usize) -> Flow<NodeId> {
        let mut known = self.nodes.borrow_mut();
        while known.len() <= index {
            let path = self.path(known.len());
            known.push(state.node(&path).map_err(Stop::engine)?);
        }
        Ok(known[index])
    }

    fn path(&self, index: usize) -> Cow<'static, str> {
        let source = self.source.borrow();
        let field = source.as_ref().and_then(|data| data.fields().get(index));
        match (field.map(|field| field.name.as_str()), index) {
            (Some("xs"), _) | (None, 0) => "step.xs".into(),
            (Some("ys"), _) | (None, 1) => "step.ys".into(),
            (Some(name), _) => format!("step.{name}").into(),
            (None, index) => format!("step.field{index}").into(),
        }
    }
}
