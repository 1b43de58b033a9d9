//! Convolutions, pooling, enlargement.

use candle_core::Shape;
use fluxbay_plugin::abi::operation::op;
use smallvec::smallvec;

use super::unary::{Activation, Kept, KeptElements};
use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::convolution::{Geometry, Wanted, add_bias, backward, forward, input_gradient};
use crate::kernels::pooling::{self, Windows};
use crate::kernels::reduce::sum;
use crate::kernels::simd::Real;
use crate::value::{data, overwrite, value};

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    let pooled = matches!(call.info.code, op::MAX_POOL2D | op::AVG_POOL2D | op::UPSAMPLE_NEAREST2D);
    if pooled {
        return for_real!(call.real([0])?, T => pool::<T>(context, call));
    }
    call.expect(2..=3, 0..=9, 0..=0)?;
    let dtype = call.real(0..call.inputs.len())?;
    let (geometry, activation) = match call.info.code {
        op::CONV1D => conv1d(call)?,
        op::CONV2D => conv2d(call)?,
        _ => return for_real!(dtype, T => transposed::<T>(context, call, conv_transpose2d(call)?)),
    };
    for_real!(dtype, T => convolve::<T>(context, call, geometry, activation))
}

/// Size of the result along one axis, if the kernel fits.
fn extent(
    input: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> Option<usize> {
    let span = dilation.checked_mul(kernel.checked_sub(1)?)? + 1;
    Some((input + 2 * padding).checked_sub(span)? / stride + 1)
}

fn conv1d(call: &Call) -> Result<(Geometry, Activation)> {
    call.expect(2..=3, 0..=5, 0..=0)?;
    let (&[images, inputs, length], &[outputs, group_inputs, kernel]) =
        (call.shape(0), call.shape(1))
    else {
        return Err(call.error(format!(
            "takes x [n, in, l] and w [out, in / groups, k], got shapes {}",
            call.shapes()
        )));
    };
    let (stride, padding) = (call.size(0, "stride", 1)?, call.size(1, "padding", 0)?);
    let (dilation, groups) = (call.size(2, "dilation", 1)?, call.size(3, "groups", 1)?);
    let geometry = Geometry {
        images,
        inputs,
        outputs,
        groups,
        input: [1, length],
        output: [1, 0],
        kernel: [1, kernel],
        stride: [1, stride],
        padding: [0, padding],
        dilation: [1, dilation],
    };
    Ok((checked(call, geometry, group_inputs)?, Activation::of(call, call.int(4, 0))?))
}

fn conv2d(call: &Call) -> Result<(Geometry, Activation)> {
    call.expect(2..=3, 0..=8, 0..=0)?;
    let (&[images, inputs, height, width], &[outputs, group_inputs, kernel_height, kernel_width]) =
        (call.shape(0), call.shape(1))
    else {
        return Err(call.error(format!(
            "takes x [n, in, h, w] and w [out, in / groups, kh, kw], got shapes {}",
            call.shapes()
        )));
    };
    let geometry = Geometry {
        images,
        inputs,
        outputs,
        groups: call.size(6, "groups", 1)?,
        input: [height, width],
        output: [0, 0],
        kernel: [kernel_height, kernel_width],
        stride: [call.size(0, "stride", 1)?, call.size(1, "stride", 1)?],
        padding: [call.size(2, "padding", 0)?, call.size(3, "padding", 0)?],
        dilation: [call.size(4, "dilation", 1)?, call.size(5, "dilation", 1)?],
    };
    Ok((checked(call, geometry, group_inputs)?, Activation::of(call, call.int(7, 0))?))
}

/// Checks the sizes and fills in the result's.
fn checked(call: &Call, geometry: Geometry, group_inputs: usize) -> Result<Geometry> {
    let Geometry { inputs, outputs, groups, input, kernel, stride, padding, dilation, .. } =
        geometry;
    if groups == 0
        || !inputs.is_multiple_of(groups)
        || !outputs.is_multiple_of(groups)
        || inputs / groups != group_inputs
    {
        return Err(call.error(format!("shapes {} do not fit with {groups} groups", call.shapes())));
    }
    if stride.contains(&0) || dilation.contains(&0) {
        return Err(call.error("stride and dilation must be at least 1"));
    }
    bias_fits(call, outputs)?;
    let size = |axis: usize| {
        extent(input[axis], kernel[axis], stride[axis], padding[axis], dilation[axis]).ok_or_else(|| {
            call.error(format!("the kernel does not fit: shapes {}, padding {padding:?}, dilation {dilation:?}", call.shapes()))
        })
    };
    Ok(Geometry { output: [size(0)?, size(1)?], ..geometry })
}

fn bias_fits(call: &Call, outputs: usize) -> Result<()> {
    match call.inputs.len() == 3 && call.shape(2) != [outputs] {
        true => {
            Err(call.error(format!("the bias must be [{outputs}], got shapes {}", call.shapes())))
        }
        false => Ok(()),
    }
}

fn convolve<T: Real>(
    context: &mut Context,
    call: &Call,
    geometry: Geometry,
    activation: Activation,
) -> Result<Produced> {
    let (x, w) = (call.inputs[0].contiguous()?, call.inputs[1].contiguous()?);
    let area = geometry.output[0] * geometry.output[1];
    let bias = call.inputs.get(2).map(|value| value.contiguous()).transpose()?;
    let has_bias = bias.is_some();
    let flat = x.dims().len() == 3;
    let shape = match flat {
        true => Shape::from((geometry.images, geometry.outputs, geometry.output[1])),
        false => {
            Shape::from((geometry.images, geometry.outputs, geometry.output[0], geometry.output[1]))
        }
    };
    let elements = bias.as_ref().map(|bias| data::<T>(&bias.tensor)).transpose()?;
    let bias = elements.as_deref();
    // Bias and activation go over each image while it is in the cache, unless the derivative has to
    // be kept beside the value.
    let (y, kept) = {
        let (x, w) = (data::<T>(&x.tensor)?, data::<T>(&w.tensor)?);
        let slopes = activation.keeps_slope(call.records());
        let finish = |_, z: &mut [T]| {
            if !slopes {
                activation.finish_planes_here(z, bias, area)
            }
        };
        let mut z = forward(&context.pool, &geometry, &x, &w, &finish);
        let out = slopes.then(|| activation.finish_planes(context, &mut z, bias, area));
        activation.outcome(z, out, shape, call.records())
    };
    Ok(Produced::one(call, y, move |context, mut gradients| {
        let gradient = gradients.only()?;
        let gradient = if gradient.is_unique() { gradient } else { gradient.copied()? };
        let wanted = Wanted {
            input: gradients.wants(0),
            weights: gradients.wants(1),
            bias: gradients.wants(2),
        };
        let kept = match &kept {
            Kept::Nothing => None,
            Kept::Values(saved) | Kept::Slopes(saved) => {
                Some((data::<T>(&saved.tensor)?, matches!(kept, Kept::Values(_))))
            }
        };
        let kept = match &kept {
            None => KeptElements::Nothing,
            Some((values, true)) => KeptElements::Values(values),
            Some((slopes, false)) => KeptElements::Slopes(slopes),
        };
        let (elements, weights) = (data::<T>(&x.tensor)?, data::<T>(&w.tensor)?);
        let full = overwrite(&gradient.tensor, |gradient| {
            let prepare = |start: usize, gradient: &mut [T]| {
                kept.deactivate_here(activation, start, gradient)
            };
            backward(&context.pool, &geometry, &elements, &weights, gradient, &prepare, wanted)
        })?;
        let mut results = smallvec![
            wanted.input.then(|| value(full.input, x.tensor.shape().clone())),
            wanted.weights.then(|| value(full.weights, w.tensor.shape().clone())),
        ];
        if has_bias {
            results.push(wanted.bias.then(|| value(full.bias, geometry.outputs)));
        }
        Ok(results)
    }))
}

/// The convolution whose input gradient this transposed convolution is: from the result's size back
/// to the input's.
fn conv_transpose2d(call: &Call) -> Result<Geometry> {
    call.expect(2..=3, 0..=9, 0..=0)?;
    let (&[images, inputs, height, width], &[rows, group_outputs, kernel_height, kernel_width]) =
        (call.shape(0), call.shape(1))
    else {
        return Err(call.error(format!(
            "takes x [n, in, h, w] and w [in, out / groups, kh, kw], got shapes {}",
            call.shapes()
        )));
    };
    let groups = call.size(8, "groups", 1)?;
    if groups == 0 || rows != inputs || !inputs.is_multiple_of(groups) {
        return Err(call.error(format!("shapes {} do not fit with {groups} groups", call.shapes())));
    }
    let outputs = group_outputs * groups;
    bias_fits(call, outputs)?;
    let pair = |at: usize, what: &str, default: i64| {
        Ok::<_, Box<crate::TensorError>>([
            call.size(at, what, default)?,
            call.size(at + 1, what, default)?,
        ])
    };
    let (stride, padding) = (pair(0, "stride", 1)?, pair(2, "padding", 0)?);
    let (extra, dilation) = (pair(4, "output padding", 0)?, pair(6, "dilation", 1)?);
    if stride.contains(&0)
        || dilation.contains(&0)
        || (0..2).any(|axis| extra[axis] >= stride[axis].max(dilation[axis]))
    {
        return Err(call.error(
            "stride and dilation must be at least 1, output padding smaller than one of them",
        ));
    }
    let kernel = [kernel_height, kernel_width];
    let size = |axis: usize, input: usize| {
        let whole = input
            .checked_sub(1)
            .zip(kernel[axis].checked_sub(1))
            .map(|(steps, span)| steps * stride[axis] + dilation[axis] * span + extra[axis] + 1);
        whole.and_then(|whole| whole.checked_sub(2 * padding[axis])).ok_or_else(|| {
            call.error(format!("nothing is left: shapes {}, padding {padding:?}", call.shapes()))
        })
    };
    Ok(Geometry {
        images,
        inputs: outputs,
        outputs: inputs,
        groups,
        input: [size(0, height)?, size(1, width)?],
        output: [height, width],
        kernel,
        stride,
        padding,
        dilation,
    })
}

fn transposed<T: Real>(context: &mut Context, call: &Call, geometry: Geometry) -> Result<Produced> {
    let (x, w) = (call.inputs[0].contiguous()?, call.inputs[1].contiguous()?);
    let [height, width] = geometry.input;
    let mut out =
        input_gradient(&context.pool, &geometry, &data::<T>(&x.tensor)?, &data::<T>(&w.tensor)?);
    let has_bias = call.inputs.len() == 3;
    if has_bias {
        let bias = call.inputs[2].contiguous()?;
        add_bias(&context.pool, &mut out, &data::<T>(&bias.tensor)?, height * width);
    }
    let out = value(out, (geometry.images, geometry.inputs, height, width));
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        let g = data::<T>(&gradient.tensor)?;
        let mut results = smallvec![None, None, None];
        if gradients.wants(0) {
            let full = forward(&context.pool, &geometry, &g, &data::<T>(&w.tensor)?, &|_, _| {});
            results[0] = Some(value(full, x.tensor.shape().clone()));
        }
        if gradients.wants(1) {
            // The convolution's input is the gradient here, its result's gradient the input:
            // nothing of it is changed.
            let mut x = data::<T>(&x.tensor)?.to_vec();
            let wanted = Wanted { input: false, weights: true, bias: false };
            let full = backward(&context.pool, &geometry, &g, &[], &mut x, &|_, _| {}, wanted);
            results[1] = Some(value(full.weights, w.tensor.shape().clone()));
        }
        if gradients.wants(2) {
            let planes =
                sum(&context.pool, &g, geometry.images * geometry.inputs, height * width, 1);
            results[2] = Some(value(
                sum(&context.pool, &planes, 1, geometry.images, geometry.inputs),
                geometry.inputs,
            ));
        }
        if !has_bias {
            results.truncate(2);
        }
        Ok(results)
    }))
}

