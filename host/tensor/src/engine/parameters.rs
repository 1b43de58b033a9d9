//! Parameters of models.

use candle_core::Tensor;
use fluxbay_plugin::abi::handle::Handle;

use super::Engine;
use crate::error::{Result, TensorError};
use crate::parameters::{Init, Kind, Parameter, ParameterInfo};
use crate::slots::Entry;
use crate::tape::Source;

impl Engine {
    /// The number of the model of this name. Models are listed in the order of the first call with
    /// their name.
    pub fn model(&mut self, name: &str) -> usize {
        self.parameters.model(name)
    }

    /// The model's name.
    pub fn model_name(&self, model: usize) -> Option<&str> {
        self.parameters.models.get(model).map(String::as_str)
    }

    /// Creates a parameter. The engine keeps a reference as long as it lives; the caller gets another.
    /// To share a parameter, pass its handle on.
    ///
    /// # Errors
    /// If the path is empty or taken, or the memory does not suffice.
    pub fn parameter(
        &mut self,
        model: usize,
        path: &str,
        shape: &[usize],
        init: Init,
        kind: Kind,
    ) -> Result<Handle> {
        let Some(model_name) = self.parameters.models.get(model) else {
            return Err(TensorError::request(format!("there is no model number {model}")));
        };
        let refuse = |message: String| {
            TensorError::Parameter { model: model_name.clone(), path: path.to_owned(), message }
                .into()
        };
        if path.is_empty() {
            return Err(refuse("the path is empty".into()));
        }
        let place = match self.parameters.find(model, path) {
            Ok(index) => {
                let shape = self.shape(self.parameters.list[index].handle)?;
                return Err(refuse(format!("the path is taken by a parameter of shape {shape:?}")));
            }
            Err(place) => place,
        };
        self.context
            .admit(self.parameter_dtype, shape)
            .map_err(|error| refuse(error.to_string()))?;
        let values = init.values(
            shape,
            self.parameter_dtype,
            &self.context.random,
            &format!("init/{model_name}/{path}"),
        )?;
        let value = self.context.backend.upload(values)?;
        let index = self.parameters.list.len();
        let source =
            if kind == Kind::Trainable { Source::Parameter(index as u32) } else { Source::None };
        let handle = self.slots.insert(Entry::new(value, source));
        self.slots.retain(handle)?;
        self.parameters.list.push(Parameter {
            model,
            path: path.to_owned(),
            handle,
            kind,
            frozen: false,
            gradient: None,
        });
        self.parameters.order.insert(place, index);
        Ok(handle)
    }

    /// All parameters and buffers, by (model, path).
    pub fn parameters(&self) -> impl Iterator<Item = ParameterInfo<'_>> {
        self.parameters.order.iter().map(|&index| self.parameters.info(index))
    }

    /// One parameter.
    pub fn find_parameter(&self, model: usize, path: &str) -> Option<ParameterInfo<'_>> {
        self.parameters.find(model, path).ok().map(|index| self.parameters.info(index))
    }

    /// Overwrites a parameter; shape and element type must be the same. Its handle stays valid.
    pub fn set_parameter(&mut self, index: usize, new: &Tensor) -> Result<()> {
        let (model, path, handle) = match self.parameters.list.get(index) {
            Some(parameter) => (parameter.model, &parameter.path, parameter.handle),
            None => {
                return Err(TensorError::request(format!("there is no parameter number {index}")));
            }
        };
        let entry = self.slots.get_mut(handle)?;
        let old = &entry.value;
        if (old.shape(), old.dtype()) != (new.shape(), new.dtype()) {
            return Err(TensorError::Parameter {
                model: self.parameters.models[model].clone(),
                path: path.clone(),
                message: format!(
                    "it has shape {:?} of {:?}, the new value {:?} of {:?}",
                    old.dims(),
                    old.dtype(),
                    new.dims(),
                    new.dtype()
                ),
            }
            .into());
        }
        entry.value = self.context.backend.upload(new.force_contiguous()?)?;
        Ok(())
    }

    /// Sets whether a parameter or buffer is treated as a constant. A frozen one has no gradient, and
    /// operations that overwrite it leave it as it is. Batch normalisation with frozen running
    /// statistics normalises with them, as in evaluation.
    pub fn freeze(&mut self, index: usize, frozen: bool) -> Result<()> {
        let parameter = self.parameter_mut(index)?;
        parameter.frozen = frozen;
        let trains = parameter.kind == Kind::Trainable && !frozen;
        let handle = parameter.handle;
        let entry = self.slots.get_mut(handle)?;
        entry.source = if trains { Source::Parameter(index as u32) } else { Source::None };
        entry.frozen = frozen;
        Ok(())
    }

    /// Whether a parameter or buffer is frozen.
    pub fn is_frozen(&self, index: usize) -> bool {
        self.parameters.list.get(index).is_some_and(|parameter| parameter.frozen)
    }

    pub(super) fn parameter_mut(&mut self, index: usize) -> Result<&mut Parameter> {
        self.parameters
            .list
            .get_mut(index)
            .ok_or_else(|| TensorError::request(format!("there is no parameter number {index}")))
    }
}
