//! Operations on tensors behind handles, and what the tape records of them.

use fluxbay_plugin::abi::handle::Handle;
use fluxbay_plugin::abi::operation::{self, OPERATIONS, OperationInfo};
use smallvec::SmallVec;

use super::Engine;
use crate::anomaly::Computed;
use crate::context::{Context, Recording};
use crate::dtype::is_floating;
use crate::error::{Result, TensorError};
use crate::operations::{self, Call, Gradient, Produced};
use crate::parameters::{Parameter, Parameters};
use crate::replay::{Given, Replay};
use crate::slots::Entry;
use crate::tape::{Node, Source, Way};
use crate::trace::{Traced, TracedResult};
use crate::value::Value;

/// The mode of batch normalisation that uses the running statistics and leaves them as they are.
const EVALUATION: i64 = 2;

/// Reads the results of an operation and what it overwrote for the detection of NaN and infinities.
#[cold]
fn read_results(
    context: &mut Context,
    parameters: &Parameters,
    call: &Call,
    handles: &[Handle],
    targets: u32,
    results: &[Value],
) -> Result<()> {
    let Some(mut detection) = context.detection.take() else { return Ok(()) };
    let is_target = |index: usize| targets >> index & 1 == 1;
    let values = call.inputs.iter().copied().enumerate();
    let (overwritten, inputs): (Vec<_>, Vec<_>) = values.partition(|(index, _)| is_target(*index));
    let values = |indexed: Vec<(usize, _)>| indexed.into_iter().map(|(_, value)| value);
    let results: Vec<&Value> = results.iter().chain(values(overwritten)).collect();
    let inputs: Vec<&Value> = values(inputs).collect();
    let used = |parameter: &Parameter| handles.contains(&parameter.handle);
    let outcome = detection.read(
        &*context.backend,
        &Computed {
            operation: call.info.name,
            backward: false,
            inputs: &inputs,
            results: &results,
            parameter: parameters.list.iter().position(used),
            earlier: None,
        },
    );
    context.detection = Some(detection);
    outcome
}

