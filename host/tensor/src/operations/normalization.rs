//! Layer, root-mean-square, group and batch normalisation; dropout.

use fluxbay_plugin::abi::operation::op;
use smallvec::{SmallVec, smallvec};

use super::joint_statistics::{BlockStatistics, Joint, OwnStatistics};
use super::{Call, Produced};
use crate::backend::{Centre, Channels, Pair, Update};
use crate::context::{Behaviour, Context};
use crate::error::Result;
use crate::value::Value;

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
    call.real(0..call.inputs.len())?;
    let Some(&width) = call.shape(0).last().filter(|&&width| width > 0) else {
        return Err(call.error(format!("takes [.., c], got shape {:?}", call.shape(0))));
    };
    per_channel(call, width)?;
    let epsilon = epsilon(call)?;
    let inputs = contiguous(context, call.inputs)?;
    let (out, moments) = context.backend.normalize_rows(
        &inputs[0],
        width,
        centre,
        epsilon,
        inputs.get(1),
        inputs.get(2),
    )?;
    let out = if call.records() && context.is_large(&out) {
        let inputs = inputs.clone();
        out.with_recipe(move |context| {
            let (scale, shift) = (inputs.get(1), inputs.get(2));
            let again =
                context.backend.normalize_rows(&inputs[0], width, centre, epsilon, scale, shift)?;
            Ok(again.0)
        })
    } else {
        out
    };
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let backend = &context.backend;
        let gradient = backend.contiguous(&gradients.only()?)?;
        let x = &inputs[0];
        let mut results = smallvec![None; inputs.len()];
        if gradients.wants(0) {
            let weights = inputs.get(1);
            let full =
                backend.normalize_rows_gradient(x, &gradient, width, centre, weights, &moments)?;
            results[0] = Some(full);
        }
        if gradients.wants(1) || gradients.wants(2) {
            let (to_weights, to_bias) =
                backend.normalize_affine_gradient(x, &gradient, width, &moments)?;
            results[1] = Some(to_weights);
            if inputs.len() == 3 {
                results[2] = Some(to_bias);
            }
        }
        Ok(results)
    }))
}

fn contiguous(context: &Context, inputs: &[&Value]) -> Result<SmallVec<[Value; 3]>> {
    inputs.iter().map(|value| context.backend.contiguous(value)).collect()
}

/// `[n, c, ..]` as images, channels and elements of a channel.
fn channels(call: &Call) -> Result<Channels> {
    match call.shape(0) {
        [images, channels, rest @ ..] if call.inputs[0].count() > 0 => {
            Ok(Channels { images: *images, channels: *channels, area: rest.iter().product() })
        }
        other => Err(call.error(format!("takes [n, c, ..] with elements, got shape {other:?}"))),
    }
}

fn group(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=3, 1..=1, 0..=1)?;
    call.real(0..call.inputs.len())?;
    let sizes = channels(call)?;
    let count = sizes.channels;
    per_channel(call, count)?;
    let groups = call.size(0, "groups", 1)?;
    if groups == 0 || !count.is_multiple_of(groups) {
        return Err(call.error(format!(
            "{count} channels cannot be split into {groups} groups (shape {:?})",
            call.shape(0)
        )));
    }
    let epsilon = epsilon(call)?;
    let width = count / groups * sizes.area;
    let inputs = contiguous(context, call.inputs)?;
    let backend = &context.backend;
    let (normal, moments) =
        backend.normalize_rows(&inputs[0], width, Centre::Mean, epsilon, None, None)?;
    let out = match inputs.get(1) {
        None => normal,
        Some(weights) => backend.scale_channels(sizes, &normal, weights, inputs.get(2))?,
    };
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let backend = &context.backend;
        let gradient = backend.contiguous(&gradients.only()?)?;
        let x = &inputs[0];
        let mut results = smallvec![None; inputs.len()];
        if gradients.wants(0) {
            let inner = match inputs.get(1) {
                None => gradient.clone(),
                Some(weights) => backend.scale_channels(sizes, &gradient, weights, None)?,
            };
            let full =
                backend.normalize_rows_gradient(x, &inner, width, Centre::Mean, None, &moments)?;
            results[0] = Some(full);
        }
        if gradients.wants(1) {
            let (normal, _) =
                backend.normalize_rows(x, width, Centre::Mean, epsilon, None, None)?;
            let products = backend.zip(Pair::Mul, &gradient, &normal, gradient.shape())?;
            results[1] = Some(backend.channel_sums(sizes, &products)?);
        }
        if gradients.wants(2) {
            results[2] = Some(backend.channel_sums(sizes, &gradient)?);
        }
        Ok(results)
    }))
}

/// Mean and variance of each channel of the input of a batch normalisation.
pub(crate) fn own_statistics(context: &Context, call: &Call) -> Result<OwnStatistics> {
    call.expect(5..=5, 0..=1, 0..=2)?;
    call.real(0..5)?;
    let sizes = channels(call)?;
    per_channel(call, sizes.channels)?;
    let x = context.backend.contiguous(call.inputs[0])?;
    let (mean, variance) = context.backend.channel_moments(sizes, &x)?;
    Ok(OwnStatistics { x, sizes, mean, variance })
}

