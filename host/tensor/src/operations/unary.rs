//! Functions of one number, element by element.

use candle_core::Shape;
use fluxbay_plugin::abi::operation::{activation, op};
use smallvec::smallvec;

use super::{Call, Produced, for_real};
use crate::context::Context;
use crate::error::Result;
use crate::kernels::elementwise::{
    Block, Needs, Unary, finish_planes, finish_planes_here, finish_rows, map, multiply_here, slope,
    slope_here, slope_in_place, update, zip,
};
use crate::kernels::simd::{Isa, Real};
use crate::pool::Parts;
use crate::value::{Value, data, overwrite, value};

macro_rules! unary {
    ($($name:ident $(($($field:ident),*))?, $needs:ident, |$isa:ident, $x:ident| $value:expr, |$y:ident| $slope:expr;)*) => { $(
        #[derive(Clone, Copy)]
        pub(crate) struct $name $(($(pub unary!(@number $field)),*))?;
        impl Unary for $name {
            const NEEDS: Needs = Needs::$needs;
            #[inline(always)]
            fn value<T: Real, S: Isa>(&self, $x: T, $isa: S) -> T {
                let $name $(($($field),*))? = *self;
                $($(let $field = T::of($field);)*)?
                let _ = ($isa, $($($field,)*)?);
                $value
            }
            #[inline(always)]
            fn slope<T: Real, S: Isa>(&self, $x: T, $y: T, $isa: S) -> T {
                let $name $(($($field),*))? = *self;
                $($(let $field = T::of($field);)*)?
                let _ = ($isa, $x, $y, $($($field,)*)?);
                $slope
            }
        }
    )* };
    (@number $field:ident) => { f64 };
}

unary! {
    Affine(mul), Nothing, |isa, x| x * mul, |y| mul;
    Neg, Nothing, |isa, x| -x, |y| -T::ONE;
    Abs, Input, |isa, x| x.abs(), |y| sign(x);
    Exp, Output, |isa, x| x.exp(isa), |y| y;
    Log, Input, |isa, x| x.ln(), |y| T::ONE / x;
    Sqrt, Output, |isa, x| x.sqrt(), |y| T::of(0.5) / y;
    Sqr, Input, |isa, x| x * x, |y| x + x;
    Recip, Output, |isa, x| T::ONE / x, |y| -y * y;
    Sin, Input, |isa, x| x.sin(), |y| x.cos();
    Cos, Input, |isa, x| x.cos(), |y| -x.sin();
    Tanh, Output, |isa, x| x.tanh(isa), |y| T::ONE - y * y;
    Relu, Output, |isa, x| if x <= T::ZERO { T::ZERO } else { x }, |y| if y > T::ZERO { T::ONE } else { T::ZERO };
    Gelu, Input, |isa, x| gelu(x, isa), |y| gelu_slope(x, isa);
    GeluErf, Input, |isa, x| T::of(0.5) * x * (T::ONE + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf()), |y| {
        let density = (x * x * T::of(-0.5)).exp(isa) * T::of(0.398_942_280_401_432_7);
        T::of(0.5) * (T::ONE + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf()) + x * density
    };
    Silu, Input, |isa, x| x * x.sigmoid(isa), |y| {
        let s = x.sigmoid(isa);
        s * (T::ONE + x * (T::ONE - s))
    };
    Sigmoid, Output, |isa, x| x.sigmoid(isa), |y| y * (T::ONE - y);
    Elu(alpha), Input, |isa, x| if x > T::ZERO { x } else { alpha * x.expm1() }, |y| if x > T::ZERO { T::ONE } else { alpha * x.exp(isa) };
    LeakyRelu(slope), Input, |isa, x| if x > T::ZERO { x } else { slope * x }, |y| if x > T::ZERO { T::ONE } else { slope };
    Softplus, Input, |isa, x| x.larger(T::ZERO) + (-x.abs()).exp(isa).log1p(), |y| x.sigmoid(isa);
    Powf(exponent), Input, |isa, x| x.powf(exponent), |y| if exponent == T::ZERO { T::ZERO } else { exponent * x.powf(exponent - T::ONE) };
    Clamp(low, high), Input, |isa, x| if x < low { low } else if x > high { high } else { x },
        |y| if x < low || x > high { T::ZERO } else { T::ONE };
    Sign, Nothing, |isa, x| sign(x), |y| T::ZERO;
    Floor, Nothing, |isa, x| x.floor(), |y| T::ZERO;
    Ceil, Nothing, |isa, x| x.ceil(), |y| T::ZERO;
    Round, Nothing, |isa, x| x.round_ties_even(), |y| T::ZERO;
    Erf, Input, |isa, x| x.erf(), |y| (-x * x).exp(isa) * T::of(std::f64::consts::FRAC_2_SQRT_PI);
}

