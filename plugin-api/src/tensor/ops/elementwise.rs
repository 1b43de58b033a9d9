//! Operations on each element, and the operators `+`, `-`, `*`, `/`.

use crate::{
    Result,
    abi::operation::op,
    tensor::{DType, Tensor},
};

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident = $code:ident),+ $(,)?) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        /// If shapes or element types do not fit; the error names the operation.
        pub fn $name(&self) -> Result<Tensor> {
            Tensor::apply(op::$code, &[self], &[], &[])
        }
    )+ };
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = $code:ident),+ $(,)?) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        /// If shapes or element types do not fit; the error names the operation.
        pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
            Tensor::apply(op::$code, &[self, other], &[], &[])
        }
    )+ };
}

/// Element by element.
impl Tensor {
    binary! {
        /// `self + other`, broadcasting.
        add = ADD,
        /// `self - other`, broadcasting.
        sub = SUB,
        /// `self * other`, broadcasting.
        mul = MUL,
        /// `self / other`, broadcasting.
        div = DIV,
        /// The smaller of both, broadcasting.
        minimum = MINIMUM,
        /// The larger of both, broadcasting.
        maximum = MAXIMUM,
        /// `self ^ other`, broadcasting.
        pow = POW,
        /// 1 where equal, else 0 (`u8`), broadcasting.
        eq = EQ,
        /// 1 where not equal (`u8`), broadcasting.
        ne = NE,
        /// 1 where less (`u8`), broadcasting.
        lt = LT,
        /// 1 where less or equal (`u8`), broadcasting.
        le = LE,
        /// 1 where greater (`u8`), broadcasting.
        gt = GT,
        /// 1 where greater or equal (`u8`), broadcasting.
        ge = GE,
        /// Matrix product: `[.., m, k]` by `[.., k, n]` is `[.., m, n]`.
        matmul = MATMUL,
    }

    unary! {
        /// `-x`.
        neg = NEG,
        /// `|x|`.
        abs = ABS,
        /// `e^x`.
        exp = EXP,
        /// Natural logarithm.
        log = LOG,
        /// Square root.
        sqrt = SQRT,
        /// `x^2`.
        sqr = SQR,
        /// `1 / x`.
        recip = RECIP,
        /// Sine.
        sin = SIN,
        /// Cosine.
        cos = COS,
        /// Hyperbolic tangent.
        tanh = TANH,
        /// `max(x, 0)`.
        relu = RELU,
        /// Gaussian error linear unit, tanh form.
        gelu = GELU,
        /// Gaussian error linear unit, exact form.
        gelu_erf = GELU_ERF,
        /// `x sigmoid(x)`.
        silu = SILU,
        /// `1 / (1 + e^-x)`.
        sigmoid = SIGMOID,
        /// `ln(1 + e^x)`.
        softplus = SOFTPLUS,
        /// -1, 0 or 1.
        sign = SIGN,
        /// Rounded down.
        floor = FLOOR,
        /// Rounded up.
        ceil = CEIL,
        /// Rounded to the nearest, halves to even.
        round = ROUND,
        /// Error function.
        erf = ERF,
        /// The same values in row-major order.
        contiguous = CONTIGUOUS,
        /// The same values as a constant: no gradient flows back.
        detach = DETACH,
        /// Euclidean norm over all elements: a scalar.
        norm = NORM,
    }

    /// `self * mul + add`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn affine(&self, mul: f64, add: f64) -> Result<Tensor> {
        Tensor::apply(op::AFFINE, &[self], &[], &[mul, add])
    }

    /// `self ^ exponent`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn powf(&self, exponent: f64) -> Result<Tensor> {
        Tensor::apply(op::POWF, &[self], &[], &[exponent])
    }

    /// Kept within `[min, max]`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn clamp(&self, min: f64, max: f64) -> Result<Tensor> {
        Tensor::apply(op::CLAMP, &[self], &[], &[min, max])
    }

    /// `x` where positive, else `alpha (e^x - 1)`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn elu(&self, alpha: f64) -> Result<Tensor> {
        Tensor::apply(op::ELU, &[self], &[], &[alpha])
    }

    /// `x` where positive, else `slope x`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn leaky_relu(&self, slope: f64) -> Result<Tensor> {
        Tensor::apply(op::LEAKY_RELU, &[self], &[], &[slope])
    }

    /// `yes` where this is not 0, else `no`; broadcasting. This tensor holds `u8`, `u32` or `i64`.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn where_cond(&self, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
        Tensor::apply(op::WHERE_COND, &[self, yes, no], &[], &[])
    }

    /// Converted to another element type.
    ///
    /// # Errors
    /// If shapes, element types or dimensions do not fit; the error names the operation.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        Tensor::apply(op::TO_DTYPE, &[self], &[i64::from(dtype.number())], &[])
    }
}

macro_rules! operators {
    ($($trait:ident, $method:ident => $tensor:ident, |$number:ident| ($mul:expr, $add:expr));+ $(;)?) => { $(
        impl std::ops::$trait<&Tensor> for &Tensor {
            type Output = Result<Tensor>;

            fn $method(self, other: &Tensor) -> Result<Tensor> {
                self.$tensor(other)
            }
        }

        impl std::ops::$trait<f64> for &Tensor {
            type Output = Result<Tensor>;

            fn $method(self, $number: f64) -> Result<Tensor> {
                self.affine($mul, $add)
            }
        }

        impl std::ops::$trait<&Tensor> for Tensor {
            type Output = Result<Tensor>;

            fn $method(self, other: &Tensor) -> Result<Tensor> {
                std::ops::$trait::$method(&self, other)
            }
        }

        impl std::ops::$trait<f64> for Tensor {
            type Output = Result<Tensor>;

            fn $method(self, number: f64) -> Result<Tensor> {
                std::ops::$trait::$method(&self, number)
            }
        }
    )+ };
}

operators! {
    Add, add => add, |number| (1.0, number);
    Sub, sub => sub, |number| (1.0, -number);
    Mul, mul => mul, |number| (number, 0.0);
    Div, div => div, |number| (1.0 / number, 0.0);
}
