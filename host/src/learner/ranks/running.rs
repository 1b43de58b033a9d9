//! Running statistics of models, such as those of batch normalisation.
//!
//! Every block begins with the values from before the step. Afterwards each value is the mean of what
//! the blocks made of it, weighted with their samples: one update by the mean of the blocks' statistics.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::Ranks;
use super::meeting::Doing;
use super::packing::{pack, unpack};
use crate::learner::control::{Flow, Stop};
use crate::learner::runtime::Runtime;
use crate::tensor::{Kind, code_of, with_bytes};

/// The buffers of a model during a forward pass in blocks.
pub(super) struct RunningStatistics {
    /// Number and value of each before the pass.
    before: Vec<(usize, Tensor)>,
    /// By (number of the buffer, block): samples of the block, value after it.
    after: BTreeMap<(usize, usize), (usize, Tensor)>,
}

/// The values of one buffer after the blocks, each with its weight, in the order of the blocks.
type Values = Vec<(usize, Vec<f64>)>;

fn numbers(tensor: &Tensor) -> candle_core::Result<Vec<f64>> {
    tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

impl RunningStatistics {
    /// Remembers the buffers of a model that operations may overwrite.
    pub(super) fn begin(runtime: &Runtime, model: usize) -> Flow<RunningStatistics> {
        let engine = runtime.engine.borrow();
        let mut before = Vec::new();
        for p in engine.parameters() {
            if p.model == model && p.kind == Kind::Buffer && !p.frozen {
                let value = engine.value(p.handle).map_err(Stop::engine)?;
                before.push((p.index, value.copy().map_err(Stop::engine)?));
            }
        }
        Ok(RunningStatistics { before, after: BTreeMap::new() })
    }

    /// Called after each block: keeps what it changed, and restores the values from before.
    pub(super) fn end_block(&mut self, runtime: &Runtime, block: usize, samples: usize) -> Flow {
        let mut engine = runtime.engine.borrow_mut();
        for (index, before) in &self.before {
            let handle = engine.parameters().find(|p| p.index == *index).map(|p| p.handle);
            let Some(handle) = handle else { continue };
            let value = engine.value(handle).and_then(|value| Ok(value.copy()?));
            let value = value.map_err(Stop::engine)?;
            let bytes = |tensor: &Tensor| with_bytes(tensor, <[u8]>::to_vec).map_err(Stop::engine);
            if bytes(&value)? != bytes(before)? {
                engine
                    .set_parameter(*index, &before.copy().map_err(Stop::engine)?)
                    .map_err(Stop::engine)?;
                self.after.insert((*index, block), (samples, value));
            }
        }
        Ok(())
    }

    /// Sets the buffers to the means over the blocks of all ranks.
    pub(super) fn finish(self, runtime: &Runtime, ranks: &Ranks) -> Flow {
        if self.before.is_empty() {
            return Ok(());
        }
        let mut all: BTreeMap<usize, Values> = BTreeMap::new();
        if ranks.are_several() {
            let mut heads = Vec::new();
            let mut tensors = Vec::new();
            for ((index, _), (samples, value)) in &self.after {
                heads.extend([*index as i64, *samples as i64]);
                let code = code_of(value.dtype())
                    .ok_or_else(|| Stop::host("a buffer has an element type without a number"))?;
                tensors.push((code, value.clone()));
            }
            let count = heads.len();
            let heads = Tensor::from_vec(heads, count, &candle_core::Device::Cpu);
            let code = code_of(DType::I64).unwrap_or_default();
            tensors.insert(0, (code, heads.map_err(Stop::engine)?));
            let met = ranks.meet(Doing::Statistics, 0, &pack(&tensors)?)?;
            for message in &met.messages {
                let tensors = unpack(message)?;
                let Some((heads, values)) = tensors.split_first() else { continue };
                let heads: Vec<i64> = bytemuck::pod_collect_to_vec(heads.elements);
                for (head, value) in heads.chunks_exact(2).zip(values) {
                    let elements =
                        match value.elements.len() / value.dims.iter().product::<usize>().max(1) {
                            8 => bytemuck::pod_collect_to_vec::<u8, f64>(value.elements),
                            _ => bytemuck::pod_collect_to_vec::<u8, f32>(value.elements)
                                .into_iter()
                                .map(f64::from)
                                .collect(),
                        };
                    all.entry(head[0] as usize).or_default().push((head[1] as usize, elements));
                }
            }
        } else {
            for ((index, _), (samples, value)) in &self.after {
                let elements = numbers(value).map_err(Stop::engine)?;
                all.entry(*index).or_default().push((*samples, elements));
            }
        }
        let mut engine = runtime.engine.borrow_mut();
        for (index, before) in &self.before {
            let Some(values) = all.get(index) else { continue };
            let mean = mean(values);
            let tensor = Tensor::from_vec(mean, before.shape(), before.device())
                .and_then(|tensor| tensor.to_dtype(before.dtype()))
                .map_err(Stop::engine)?;
            engine.set_parameter(*index, &tensor).map_err(Stop::engine)?;
        }
        Ok(())
    }
}

/// The weighted mean of each element.
pub(super) fn mean(values: &[(usize, Vec<f64>)]) -> Vec<f64> {
    let total: usize = values.iter().map(|(weight, _)| weight).sum();
    let count = values.first().map_or(0, |(_, elements)| elements.len());
    let mut sums = vec![0.0; count];
    for (weight, elements) in values {
        for (sum, element) in sums.iter_mut().zip(elements) {
            *sum += *weight as f64 * element;
        }
    }
    sums.iter().map(|sum| sum / total as f64).collect()
}