#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        x
    }
}

/// sqrt(2 / pi).
const GELU_SCALE: f64 = 0.797_884_560_802_865_4;
const GELU_CUBIC: f64 = 0.044_715;

#[inline(always)]
fn gelu<T: Real, S: Isa>(x: T, isa: S) -> T {
    let square = x * x;
    let inner = T::of(GELU_SCALE) * x * (T::ONE + T::of(GELU_CUBIC) * square);
    T::of(0.5) * x * (T::ONE + inner.tanh(isa))
}

#[inline(always)]
fn gelu_slope<T: Real, S: Isa>(x: T, isa: S) -> T {
    let square = x * x;
    let inner = T::of(GELU_SCALE) * x * (T::ONE + T::of(GELU_CUBIC) * square);
    let t = inner.tanh(isa);
    let steepness = T::of(GELU_SCALE) * (T::ONE + T::of(3.0 * GELU_CUBIC) * square);
    T::of(0.5) * (T::ONE + t + x * (T::ONE - t * t) * steepness)
}

/// Calls `$body` with `$function` bound to the function of the call.
macro_rules! with_function {
    ($call:expr, $function:ident => $body:expr) => {{
        let call = $call;
        macro_rules! bind {
            ($value:expr) => {{
                let $function = $value;
                $body
            }};
        }
        match call.info.code {
            op::NEG => bind!(Neg),
            op::ABS => bind!(Abs),
            op::EXP => bind!(Exp),
            op::LOG => bind!(Log),
            op::SQRT => bind!(Sqrt),
            op::SQR => bind!(Sqr),
            op::RECIP => bind!(Recip),
            op::SIN => bind!(Sin),
            op::COS => bind!(Cos),
            op::TANH => bind!(Tanh),
            op::RELU => bind!(Relu),
            op::GELU => bind!(Gelu),
            op::GELU_ERF => bind!(GeluErf),
            op::SILU => bind!(Silu),
            op::SIGMOID => bind!(Sigmoid),
            op::ELU => bind!(Elu(call.float(0, 1.0))),
            op::LEAKY_RELU => bind!(LeakyRelu(call.float(0, 0.01))),
            op::SOFTPLUS => bind!(Softplus),
            op::POWF => bind!(Powf(call.float(0, 1.0))),
            op::CLAMP => bind!(Clamp(call.float(0, 0.0), call.float(1, 0.0))),
            op::SIGN => bind!(Sign),
            op::FLOOR => bind!(Floor),
            op::CEIL => bind!(Ceil),
            op::ROUND => bind!(Round),
            op::ERF => bind!(Erf),
            _ => Err(call.error("is not a function of one number")),
        }
    }};
}

pub(super) fn apply(context: &mut Context, call: &Call) -> Result<Produced> {
    let floats = match call.info.code {
        op::AFFINE | op::CLAMP => 2..=2,
        op::POWF => 1..=1,
        op::ELU | op::LEAKY_RELU => 0..=1,
        _ => 0..=0,
    };
    call.expect(1..=1, 0..=0, floats)?;
    let dtype = call.real([0])?;
    match call.info.code {
        op::AFFINE => for_real!(dtype, T => affine::<T>(context, call)),
        op::CLAMP
            if call.floats[0] > call.floats[1]
                || call.floats.iter().any(|bound| bound.is_nan()) =>
        {
            Err(call.error(format!(
                "the bounds {} and {} are not in order",
                call.floats[0], call.floats[1]
            )))
        }
        _ => {
            with_function!(call, function => for_real!(dtype, T => function_of::<T, _>(context, call, function)))
        }
    }
}

