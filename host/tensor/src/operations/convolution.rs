//! Convolutions, pooling, enlargement.

use candle_core::Shape;
use fluxbay_plugin::abi::operation::op;
use smallvec::smallvec;

use super::saved::Saved;
use super::unary::activation;
use super::{Call, Produced};
use crate::backend::{Activation, Geometry, Windows};
use crate::context::Context;
use crate::error::Result;
use crate::value::Value;

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    let pooled = matches!(call.info.code, op::MAX_POOL2D | op::AVG_POOL2D | op::UPSAMPLE_NEAREST2D);
    if pooled {
        call.real([0])?;
        return pool(context, call);
    }
    call.expect(2..=3, 0..=9, 0..=0)?;
    call.real(0..call.inputs.len())?;
    let rounded = context.rounds(call.inputs[0].dtype());
    let (geometry, activation) = match call.info.code {
        op::CONV1D => conv1d(call)?,
        op::CONV2D => conv2d(call)?,
        _ => {
            let geometry = Geometry { rounded, ..conv_transpose2d(call)? };
            return transposed(context, call, geometry);
        }
    };
    let geometry = Geometry { rounded, ..geometry };
    convolve(context, call, geometry, activation)
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
        rounded: false,
    };
    Ok((checked(call, geometry, group_inputs)?, activation(call, call.int(4, 0))?))
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
        rounded: false,
    };
    Ok((checked(call, geometry, group_inputs)?, activation(call, call.int(7, 0))?))
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

fn convolve(
    context: &mut Context,
    call: &Call,
    geometry: Geometry,
    activation: Activation,
) -> Result<Produced> {
    let backend = &context.backend;
    let (x, w) = (backend.contiguous(call.inputs[0])?, backend.contiguous(call.inputs[1])?);
    let bias = call.inputs.get(2).map(|bias| backend.contiguous(bias)).transpose()?;
    let has_bias = bias.is_some();
    let shape = result_shape(&geometry, &x);
    context.admit(x.dtype(), shape.dims())?;
    let (y, kept) = backend.convolve_fused(
        &geometry,
        &x,
        &w,
        bias.as_ref(),
        activation,
        call.records(),
        shape,
    )?;
    let x = Saved::of(&x);
    Ok(Produced::one(call, y, move |context, mut gradients| {
        let gradient = gradients.only()?;
        let wants = [0, 1, 2].map(|input| gradients.wants(input));
        let x = x.value(context)?;
        let [to_x, to_w, to_bias] = context
            .backend
            .convolve_fused_gradient(&geometry, &x, &w, activation, &kept, gradient, wants)?;
        let mut results = smallvec![to_x, to_w];
        if has_bias {
            results.push(to_bias);
        }
        Ok(results)
    }))
}

/// The shape of a convolution's result: of as many dimensions as `x`.
fn result_shape(geometry: &Geometry, x: &Value) -> Shape {
    let Geometry { images, outputs, output: [height, width], .. } = *geometry;
    match x.dims().len() == 3 {
        true => Shape::from((images, outputs, width)),
        false => Shape::from((images, outputs, height, width)),
    }
}

/// Sizes of the convolution whose input gradient is this transposed convolution: its input is the
/// result here, and its result the input.
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
        let whole =
            input.checked_sub(1).zip(kernel[axis].checked_sub(1)).and_then(|(steps, span)| {
                let (steps, span) =
                    (steps.checked_mul(stride[axis])?, dilation[axis].checked_mul(span)?);
                steps.checked_add(span)?.checked_add(extra[axis] + 1)
            });
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
        rounded: false,
    })
}

fn transposed(context: &mut Context, call: &Call, geometry: Geometry) -> Result<Produced> {
    let backend = &context.backend;
    let (x, w) = (backend.contiguous(call.inputs[0])?, backend.contiguous(call.inputs[1])?);
    let [height, width] = geometry.input;
    context.admit(x.dtype(), &[geometry.images, geometry.inputs, height, width])?;
    let rounded = geometry.rounded;
    let (x, w) = (context.operand(&x, rounded)?, context.operand(&w, rounded)?);
    let mut out = backend.convolve_input(&geometry, &x, &w)?;
    let has_bias = call.inputs.len() == 3;
    if has_bias {
        out = backend.add_bias(out, &backend.contiguous(call.inputs[2])?)?;
    }
    Ok(Produced::one(call, out, move |context, mut gradients| {
        let backend = &context.backend;
        let wants = [0, 1, 2].map(|input| gradients.wants(input));
        let gradient = backend.contiguous(&gradients.only()?)?;
        let to_bias = || backend.sum(&gradient, &[0, 2, 3], None, &Shape::from(geometry.inputs));
        let to_bias = wants[2].then(to_bias).transpose()?;
        let gradient = backend.operand(gradient, rounded)?;
        // The gradient here is the input of the convolution.
        let to_x = || backend.convolve(&geometry, &gradient, &w);
        let to_w = || backend.convolve_weights(&geometry, &gradient, &x);
        let mut results =
            smallvec![wants[0].then(to_x).transpose()?, wants[1].then(to_w).transpose()?];
        if has_bias {
            results.push(to_bias);
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

fn pool(context: &mut Context, call: &Call) -> Result<Produced> {
    call.expect(1..=1, 2..=6, 0..=0)?;
    let windows = windows(call)?;
    let backend = &context.backend;
    let x = backend.contiguous(call.inputs[0])?;
    let before = x.shape().clone();
    let shape =
        Shape::from((call.shape(0)[0], call.shape(0)[1], windows.output[0], windows.output[1]));
    context.admit(x.dtype(), shape.dims())?;
    match call.info.code {
        op::MAX_POOL2D => {
            let (out, places) = backend.max_pool(&windows, &x, &shape)?;
            Ok(Produced::one(call, out, move |context, mut gradients| {
                let gradient = context.backend.contiguous(&gradients.only()?)?;
                let full =
                    context.backend.max_pool_gradient(&windows, &gradient, &places, &before)?;
                Ok(smallvec![Some(full)])
            }))
        }
        op::AVG_POOL2D => {
            let out = backend.average_pool(&windows, &x, &shape)?;
            Ok(Produced::one(call, out, move |context, mut gradients| {
                let gradient = context.backend.contiguous(&gradients.only()?)?;
                let full = context.backend.average_pool_gradient(&windows, &gradient, &before)?;
                Ok(smallvec![Some(full)])
            }))
        }
        _ => {
            let out = backend.enlarge(&windows, &x, &shape)?;
            Ok(Produced::one(call, out, move |context, mut gradients| {
                let gradient = context.backend.contiguous(&gradients.only()?)?;
                let full = context.backend.enlarge_gradient(&windows, &gradient, &before)?;
                Ok(smallvec![Some(full)])
            }))
        }
    }
}