fn windows(call: &Call) -> Result<Windows> {
    let &[images, channels, height, width] = call.shape(0) else {
        return Err(call.error(format!("takes [n, c, h, w], got shape {:?}", call.shape(0))));
    };
    let planes = images * channels;
    let input = [height, width];
    if call.info.code == op::UPSAMPLE_NEAREST2D {
        call.expect(1..=1, 2..=2, 0..=0)?;
        let output = [call.size(0, "height", 1)?, call.size(1, "width", 1)?];
        if input.contains(&0) {
            return Err(call.error(format!("shape {:?} has no elements to repeat", call.shape(0))));
        }
        return Ok(Windows {
            planes,
            input,
            output,
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0, 0],
        });
    }
    call.expect(1..=1, 2..=6, 0..=0)?;
    let kernel = [call.size(0, "kernel", 1)?, call.size(1, "kernel", 1)?];
    let stride = [call.size(2, "stride", call.ints[0])?, call.size(3, "stride", call.ints[1])?];
    let padding = [call.size(4, "padding", 0)?, call.size(5, "padding", 0)?];
    if kernel.contains(&0)
        || stride.contains(&0)
        || (0..2).any(|axis| padding[axis] * 2 > kernel[axis])
    {
        return Err(
            call.error(format!("kernel {kernel:?}, stride {stride:?} and padding {padding:?}: padding may be at most half the kernel"))
        );
    }
    let size = |axis: usize| {
        extent(input[axis], kernel[axis], stride[axis], padding[axis], 1).ok_or_else(|| {
            call.error(format!("a window of {kernel:?} does not fit shape {:?}", call.shape(0)))
        })
    };
    Ok(Windows { planes, input, output: [size(0)?, size(1)?], kernel, stride, padding })
}