fn function_of<T: Real, U: Unary>(
    context: &mut Context,
    call: &Call,
    function: U,
) -> Result<Produced> {
    let x = call.inputs[0].contiguous()?;
    let y = value(map(&context.pool, function, &data::<T>(&x.tensor)?), x.tensor.shape().clone());
    let saved = match U::NEEDS {
        Needs::Input => x,
        Needs::Output => y.clone(),
        Needs::Nothing => {
            return Ok(Produced::one(call, y, move |context, mut gradients| {
                let gradient = gradients.only()?.contiguous()?;
                let slopes = data::<T>(&gradient.tensor)?;
                Ok(smallvec![Some(value(
                    slope(&context.pool, function, &slopes, &slopes),
                    gradient.tensor.shape().clone()
                ))])
            }));
        }
    };
    Ok(Produced::one(call, y, move |context, mut gradients| {
        Ok(smallvec![Some(through::<T, U>(context, function, &saved, gradients.only()?)?)])
    }))
}

/// A gradient times the function's derivative; overwrites the gradient where nobody else needs it.
pub(crate) fn through<T: Real, U: Unary>(
    context: &mut Context,
    function: U,
    saved: &Value,
    gradient: Value,
) -> Result<Value> {
    let saved = data::<T>(&saved.tensor)?;
    if gradient.is_unique() {
        overwrite(&gradient.tensor, |gradient| {
            slope_in_place(&context.pool, function, &saved, gradient)
        })?;
        return Ok(gradient);
    }
    let gradient = gradient.contiguous()?;
    let result = slope(&context.pool, function, &saved, &data::<T>(&gradient.tensor)?);
    Ok(value(result, gradient.tensor.shape().clone()))
}

fn affine<T: Real>(context: &mut Context, call: &Call) -> Result<Produced> {
    let (mul, add) = (T::of(call.floats[0]), T::of(call.floats[1]));
    let x = call.inputs[0].contiguous()?;
    let elements = data::<T>(&x.tensor)?;
    let y = crate::kernels::elementwise::zip(&context.pool, &elements, &elements, move |x, _| {
        x * mul + add
    });
    let factor = Affine(call.floats[0]);
    Ok(Produced::one(call, value(y, x.tensor.shape().clone()), move |context, mut gradients| {
        let gradient = gradients.only()?.contiguous()?;
        Ok(smallvec![Some(value(
            map(&context.pool, factor, &data::<T>(&gradient.tensor)?),
            gradient.tensor.shape().clone()
        ))])
    }))
}

/// An activation fused into another operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
    Gelu,
    GeluErf,
    Silu,
    Sigmoid,
    Tanh,
}

/// Calls `$body` with `$function` bound to the activation's function; `None` never gets here.
macro_rules! with_activation {
    ($activation:expr, $function:ident => $body:expr) => {
        match $activation {
            $crate::operations::unary::Activation::None
            | $crate::operations::unary::Activation::Relu => {
                let $function = $crate::operations::unary::Relu;
                $body
            }
            $crate::operations::unary::Activation::Gelu => {
                let $function = $crate::operations::unary::Gelu;
                $body
            }
            $crate::operations::unary::Activation::GeluErf => {
                let $function = $crate::operations::unary::GeluErf;
                $body
            }
            $crate::operations::unary::Activation::Silu => {
                let $function = $crate::operations::unary::Silu;
                $body
            }
            $crate::operations::unary::Activation::Sigmoid => {
                let $function = $crate::operations::unary::Sigmoid;
                $body
            }
            $crate::operations::unary::Activation::Tanh => {
                let $function = $crate::operations::unary::Tanh;
                $body
            }
        }
    };
}

impl Activation {
    /// From the attribute's code.
    pub fn of(call: &Call, code: i64) -> Result<Self> {
        Ok(match code {
            activation::NONE => Activation::None,
            activation::RELU => Activation::Relu,
            activation::GELU => Activation::Gelu,
            activation::GELU_ERF => Activation::GeluErf,
            activation::SILU => Activation::Silu,
            activation::SIGMOID => Activation::Sigmoid,
            activation::TANH => Activation::Tanh,
            _ => return Err(call.error(format!("there is no activation with code {code}"))),
        })
    }

    /// Whether the derivative is written in the value, so that the argument need not be kept.
    fn needs_output(self) -> bool {
        matches!(self, Activation::None | Activation::Relu | Activation::Sigmoid | Activation::Tanh)
    }
}

