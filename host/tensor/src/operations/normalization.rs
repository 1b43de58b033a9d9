//! Layer, root-mean-square, group and batch normalisation; dropout.

use candle_core::Shape;
use fluxbay_plugin::abi::operation::op;
use smallvec::smallvec;

use super::{Call, Produced, for_real};
use crate::context::{Behaviour, Context};
use crate::error::Result;
use crate::kernels::elementwise::GRAIN;
use crate::kernels::normalize::{Centre, affine_gradient, rows, rows_gradient};
use crate::kernels::reduce::sum;
use crate::kernels::simd::Real;
use crate::pool::{Parts, Pool};
use crate::random::Words;
use crate::value::{Data, Value, data, overwrite, unwritten, value};

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    match call.info.code {
        op::LAYER_NORM => {
            call.expect(1..=3, 0..=0, 0..=1)?;
            over_last(context, call, Centre::Mean)
        }
        op::RMS_NORM => {
            call.expect(1..=2, 0..=0, 0..=1)?;
            over_last(context, call, Centre::Zero)
        }
        op::BATCH_NORM => batch(context, call),
        op::GROUP_NORM => group(context, call),
        _ => dropout(context, call),
    }
}

fn epsilon(call: &Call) -> Result<f64> {
    let epsilon = call.float(0, 1e-5);
    match epsilon >= 0.0 && epsilon.is_finite() {
        true => Ok(epsilon),
        false => Err(call.error(format!("epsilon must not be negative, it is {epsilon}"))),
    }
}

/// Checks that all inputs but the first are `[channels]`.
fn per_channel(call: &Call, channels: usize) -> Result<()> {
    match call.inputs[1..].iter().all(|value| value.dims() == [channels]) {
        true => Ok(()),
        false => Err(call
            .error(format!("weights and bias must be [{channels}], got shapes {}", call.shapes()))),
    }
}

fn over_last(context: &mut Context, call: &Call, centre: Centre) -> Result<Produced> {
    let dtype = call.real(0..call.inputs.len())?;
    let Some(&width) = call.shape(0).last().filter(|&&width| width > 0) else {
        return Err(call.error(format!("takes [.., c], got shape {:?}", call.shape(0))));
    };
    per_channel(call, width)?;
    let epsilon = epsilon(call)?;
    for_real!(dtype, T => over_last_of::<T>(context, call, width, centre, epsilon))
}

/// The elements of an input that may be missing.
fn optional<T: Real>(input: Option<&Value>) -> Result<Option<Data<'_, T>>> {
    input.map(|value| data::<T>(&value.tensor)).transpose()
}

fn over_last_of<T: Real>(
    context: &mut Context,
    call: &Call,
    width: usize,
    centre: Centre,
    epsilon: f64,
) -> Result<Produced> {
    let inputs = call.inputs.iter().map(|value| value.contiguous()).collect::<Result<Vec<_>>>()?;
    let (weights, bias) = (optional::<T>(inputs.get(1))?, optional::<T>(inputs.get(2))?);
    let elements = data::<T>(&inputs[0].tensor)?;
    let (out, moments) = rows(
        &context.pool,
        &elements,
        width,
        centre,
        T::of(epsilon),
        weights.as_deref(),
        bias.as_deref(),
    );
    let out = value(out, inputs[0].tensor.shape().clone());
    drop((weights, bias, elements));
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let g = data::<T>(&gradient.tensor)?;
        let x = data::<T>(&inputs[0].tensor)?;
        let weights = optional::<T>(inputs.get(1))?;
        let mut results = smallvec![None; inputs.len()];
        if gradients.wants(0) {
            let full =
                rows_gradient(&context.pool, &x, &g, width, centre, weights.as_deref(), &moments);
            results[0] = Some(value(full, inputs[0].tensor.shape().clone()));
        }
        if gradients.wants(1) || gradients.wants(2) {
            let (to_weights, to_bias) = affine_gradient(&context.pool, &x, &g, width, &moments);
            results[1] = Some(value(to_weights, width));
            if inputs.len() == 3 {
                results[2] = Some(value(to_bias, width));
            }
        }
        Ok(results)
    }))
}

/// [n, c, ..] as (n, c, elements of a channel).
fn channels(call: &Call) -> Result<(usize, usize, usize)> {
    match call.shape(0) {
        [images, channels, rest @ ..] if call.inputs[0].count() > 0 => {
            Ok((*images, *channels, rest.iter().product()))
        }
        other => Err(call.error(format!("takes [n, c, ..] with elements, got shape {other:?}"))),
    }
}

