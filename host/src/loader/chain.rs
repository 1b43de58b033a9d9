//! Chains of transforms: a data set whose samples are changed before they reach their batch.
//!
//! A [`Chained`] is a [`Samples`] over another one. It reads samples on the thread that calls it, a
//! few at a time, and applies the chain of the training or of the evaluation to each. What a
//! transform draws at random follows from seed, epoch, sample and the transform's id, so it depends
//! neither on threads nor on what was read before.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Field, LoaderError, Occasion, Ragged, Remarks, Request, SampleError, Samples, Split,
    batch::{self, Job, Verification},
    buffer_pool::BufferPool,
    plugin_samples, random,
    samples::Column,
};
use crate::calls::transform::{OpenTransform, SampleContext};
use crate::calls::{CallError, CallResult, PluginInstance};
use crate::learner::ports::Alone;

/// Bytes of samples that are read before the chain is applied to them.
const CHUNK: usize = 1 << 20;
/// Bytes behind each intermediate result that a transform must not write, and their value.
const GUARD: usize = 8;
const GUARD_VALUE: u8 = 0xC3;

/// Changes one field of a sample.
pub trait Transform: Send + Sync {
    /// Writes all of `output`. `input` is not used afterwards.
    ///
    /// # Errors
    /// If it cannot be applied to the sample.
    fn apply(
        &self,
        context: &SampleContext,
        input: &mut [u8],
        output: &mut [u8],
    ) -> Result<(), SampleError>;
}

impl Transform for OpenTransform {
    fn apply(
        &self,
        context: &SampleContext,
        input: &mut [u8],
        output: &mut [u8],
    ) -> Result<(), SampleError> {
        OpenTransform::apply(self, context, input, output)
            .map_err(|error| SampleError(error.reason().to_owned()))
    }
}

/// A transform at one place of a chain.
pub struct Step {
    /// Id of its instance; its random draws depend on it.
    pub id: String,
    /// Index of the field that it changes.
    pub field: usize,
    /// What the field becomes.
    pub output: Field,
    /// The transform.
    pub transform: Box<dyn Transform>,
}

impl Step {
    /// Asks the transform of a plugin what field `input`, the one with index `field`, becomes, within
    /// a call into `instance`.
    ///
    /// # Errors
    /// If it does not take the field, or the result is no field.
    pub fn describe(
        id: String,
        field: usize,
        input: &Field,
        instance: Arc<PluginInstance>,
    ) -> CallResult<Step> {
        let stated = input.stated().ok_or_else(|| {
            CallError::new(format!("field `{}` has no element type of the contract", input.name))
        })?;
        let transform = OpenTransform::describe(instance, &stated)?;
        let output = plugin_samples::transformed(transform.output())?;
        Ok(Step { id, field, output, transform: Box::new(transform) })
    }
}

/// The transforms of training and of evaluation, each in order.
#[derive(Default)]
pub struct Chains {
    /// Applied to samples that are read for training.
    pub training: Vec<Step>,
    /// Applied to all others.
    pub evaluation: Vec<Step>,
}

impl Chains {
    fn of(&self, training: bool) -> &[Step] {
        if training { &self.training } else { &self.evaluation }
    }
}

/// Intermediate results of one thread, by step of the chain.
type Scratch = Vec<Column>;

/// A data set whose samples pass through a chain of transforms.
pub struct Chained {
    inner: Arc<dyn Samples>,
    chains: Chains,
    fields: Vec<Field>,
    buffers: BufferPool,
    /// Scratch of the chains of evaluation and training that no thread uses at the moment.
    scratch: [Mutex<Vec<Scratch>>; 2],
}

impl Chained {
    /// The samples of `inner` with both chains applied.
    ///
    /// # Errors
    /// [`LoaderError::Chains`] if the chains end with different fields.
    pub fn new(inner: Arc<dyn Samples>, chains: Chains) -> Result<Chained, LoaderError> {
        let differs = |step: &&Step| inner.ragged().iter().any(|one| one.field == step.field);
        if let Some(step) = chains.training.iter().chain(&chains.evaluation).find(differs) {
            return Err(LoaderError::Ragged(format!(
                "the transform `{}` takes samples of one size, but those of field `{}` differ",
                step.id,
                inner.fields()[step.field].name
            )));
        }
        let result = |steps: &[Step]| {
            let mut fields = inner.fields().to_vec();
            steps.iter().for_each(|step| fields[step.field] = step.output.clone());
            fields
        };
        let (fields, evaluated) = (result(&chains.training), result(&chains.evaluation));
        if let Some((one, other)) = fields.iter().zip(&evaluated).find(|(one, other)| one != other)
        {
            return Err(LoaderError::Chains {
                field: one.name.clone(),
                training: (one.dtype.as_str(), one.shape.clone()),
                evaluation: (other.dtype.as_str(), other.shape.clone()),
            });
        }
        let scratch = Default::default();
        Ok(Chained { inner, chains, fields, buffers: BufferPool::default(), scratch })
    }

    /// Whether no transform changes field `field`.
    fn leaves(&self, field: usize) -> bool {
        let mut steps = self.chains.training.iter().chain(&self.chains.evaluation);
        !steps.any(|step| step.field == field)
    }

