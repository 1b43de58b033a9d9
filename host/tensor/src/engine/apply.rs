//! Operations on tensors behind handles, and what the tape records of them.

use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::{self, OPERATIONS, OperationInfo};
use smallvec::SmallVec;

use super::Engine;
use crate::context::Recording;
use crate::dtype::is_floating;
use crate::error::{Result, TensorError};
use crate::operations::{self, Call, Gradient, Produced};
use crate::slots::Entry;
use crate::tape::{Node, Source};
use crate::value::Value;

impl Engine {
    /// Applies an operation and appends its results, one reference each, to `outputs`. See
    /// [`operation::op`] for the codes.
    pub fn apply(
        &mut self,
        code: u32,
        inputs: &[Handle],
        ints: &[i64],
        floats: &[f64],
        outputs: &mut Vec<Handle>,
    ) -> Result<()> {
        let info = operation::find(code).ok_or_else(|| {
            Box::new(TensorError::UnknownOperation { code, known: OPERATIONS.len() })
        })?;
        let targets = operations::targets(code, inputs.len(), ints, self.context.mode);
        for (index, &handle) in inputs.iter().enumerate() {
            if targets >> index & 1 == 1 {
                self.own_target(info, inputs, index, handle)?;
            }
        }
        let mut values: SmallVec<[&Value; 6]> = SmallVec::new();
        let mut sources: SmallVec<[Source; 4]> = SmallVec::new();
        let recording = self.context.mode.recording == Recording::On;
        let mut wants: SmallVec<[bool; 8]> = SmallVec::new();
        for &handle in inputs {
            let entry = self.slots.get(handle)?;
            values.push(&entry.value);
            let source = if recording { entry.source } else { Source::None };
            wants.push(source != Source::None);
            sources.push(source);
        }
        let call = Call { info, inputs: &values, wants: &wants, ints, floats };
        let Produced { outputs: results, gradient } = operations::apply(&mut self.context, &call)?;
        let records = call.records();
        let node = match gradient {
            _ if !records => None,
            Gradient::Constant => None,
            Gradient::Function(backward) => Some(Ok(backward)),
            Gradient::Missing => {
                Some(Err("it has no gradient; detach its input, or compute the loss without it"))
            }
        };
        let source = match node {
            Some(backward) if results.iter().any(|value| is_floating(value.dtype())) => {
                #[cfg(debug_assertions)]
                let shapes = results.iter().map(|value| value.shape().clone()).collect();
                Some(self.tape.push(Node {
                    operation: info.name,
                    inputs: sources,
                    #[cfg(debug_assertions)]
                    shapes,
                    backward,
                }))
            }
            _ => None,
        };
        drop(values);
        for (output, value) in results.into_iter().enumerate() {
            let source = match source {
                Some(id) if is_floating(value.dtype()) => {
                    Source::Node { id, output: output as u32 }
                }
                _ => Source::None,
            };
            outputs.push(self.slots.insert(Entry::new(value, source)));
        }
        Ok(())
    }

    /// Bits of the inputs that an operation would overwrite in the current mode; the caller checks
    /// whether that is allowed.
    pub fn overwrites(&self, code: u32, inputs: usize, ints: &[i64]) -> u32 {
        operations::targets(code, inputs, ints, self.context.mode)
    }

    /// Copies the elements of an in-place target if other values share them, so that those keep the
    /// old ones.
    fn own_target(
        &mut self,
        info: &'static OperationInfo,
        inputs: &[Handle],
        index: usize,
        handle: Handle,
    ) -> Result<()> {
        let refuse =
            |message: String| TensorError::Operation { operation: info.name, message }.into();
        if inputs.iter().enumerate().any(|(other, &input)| other != index && input == handle) {
            return Err(refuse(format!(
                "input {index} is overwritten, so it cannot be another input too"
            )));
        }
        let entry = self.slots.get_mut(handle)?;
        if matches!(entry.source, Source::Node { .. }) {
            return Err(refuse(format!(
                "input {index} was computed on the tape and cannot be overwritten; detach it first"
            )));
        }
        if !entry.value.is_unique() {
            entry.value = self.context.backend.copy(&entry.value)?;
        }
        Ok(())
    }

    /// Applies an operation with one result.
    pub fn apply1(
        &mut self,
        code: u32,
        inputs: &[Handle],
        ints: &[i64],
        floats: &[f64],
    ) -> Result<Handle> {
        let mut outputs = Vec::with_capacity(1);
        self.apply(code, inputs, ints, floats, &mut outputs)?;
        match outputs[..] {
            [output] => Ok(output),
            _ => Err(TensorError::request(format!(
                "operation {code} has {} results, not one",
                outputs.len()
            ))),
        }
    }
}
