//! Softmax along rows, and the cross-entropy of logits.

use candle_core::DType;

use super::Cpu;
use super::data::{contiguous, data, for_real, unwritten, value};
use super::kernels::isa::dispatch;
use super::kernels::number::Real;
use super::kernels::softmax::{self, CrossEntropyRows, Target};
use crate::backend::{CrossEntropy, Softmax, Targets, label_error};
use crate::error::Result;
use crate::pool::Parts;
use crate::value::Value;

impl Softmax for Cpu {
    fn softmax(&self, rows: &Value, length: usize, log: bool) -> Result<Value> {
        for_real!(rows.dtype(), T => {
            let out = softmax::softmax(&self.pool, &data::<T>(rows)?, length, log);
            Ok(value(out, rows.shape().clone()))
        })
    }

    fn softmax_gradient(
        &self,
        y: &Value,
        gradient: &Value,
        length: usize,
        log: bool,
    ) -> Result<Value> {
        for_real!(y.dtype(), T => {
            let (rows, gradient) = (data::<T>(y)?, data::<T>(gradient)?);
            let full = softmax::softmax_gradient(&self.pool, &rows, &gradient, length, log);
            Ok(value(full, y.shape().clone()))
        })
    }

    fn labels(&self, x: &Value, classes: usize, ignored: Option<i64>) -> Result<(Value, usize)> {
        let x = contiguous(x)?;
        let mut counted = 0;
        let mut label = |label: i64| match label {
            _ if Some(label) == ignored => Ok(u32::MAX),
            _ if (0..classes as i64).contains(&label) => {
                counted += 1;
                Ok(label as u32)
            }
            _ => Err(label_error(label, classes)),
        };
        let labels = match x.dtype() {
            DType::U32 => data::<u32>(&x)?
                .iter()
                .map(|&found| label(i64::from(found)))
                .collect::<Result<Vec<u32>>>()?,
            _ => {
                data::<i64>(&x)?.iter().map(|&found| label(found)).collect::<Result<Vec<u32>>>()?
            }
        };
        Ok((value(labels, x.shape().clone()), counted))
    }

    fn cross_entropy(
        &self,
        settings: &CrossEntropy,
        logits: &Value,
        targets: &Targets,
    ) -> Result<(Value, Value)> {
        for_real!(logits.dtype(), T => self.cross_entropy_of::<T>(settings, logits, targets))
    }
}

impl Cpu {
    fn cross_entropy_of<T: Real>(
        &self,
        settings: &CrossEntropy,
        logits: &Value,
        targets: &Targets,
    ) -> Result<(Value, Value)> {
        let classes = settings.classes;
        let rows = logits.count() / classes;
        let elements = data::<T>(logits)?;
        let (labels, probabilities) = match targets {
            Targets::Labels(labels) => (Some(data::<u32>(labels)?), None),
            Targets::Probabilities(value) => (None, Some(data::<T>(value)?)),
        };
        let labels: &[u32] = labels.as_deref().unwrap_or_default();
        let probabilities: Option<&[T]> = probabilities.as_deref();
        let (smoothing, factor) = (T::of(settings.smoothing), T::of(settings.factor));
        let mut losses = unwritten::<T>(rows);
        let mut full = unwritten::<T>(rows * classes);
        let (loss_parts, parts) = (Parts::new(&mut losses), Parts::new(&mut full));
        self.pool.ranges(rows, (8 * 1024 / classes).max(1), |range| {
            let span = range.start * classes..range.end * classes;
            let target = match probabilities {
                Some(p) => Target::Probabilities(&p[span.clone()]),
                None => Target::Labels(&labels[range.clone()]),
            };
            // SAFETY: the ranges of one call do not overlap.
            let (losses, out) = unsafe { (loss_parts.part(range), parts.part(span.clone())) };
            let x = &elements[span];
            dispatch(CrossEntropyRows { x, classes, target, smoothing, factor, losses, out });
        });
        Ok((value(losses, rows), value(full, logits.shape().clone())))
    }
}
