//! Functions of one and of two numbers.

use candle_core::{DType, Shape};

use super::Reference;
use super::arrays::{made, numbers, stretched};
use crate::backend::{Elementwise, Function, Needs, Pair, PairLoss, unsupported};
use crate::error::{Result, TensorError};
use crate::value::Value;

impl Elementwise for Reference {
    fn map(&self, function: Function, x: &Value) -> Result<Value> {
        Ok(made(
            x.dtype(),
            x.shape(),
            numbers(x)?.into_iter().map(|x| value(function, x)).collect(),
        ))
    }

    fn slope(&self, function: Function, saved: &Value, gradient: Value) -> Result<Value> {
        let saved = match function.needs() {
            Needs::Nothing => vec![0.0; gradient.count()],
            _ => numbers(saved)?,
        };
        let out = numbers(&gradient)?.into_iter().zip(saved).map(|(g, s)| g * slope(function, s));
        Ok(made(gradient.dtype(), gradient.shape(), out.collect()))
    }

    fn zip(&self, function: Pair, a: &Value, b: &Value, shape: &Shape) -> Result<Value> {
        use Pair::*;
        let is_comparison = matches!(function, Eq | Ne | Lt | Le | Gt | Ge);
        let is_arithmetic = matches!(function, Add | Sub | Mul | Div | Minimum | Maximum);
        let y = stretched(b, shape)?;
        match a.dtype() {
            DType::F32 | DType::F64 => {}
            DType::BF16 | DType::F16 if function == Add => {}
            dtype @ (DType::BF16 | DType::F16) => return Err(unsupported(dtype)),
            _ if is_arithmetic && function == Div && y.contains(&0.0) => {
                return Err(TensorError::request("division of integers by zero"));
            }
            _ if is_arithmetic || is_comparison => {}
            dtype => {
                return Err(TensorError::request(format!("takes floating inputs, got {dtype:?}")));
            }
        }
        let dtype = if is_comparison { DType::U8 } else { a.dtype() };
        let wrap = |x: f64| match a.dtype() {
            _ if is_comparison => x,
            DType::U8 => x.trunc().rem_euclid(256.0),
            DType::U32 => x.trunc().rem_euclid(4_294_967_296.0),
            DType::I64 => x.trunc(),
            _ => x,
        };
        let x = stretched(a, shape)?;
        let out = x.into_iter().zip(y).map(|(x, y)| wrap(pair(function, x, y))).collect();
        Ok(made(dtype, shape, out))
    }

