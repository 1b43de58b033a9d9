//! Normalisation of rows and of channels.

use super::Cpu;
use super::data::{data, for_real, unwritten, value};
use super::kernels::channels;
use super::kernels::elementwise::GRAIN;
use super::kernels::normalize::{Moments, affine_gradient, rows, rows_gradient};
use super::kernels::number::Real;
use crate::backend::{Centre, Channels, Normalization};
use crate::error::Result;
use crate::pool::{Parts, Pool};
use crate::value::Value;

impl Normalization for Cpu {
    fn normalize_rows(
        &self,
        x: &Value,
        width: usize,
        centre: Centre,
        epsilon: f64,
        weights: Option<&Value>,
        bias: Option<&Value>,
    ) -> Result<(Value, Value)> {
        for_real!(x.dtype(), T => {
            let weights = weights.map(data::<T>).transpose()?;
            let bias = bias.map(data::<T>).transpose()?;
            let (out, moments) = rows(
                &self.pool,
                &data::<T>(x)?,
                width,
                centre,
                T::of(epsilon),
                weights.as_deref(),
                bias.as_deref(),
            );
            let count = moments.len();
            Ok((value(out, x.shape().clone()), value(moments.into_flattened(), (count, 2))))
        })
    }

    fn normalize_rows_gradient(
        &self,
        x: &Value,
        gradient: &Value,
        width: usize,
        centre: Centre,
        weights: Option<&Value>,
        moments: &Value,
    ) -> Result<Value> {
        for_real!(x.dtype(), T => {
            let (elements, g) = (data::<T>(x)?, data::<T>(gradient)?);
            let weights = weights.map(data::<T>).transpose()?;
            let moments = data::<T>(moments)?;
            let full = rows_gradient(
                &self.pool,
                &elements,
                &g,
                width,
                centre,
                weights.as_deref(),
                pairs(&moments),
            );
            Ok(value(full, x.shape().clone()))
        })
    }

    fn normalize_affine_gradient(
        &self,
        x: &Value,
        gradient: &Value,
        width: usize,
        moments: &Value,
    ) -> Result<(Value, Value)> {
        for_real!(x.dtype(), T => {
            let (x, g, moments) = (data::<T>(x)?, data::<T>(gradient)?, data::<T>(moments)?);
            let (weights, bias) = affine_gradient(&self.pool, &x, &g, width, pairs(&moments));
            Ok((value(weights, width), value(bias, width)))
        })
    }

    fn scale_channels(
        &self,
        sizes: Channels,
        x: &Value,
        factors: &Value,
        shifts: Option<&Value>,
    ) -> Result<Value> {
        for_real!(x.dtype(), T => {
            let (elements, factors) = (data::<T>(x)?, data::<T>(factors)?);
            let shifts = shifts.map(data::<T>).transpose()?;
            let out = match shifts.as_deref() {
                None => by_channel(&self.pool, &elements, &elements, sizes, |channel, x, _| {
                    x * factors[channel]
                }),
                Some(shifts) => by_channel(&self.pool, &elements, &elements, sizes, |channel, x, _| {
                    x * factors[channel] + shifts[channel]
                }),
            };
            Ok(value(out, x.shape().clone()))
        })
    }

    fn channel_moments(&self, sizes: Channels, x: &Value) -> Result<(Value, Value)> {
        for_real!(x.dtype(), T => {
            let [mean, variance] = channels::moments(&self.pool, sizes, &data::<T>(x)?);
            Ok((value(mean, sizes.channels), value(variance, sizes.channels)))
        })
    }

    fn normalize_channels(
        &self,
        sizes: Channels,
        x: &Value,
        [mean, variance]: [&Value; 2],
        epsilon: f64,
        [weights, bias]: [&Value; 2],
    ) -> Result<(Value, Value)> {
        for_real!(x.dtype(), T => {
            let (mean, variance) = (data::<T>(mean)?, data::<T>(variance)?);
            let inverse = |&variance: &T| T::ONE / Real::sqrt(variance + T::of(epsilon));
            let scale: Vec<T> = variance.iter().map(inverse).collect();
            let (elements, w, b) = (data::<T>(x)?, data::<T>(weights)?, data::<T>(bias)?);
            let out =
                channels::normalize(&self.pool, sizes, &elements, [&mean, &scale, &w, &b]);
            Ok((value(out, x.shape().clone()), value(scale, sizes.channels)))
        })
    }

    fn normalize_channels_gradient(
        &self,
        sizes: Channels,
        x: &Value,
        gradient: &Value,
        [mean, scale]: [&Value; 2],
        weights: &Value,
        training: bool,
        wants_x: bool,
    ) -> Result<[Option<Value>; 3]> {
        let pool = &*self.pool;
        for_real!(x.dtype(), T => {
            let (mean, scale) = (data::<T>(mean)?, data::<T>(scale)?);
            let (elements, g, w) = (data::<T>(x)?, data::<T>(gradient)?, data::<T>(weights)?);
            let [to_weights, to_bias] =
                channels::affine_gradient(pool, sizes, &elements, &g, &mean, &scale);
            let to_x = wants_x.then(|| {
                let sums = training.then_some([&to_weights[..], &to_bias[..]]);
                let inner = channels::Inner { mean: &mean, scale: &scale, weights: &w, sums };
                let full = channels::input_gradient(pool, sizes, &elements, &g, inner);
                value(full, x.shape().clone())
            });
            let channels = sizes.channels;
            Ok([to_x, Some(value(to_weights, channels)), Some(value(to_bias, channels))])
        })
    }
}

/// Moments as pairs.
fn pairs<T>(moments: &[T]) -> &[Moments<T>] {
    moments.as_chunks::<2>().0
}

/// `f(channel, x, other)` for each element.
fn by_channel<T: Real>(
    pool: &Pool,
    x: &[T],
    other: &[T],
    Channels { channels, area, .. }: Channels,
    f: impl Fn(usize, T, T) -> T + Sync,
) -> Vec<T> {
    let mut out = unwritten(x.len());
    let parts = Parts::new(&mut out);
    pool.ranges(x.len() / area, (GRAIN / area).max(1), |range| {
        for plane in range {
            let span = plane * area..(plane + 1) * area;
            // SAFETY: each plane is written by one task.
            let out = unsafe { parts.part(span.clone()) };
            let channel = plane % channels;
            for ((out, &x), &y) in out.iter_mut().zip(&x[span.clone()]).zip(&other[span]) {
                *out = f(channel, x, y);
            }
        }
    });
    out
}