/// `f(x, channel)` for each element of [n, c, area].
fn by_channel<T: Real>(
    pool: &Pool,
    x: &[T],
    other: &[T],
    channels: usize,
    area: usize,
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

/// Sums of [n, c, area] per channel.
fn channel_sums<T: Real>(
    pool: &Pool,
    x: &[T],
    images: usize,
    channels: usize,
    area: usize,
) -> Vec<T> {
    let planes = sum(pool, x, images * channels, area, 1);
    sum(pool, &planes, 1, images, channels)
}

fn group(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=3, 1..=1, 0..=1)?;
    let dtype = call.real(0..call.inputs.len())?;
    let (_, count, _) = channels(call)?;
    per_channel(call, count)?;
    let groups = call.size(0, "groups", 1)?;
    if groups == 0 || !count.is_multiple_of(groups) {
        return Err(call.error(format!(
            "{count} channels cannot be split into {groups} groups (shape {:?})",
            call.shape(0)
        )));
    }
    let epsilon = epsilon(call)?;
    for_real!(dtype, T => group_of::<T>(context, call, groups, epsilon))
}

fn group_of<T: Real>(
    context: &mut Context,
    call: &Call,
    groups: usize,
    epsilon: f64,
) -> Result<Produced> {
    let (images, count, area) = channels(call)?;
    let width = count / groups * area;
    let inputs = call.inputs.iter().map(|value| value.contiguous()).collect::<Result<Vec<_>>>()?;
    let elements = data::<T>(&inputs[0].tensor)?;
    let (normal, moments) =
        rows(&context.pool, &elements, width, Centre::Mean, T::of(epsilon), None, None);
    let (weights, bias) = (optional::<T>(inputs.get(1))?, optional::<T>(inputs.get(2))?);
    let out = match &weights {
        None => normal,
        Some(w) => by_channel(&context.pool, &normal, &normal, count, area, |channel, x, _| {
            x * w[channel] + bias.as_ref().map_or(T::ZERO, |bias| bias[channel])
        }),
    };
    let out = value(out, inputs[0].tensor.shape().clone());
    drop((weights, bias, elements));
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let pool = &context.pool;
        let g = data::<T>(&gradient.tensor)?;
        let x = data::<T>(&inputs[0].tensor)?;
        let weights = optional::<T>(inputs.get(1))?;
        let mut results = smallvec![None; inputs.len()];
        if gradients.wants(0) {
            let inner = weights
                .as_ref()
                .map(|w| by_channel(pool, &g, &g, count, area, |channel, g, _| g * w[channel]));
            let full = rows_gradient(
                pool,
                &x,
                inner.as_deref().unwrap_or(&g),
                width,
                Centre::Mean,
                None,
                &moments,
            );
            results[0] = Some(value(full, inputs[0].tensor.shape().clone()));
        }
        if gradients.wants(1) {
            let (normal, _) = rows(pool, &x, width, Centre::Mean, T::of(epsilon), None, None);
            let products = by_channel(pool, &g, &normal, count, area, |_, g, x| g * x);
            results[1] = Some(value(channel_sums(pool, &products, images, count, area), count));
        }
        if gradients.wants(2) {
            results[2] = Some(value(channel_sums(pool, &g, images, count, area), count));
        }
        Ok(results)
    }))
}

fn batch(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(5..=5, 0..=1, 0..=2)?;
    let dtype = call.real(0..5)?;
    let (_, count, _) = channels(call)?;
    per_channel(call, count)?;
    let epsilon = epsilon(call)?;
    let training = match call.int(0, 0) {
        0 => context.mode.behaviour == Behaviour::Training,
        1 => true,
        2 => false,
        other => return Err(call.error(format!("mode must be 0, 1 or 2, it is {other}"))),
    };
    for_real!(dtype, T => batch_of::<T>(context, call, epsilon, training))
}