    fn select(&self, condition: &Value, a: &Value, b: &Value, shape: &Shape) -> Result<Value> {
        if matches!(a.dtype(), DType::BF16 | DType::F16) {
            return Err(unsupported(a.dtype()));
        }
        let (x, y) = (stretched(a, shape)?, stretched(b, shape)?);
        let chosen = stretched(condition, shape)?.into_iter().zip(x.into_iter().zip(y));
        let out = chosen.map(|(chosen, (x, y))| if chosen != 0.0 { x } else { y }).collect();
        Ok(made(a.dtype(), shape, out))
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn sign(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

fn bell(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

fn gelu_inner(x: f64) -> f64 {
    (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))
}

fn value(function: Function, x: f64) -> f64 {
    use Function::*;
    match function {
        Scale(factor) => x * factor,
        Affine(factor, shift) => x * factor + shift,
        Neg => -x,
        Abs => x.abs(),
        Exp => x.exp(),
        Log => x.ln(),
        Sqrt => x.sqrt(),
        Sqr => x * x,
        Recip => 1.0 / x,
        Sin => x.sin(),
        Cos => x.cos(),
        Tanh => x.tanh(),
        Relu => {
            if x <= 0.0 {
                0.0
            } else {
                x
            }
        }
        Gelu => 0.5 * x * (1.0 + gelu_inner(x).tanh()),
        GeluErf => 0.5 * x * (1.0 + libm::erf(x / 2.0_f64.sqrt())),
        Silu => x * sigmoid(x),
        Sigmoid => sigmoid(x),
        Elu(alpha) => {
            if x > 0.0 {
                x
            } else {
                alpha * x.exp_m1()
            }
        }
        LeakyRelu(slope) => {
            if x > 0.0 {
                x
            } else {
                slope * x
            }
        }
        Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Powf(exponent) => x.powf(exponent),
        Clamp(low, high) => {
            if x < low {
                low
            } else if x > high {
                high
            } else {
                x
            }
        }
        Sign => sign(x),
        Floor => x.floor(),
        Ceil => x.ceil(),
        Round => x.round_ties_even(),
        Erf => libm::erf(x),
    }
}

/// The derivative, from the argument or the value as [`Function::needs`] says.
fn slope(function: Function, s: f64) -> f64 {
    use Function::*;
    match function {
        Scale(factor) | Affine(factor, _) => factor,
        Neg => -1.0,
        Sign | Floor | Ceil | Round => 0.0,
        Exp => s,
        Sqrt => 0.5 / s,
        Recip => -s * s,
        Tanh => 1.0 - s * s,
        Relu => {
            if s > 0.0 {
                1.0
            } else {
                0.0
            }
        }
        Sigmoid => s * (1.0 - s),
        Abs => sign(s),
        Log => 1.0 / s,
        Sqr => 2.0 * s,
        Sin => s.cos(),
        Cos => -s.sin(),
        Gelu => {
            let t = gelu_inner(s).tanh();
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (1.0 + 3.0 * 0.044715 * s * s);
            0.5 * (1.0 + t) + 0.5 * s * (1.0 - t * t) * inner
        }
        GeluErf => 0.5 * (1.0 + libm::erf(s / 2.0_f64.sqrt())) + s * bell(s),
        Silu => sigmoid(s) * (1.0 + s * (1.0 - sigmoid(s))),
        Elu(alpha) => {
            if s > 0.0 {
                1.0
            } else {
                alpha * s.exp()
            }
        }
        LeakyRelu(slope) => {
            if s > 0.0 {
                1.0
            } else {
                slope
            }
        }
        Softplus => sigmoid(s),
        Powf(0.0) => 0.0,
        Powf(exponent) => exponent * s.powf(exponent - 1.0),
        Clamp(low, high) => {
            if s < low || s > high {
                0.0
            } else {
                1.0
            }
        }
        Erf => 2.0 / std::f64::consts::PI.sqrt() * (-s * s).exp(),
    }
}

fn pair(function: Pair, x: f64, y: f64) -> f64 {
    use Pair::*;
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match function {
        Add => x + y,
        Sub => x - y,
        Mul => x * y,
        Div => x / y,
        Minimum => {
            if y < x || y.is_nan() {
                y
            } else {
                x
            }
        }
        Maximum => {
            if y > x || y.is_nan() {
                y
            } else {
                x
            }
        }
        Pow => x.powf(y),
        Eq => truth(x == y),
        Ne => truth(x != y),
        Lt => truth(x < y),
        Le => truth(x <= y),
        Gt => truth(x > y),
        Ge => truth(x >= y),
        IsBelow => truth(y < x),
        IsAbove => truth(y > x),
        IsNotBelow => 1.0 - truth(y < x),
        IsNotAbove => 1.0 - truth(y > x),
        DivSlope => -x / (y * y),
        PowBaseSlope => {
            if y == 0.0 {
                0.0
            } else {
                y * x.powf(y - 1.0)
            }
        }
        PowExponentSlope => {
            if x == 0.0 {
                0.0
            } else {
                x.powf(y) * x.ln()
            }
        }
        Loss(loss) => pair_loss(loss, x, y),
        PredictionSlope(loss) => pair_slope(loss, x, y),
        TargetSlope(PairLoss::LogitEntropy) => -x,
        TargetSlope(loss) => -pair_slope(loss, x, y),
    }
}

fn pair_loss(loss: PairLoss, x: f64, y: f64) -> f64 {
    let d = x - y;
    match loss {
        PairLoss::SquaredError => d * d,
        PairLoss::AbsoluteError => d.abs(),
        PairLoss::Huber(delta) if d.abs() <= delta => 0.5 * d * d,
        PairLoss::Huber(delta) => delta * (d.abs() - 0.5 * delta),
        PairLoss::LogitEntropy => x.max(0.0) - x * y + (-x.abs()).exp().ln_1p(),
    }
}

fn pair_slope(loss: PairLoss, x: f64, y: f64) -> f64 {
    let d = x - y;
    match loss {
        PairLoss::SquaredError => 2.0 * d,
        PairLoss::AbsoluteError => sign(d),
        PairLoss::Huber(delta) => d.clamp(-delta, delta),
        PairLoss::LogitEntropy => sigmoid(x) - y,
    }
}
