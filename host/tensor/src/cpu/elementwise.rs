//! Loops over elements.

use candle_core::{DType, Shape};

use super::Cpu;
use super::data::{Element, contiguous, data, for_element, for_real, overwrite, value};
use super::functions::{sign, with_function};
use super::kernels::elementwise::{add_into, map, slope, slope_in_place, update, zip, zip_rows};
use super::kernels::isa::Plain;
use super::kernels::number::Real;
use crate::backend::{Elementwise, Function, Kept, Needs, Pair, PairLoss, unsupported};
use crate::error::{Result, TensorError};
use crate::value::Value;

impl Elementwise for Cpu {
    fn map(&self, function: Function, x: &Value) -> Result<Value> {
        for_real!(x.dtype(), T => with_function!(function, f => {
            Ok(value(map(&self.pool, f, &data::<T>(x)?), x.shape().clone()))
        }))
    }

    fn slope(&self, function: Function, saved: &Value, gradient: Value) -> Result<Value> {
        for_real!(gradient.dtype(), T => with_function!(function, f => {
            if function.needs() == Needs::Nothing {
                let gradient = contiguous(&gradient)?;
                let g = data::<T>(&gradient)?;
                return Ok(value(slope(&self.pool, f, &g, &g), gradient.shape().clone()));
            }
            let saved = data::<T>(saved)?;
            if gradient.is_unique() {
                overwrite(&gradient, |gradient| slope_in_place(&self.pool, f, &saved, gradient))?;
                return Ok(gradient);
            }
            let gradient = contiguous(&gradient)?;
            let result = slope(&self.pool, f, &saved, &data::<T>(&gradient)?);
            Ok(value(result, gradient.shape().clone()))
        }))
    }

    fn zip(&self, function: Pair, a: &Value, b: &Value, shape: &Shape) -> Result<Value> {
        use Pair::*;
        if matches!(function, Eq | Ne | Lt | Le | Gt | Ge) {
            return for_element!(a.dtype(), T => match function {
                Eq => self.combine(a, b, shape, |x: T, y: T| u8::from(x == y)),
                Ne => self.combine(a, b, shape, |x: T, y: T| u8::from(x != y)),
                Lt => self.combine(a, b, shape, |x: T, y: T| u8::from(x < y)),
                Le => self.combine(a, b, shape, |x: T, y: T| u8::from(x <= y)),
                Gt => self.combine(a, b, shape, |x: T, y: T| u8::from(x > y)),
                _ => self.combine(a, b, shape, |x: T, y: T| u8::from(x >= y)),
            });
        }
        match a.dtype() {
            DType::F32 | DType::F64 => for_real!(a.dtype(), T => match function {
                Loss(loss) | PredictionSlope(loss) | TargetSlope(loss) => {
                    self.pair_loss::<T>(function, loss, a, b, shape)
                }
                _ => self.real::<T>(function, a, b, shape),
            }),
            DType::BF16 | DType::F16 if function == Add => {
                Ok(Value::from_host(a.host()?.broadcast_add(b.host()?)?))
            }
            _ => self.integers(function, a, b, shape),
        }
    }

    fn select(&self, condition: &Value, a: &Value, b: &Value, shape: &Shape) -> Result<Value> {
        let condition = stretched(condition, shape)?;
        // A single number is not repeated in memory.
        let operand = |x: &Value| if x.count() == 1 { contiguous(x) } else { stretched(x, shape) };
        let (a, b) = (operand(a)?, operand(b)?);
        for_element!(a.dtype(), T => {
            let (chosen, x, y) = (data::<u8>(&condition)?, data::<T>(&a)?, data::<T>(&b)?);
            let (x_step, y_step) = (usize::from(x.len() > 1), usize::from(y.len() > 1));
            let (x, y) = (&x[..], &y[..]);
            let pick = |(at, &chosen): (usize, &u8)| {
                if chosen != 0 { x[at * x_step] } else { y[at * y_step] }
            };
            let out: Vec<T> = chosen.iter().enumerate().map(pick).collect();
            Ok(value(out, shape.clone()))
        })
    }

    fn add_into(&self, target: Value, other: &Value) -> Result<Value> {
        if !target.is_unique() || !matches!(target.dtype(), DType::F32 | DType::F64) {
            return self.zip(Pair::Add, &target, other, target.shape());
        }
        let other = contiguous(other)?;
        for_real!(target.dtype(), T => {
            let source = data::<T>(&other)?;
            overwrite(&target, |into| add_into(&self.pool, into, &source))?;
        });
        Ok(target)
    }