/// Where the inputs of an operation come from when it is applied again, in a part of the tape that
/// begins with node `first`.
#[cold]
#[inline(never)]
fn given(values: &[&Value], sources: &[Source], targets: u32, first: u64) -> SmallVec<[Given; 4]> {
    let of = |(index, (value, source)): (usize, (&&Value, &Source))| match *source {
        _ if targets >> index & 1 == 1 => Given::Scratch(value.dtype(), value.shape().clone()),
        Source::Node { id, output } if id >= first => {
            Given::Result((id - first) as usize, output as usize)
        }
        _ => Given::Value((*value).clone()),
    };
    values.iter().zip(sources).enumerate().map(of).collect()
}

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
        if self.joint.is_some() {
            return self.apply_jointly(code, inputs, ints, floats, outputs);
        }
        let info = operation::find(code).ok_or_else(|| {
            Box::new(TensorError::UnknownOperation { code, known: OPERATIONS.len() })
        })?;
        let mut ints = ints;
        let mut targets = operations::targets(code, inputs.len(), ints, self.context.mode);
        let mut spared = SmallVec::<[(usize, Value); 0]>::new();
        if targets != 0 {
            if code == operation::op::BATCH_NORM && self.overwrites_frozen(inputs, targets) {
                ints = &[EVALUATION];
                targets = 0;
            }
            for (index, &handle) in inputs.iter().enumerate() {
                if targets >> index & 1 == 1 {
                    self.own_target(info, inputs, index, handle)?;
                    if self.slots.get(handle)?.frozen {
                        let value = self.context.backend.copy(&self.slots.get(handle)?.value)?;
                        spared.push((index, value));
                    }
                }
            }
        }
        let recording = self.context.mode.recording == Recording::On;
        if self.recomputation.is_some() && recording {
            self.enter_block(inputs)?;
        }
        if self.layers.is_some() {
            self.enter_layer(inputs);
        }
        let mut values: SmallVec<[&Value; 6]> = SmallVec::new();
        let mut sources: SmallVec<[Source; 4]> = SmallVec::new();
        let mut wants: SmallVec<[bool; 8]> = SmallVec::new();
        for &handle in inputs {
            let entry = self.slots.get(handle)?;
            values.push(&entry.value);
            let source = if recording { entry.source } else { Source::None };
            wants.push(source != Source::None);
            sources.push(source);
        }
        for (index, value) in &spared {
            values[*index] = value;
        }
        let call = Call { info, inputs: &values, wants: &wants, ints, floats };
        let replays = self.tape.segments.is_open() && call.records();
        if replays {
            self.context.random.keep_taken();
        }
        let produced = operations::apply(&mut self.context, &call);
        let words = if replays { self.context.random.taken() } else { SmallVec::new() };
        let Produced { outputs: results, gradient } = produced?;
        if self.context.detection.is_some() {
            read_results(&mut self.context, &self.parameters, &call, inputs, targets, &results)?;
        }
        let records = call.records();
        let node = match gradient {
            _ if !records => None,
            Gradient::Constant => None,
            Gradient::Function(backward) => Some(Way::Function(backward)),
            Gradient::Missing => Some(Way::Missing(
                "it has no gradient; detach its input, or compute the loss without it",
            )),
        };
        let source = match node {
            Some(backward) if results.iter().any(|value| is_floating(value.dtype())) => {
                #[cfg(debug_assertions)]
                let shapes = results.iter().map(|value| value.shape().clone()).collect();
                let first = self.tape.segments.opened().map(|segment| segment.first);
                let replay = first.map(|first| Replay {
                    info,
                    inputs: given(&values, &sources, targets, first),
                    wants,
                    ints: SmallVec::from_slice(ints),
                    floats: SmallVec::from_slice(floats),
                    mode: self.context.mode,
                    words,
                });
                let node = Node {
                    operation: info.name,
                    inputs: sources,
                    block: self.block,
                    #[cfg(debug_assertions)]
                    shapes,
                    backward,
                };
                Some(self.tape.push(node, replay))
            }
            _ => None,
        };
        drop(values);
        let first = outputs.len();
        for (output, value) in results.into_iter().enumerate() {
            let source = match source {
                Some(id) if is_floating(value.dtype()) => {
                    Source::Node { id, output: output as u32 }
                }
                _ => Source::None,
            };
            outputs.push(self.slots.insert(Entry::new(value, source)));
        }
        if self.recomputation.is_some() {
            self.make_room();
        }
        if self.trace.is_some() {
            self.record_in_trace(info, inputs, ints, floats, &outputs[first..])?;
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn record_in_trace(
        &mut self,
        operation: &'static OperationInfo,
        inputs: &[Handle],
        ints: &[i64],
        floats: &[f64],
        outputs: &[Handle],
    ) -> Result<()> {
        let Some(mut trace) = self.trace.take() else { return Ok(()) };
        let mut given: Vec<(Handle, candle_core::Tensor)> = Vec::new();
        for &input in inputs {
            let is_known = trace.iter().any(|one| {
                one.results.iter().any(|result| result.handle == input)
                    || one.given.iter().any(|(handle, _)| *handle == input)
            });
            if !is_known && given.iter().all(|(handle, _)| *handle != input) {
                given.push((input, self.value(input)?));
            }
        }
        let mut results = Vec::with_capacity(outputs.len());
        for &handle in outputs {
            results.push(TracedResult { handle, value: self.value(handle)? });
        }
        trace.push(Traced {
            operation,
            inputs: inputs.to_vec(),
            ints: ints.to_vec(),
            floats: floats.to_vec(),
            results,
            given,
        });
        self.trace = Some(trace);
        Ok(())
    }

    #[cold]
    pub(super) fn overwrites_frozen(&self, inputs: &[Handle], targets: u32) -> bool {
        let mut overwritten =
            inputs.iter().enumerate().filter(|(index, _)| targets >> index & 1 == 1);
        overwritten.any(|(_, &handle)| self.slots.get(handle).is_ok_and(|entry| entry.frozen))
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
        entry.value.will_change();
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
