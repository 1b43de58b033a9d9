//! Attention (Vaswani et al. 2017), on packed queries, keys and values or on separate ones; rotary
//! positions.

use candle_core::{DType, Shape};
use smallvec::{SmallVec, smallvec};

use super::{Call, Produced};
use crate::backend::{Dropped, Heads, Reach, Rotation};
use crate::context::{Behaviour, Context};
use crate::dtype::is_floating;
use crate::error::Result;
use crate::tape::InputGradients;
use crate::value::Value;

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 2..=2, 0..=0)?;
    call.real([0])?;
    let &[batch, time, packed] = call.shape(0) else {
        return Err(call.error(format!("takes [b, t, 3 c], got shape {:?}", call.shape(0))));
    };
    let heads = call.size(0, "heads", 1)?;
    if heads == 0 || packed == 0 || !packed.is_multiple_of(3 * heads) || batch * time == 0 {
        return Err(call.error(format!(
            "shape {:?} is not [b, t, 3 c] with c a multiple of {heads} heads",
            call.shape(0)
        )));
    }
    let causal = match call.ints[1] {
        0 => false,
        1 => true,
        other => return Err(call.error(format!("causal must be 0 or 1, it is {other}"))),
    };
    let rounded = context.rounds(call.inputs[0].dtype());
    let heads = Heads { batch, time, heads, width: packed / 3 / heads, causal, rounded };
    context.admit(call.inputs[0].dtype(), &[batch, heads.heads, time, time])?;
    let qkv = context.backend.contiguous(call.inputs[0])?;
    if context.cache.is_some() {
        return packed_kept(context, call, &heads, &qkv);
    }
    let (out, weights) = context.backend.attention(&heads, &context.operand(&qkv, rounded)?)?;
    // Large weights are computed again.
    let weights = (!context.is_large(&weights)).then_some(weights);
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        let gradient = context.backend.operand(gradient, rounded)?;
        let qkv = context.operand(&qkv, rounded)?;
        let weights = match weights {
            Some(weights) => weights,
            None => context.backend.attention(&heads, &qkv)?.1,
        };
        let full = context.backend.attention_gradient(&heads, &qkv, &weights, &gradient)?;
        Ok(smallvec![Some(full)])
    }))
}

/// [`apply`] over the keys and values that are kept.
fn packed_kept(context: &mut Context, call: &Call, heads: &Heads, qkv: &Value) -> Result<Produced> {
    let Heads { batch, time, heads, width, causal, rounded } = *heads;
    let channels = heads * width;
    let part = |at: usize| -> Result<Value> {
        let part = context.backend.contiguous(&qkv.narrow(2, at * channels, channels)?)?;
        part.reshape((batch, time, heads, width))?.transpose(1, 2)
    };
    let parts = [part(0)?, part(1)?, part(2)?];
    let reach = Reach {
        batch,
        heads,
        groups: heads,
        queries: time,
        keys: time,
        width,
        scale: 1.0 / (width as f64).sqrt(),
        causal,
        window: None,
        lengths: None,
        rounded,
    };
    let out = kept(context, call, reach, [&parts[0], &parts[1], &parts[2]])?;
    let out = context.backend.contiguous(&out.transpose(1, 2)?)?;
    Ok(Produced::constant(out.reshape((batch, time, channels))?))
}

/// Attention of new queries over the keys and values that are kept, to which the new ones are added.
fn kept(context: &mut Context, call: &Call, mut reach: Reach, parts: [&Value; 3]) -> Result<Value> {
    if !reach.causal || reach.queries != reach.keys {
        return Err(call.error(
            "it is not causal self-attention, so its keys cannot be kept while a text is generated",
        ));
    }
    let time_first = |part: &Value| -> Result<Value> {
        context.backend.contiguous(&part.permute(&[2, 0, 1, 3])?)
    };
    let (keys, values) = (time_first(parts[1])?, time_first(parts[2])?);
    let query = context.backend.contiguous(parts[0])?;
    let query = context.operand(&query, reach.rounded)?;
    let (keys, values) =
        (context.operand(&keys, reach.rounded)?, context.operand(&values, reach.rounded)?);
    let Some(mut cache) = context.cache.take() else {
        return Err(call.error("no keys are kept"));
    };
    let extended = cache.extend(&*context.backend, [&keys, &values]);
    context.cache = Some(cache);
    let ([keys, values], total) = extended?;
    reach.keys = total;
    context.admit(query.dtype(), &[reach.batch, reach.heads, reach.queries, total])?;
    context.backend.attend_kept(&reach, [&query, &keys, &values])
}

