//! Applying a model outside of any phase: for predictions and for export.

use candle_core::Tensor;
use fluxbay_plugin::abi::handle::Handle;

use super::control::{Flow, Stop};
use super::mode::OUTSIDE_STEPS;
use super::runtime::Runtime;
use crate::breadcrumb::Activity;
use crate::calls::CallError;
use crate::tensor::Traced;

/// Most outputs of a model.
const MOST_OUTPUTS: usize = 16;

/// A forward pass as the operations that the model applied.
#[derive(Clone, Debug)]
pub struct ModelTrace {
    /// The operations, in their order.
    pub operations: Vec<Traced>,
    /// Handles of the inputs.
    pub inputs: Vec<Handle>,
    /// Handles and values of the outputs.
    pub outputs: Vec<(Handle, Tensor)>,
    /// Handles and paths of the parameters and buffers of the model.
    pub parameters: Vec<(Handle, String)>,
}

impl Runtime {
    /// Runs model number `model` on inputs in evaluation mode, without recording, and returns its
    /// outputs. No phase may be running.
    ///
    /// # Errors
    /// What the model refuses, or an output that it does not own.
    pub fn apply_model(&self, model: usize, inputs: &[Tensor]) -> Flow<Vec<Tensor>> {
        let (_, outputs) = self.forward_outside(model, inputs)?;
        Ok(outputs.into_iter().map(|(_, tensor)| tensor).collect())
    }

    /// As [`Runtime::apply_model`], with the operations that the model applies.
    ///
    /// # Errors
    /// As [`Runtime::apply_model`].
    pub fn trace_model(&self, model: usize, inputs: &[Tensor]) -> Flow<ModelTrace> {
        self.engine.borrow_mut().begin_trace();
        let run = self.forward_outside(model, inputs);
        let operations = self.engine.borrow_mut().end_trace();
        let (inputs, outputs) = run?;
        let engine = self.engine.borrow();
        let parameters = engine.parameters().filter(|parameter| parameter.model == model);
        let parameters =
            parameters.map(|parameter| (parameter.handle, parameter.path.to_owned())).collect();
        Ok(ModelTrace { operations, inputs, outputs, parameters })
    }

    /// Runs a model; returns the handles of its inputs, which are released, and its outputs.
    #[expect(clippy::type_complexity, reason = "inputs and outputs, used twice above")]
    fn forward_outside(
        &self,
        model: usize,
        inputs: &[Tensor],
    ) -> Flow<(Vec<Handle>, Vec<(Handle, Tensor)>)> {
        let roles = self.roles()?;
        let Some(slot) = roles.models.get(model) else {
            return Err(Stop::host(format!("there is no model number {model}")));
        };
        let mut handles = Vec::with_capacity(inputs.len());
        for input in inputs {
            let handle = self.engine.borrow_mut().insert(input.clone()).map_err(Stop::engine)?;
            handles.push(handle);
        }
        let before = self.engine.borrow().mode();
        self.engine.borrow_mut().set_mode(OUTSIDE_STEPS);
        let instance = &slot.instance;
        let mut outputs = [Handle::NONE; MOST_OUTPUTS];
        let flow = instance.call(self, Activity::Forward, |call| {
            let count = call.model_forward(&handles, &mut outputs)?;
            if count == 0 {
                return Err(CallError::new("it returned no output, a model has at least one"));
            }
            Ok(count)
        });
        let mut engine = self.engine.borrow_mut();
        engine.set_mode(before);
        for &handle in &handles {
            engine.release(handle).map_err(Stop::engine)?;
        }
        drop(engine);
        let mut tensors = Vec::new();
        for (index, &output) in outputs[..flow?].iter().enumerate() {
            let tensor = self.engine.borrow().value(output).map_err(Stop::engine)?;
            let tensor =
                tensor.force_contiguous().map_err(|error| Stop::host(error.to_string()))?;
            tensors.push((output, tensor));
            self.release(instance.number, output).map_err(|_| {
                Stop::host(format!(
                    "output {index} of `{}` is a tensor that the model does not own",
                    instance.id
                ))
            })?;
        }
        Ok((handles, tensors))
    }
}