/// What an activation leaves for the way back.
pub(crate) enum Kept {
    /// There is none to go back through.
    Nothing,
    /// Its values: the derivative is written in them.
    Values(Value),
    /// Its derivative.
    Slopes(Value),
}

impl Activation {
    /// Whether its derivative has to be kept beside its value.
    pub fn keeps_slope(self, records: bool) -> bool {
        records && !self.needs_output()
    }

    /// Adds a bias to rows and applies the activation, on this thread. `out` is where the values go
    /// if [`keeps_slope`](Self::keeps_slope).
    ///
    /// # Safety
    /// Nobody else may use the block, in `z` or in `out`.
    pub unsafe fn finish_rows<T: Real>(
        self,
        z: &Parts<T>,
        out: Option<&Parts<T>>,
        block: Block,
        bias: Option<&[T]>,
    ) {
        // SAFETY: promised by the caller.
        unsafe {
            match self {
                Activation::None => finish_rows(z, None, block, bias, None::<Relu>),
                _ => {
                    with_activation!(self, function => finish_rows(z, out, block, bias, Some(function)))
                }
            }
        }
    }

    /// Adds a bias to planes of `area` elements of one image and applies the activation, in place,
    /// on this thread.
    pub fn finish_planes_here<T: Real>(self, z: &mut [T], bias: Option<&[T]>, area: usize) {
        match self {
            Activation::None => finish_planes_here(z, bias, area, None::<Relu>),
            _ => {
                with_activation!(self, function => finish_planes_here(z, bias, area, Some(function)))
            }
        }
    }

    /// Adds a bias to planes of `area` elements and applies the activation; what was `z` becomes
    /// its derivative.
    pub fn finish_planes<T: Real>(
        self,
        context: &Context,
        z: &mut [T],
        bias: Option<&[T]>,
        area: usize,
    ) -> Vec<T> {
        with_activation!(self, function => finish_planes(&context.pool, z, bias, area, function))
    }

    /// What comes out, and what is kept for the way back: of elements in which the value stands, or
    /// the derivative beside the values in `out`.
    pub fn outcome<T: Real>(
        self,
        z: Vec<T>,
        out: Option<Vec<T>>,
        shape: Shape,
        records: bool,
    ) -> (Value, Kept) {
        match out {
            Some(out) => (value(out, shape.clone()), Kept::Slopes(value(z, shape))),
            None => {
                let y = value(z, shape);
                let kept = if records && self != Activation::None {
                    Kept::Values(y.clone())
                } else {
                    Kept::Nothing
                };
                (y, kept)
            }
        }
    }
}

/// What an activation kept, as elements.
pub(crate) enum KeptElements<'a, T> {
    Nothing,
    Values(&'a [T]),
    Slopes(&'a [T]),
}

impl<T: Real> KeptElements<'_, T> {
    /// Takes the part of a gradient that begins at `start` back through the activation, on this
    /// thread.
    pub fn deactivate_here(&self, activation: Activation, start: usize, gradient: &mut [T]) {
        let range = start..start + gradient.len();
        match self {
            KeptElements::Nothing => {}
            KeptElements::Values(saved) => {
                with_activation!(activation, function => slope_here(function, &saved[range], gradient))
            }
            KeptElements::Slopes(slopes) => multiply_here(gradient, &slopes[range]),
        }
    }
}

/// A gradient back through an activation, in row-major order.
pub(crate) fn deactivate<T: Real>(
    context: &mut Context,
    activation: Activation,
    kept: &Kept,
    gradient: Value,
) -> Result<Value> {
    match kept {
        Kept::Nothing => gradient.contiguous(),
        Kept::Values(saved) => {
            with_activation!(activation, function => through::<T, _>(context, function, saved, gradient))
        }
        Kept::Slopes(slopes) => {
            let slopes = data::<T>(&slopes.tensor)?;
            if gradient.is_unique() {
                overwrite(&gradient.tensor, |gradient| {
                    update(&context.pool, gradient, &slopes, |g: &mut T, slope| *g *= slope)
                })?;
                return Ok(gradient);
            }
            let gradient = gradient.contiguous()?;
            let result =
                zip(&context.pool, &data::<T>(&gradient.tensor)?, &slopes, |g: T, slope: T| {
                    g * slope
                });
            Ok(value(result, gradient.tensor.shape().clone()))
        }
    }
}