/// Attention of separate queries, keys and values.
pub(super) fn scaled(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(3..=5, 0..=3, 0..=2)?;
    let (&[batch, heads, queries, width], &[_, groups, keys, _]) = (call.shape(0), call.shape(1))
    else {
        return Err(shapes_of_attention(call));
    };
    let fits = call.shape(1) == [batch, groups, keys, width] && call.shape(2) == call.shape(1);
    if !fits || groups == 0 || !heads.is_multiple_of(groups) || width * keys * queries * batch == 0
    {
        return Err(shapes_of_attention(call));
    }
    let mut optional = (3..call.inputs.len()).peekable();
    let bias = optional.next_if(|&at| is_floating(call.inputs[at].dtype()));
    let lengths = match optional.next() {
        None => None,
        Some(at) => Some(lengths(context, call, at, batch, keys)?),
    };
    if let Some(at) = optional.next() {
        return Err(call.error(format!(
            "input {at} is one too many: after q, k and v come a floating bias and integer lengths"
        )));
    }
    call.real([0, 1, 2].into_iter().chain(bias))?;
    let full = Shape::from((batch, heads, queries, keys));
    if let Some(at) = bias {
        let given = call.shape(at);
        let lead = full.dims().len().checked_sub(given.len());
        let fits = lead.is_some_and(|lead| {
            given.iter().zip(&full.dims()[lead..]).all(|(&size, &of)| size == 1 || size == of)
        });
        if !fits {
            return Err(call.error(format!("a bias of {given:?} does not broadcast to {full:?}")));
        }
    }
    let causal = flag(call, 0, "causal")?;
    let window = call.size(1, "window", 0)?;
    let (scale, p) = (call.float(0, 0.0), call.float(1, 0.0));
    if !(scale.is_finite() && (0.0..1.0).contains(&p)) {
        return Err(call.error(format!(
            "the scale must be finite and the dropout at least 0 and below 1, they are {scale} and {p}"
        )));
    }
    let scale = if scale == 0.0 { 1.0 / (width as f64).sqrt() } else { scale };
    let window = (window > 0).then_some(window);
    let rounded = context.rounds(call.inputs[0].dtype());
    let reach = Reach {
        batch,
        heads,
        groups,
        queries,
        keys,
        width,
        scale,
        causal,
        window,
        lengths,
        rounded,
    };
    if context.cache.is_some() {
        if bias.is_some() || reach.lengths.is_some() {
            return Err(call.error(
                "it has a bias or lengths, so its keys cannot be kept while a text is generated",
            ));
        }
        let parts = [call.inputs[0], call.inputs[1], call.inputs[2]];
        return Ok(Produced::constant(kept(context, call, reach, parts)?));
    }
    context.admit(call.inputs[0].dtype(), full.dims())?;
    let dropped = match p > 0.0 && context.mode.behaviour == Behaviour::Training {
        false => None,
        true => {
            let words = super::creation::take(context, call, call.int(2, -1), full.elem_count())?;
            Some(Dropped { words, limit: (p * 4_294_967_296.0) as u32, scale: 1.0 / (1.0 - p) })
        }
    };
    let parts = call.inputs[..3]
        .iter()
        .map(|value| context.backend.contiguous(value))
        .collect::<Result<SmallVec<[Value; 3]>>>()?;
    let bias = bias.map(|at| call.inputs[at]);
    let (out, weights) = {
        let parts = rounded_parts(context, &parts, rounded)?;
        context.backend.attend(&reach, [&parts[0], &parts[1], &parts[2]], bias, dropped)?
    };
    // Large weights are computed again, also from the bias.
    let weights = (!context.is_large(&weights)).then_some(weights);
    let added = bias.filter(|_| weights.is_none()).cloned();
    let bias = bias.map(|bias| bias.shape().clone());
    let optional = call.inputs.len() - 3;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        let gradient = context.backend.operand(gradient, rounded)?;
        let parts = rounded_parts(context, &parts, rounded)?;
        let parts = [&parts[0], &parts[1], &parts[2]];
        let weights = match weights {
            Some(weights) => weights,
            None => context.backend.attend(&reach, parts, added.as_ref(), dropped)?.1,
        };
        let wants_bias = bias.is_some() && gradients.wants(3);
        let ([q, k, v], scores) = context
            .backend
            .attend_gradient(&reach, parts, &weights, dropped, &gradient, wants_bias)?;
        let mut all: InputGradients = smallvec![Some(q), Some(k), Some(v)];
        if let (Some(scores), Some(shape)) = (scores, &bias) {
            all.push(Some(context.backend.sum_to_shape(scores, shape)?));
        }
        all.resize(3 + optional, None);
        Ok(all)
    }))
}

