//! Statistics of batch normalisation over the samples of all processes of a run.
//!
//! Every process has other samples of the batch. Means and variances of all are combined in the order of
//! the processes, in double precision, so that they have the same bits everywhere.

use candle_core::{DType, Device, Tensor};

use crate::backend::{Backend, Channels};
use crate::context::{Across, Context};
use crate::error::{Result, TensorError};
use crate::value::Value;

/// The samples that statistics were taken of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joint {
    /// Values of each channel: of this process, or of all once they were combined.
    pub count: usize,
    /// Whether they are those of all processes.
    pub is_over_processes: bool,
}

/// The numbers of a value.
fn numbers(backend: &dyn Backend, value: &Value) -> Result<Vec<f64>> {
    Ok(backend.download(value)?.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}

/// A number for each channel, of the element type of `like`.
fn per_channel(backend: &dyn Backend, numbers: Vec<f64>, like: &Value) -> Result<Value> {
    let count = numbers.len();
    let tensor = Tensor::from_vec(numbers, count, &Device::Cpu)?.to_dtype(like.dtype())?;
    backend.upload(tensor)
}

fn send(across: &Across, own: &[f64]) -> Result<Vec<Vec<f64>>> {
    let all = across(own).map_err(TensorError::request)?;
    match all.iter().all(|one| one.len() == own.len()) {
        true => Ok(all),
        false => Err(TensorError::request("the processes normalise other numbers of channels")),
    }
}

impl Joint {
    /// Mean and variance of each channel over all processes, from those of this one.
    pub(super) fn moments(
        &mut self,
        backend: &dyn Backend,
        across: &Across,
        (mean, variance): (Value, Value),
    ) -> Result<(Value, Value)> {
        let (own_means, own_variances) = (numbers(backend, &mean)?, numbers(backend, &variance)?);
        let channels = own_means.len();
        let own = [vec![self.count as f64], own_means, own_variances].concat();
        let all = send(across, &own)?;
        let total: f64 = all.iter().map(|one| one[0]).sum();
        let mut means = vec![0.0; channels];
        for one in &all {
            for (sum, mean) in means.iter_mut().zip(&one[1..=channels]) {
                *sum += one[0] / total * mean;
            }
        }
        let mut variances = vec![0.0; channels];
        for one in &all {
            let moments = one[1..=channels].iter().zip(&one[channels + 1..]);
            for ((sum, of_all), (mean, variance)) in variances.iter_mut().zip(&means).zip(moments) {
                let apart = mean - of_all;
                *sum += one[0] / total * (variance + apart * apart);
            }
        }
        (self.count, self.is_over_processes) = (total as usize, true);
        Ok((per_channel(backend, means, &mean)?, per_channel(backend, variances, &variance)?))
    }

    /// The gradient that passes to the inputs through mean and variance. `sums` are the gradients of weights
    /// and bias over the samples of this process.
    pub(super) fn gradient(
        &self,
        context: &Context,
        sizes: Channels,
        inputs: &[Value],
        [mean, scale]: [&Value; 2],
        sums: [&Value; 2],
    ) -> Result<Value> {
        let backend = &*context.backend;
        let Some(across) = &context.across else {
            return Err(TensorError::request("the other processes are not connected any more"));
        };
        let own = [numbers(backend, sums[0])?, numbers(backend, sums[1])?].concat();
        let channels = own.len() / 2;
        let mut total = vec![0.0; own.len()];
        for one in send(across, &own)? {
            total.iter_mut().zip(one).for_each(|(sum, number)| *sum += number);
        }
        let (scales, weights) = (numbers(backend, scale)?, numbers(backend, &inputs[1])?);
        let share = |channel: usize, sum: f64| {
            -weights[channel] * scales[channel] * sum / self.count as f64
        };
        let slopes: Vec<f64> =
            (0..channels).map(|channel| scales[channel] * share(channel, total[channel])).collect();
        let shifts: Vec<f64> =
            (0..channels).map(|channel| share(channel, total[channels + channel])).collect();
        let negative: Vec<f64> = numbers(backend, mean)?.iter().map(|mean| -mean).collect();
        let of = |numbers: Vec<f64>| per_channel(backend, numbers, scale);
        let (ones, negative) = (of(vec![1.0; channels])?, of(negative)?);
        let centred = backend.scale_channels(sizes, &inputs[0], &ones, Some(&negative))?;
        backend.scale_channels(sizes, &centred, &of(slopes)?, Some(&of(shifts)?))
    }
}