fn batch_of<T: Real>(
    context: &mut Context,
    call: &Call,
    epsilon: f64,
    training: bool,
) -> Result<Produced> {
    let (images, channels, area) = channels(call)?;
    let count = images * area;
    if training && count < 2 {
        return Err(call.error(format!(
            "training needs more than one value per channel, got shape {:?}",
            call.shape(0)
        )));
    }
    let inputs =
        call.inputs[..3].iter().map(|value| value.contiguous()).collect::<Result<Vec<_>>>()?;
    let pool = &context.pool;
    let x = data::<T>(&inputs[0].tensor)?;
    let divisor = T::of(count as f64);
    let (mean, variance) = if training {
        let mut mean = channel_sums(pool, &x, images, channels, area);
        mean.iter_mut().for_each(|sum| *sum /= divisor);
        let squares = by_channel(pool, &x, &x, channels, area, |channel, x, _| {
            (x - mean[channel]) * (x - mean[channel])
        });
        let mut variance = channel_sums(pool, &squares, images, channels, area);
        variance.iter_mut().for_each(|sum| *sum /= divisor);
        let momentum = T::of(call.float(1, 0.1));
        let unbiased = T::of(count as f64 / (count as f64 - 1.0));
        let blend = |running: &mut [T], fresh: &[T], factor: T| {
            running.iter_mut().zip(fresh).for_each(|(old, &new)| {
                *old = *old * (T::ONE - momentum) + momentum * new * factor
            });
        };
        overwrite(&call.inputs[3].tensor, |running| blend(running, &mean, T::ONE))?;
        overwrite(&call.inputs[4].tensor, |running| blend(running, &variance, unbiased))?;
        (mean, variance)
    } else {
        (call.inputs[3].to_vec::<T>()?, call.inputs[4].to_vec::<T>()?)
    };
    let scale: Vec<T> =
        variance.iter().map(|&variance| T::ONE / (variance + T::of(epsilon)).sqrt()).collect();
    let (w, b) = (data::<T>(&inputs[1].tensor)?, data::<T>(&inputs[2].tensor)?);
    let out = by_channel(pool, &x, &x, channels, area, |channel, x, _| {
        (x - mean[channel]) * scale[channel] * w[channel] + b[channel]
    });
    let out = value(out, inputs[0].tensor.shape().clone());
    drop((x, w, b));
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let pool = &context.pool;
        let (g, x, w) = (
            data::<T>(&gradient.tensor)?,
            data::<T>(&inputs[0].tensor)?,
            data::<T>(&inputs[1].tensor)?,
        );
        let to_bias = channel_sums(pool, &g, images, channels, area);
        let products = by_channel(pool, &g, &x, channels, area, |channel, g, x| {
            g * (x - mean[channel]) * scale[channel]
        });
        let to_weights = channel_sums(pool, &products, images, channels, area);
        let mut results = smallvec![None; 5];
        if gradients.wants(0) {
            let full = by_channel(pool, &g, &x, channels, area, |channel, g, x| {
                let inner = match training {
                    true => {
                        g - (to_bias[channel]
                            + (x - mean[channel]) * scale[channel] * to_weights[channel])
                            / divisor
                    }
                    false => g,
                };
                inner * w[channel] * scale[channel]
            });
            results[0] = Some(value(full, inputs[0].tensor.shape().clone()));
        }
        results[1] = Some(value(to_weights, channels));
        results[2] = Some(value(to_bias, channels));
        Ok(results)
    }))
}

fn dropout(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 0..=1, 1..=1)?;
    let p = call.floats[0];
    if !(0.0..1.0).contains(&p) {
        return Err(
            call.error(format!("the probability must be at least 0 and below 1, it is {p}"))
        );
    }
    let dtype = call.real([0])?;
    if p == 0.0 || context.mode.behaviour == Behaviour::Evaluation {
        let same = call.inputs[0].clone();
        return Ok(Produced::one(call, same, |_, mut gradients| {
            Ok(smallvec![Some(gradients.only()?)])
        }));
    }
    let x = call.inputs[0].contiguous()?;
    let words = super::creation::take(context, call, call.int(0, -1), x.count())?;
    for_real!(dtype, T => {
        let out = value(dropped::<T>(&context.pool, &data::<T>(&x.tensor)?, words, p), x.tensor.shape().clone());
        Ok(Produced::one(call, out, move |context, mut gradients| {
            // The mask is made again from the same words.
            let gradient = gradients.only()?.contiguous()?;
            let full = dropped::<T>(&context.pool, &data::<T>(&gradient.tensor)?, words, p);
            Ok(smallvec![Some(value(full, Shape::from(gradient.dims())))])
        }))
    })
}

fn dropped<T: Real>(pool: &Pool, x: &[T], words: Words, p: f64) -> Vec<T> {
    let limit = (p * 4_294_967_296.0) as u32;
    let scale = T::of(1.0 / (1.0 - p));
    let mut out = unwritten(x.len());
    let parts = Parts::new(&mut out);
    pool.ranges(x.len().div_ceil(4), GRAIN / 16, |range| {
        let span = range.start * 4..(range.end * 4).min(x.len());
        // SAFETY: the ranges of one call do not overlap.
        let out = unsafe { parts.part(span.clone()) };
        for (block, (out, x)) in out.chunks_mut(4).zip(x[span].chunks(4)).enumerate() {
            let random = words.block((range.start + block) as u64);
            for ((out, &x), &word) in out.iter_mut().zip(x).zip(&random) {
                *out = if word < limit { T::ZERO } else { x * scale };
            }
        }
    });
    out
}