/// The statistics that a batch normalisation uses.
enum Statistics {
    /// The running ones, which stay as they are.
    Running,
    /// Those of its own samples.
    Own { count: usize },
    /// Those of one block in each process.
    Processes(Joint),
    /// Those of several blocks, taken before.
    Blocks(BlockStatistics),
}

fn batch(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(5..=5, 0..=1, 0..=2)?;
    call.real(0..5)?;
    let sizes = channels(call)?;
    per_channel(call, sizes.channels)?;
    let epsilon = epsilon(call)?;
    let learns = context.mode.behaviour == Behaviour::Training;
    let training = match call.int(0, 0) {
        0 => learns,
        1 => true,
        2 => false,
        other => return Err(call.error(format!("mode must be 0, 1 or 2, it is {other}"))),
    };
    let joint = context.joint.take();
    let inputs = contiguous(context, &call.inputs[..3])?;
    let backend = &context.backend;
    let (x, weights, bias) = (&inputs[0], &inputs[1], &inputs[2]);
    let running = [call.inputs[3], call.inputs[4]];
    let (statistics, mean, variance) = match (joint, &context.across) {
        _ if !training => {
            let [mean, variance] = running.map(|value| backend.contiguous(value));
            (Statistics::Running, mean?, variance?)
        }
        (Some(blocks), _) => {
            let (mean, variance) = (blocks.joint().mean.clone(), blocks.joint().variance.clone());
            (Statistics::Blocks(blocks), mean, variance)
        }
        (None, Some(across)) if learns => {
            let joint = Joint::of(&**backend, across, &[own_statistics(context, call)?])?;
            let (mean, variance) = (joint.mean.clone(), joint.variance.clone());
            (Statistics::Processes(joint), mean, variance)
        }
        _ => {
            let (mean, variance) = backend.channel_moments(sizes, x)?;
            (Statistics::Own { count: sizes.images * sizes.area }, mean, variance)
        }
    };
    let updated = match &statistics {
        Statistics::Running => None,
        Statistics::Own { count } => Some((*count, true)),
        Statistics::Processes(joint) => Some((joint.count, true)),
        Statistics::Blocks(blocks) => Some((blocks.joint().count, blocks.is_first())),
    };
    if let Some((count, updates)) = updated {
        if count < 2 {
            return Err(call.error(format!(
                "training needs more than one value per channel, got shape {:?}",
                call.shape(0)
            )));
        }
        let momentum = call.float(1, 0.1);
        let unbiased = count as f64 / (count as f64 - 1.0);
        let fresh = [(running[0], &mean, 1.0), (running[1], &variance, unbiased)];
        for (running, fresh, factor) in fresh.into_iter().filter(|_| updates) {
            backend.update(&Update::Blend { momentum, factor }, &[running], Some(fresh))?;
        }
    }
    let (out, scale) =
        backend.normalize_channels(sizes, x, [&mean, &variance], epsilon, [weights, bias])?;
    if let Statistics::Blocks(blocks) = &statistics {
        blocks.keep_scale(&scale);
    }
    let out = if call.records() && context.is_large(&out) {
        let (inputs, mean) = (inputs.clone(), mean.clone());
        out.with_recipe(move |context| {
            let (moments, affine) = ([&mean, &variance], [&inputs[1], &inputs[2]]);
            let backend = &context.backend;
            Ok(backend.normalize_channels(sizes, &inputs[0], moments, epsilon, affine)?.0)
        })
    } else {
        out
    };
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        let [mut to_x, to_weights, to_bias] = context.backend.normalize_channels_gradient(
            sizes,
            &inputs[0],
            &gradient,
            [&mean, &scale],
            &inputs[1],
            matches!(statistics, Statistics::Own { .. }),
            gradients.wants(0),
        )?;
        if let (Some(direct), Some(to_weights), Some(to_bias)) = (&to_x, &to_weights, &to_bias) {
            let sums = [to_weights.clone(), to_bias.clone()];
            match &statistics {
                Statistics::Processes(joint) => {
                    let through = joint.through(context, [&scale, &inputs[1]], &[sums])?;
                    let x = &inputs[0];
                    to_x = Some(through.add_to(&*context.backend, sizes, x, direct)?);
                }
                // The node before this one adds what passes through them.
                Statistics::Blocks(blocks) => blocks.keep_sums(sums),
                Statistics::Running | Statistics::Own { .. } => {}
            }
        }
        Ok(smallvec![to_x, to_weights, to_bias, None, None])
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
    call.real([0])?;
    if p == 0.0 || context.mode.behaviour == Behaviour::Evaluation {
        let same = call.inputs[0].clone();
        return Ok(Produced::one(call, same, |_, mut gradients| {
            Ok(smallvec![Some(gradients.only()?)])
        }));
    }
    let x = context.backend.contiguous(call.inputs[0])?;
    let words = super::creation::take(context, call, call.int(0, -1), x.count())?;
    let (limit, scale) = ((p * 4_294_967_296.0) as u32, 1.0 / (1.0 - p));
    let out = context.backend.drop_out(&x, words, limit, scale)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        // The mask is made again from the same words.
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        Ok(smallvec![Some(context.backend.drop_out(&gradient, words, limit, scale)?)])
    }))
}
