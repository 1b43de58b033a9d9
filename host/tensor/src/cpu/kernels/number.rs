//! f32 and f64 with the scalar mathematics of the kernels, written without branches so that loops
//! over it vectorise.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

use super::isa::Isa;
use super::vector::Vector;
use crate::cpu::data::Element;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m256d, __m512, __m512d};

/// f32 or f64, with the mathematics of the kernels.
pub(crate) trait Real:
    Element
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
    + Send
    + Sync
{
    const ZERO: Self;
    const ONE: Self;
    const LOWEST: Self;
    /// A vector of [`Avx512`](super::isa::Avx512), where there is one.
    type Wide: Vector<Self>;
    /// A vector of [`Avx2`](super::isa::Avx2), where there is one.
    type Narrow: Vector<Self>;
    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
    fn is_nan(self) -> bool;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    fn ln(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn erf(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round_ties_even(self) -> Self;
    fn powf(self, exponent: Self) -> Self;
    fn expm1(self) -> Self;
    fn log1p(self) -> Self;
    /// The nearest number that bf16 has, in the middle of two the one whose last bit is 0; an f64
    /// stays as it is.
    fn rounded(self) -> Self;
    fn exp<S: Isa>(self, isa: S) -> Self;
    fn tanh<S: Isa>(self, isa: S) -> Self;
    /// `self a + b`, fused where that is one instruction.
    fn fma<S: Isa>(self, a: Self, b: Self, isa: S) -> Self;

    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
    #[inline(always)]
    fn sigmoid<S: Isa>(self, isa: S) -> Self {
        Self::ONE / (Self::ONE + (-self).exp(isa))
    }
}

macro_rules! real {
    ($type:ident, $wide:ident, $narrow:ident, $erf:path, $exp:path, $tanh:path, $rounded:path) => {
        impl Real for $type {
            #[cfg(target_arch = "x86_64")]
            type Wide = $wide;
            #[cfg(target_arch = "x86_64")]
            type Narrow = $narrow;
            #[cfg(not(target_arch = "x86_64"))]
            type Wide = [$type; 8];
            #[cfg(not(target_arch = "x86_64"))]
            type Narrow = [$type; 8];
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $type::NEG_INFINITY;
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $type::is_nan(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $type::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $type::sqrt(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $type::ln(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                $type::sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                $type::cos(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn floor(self) -> Self {
                $type::floor(self)
            }
            #[inline(always)]
            fn ceil(self) -> Self {
                $type::ceil(self)
            }
            #[inline(always)]
            fn round_ties_even(self) -> Self {
                $type::round_ties_even(self)
            }
            #[inline(always)]
            fn powf(self, exponent: Self) -> Self {
                $type::powf(self, exponent)
            }
            #[inline(always)]
            fn expm1(self) -> Self {
                $type::exp_m1(self)
            }
            #[inline(always)]
            fn log1p(self) -> Self {
                $type::ln_1p(self)
            }
            #[inline(always)]
            fn rounded(self) -> Self {
                $rounded(self)
            }
            #[inline(always)]
            fn exp<S: Isa>(self, isa: S) -> Self {
                $exp(self, isa)
            }
            #[inline(always)]
            fn tanh<S: Isa>(self, isa: S) -> Self {
                $tanh(self, isa)
            }
            #[inline(always)]
            fn fma<S: Isa>(self, a: Self, b: Self, _: S) -> Self {
                if S::FMA { self.mul_add(a, b) } else { self * a + b }
            }
        }
    };
}

real!(f32, __m512, __m256, libm::erff, exp_f32, tanh_f32, rounded_f32);
real!(f64, __m512d, __m256d, libm::erf, exp_f64, tanh_f64, std::convert::identity);

/// See [`Real::rounded`]. NaN stays NaN.
#[inline(always)]
fn rounded_f32(x: f32) -> f32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    f32::from_bits(if x.is_nan() { bits & 0xffff_0000 | 0x0040_0000 } else { nearest })
}

#[inline(always)]
fn exp_f64<S: Isa>(x: f64, _: S) -> f64 {
    x.exp()
}

#[inline(always)]
fn tanh_f64<S: Isa>(x: f64, _: S) -> f64 {
    x.tanh()
}

/// `e^x` within 2 units in the last place, 0 below the normal numbers. Reduction by multiples of ln
/// 2 (in two parts, Cody and Waite), then the Taylor polynomial of degree 7 on `|r| <= ln 2 / 2`,
/// whose remainder is below 1e-8.
#[inline(always)]
fn exp_f32<S: Isa>(x: f32, isa: S) -> f32 {
    const LOWEST: f32 = -87.336_54;
    const HIGHEST: f32 = 88.722_84;
    // Adding this rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let limited = if x < LOWEST { LOWEST } else { x };
    let limited = if limited > HIGHEST { HIGHEST } else { limited };
    let shifted = limited.fma(std::f32::consts::LOG2_E, ROUND, isa);
    let n = shifted - ROUND;
    let r = n.fma(-0.693_359_4, limited, isa);
    let r = n.fma(2.121_944_4e-4, r, isa);
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = r.fma(p, coefficient, isa);
    }
    // Two steps, so that 2^128 times a number below 1 does not overflow on the way.
    let power = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = power >> 1;
    // Wrapping, since a check of overflow would keep the loop from being vectorised in development builds.
    let scale = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let result = p * scale(half) * scale(power.wrapping_sub(half));
    let result = if x < LOWEST { 0.0 } else { result };
    if x > HIGHEST { f32::INFINITY } else { result }
}

/// `tanh x = (e^2x - 1) / (e^2x + 1)`; near 0 its continued fraction, where the difference would
/// lose digits.
#[inline(always)]
fn tanh_f32<S: Isa>(x: f32, isa: S) -> f32 {
    let magnitude = x.abs();
    let e = exp_f32(2.0 * magnitude, isa);
    let large = 1.0 - 2.0 / (e + 1.0);
    // Lambert's continued fraction to the fifth level: relative error below 1e-8 for |x| < 0.5.
    let s = x * x;
    let small = magnitude * (945.0 + s * (105.0 + s)) / (945.0 + s * (420.0 + 15.0 * s));
    (if magnitude < 0.5 { small } else { large }).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::super::isa::{Kernel, Plain, dispatch};
    use super::*;

    struct Apply<'a>(&'a [f32], &'a mut Vec<f32>, bool);
    impl Kernel for Apply<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self, isa: S) {
            self.1.extend(
                self.0.iter().map(|&x| if self.2 { Real::exp(x, isa) } else { Real::tanh(x, isa) }),
            );
        }
    }

    fn worst(exponential: bool, from: f32, to: f32, exact: impl Fn(f64) -> f64) -> f64 {
        let xs: Vec<f32> =
            (0..200_001).map(|i| from + (to - from) * i as f32 / 200_000.0).collect();
        let (mut fast, mut plain) = (Vec::new(), Vec::new());
        dispatch(Apply(&xs, &mut fast, exponential));
        Apply(&xs, &mut plain, exponential).run(Plain);
        let error = |ys: &[f32]| {
            xs.iter()
                .zip(ys)
                .map(|(&x, &y)| {
                    ((f64::from(y) - exact(f64::from(x))) / exact(f64::from(x)).abs().max(1e-37))
                        .abs()
                })
                .fold(0.0, f64::max)
        };
        error(&fast).max(error(&plain))
    }

    #[test]
    fn exponential_and_tangent_are_accurate_to_two_units() {
        assert!(
            worst(true, -87.0, 88.7, f64::exp) < 2.5e-7,
            "{}",
            worst(true, -87.0, 88.7, f64::exp)
        );
        assert!(
            worst(false, -12.0, 12.0, f64::tanh) < 2.5e-7,
            "{}",
            worst(false, -12.0, 12.0, f64::tanh)
        );
        assert!(
            worst(false, -0.6, 0.6, f64::tanh) < 2.5e-7,
            "{}",
            worst(false, -0.6, 0.6, f64::tanh)
        );
    }

    #[test]
    fn rounding_to_bf16_is_that_of_the_conversion() {
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-40, f32::NAN];
        let patterns = (0..1_000_000_u32).map(|at| f32::from_bits(at.wrapping_mul(4_294_967)));
        // In the middle of two numbers.
        let middles = (0x3f80_u32..0x3fa0).map(|at| f32::from_bits(at << 16 | 0x8000));
        for x in special.into_iter().chain(patterns).chain(middles) {
            let expected = half::bf16::from_f32(x).to_f32();
            let found = Real::rounded(x);
            assert!(
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
                "{x:e}: {found:e} instead of {expected:e}"
            );
        }
    }

    #[test]
    fn the_edges_of_the_exponential_are_right() {
        let mut out = Vec::new();
        dispatch(Apply(
            &[f32::NEG_INFINITY, -1000.0, 0.0, 100.0, f32::INFINITY, f32::NAN],
            &mut out,
            true,
        ));
        assert_eq!(out[..5], [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY]);
        assert!(out[5].is_nan());
    }
}
