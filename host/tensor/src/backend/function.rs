//! Functions of one and of two numbers, as data: a backend has a loop for each.

use crate::value::Value;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `x factor`.
    Scale(f64),
    /// `x factor + shift`.
    Affine(f64, f64),
    /// `-x`.
    Neg,
    /// Absolute value; derivative 0 at 0.
    Abs,
    /// `e^x`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `x^2`.
    Sqr,
    /// `1 / x`.
    Recip,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Hyperbolic tangent.
    Tanh,
    /// `max(x, 0)`; NaN stays.
    Relu,
    /// GELU in the approximation with tanh.
    Gelu,
    /// GELU with the error function.
    GeluErf,
    /// `x sigmoid(x)`.
    Silu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x` above 0, else `alpha (e^x - 1)`.
    Elu(f64),
    /// `x` above 0, else `slope x`.
    LeakyRelu(f64),
    /// `ln(1 + e^x)`.
    Softplus,
    /// `x^exponent`.
    Powf(f64),
    /// `x` limited to the range between two bounds.
    Clamp(f64, f64),
    /// -1, 0 or 1; NaN stays.
    Sign,
    /// Largest whole number that is not above `x`.
    Floor,
    /// Smallest whole number that is not below `x`.
    Ceil,
    /// Nearest whole number, ties to even.
    Round,
    /// Error function.
    Erf,
}

/// What a derivative is computed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// The argument.
    Input,
    /// The value of the function.
    Output,
    /// Neither: it is constant.
    Nothing,
}

impl Function {
    /// What its derivative is computed from.
    pub fn needs(self) -> Needs {
        use Function::*;
        match self {
            Scale(_) | Affine(..) | Neg | Sign | Floor | Ceil | Round => Needs::Nothing,
            Exp | Sqrt | Recip | Tanh | Relu | Sigmoid => Needs::Output,
            Abs | Log | Sqr | Sin | Cos | Gelu | GeluErf | Silu | Elu(_) | LeakyRelu(_)
            | Softplus | Powf(_) | Clamp(..) | Erf => Needs::Input,
        }
    }
}

/// A function of two numbers `x` and `y`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pair {
    /// `x + y`; integers wrap.
    Add,
    /// `x - y`; integers wrap.
    Sub,
    /// `x y`; integers wrap.
    Mul,
    /// `x / y`; dividing integers by zero is an error.
    Div,
    /// The smaller; NaN if one is NaN.
    Minimum,
    /// The larger; NaN if one is NaN.
    Maximum,
    /// `x^y` of floating numbers.
    Pow,
    /// `x == y` as u8, as are the next five.
    Eq,
    /// `x != y`.
    Ne,
    /// `x < y`.
    Lt,
    /// `x <= y`.
    Le,
    /// `x > y`.
    Gt,
    /// `x >= y`.
    Ge,
    /// 1 if `y < x`, else 0, as floating numbers: what the second argument of a minimum gets.
    IsBelow,
    /// 1 if `y > x`, else 0, as floating numbers: what the second argument of a maximum gets.
    IsAbove,
    /// 0 if `y < x`, else 1: what the first argument of a minimum gets.
    IsNotBelow,
    /// 0 if `y > x`, else 1: what the first argument of a maximum gets.
    IsNotAbove,
    /// `-x / y^2`: derivative of `x / y` with respect to `y`.
    DivSlope,
    /// `y x^(y - 1)`, and 0 for `y = 0`: derivative of `x^y` with respect to `x`.
    PowBaseSlope,
    /// `x^y ln x`, and 0 for `x = 0`: derivative of `x^y` with respect to `y`.
    PowExponentSlope,
    /// A loss of prediction `x` and target `y`.
    Loss(PairLoss),
    /// The derivative of a loss with respect to the prediction.
    PredictionSlope(PairLoss),
    /// The derivative of a loss with respect to the target.
    TargetSlope(PairLoss),
}

/// A loss of two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PairLoss {
    /// `(x - y)^2`.
    SquaredError,
    /// `|x - y|`.
    AbsoluteError,
    /// Half the squared error up to `delta`, linear beyond.
    Huber(f64),
    /// Binary cross-entropy of the logit `x` and the probability `y`.
    LogitEntropy,
}

/// An activation fused into another operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// None: the values stay.
    None,
    /// [`Function::Relu`].
    Relu,
    /// [`Function::Gelu`].
    Gelu,
    /// [`Function::GeluErf`].
    GeluErf,
    /// [`Function::Silu`].
    Silu,
    /// [`Function::Sigmoid`].
    Sigmoid,
    /// [`Function::Tanh`].
    Tanh,
}

impl Activation {
    /// The function; `None` for no activation.
    pub fn function(self) -> Option<Function> {
        Some(match self {
            Activation::None => return None,
            Activation::Relu => Function::Relu,
            Activation::Gelu => Function::Gelu,
            Activation::GeluErf => Function::GeluErf,
            Activation::Silu => Function::Silu,
            Activation::Sigmoid => Function::Sigmoid,
            Activation::Tanh => Function::Tanh,
        })
    }

    /// Whether the derivative must be kept beside the values, because it cannot be computed from
    /// them.
    pub fn keeps_slope(self, records: bool) -> bool {
        records && self.function().is_some_and(|function| function.needs() == Needs::Input)
    }
}

/// What the backward pass of a fused activation needs.
#[derive(Clone, Debug)]
pub enum Kept {
    /// Nothing: there is no activation, or no backward pass.
    Nothing,
    /// The values, which the derivative is computed from.
    Values(Value),
    /// The derivative.
    Slopes(Value),
}
