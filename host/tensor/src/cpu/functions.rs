//! The functions of [`Function`] with their derivatives, as types that loops are compiled for.

use super::kernels::elementwise::Unary;
use super::kernels::isa::Isa;
use super::kernels::number::Real;

macro_rules! unary {
    ($($name:ident $(($($field:ident),*))?, |$isa:ident, $x:ident| $value:expr, |$y:ident| $slope:expr;)*) => { $(
        #[derive(Clone, Copy)]
        pub(crate) struct $name $(($(pub unary!(@number $field)),*))?;
        impl Unary for $name {
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
    Scale(mul), |isa, x| x * mul, |y| mul;
    Affine(mul, add), |isa, x| x * mul + add, |y| mul;
    Neg, |isa, x| -x, |y| -T::ONE;
    Abs, |isa, x| x.abs(), |y| sign(x);
    Exp, |isa, x| x.exp(isa), |y| y;
    Log, |isa, x| x.ln(), |y| T::ONE / x;
    Sqrt, |isa, x| x.sqrt(), |y| T::of(0.5) / y;
    Sqr, |isa, x| x * x, |y| x + x;
    Recip, |isa, x| T::ONE / x, |y| -y * y;
    Sin, |isa, x| x.sin(), |y| x.cos();
    Cos, |isa, x| x.cos(), |y| -x.sin();
    Tanh, |isa, x| x.tanh(isa), |y| T::ONE - y * y;
    Relu, |isa, x| if x <= T::ZERO { T::ZERO } else { x }, |y| if y > T::ZERO { T::ONE } else { T::ZERO };
    Gelu, |isa, x| gelu(x, isa), |y| gelu_slope(x, isa);
    GeluErf, |isa, x| T::of(0.5) * x * (T::ONE + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf()), |y| {
        let density = (x * x * T::of(-0.5)).exp(isa) * T::of(0.398_942_280_401_432_7);
        T::of(0.5) * (T::ONE + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf()) + x * density
    };
    Silu, |isa, x| x * x.sigmoid(isa), |y| {
        let s = x.sigmoid(isa);
        s * (T::ONE + x * (T::ONE - s))
    };
    Sigmoid, |isa, x| x.sigmoid(isa), |y| y * (T::ONE - y);
    Elu(alpha), |isa, x| if x > T::ZERO { x } else { alpha * x.expm1() }, |y| if x > T::ZERO { T::ONE } else { alpha * x.exp(isa) };
    LeakyRelu(slope), |isa, x| if x > T::ZERO { x } else { slope * x }, |y| if x > T::ZERO { T::ONE } else { slope };
    Softplus, |isa, x| x.larger(T::ZERO) + (-x.abs()).exp(isa).log1p(), |y| x.sigmoid(isa);
    Powf(exponent), |isa, x| x.powf(exponent), |y| if exponent == T::ZERO { T::ZERO } else { exponent * x.powf(exponent - T::ONE) };
    Clamp(low, high), |isa, x| if x < low { low } else if x > high { high } else { x },
        |y| if x < low || x > high { T::ZERO } else { T::ONE };
    Sign, |isa, x| sign(x), |y| T::ZERO;
    Floor, |isa, x| x.floor(), |y| T::ZERO;
    Ceil, |isa, x| x.ceil(), |y| T::ZERO;
    Round, |isa, x| x.round_ties_even(), |y| T::ZERO;
    Erf, |isa, x| x.erf(), |y| (-x * x).exp(isa) * T::of(std::f64::consts::FRAC_2_SQRT_PI);
}

/// -1, 0 or 1; NaN stays.
#[inline(always)]
pub(super) fn sign<T: Real>(x: T) -> T {
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

/// Runs `$body` with `$f` bound to the type of a [`Function`].
macro_rules! with_function {
    ($function:expr, $f:ident => $body:expr) => {{
        use $crate::backend::Function;
        use $crate::cpu::functions::*;
        macro_rules! bind {
            ($value:expr) => {{
                let $f = $value;
                $body
            }};
        }
        match $function {
            Function::Scale(mul) => bind!(Scale(mul)),
            Function::Affine(mul, add) => bind!(Affine(mul, add)),
            Function::Neg => bind!(Neg),
            Function::Abs => bind!(Abs),
            Function::Exp => bind!(Exp),
            Function::Log => bind!(Log),
            Function::Sqrt => bind!(Sqrt),
            Function::Sqr => bind!(Sqr),
            Function::Recip => bind!(Recip),
            Function::Sin => bind!(Sin),
            Function::Cos => bind!(Cos),
            Function::Tanh => bind!(Tanh),
            Function::Relu => bind!(Relu),
            Function::Gelu => bind!(Gelu),
            Function::GeluErf => bind!(GeluErf),
            Function::Silu => bind!(Silu),
            Function::Sigmoid => bind!(Sigmoid),
            Function::Elu(alpha) => bind!(Elu(alpha)),
            Function::LeakyRelu(slope) => bind!(LeakyRelu(slope)),
            Function::Softplus => bind!(Softplus),
            Function::Powf(exponent) => bind!(Powf(exponent)),
            Function::Clamp(low, high) => bind!(Clamp(low, high)),
            Function::Sign => bind!(Sign),
            Function::Floor => bind!(Floor),
            Function::Ceil => bind!(Ceil),
            Function::Round => bind!(Round),
            Function::Erf => bind!(Erf),
        }
    }};
}
pub(crate) use with_function;

/// Runs `$body` with `$f` bound to the type of an activation; callers handle `Activation::None`.
macro_rules! with_activation {
    ($activation:expr, $f:ident => $body:expr) => {{
        use $crate::backend::Activation;
        use $crate::cpu::functions::*;
        macro_rules! bind {
            ($value:expr) => {{
                let $f = $value;
                $body
            }};
        }
        match $activation {
            Activation::None | Activation::Relu => bind!(Relu),
            Activation::Gelu => bind!(Gelu),
            Activation::GeluErf => bind!(GeluErf),
            Activation::Silu => bind!(Silu),
            Activation::Sigmoid => bind!(Sigmoid),
            Activation::Tanh => bind!(Tanh),
        }
    }};
}
pub(crate) use with_activation;