    fn scale_rows(&self, full: Value, gradient: &Value, width: usize) -> Result<Value> {
        for_real!(full.dtype(), T => {
            let gradient = data::<T>(gradient)?;
            if let [factor] = gradient[..] {
                if factor == 1.0 {
                    return Ok(full);
                }
                return self.map(Function::Scale(factor.wide()), &full);
            }
            let full = if full.is_unique() { full } else { Value::from_host(full.host()?.force_contiguous()?) };
            overwrite(&full, |full: &mut [T]| {
                for (row, &g) in full.chunks_exact_mut(width.max(1)).zip(gradient.iter()) {
                    row.iter_mut().for_each(|x| *x *= g);
                }
            })?;
            Ok(full)
        })
    }

    fn deactivate(
        &self,
        function: Option<Function>,
        kept: &Kept,
        gradient: Value,
    ) -> Result<Value> {
        match (kept, function) {
            (Kept::Slopes(slopes), _) => for_real!(gradient.dtype(), T => {
                let slopes = data::<T>(slopes)?;
                if gradient.is_unique() {
                    overwrite(&gradient, |gradient| {
                        update(&self.pool, gradient, &slopes, |g: &mut T, slope| *g *= slope)
                    })?;
                    return Ok(gradient);
                }
                let gradient = contiguous(&gradient)?;
                let result = zip(&self.pool, &data::<T>(&gradient)?, &slopes, |g: T, slope: T| g * slope);
                Ok(value(result, gradient.shape().clone()))
            }),
            (Kept::Values(values), Some(function)) => self.slope(function, values, gradient),
            _ => contiguous(&gradient),
        }
    }
}

/// How two shapes broadcast.
enum Fit {
    Same,
    /// One of the two is a single number.
    Number,
    /// The second is one row, repeated.
    Rows,
    Other,
}

fn fit(a: &Value, b: &Value, out: &[usize]) -> Fit {
    if a.dims() == out && b.dims() == out {
        Fit::Same
    } else if (b.count() == 1 && a.dims() == out) || (a.count() == 1 && b.dims() == out) {
        Fit::Number
    } else if a.dims() == out
        && out.iter().rev().zip(b.dims().iter().rev()).all(|(x, y)| x == y)
        && b.count() > 0
    {
        Fit::Rows
    } else {
        Fit::Other
    }
}

fn stretched(x: &Value, shape: &Shape) -> Result<Value> {
    if x.dims() == shape.dims() {
        contiguous(x)
    } else {
        contiguous(&x.broadcast_as(shape.clone())?)
    }
}

impl Cpu {
    /// `f(a, b)` with broadcasting.
    fn combine<T: Element + Sync + Send, R: Element + Send>(
        &self,
        a: &Value,
        b: &Value,
        shape: &Shape,
        f: impl Fn(T, T) -> R + Copy + Sync,
    ) -> Result<Value> {
        let fit = fit(a, b, shape.dims());
        let (a, b) = match fit {
            Fit::Other => (stretched(a, shape)?, stretched(b, shape)?),
            _ => (contiguous(a)?, contiguous(b)?),
        };
        let (x, y) = (data::<T>(&a)?, data::<T>(&b)?);
        let result = match fit {
            Fit::Rows => zip_rows(&self.pool, &x, &y, f),
            _ => zip(&self.pool, &x, &y, f),
        };
        Ok(value(result, shape.clone()))
    }