    fn take_scratch(&self, training: bool) -> Result<Scratch, SampleError> {
        let free = &self.scratch[usize::from(training)];
        if let Some(scratch) = free.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(scratch);
        }
        let made = self.chains.of(training).iter().map(|step| {
            let Field { name, dtype, .. } = &step.output;
            let guard = GUARD.div_ceil(dtype.size_in_bytes());
            let column = Column::zeros(*dtype, step.output.elements() + guard);
            let mut column = column.ok_or_else(|| {
                SampleError(format!("field `{name}` cannot hold {}", dtype.as_str()))
            })?;
            column.bytes_mut()[step.output.bytes()..].fill(GUARD_VALUE);
            Ok(column)
        });
        made.collect()
    }

    fn keep_scratch(&self, training: bool, scratch: Scratch) {
        let free = &self.scratch[usize::from(training)];
        free.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }

    /// Applies the chain to one sample: its fields are those of place `place` in `columns`, the results
    /// go to place `to` in `buffers`.
    fn one(
        &self,
        (occasion, split, index): (Occasion, usize, u64),
        (columns, place): (&mut [Column], usize),
        scratch: &mut Scratch,
        (buffers, to): (&mut [&mut [u8]], usize),
    ) -> Result<(), SampleError> {
        let steps = self.chains.of(occasion.training);
        let key = self.inner.key(split, index);
        let sample = match &key {
            Some(key) => random::fnv1a(key.as_bytes()),
            None => index | (split as u64) << 56,
        };
        let source = |number: usize| {
            let bytes = self.inner.fields()[number].bytes();
            place * bytes..(place + 1) * bytes
        };
        for (number, field) in self.fields.iter().enumerate() {
            let target = &mut buffers[number][to * field.bytes()..(to + 1) * field.bytes()];
            let own: Vec<usize> =
                (0..steps.len()).filter(|at| steps[*at].field == number).collect();
            let Some(&last) = own.last() else {
                target.copy_from_slice(&columns[number].bytes()[source(number)]);
                continue;
            };
            let mut before: Option<usize> = None;
            for &at in &own {
                let step = &steps[at];
                let context = SampleContext {
                    epoch: occasion.epoch,
                    index,
                    training: occasion.training,
                    draw: random::draw(occasion.seed, &step.id, occasion.epoch, sample),
                };
                let (earlier, rest) = scratch.split_at_mut(at);
                let input = match before {
                    None => &mut columns[number].bytes_mut()[source(number)],
                    Some(before) => {
                        &mut earlier[before].bytes_mut()[..steps[before].output.bytes()]
                    }
                };
                let named =
                    |error: SampleError| SampleError(format!("transform `{}`: {error}", step.id));
                if at == last {
                    step.transform.apply(&context, input, target).map_err(named)?;
                } else {
                    let (result, guard) = rest[0].bytes_mut().split_at_mut(step.output.bytes());
                    step.transform.apply(&context, input, result).map_err(named)?;
                    if guard.iter().any(|byte| *byte != GUARD_VALUE) {
                        let text = "it wrote beyond the end of its result";
                        return Err(named(SampleError(text.to_owned())));
                    }
                }
                before = Some(at);
            }
        }
        Ok(())
    }
}

impl Samples for Chained {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn splits(&self) -> &[Split] {
        self.inner.splits()
    }

    fn ragged(&self) -> &[Ragged] {
        self.inner.ragged()
    }

    fn prepare(&self, split: usize, indices: &[u64]) -> Result<(), SampleError> {
        self.inner.prepare(split, indices)
    }

    fn fill(
        &self,
        request: &Request<'_>,
        buffers: &mut [&mut [u8]],
        remarks: &mut Remarks<'_>,
    ) -> Result<(), SampleError> {
        let Request { occasion, split, indices } = *request;
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return self.inner.fill(request, buffers, remarks);
        }
        let numbers = remarks.lengths.len() / indices.len().max(1);
        let sample_bytes: usize = self.inner.fields().iter().map(Field::bytes).sum();
        let chunk = (CHUNK / sample_bytes.max(1)).max(1);
        let mut scratch = self.take_scratch(occasion.training)?;
        let mut done = 0;
        for indices in indices.chunks(chunk) {
            let job = Job {
                samples: &*self.inner,
                source: split,
                indices,
                occasion,
                verification: Verification::Tails,
                buffers: &self.buffers,
            };
            let (mut columns, notes) =
                batch::columns(&job, &Alone).map_err(|error| match error {
                    LoaderError::Samples { error, .. } => error,
                    other => SampleError(other.to_string()),
                })?;
            let own = done..done + indices.len();
            remarks.left_out[own.clone()].copy_from_slice(&notes.left_out);
            remarks.lengths[own.start * numbers..own.end * numbers].copy_from_slice(&notes.lengths);
            let kept = |(place, _): &(usize, &u64)| notes.left_out[*place] == 0;
            for (place, &index) in indices.iter().enumerate().filter(kept) {
                let from = (&mut columns[..], place);
                let to = (&mut *buffers, done + place);
                self.one((occasion, split, index), from, &mut scratch, to)?;
            }
            columns.into_iter().for_each(|column| self.buffers.give(column));
            done += indices.len();
        }
        self.keep_scratch(occasion.training, scratch);
        Ok(())
    }

    fn labels(
        &self,
        split: usize,
        field: usize,
        indices: &[u64],
    ) -> Option<Result<Vec<u32>, SampleError>> {
        if self.leaves(field) { self.inner.labels(split, field, indices) } else { None }
    }

    fn key(&self, split: usize, index: u64) -> Option<String> {
        self.inner.key(split, index)
    }
}
