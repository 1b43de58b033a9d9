//! Checks of the tensors that models and losses return: the error names the component that returned
//! them, not the phase that uses them.

use fluxbay_plugin::abi::handle::{Handle, dtype};

use super::instance::Instance;
use super::runtime::Runtime;
use crate::calls::{CallError, CallResult};

impl Runtime {
    /// Passes the outputs of a model to the instance that ran it, and checks that they are tensors
    /// that the model owned.
    pub(super) fn accept_outputs(
        &self,
        model: &Instance,
        caller: u32,
        outputs: &[Handle],
    ) -> CallResult {
        if outputs.is_empty() {
            return Err(CallError::new("it returned no output, a model has at least one"));
        }
        for (index, &output) in outputs.iter().enumerate() {
            if let Err(why) = self.pass_reference(output, model.number, caller) {
                self.release_all(caller, &outputs[..index]);
                return Err(CallError::new(format!("its output {index} cannot be used: {why}")));
            }
        }
        Ok(())
    }

    /// Passes the value of a loss to the instance that ran it, and checks that it is one
    /// floating-point number that the loss owned.
    pub(super) fn accept_loss(
        &self,
        loss: &Instance,
        caller: u32,
        value: Handle,
        inputs: [Handle; 2],
    ) -> CallResult {
        self.pass_reference(value, loss.number, caller)
            .map_err(|why| CallError::new(format!("its value cannot be used: {why}")))?;
        if self.is_one_floating_number(value) {
            return Ok(());
        }
        let error = CallError::new(format!(
            "its value is {}, but a loss is one floating-point number (predictions: {}, targets: {})",
            self.describe_tensor(value),
            self.describe_tensor(inputs[0]),
            self.describe_tensor(inputs[1])
        ));
        self.release_all(caller, &[value]);
        Err(error)
    }

    fn is_one_floating_number(&self, tensor: Handle) -> bool {
        let engine = self.engine.borrow();
        let is_floating =
            matches!(engine.dtype(tensor), Ok(dtype::BF16 | dtype::F16 | dtype::F32 | dtype::F64));
        is_floating && engine.shape(tensor).is_ok_and(|shape| shape.iter().product::<usize>() == 1)
    }

    /// Shape and element type of a tensor, for a message.
    #[cold]
    fn describe_tensor(&self, tensor: Handle) -> String {
        match self.engine.borrow().value(tensor) {
            Ok(value) => format!("shape {:?} of {}", value.dims(), value.dtype().as_str()),
            Err(error) => error.to_string(),
        }
    }

    /// Releases references of an instance that it will not get.
    #[cold]
    fn release_all(&self, owner: u32, tensors: &[Handle]) {
        for &tensor in tensors {
            if self.release(owner, tensor).is_err() {
                log::warn!("a returned tensor could not be released");
            }
        }
    }
}
