//! Gradients: backward passes, and the gradients of parameters.

use fluxbay_plugin::abi::handle::Handle;

use super::Engine;
use crate::dtype::is_floating;
use crate::error::{Result, TensorError};
use crate::memory::add_gradient;
use crate::slots::Entry;
use crate::tape::Source;
use crate::value::Value;

impl Engine {
    /// Computes gradients of a scalar and adds them to the gradients of all parameters, or of one
    /// model's. Consumes the nodes of the tape that it passes. The gradient of a parameter that the
    /// scalar does not depend on stays unchanged.
    ///
    /// # Errors
    /// If `loss` is not one number or does not depend on any parameter, or an operation on the way
    /// has no gradient.
    pub fn backward(&mut self, loss: Handle, model: Option<usize>) -> Result<()> {
        let seed = self.seed(loss)?;
        self.leave_layers();
        let Self { context, tape, parameters, slots, .. } = self;
        let list = &mut parameters.list;
        let of_model: Vec<bool> =
            list.iter().map(|p| model.is_none_or(|model| model == p.model)).collect();
        let is_target =
            |source| matches!(source, Source::Parameter(index) if of_model[index as usize]);
        tape.backward(context, seed, is_target, |context, (source, _), gradient| {
            let Source::Parameter(index) = source else { return Ok(()) };
            let parameter = &mut list[index as usize];
            match parameter.gradient {
                None => {
                    add_gradient(gradient.bytes());
                    parameter.gradient = Some(slots.insert(Entry::new(gradient, Source::None)));
                }
                Some(handle) => {
                    let entry = slots.get_mut(handle)?;
                    // Taken out of the slot, so that the buffer is unique and can be added to.
                    let earlier = std::mem::replace(&mut entry.value, gradient.clone());
                    entry.value = context.accumulate(earlier, gradient)?;
                }
            }
            Ok(())
        })
    }

    /// Gradients of a scalar with respect to tensors: watched ones, parameters, or values of the
    /// tape. Consumes the nodes of the tape that it passes. The gradient of a tensor that the scalar
    /// does not depend on is zero.
    ///
    /// # Errors
    /// As [`Engine::backward`]; if an input is a constant.
    pub fn gradient_of(&mut self, loss: Handle, inputs: &[Handle]) -> Result<Vec<Handle>> {
        let seed = self.seed(loss)?;
        let mut targets = Vec::with_capacity(inputs.len());
        for (index, &input) in inputs.iter().enumerate() {
            let source = self.whole(input)?.source;
            if source == Source::None {
                return Err(TensorError::Gradient {
                    operation: "gradient-of",
                    message: format!(
                        "input {index} is a constant: watch it before the computation"
                    ),
                }
                .into());
            }
            targets.push(source);
        }
        let mut results: Vec<Option<Value>> = vec![None; targets.len()];
        let is_target = |source| targets.contains(&source);
        self.tape.backward(
            &mut self.context,
            seed,
            is_target,
            |context, (source, _), gradient| {
                for (place, _) in
                    targets.iter().enumerate().filter(|(_, target)| **target == source)
                {
                    results[place] = Some(match results[place].take() {
                        None => gradient.clone(),
                        Some(earlier) => context.accumulate(earlier, gradient.clone())?,
                    });
                }
                Ok(())
            },
        )?;
        let mut handles = Vec::with_capacity(inputs.len());
        for (&input, result) in inputs.iter().zip(results) {
            let value = match result {
                Some(value) => value,
                None => {
                    let input = &self.slots.get(input)?.value;
                    self.context.backend.fill(input.dtype(), input.shape(), 0.0)?
                }
            };
            handles.push(self.slots.insert(Entry::new(value, Source::None)));
        }
        Ok(handles)
    }

    pub(super) fn seed(&self, loss: Handle) -> Result<(Source, Value)> {
        let entry = self.whole(loss)?;
        let refuse =
            |message: String| TensorError::Gradient { operation: "backward", message }.into();
        if entry.value.count() != 1 {
            return Err(refuse(format!(
                "the loss must be one number, its shape is {:?}: take its mean or sum",
                entry.value.dims()
            )));
        }
        if entry.source == Source::None {
            return Err(refuse(
                "the loss does not depend on any parameter: it was computed while recording was off, or from detached or integer values"
                    .into(),
            ));
        }
        let value = &entry.value;
        Ok((entry.source, self.context.backend.fill(value.dtype(), value.shape(), 1.0)?))
    }

    /// Records operations on a constant floating tensor from now on, so that
    /// [`Engine::gradient_of`] can compute its gradient.
    ///
    /// # Errors
    /// If the tensor is not floating.
    pub fn watch(&mut self, handle: Handle) -> Result<()> {
        self.whole(handle)?;
        let entry = self.slots.get_mut(handle)?;
        if !is_floating(entry.value.dtype()) {
            return Err(TensorError::Gradient {
                operation: "watch",
                message: format!("elements of {:?} have no gradient", entry.value.dtype()),
            }
            .into());
        }
        if entry.source == Source::None {
            entry.source = Source::Watched(self.watched);
            self.watched += 1;
        }
        Ok(())
    }

    /// A parameter's gradient, if it has one; the caller gets a reference. In-place operations on
    /// it change the gradient.
    pub fn gradient(&mut self, index: usize) -> Result<Option<Handle>> {
        let gradient = self.parameter_mut(index)?.gradient;
        if let Some(handle) = gradient {
            self.slots.retain(handle)?;
        }
        Ok(gradient)
    }

    /// As [`Engine::gradient`], without a reference for the caller: valid until the gradient is
    /// replaced or dropped.
    pub fn lent_gradient(&self, index: usize) -> Option<Handle> {
        self.parameters.list.get(index)?.gradient
    }

    /// Replaces a parameter's gradient by a tensor of the parameter's shape and type, or drops it.
    pub fn set_gradient(&mut self, index: usize, gradient: Option<Handle>) -> Result<()> {
        let handle = self.parameter_mut(index)?.handle;
        let fresh = match gradient {
            None => None,
            Some(gradient) => {
                let (new, old) = (&self.slots.get(gradient)?.value, &self.slots.get(handle)?.value);
                if (new.dims(), new.dtype()) != (old.dims(), old.dtype()) {
                    let parameter = &self.parameters.list[index];
                    return Err(TensorError::Parameter {
                        model: self.parameters.models[parameter.model].clone(),
                        path: parameter.path.clone(),
                        message: format!(
                            "it has shape {:?} of {:?}, the gradient {:?} of {:?}",
                            old.dims(),
                            old.dtype(),
                            new.dims(),
                            new.dtype()
                        ),
                    }
                    .into());
                }
                let value = self.context.backend.contiguous(new)?;
                Some(self.slots.insert(Entry::new(value, Source::None)))
            }
        };
        if let Some(old) = std::mem::replace(&mut self.parameter_mut(index)?.gradient, fresh) {
            self.slots.release(old)?;
        }
        Ok(())
    }

    /// Drops all gradients: of one model only if asked.
    pub fn clear_gradients(&mut self, model: Option<usize>) {
        for parameter in &mut self.parameters.list {
            if model.is_none_or(|model| model == parameter.model)
                && let Some(handle) = parameter.gradient.take()
            {
                // The engine's own reference exists.
                drop(self.slots.release(handle));
            }
        }
    }

    /// Drops all recorded operations. Called at the end of every step.
    pub fn clear_tape(&mut self) {
        self.tape.clear();
    }

    /// How many operations are recorded.
    pub fn tape_length(&self) -> usize {
        self.tape.len()
    }
}