fn pool<T: Real>(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 2..=6, 0..=0)?;
    let windows = windows(call)?;
    let x = call.inputs[0].contiguous()?;
    let before = x.tensor.shape().clone();
    let shape = (call.shape(0)[0], call.shape(0)[1], windows.output[0], windows.output[1]);
    let elements = data::<T>(&x.tensor)?;
    match call.info.code {
        op::MAX_POOL2D => {
            let (out, places) = pooling::max(&context.pool, &windows, &elements);
            Ok(Produced::one(call, value(out, shape), move |context, mut gradients| {
                let gradient = gradients.only()?.contiguous()?;
                let full = pooling::max_gradient(
                    &context.pool,
                    &windows,
                    &data::<T>(&gradient.tensor)?,
                    &places,
                );
                Ok(smallvec![Some(value(full, before))])
            }))
        }
        op::AVG_POOL2D => {
            let out = pooling::average(&context.pool, &windows, &elements);
            Ok(Produced::one(call, value(out, shape), move |context, mut gradients| {
                let gradient = gradients.only()?.contiguous()?;
                let full = pooling::average_gradient(
                    &context.pool,
                    &windows,
                    &data::<T>(&gradient.tensor)?,
                );
                Ok(smallvec![Some(value(full, before))])
            }))
        }
        _ => {
            let out = pooling::nearest(&context.pool, &windows, &elements);
            Ok(Produced::one(call, value(out, shape), move |context, mut gradients| {
                let gradient = gradients.only()?.contiguous()?;
                let full = pooling::nearest_gradient(
                    &context.pool,
                    &windows,
                    &data::<T>(&gradient.tensor)?,
                );
                Ok(smallvec![Some(value(full, before))])
            }))
        }
    }
}