/// Queries, keys and values, rounded if that is asked for.
fn rounded_parts(
    context: &Context,
    parts: &[Value],
    rounded: bool,
) -> Result<SmallVec<[Value; 3]>> {
    parts.iter().map(|part| context.operand(part, rounded)).collect()
}

#[cold]
#[inline(never)]
fn shapes_of_attention(call: &Call) -> Box<crate::error::TensorError> {
    call.error(format!(
        "takes q [b, h, n, d], k and v [b, g, m, d] with h a multiple of g and none of them empty, got shapes {}",
        call.shapes()
    ))
}

fn flag(call: &Call, at: usize, name: &str) -> Result<bool> {
    match call.int(at, 0) {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(call.error(format!("{name} must be 0 or 1, it is {other}"))),
    }
}

/// The number of keys of each sequence, read on the host.
fn lengths(
    context: &Context,
    call: &Call,
    at: usize,
    batch: usize,
    keys: usize,
) -> Result<std::sync::Arc<[usize]>> {
    let value = call.inputs[at];
    if !matches!(value.dtype(), DType::U32 | DType::I64) || value.dims() != [batch] {
        return Err(call.error(format!(
            "lengths must be u32 or i64 [{batch}], they are {:?} {:?}",
            value.dtype(),
            value.dims()
        )));
    }
    let numbers = context.backend.download(value)?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    let sizes = numbers.iter().map(|&length| {
        usize::try_from(length).ok().filter(|&length| length <= keys).ok_or_else(|| {
            call.error(format!("a length is {length}: it must be between 0 and {keys}"))
        })
    });
    Ok(sizes.collect::<Result<Vec<_>>>()?.into())
}

/// Rotary positions (Su et al. 2021).
pub(super) fn rotary(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(3..=3, 0..=1, 0..=0)?;
    call.real(0..3)?;
    let interleaved = flag(call, 0, "interleaved")?;
    let shape = call.shape(0);
    let wrong = || {
        call.error(format!(
            "takes x [.., t, d] with an even d, cosines and sines [t, d / 2] or [b, t, d / 2], got shapes {}",
            call.shapes()
        ))
    };
    let &[.., time, width] = shape else { return Err(wrong()) };
    let table = call.shape(1);
    let own = match *table {
        [rows, half] if rows == time && 2 * half == width => false,
        [batch, rows, half]
            if shape.len() > 2 && batch == shape[0] && rows == time && 2 * half == width =>
        {
            true
        }
        _ => return Err(wrong()),
    };
    if call.shape(2) != table || width == 0 {
        return Err(wrong());
    }
    // Rows of x that share one table.
    let sequences = shape[usize::from(own)..shape.len() - 2].iter().product();
    let tables = if own { shape[0] } else { 1 };
    let rotation = Rotation { tables, sequences, time, half: width / 2, interleaved };
    let x = context.backend.contiguous(call.inputs[0])?;
    let (cosines, sines) =
        (context.backend.contiguous(call.inputs[1])?, context.backend.contiguous(call.inputs[2])?);
    let out = context.backend.rotate(&rotation, &x, &cosines, &sines, false)?;
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = context.backend.contiguous(&gradients.only()?)?;
        let back = context.backend.rotate(&rotation, &gradient, &cosines, &sines, true)?;
        Ok(smallvec![Some(back)])
    }))
}