    fn real<T: Real>(&self, function: Pair, a: &Value, b: &Value, shape: &Shape) -> Result<Value> {
        let zero = T::ZERO;
        match function {
            Pair::Add => self.combine(a, b, shape, |x: T, y: T| x + y),
            Pair::Sub => self.combine(a, b, shape, |x: T, y: T| x - y),
            Pair::Mul => self.combine(a, b, shape, |x: T, y: T| x * y),
            Pair::Div => self.combine(a, b, shape, |x: T, y: T| x / y),
            Pair::Minimum => {
                self.combine(a, b, shape, |x: T, y: T| if y < x || y.is_nan() { y } else { x })
            }
            Pair::Maximum => {
                self.combine(a, b, shape, |x: T, y: T| if y > x || y.is_nan() { y } else { x })
            }
            Pair::Pow => self.combine(a, b, shape, |x: T, y: T| x.powf(y)),
            Pair::IsBelow => {
                self.combine(a, b, shape, |x: T, y: T| if y < x { T::ONE } else { zero })
            }
            Pair::IsAbove => {
                self.combine(a, b, shape, |x: T, y: T| if y > x { T::ONE } else { zero })
            }
            Pair::IsNotBelow => {
                self.combine(a, b, shape, |x: T, y: T| if y < x { zero } else { T::ONE })
            }
            Pair::IsNotAbove => {
                self.combine(a, b, shape, |x: T, y: T| if y > x { zero } else { T::ONE })
            }
            Pair::DivSlope => self.combine(a, b, shape, |x: T, y: T| -x / (y * y)),
            Pair::PowBaseSlope => {
                self.combine(
                    a,
                    b,
                    shape,
                    |x: T, y: T| {
                        if y == zero { zero } else { y * x.powf(y - T::ONE) }
                    },
                )
            }
            Pair::PowExponentSlope => {
                self.combine(
                    a,
                    b,
                    shape,
                    |x: T, y: T| {
                        if x == zero { zero } else { x.powf(y) * x.ln() }
                    },
                )
            }
            _ => Err(unsupported(a.dtype())),
        }
    }

    fn pair_loss<T: Real>(
        &self,
        function: Pair,
        loss: PairLoss,
        a: &Value,
        b: &Value,
        shape: &Shape,
    ) -> Result<Value> {
        use PairLoss::*;
        let half = T::of(0.5);
        let delta = if let Huber(delta) = loss { T::of(delta) } else { T::ZERO };
        let slope = move |d: T| match loss {
            SquaredError => d + d,
            AbsoluteError => sign(d),
            _ if d.abs() <= delta => d,
            _ => delta * sign(d),
        };
        match (function, loss) {
            (Pair::Loss(_), LogitEntropy) => self.combine(a, b, shape, |x: T, y: T| {
                x.larger(T::ZERO) - x * y + (-x.abs()).exp(Plain).log1p()
            }),
            (Pair::PredictionSlope(_), LogitEntropy) => {
                self.combine(a, b, shape, |x: T, y: T| x.sigmoid(Plain) - y)
            }
            (Pair::TargetSlope(_), LogitEntropy) => self.combine(a, b, shape, |x: T, _: T| -x),
            (Pair::PredictionSlope(_), _) => {
                self.combine(a, b, shape, move |x: T, y: T| slope(x - y))
            }
            (Pair::TargetSlope(_), _) => self.combine(a, b, shape, move |x: T, y: T| -slope(x - y)),
            _ => self.combine(a, b, shape, move |x: T, y: T| {
                let d = x - y;
                match loss {
                    SquaredError => d * d,
                    AbsoluteError => d.abs(),
                    _ if d.abs() <= delta => half * d * d,
                    _ => delta * (d.abs() - half * delta),
                }
            }),
        }
    }

    fn integers(&self, function: Pair, a: &Value, b: &Value, shape: &Shape) -> Result<Value> {
        macro_rules! integer {
            ($type:ty) => {
                match function {
                    Pair::Add => self.combine(a, b, shape, <$type>::wrapping_add),
                    Pair::Sub => self.combine(a, b, shape, <$type>::wrapping_sub),
                    Pair::Mul => self.combine(a, b, shape, <$type>::wrapping_mul),
                    Pair::Minimum => self.combine(a, b, shape, |x: $type, y: $type| x.min(y)),
                    Pair::Maximum => self.combine(a, b, shape, |x: $type, y: $type| x.max(y)),
                    Pair::Div if data::<$type>(&contiguous(b)?)?.contains(&0) => {
                        Err(TensorError::request("division of integers by zero"))
                    }
                    Pair::Div => self.combine(a, b, shape, <$type>::wrapping_div),
                    _ => Err(TensorError::request(format!(
                        "takes floating inputs, got {:?}, {:?}",
                        a.dtype(),
                        b.dtype()
                    ))),
                }
            };
        }
        match a.dtype() {
            DType::U8 => integer!(u8),
            DType::U32 => integer!(u32),
            DType::I64 => integer!(i64),
            other => Err(unsupported(other)),
        }
    }
}
