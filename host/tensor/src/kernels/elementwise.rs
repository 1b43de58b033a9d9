//! Loops over equally long slices, in parallel above some size.

use super::simd::{Isa, Kernel, Real, dispatch};
use crate::pool::{Parts, Pool};
use crate::value::{Element, unwritten};

/// Elements below which a loop is not split.
pub(crate) const GRAIN: usize = 32 * 1024;

/// A function of one number, and its derivative.
pub(crate) trait Unary: Copy + Sync + Send + 'static {
    /// What the derivative is written in.
    const NEEDS: Needs;
    fn value<T: Real, S: Isa>(&self, x: T, isa: S) -> T;
    /// The derivative at `x`, where the function is `y` (only those of `NEEDS` are meaningful).
    fn slope<T: Real, S: Isa>(&self, x: T, y: T, isa: S) -> T;
}

/// What a derivative is computed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// The argument.
    Input,
    /// The value.
    Output,
    /// Neither.
    Nothing,
}

/// Runs `kernel` on ranges of `0..length`, in parallel above [`GRAIN`].
macro_rules! kernel {
    ($(#[$meta:meta])* $name:ident<$($generic:ident: $bound:path),*> { $($field:ident: $type:ty),* $(,)? } -> $output:ty, |$isa:ident| $body:expr) => {
        struct $name<'a, $($generic: $bound),*> { $($field: $type,)* lifetime: std::marker::PhantomData<&'a ($($generic,)*)> }
        impl<'a, $($generic: $bound),*> Kernel for $name<'a, $($generic),*> {
            type Output = $output;
            #[inline(always)]
            fn run<S: Isa>(self, $isa: S) -> $output {
                let Self { $($field,)* .. } = self;
                $body
            }
        }
    };
}
kernel!(Map<T: Real, U: Unary> { function: U, x: &'a [T], out: &'a mut [T] } -> (), |isa| {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = function.value(x, isa);
    }
});

kernel!(Slope<T: Real, U: Unary> { function: U, saved: &'a [T], gradient: &'a [T], out: &'a mut [T] } -> (), |isa| {
    for ((out, &saved), &gradient) in out.iter_mut().zip(saved).zip(gradient) {
        *out = gradient * function.slope(saved, saved, isa);
    }
});

kernel!(SlopeInPlace<T: Real, U: Unary> { function: U, saved: &'a [T], gradient: &'a mut [T] } -> (), |isa| {
    for (gradient, &saved) in gradient.iter_mut().zip(saved) {
        *gradient *= function.slope(saved, saved, isa);
    }
});

/// `f(x)`.
pub(crate) fn map<T: Real, U: Unary>(pool: &Pool, function: U, x: &[T]) -> Vec<T> {
    let mut out = unwritten(x.len());
    let parts = Parts::new(&mut out);
    pool.ranges(x.len(), GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        let out = unsafe { parts.part(range.clone()) };
        dispatch(Map { function, x: &x[range], out, lifetime: std::marker::PhantomData });
    });
    out
}

/// `gradient f'(.)`, where `saved` is the argument or the value, as `NEEDS` says.
pub(crate) fn slope<T: Real, U: Unary>(pool: &Pool, function: U, saved: &[T], gradient: &[T]) -> Vec<T> {
    let mut out = unwritten(gradient.len());
    let parts = Parts::new(&mut out);
    pool.ranges(gradient.len(), GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        let out = unsafe { parts.part(range.clone()) };
        dispatch(Slope { function, saved: &saved[range.clone()], gradient: &gradient[range], out, lifetime: std::marker::PhantomData });
    });
    out
}

/// As [`slope`], overwriting the gradient.
pub(crate) fn slope_in_place<T: Real, U: Unary>(pool: &Pool, function: U, saved: &[T], gradient: &mut [T]) {
    let length = gradient.len();
    let parts = Parts::new(gradient);
    pool.ranges(length, GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        let gradient = unsafe { parts.part(range.clone()) };
        dispatch(SlopeInPlace { function, saved: &saved[range], gradient, lifetime: std::marker::PhantomData });
    });
}

/// As [`slope_in_place`], on this thread.
pub(crate) fn slope_here<T: Real, U: Unary>(function: U, saved: &[T], gradient: &mut [T]) {
    dispatch(SlopeInPlace { function, saved, gradient, lifetime: std::marker::PhantomData });
}

/// `target *= factors`, on this thread.
pub(crate) fn multiply_here<T: Real>(target: &mut [T], factors: &[T]) {
    dispatch(Update(target, factors, |target: &mut T, factor| *target *= factor));
}

struct Zip2<'a, A, B, R, F>(&'a [A], &'a [B], &'a mut [R], F);
impl<A: Copy, B: Copy, R, F: Fn(A, B) -> R> Kernel for Zip2<'_, A, B, R, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        for ((out, &a), &b) in self.2.iter_mut().zip(self.0).zip(self.1) {
            *out = (self.3)(a, b);
        }
    }
}

/// `f(a, b)` for each pair; one of the two may be a single element.
pub(crate) fn zip<A: Element + Sync, B: Element + Sync, R: Element + Send>(
    pool: &Pool,
    a: &[A],
    b: &[B],
    f: impl Fn(A, B) -> R + Copy + Sync,
) -> Vec<R> {
    let length = if a.len() == 1 { b.len() } else { a.len() };
    let mut out = unwritten(length);
    let parts = Parts::new(&mut out);
    pool.ranges(length, GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        let out = unsafe { parts.part(range.clone()) };
        if b.len() == 1 && length != 1 {
            let b = b[0];
            dispatch(Zip2(&a[range.clone()], &a[range], out, |a, _| f(a, b)));
        } else if a.len() == 1 && length != 1 {
            let a = a[0];
            dispatch(Zip2(&b[range.clone()], &b[range], out, |b, _| f(a, b)));
        } else {
            dispatch(Zip2(&a[range.clone()], &b[range], out, f));
        }
    });
    out
}

/// `f(a, row)` for each row of `a`, whose length is that of `row`.
pub(crate) fn zip_rows<A: Element + Sync, R: Element + Send>(
    pool: &Pool,
    a: &[A],
    row: &[A],
    f: impl Fn(A, A) -> R + Copy + Sync,
) -> Vec<R> {
    let width = row.len();
    let rows = a.len() / width.max(1);
    let mut out = unwritten(a.len());
    let parts = Parts::new(&mut out);
    pool.ranges(rows, (GRAIN / width.max(1)).max(1), |range| {
        for at in range {
            let range = at * width..(at + 1) * width;
            // SAFETY: the rows do not overlap.
            let out = unsafe { parts.part(range.clone()) };
            dispatch(Zip2(&a[range], row, out, f));
        }
    });
    out
}

struct Update<'a, T, F>(&'a mut [T], &'a [T], F);
impl<T: Copy, F: Fn(&mut T, T)> Kernel for Update<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        for (target, &source) in self.0.iter_mut().zip(self.1) {
            (self.2)(target, source);
        }
    }
}

/// Changes each element of `target` by the one of `source`.
pub(crate) fn update<T: Element + Send + Sync>(pool: &Pool, target: &mut [T], source: &[T], f: impl Fn(&mut T, T) + Copy + Sync) {
    let length = target.len();
    assert_eq!(length, source.len());
    let parts = Parts::new(target);
    pool.ranges(length, GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        let target = unsafe { parts.part(range.clone()) };
        dispatch(Update(target, &source[range], f));
    });
}

/// `target += source`.
pub(crate) fn add_into<T: Real>(pool: &Pool, target: &mut [T], source: &[T]) {
    update(pool, target, source, |target, source| *target += source);
}

/// How a bias lies to the elements that it is added to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BiasLayout {
    /// One number for each element of a row of this width.
    Rows(usize),
    /// One number for each plane of this area, going round.
    Planes(usize),
}

/// What the activation leaves in its argument's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The value itself, nothing else.
    Value,
    /// The derivative; the value goes to another buffer.
    Slope,
}

struct BiasActivate<'a, T, U> {
    z: &'a mut [T],
    out: &'a mut [T],
    bias: Option<&'a [T]>,
    layout: BiasLayout,
    /// Number of the first row or plane.
    first: usize,
    function: U,
    identity: bool,
}

impl<T: Real, U: Unary> Kernel for BiasActivate<'_, T, U> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        let Self { z, out, bias, layout, first, function, identity } = self;
        let separate = !out.is_empty();
        let value = |x: T| if identity { x } else { function.value(x, isa) };
        match (layout, bias) {
            (BiasLayout::Rows(width), Some(bias)) if !separate => {
                for row in z.chunks_exact_mut(width) {
                    for (z, &b) in row.iter_mut().zip(bias) {
                        *z = value(*z + b);
                    }
                }
            }
            (BiasLayout::Planes(area), Some(bias)) if !separate => {
                for (plane, z) in z.chunks_exact_mut(area).enumerate() {
                    let b = bias[(first + plane) % bias.len()];
                    z.iter_mut().for_each(|z| *z = value(*z + b));
                }
            }
            (BiasLayout::Rows(width), Some(bias)) => {
                for (row, out) in z.chunks_exact_mut(width).zip(out.chunks_exact_mut(width)) {
                    for ((z, out), &b) in row.iter_mut().zip(out).zip(bias) {
                        let x = *z + b;
                        *out = function.value(x, isa);
                        *z = function.slope(x, *out, isa);
                    }
                }
            }
            (BiasLayout::Planes(area), Some(bias)) => {
                for (plane, (z, out)) in z.chunks_exact_mut(area).zip(out.chunks_exact_mut(area)).enumerate() {
                    let b = bias[(first + plane) % bias.len()];
                    for (z, out) in z.iter_mut().zip(out) {
                        let x = *z + b;
                        *out = function.value(x, isa);
                        *z = function.slope(x, *out, isa);
                    }
                }
            }
            (_, None) if !separate => z.iter_mut().for_each(|z| *z = value(*z)),
            (_, None) => {
                for (z, out) in z.iter_mut().zip(out) {
                    let x = *z;
                    *out = function.value(x, isa);
                    *z = function.slope(x, *out, isa);
                }
            }
        }
    }
}

/// `f(z + bias)` in place, on this thread.
pub(crate) fn bias_activate_here<T: Real, U: Unary>(z: &mut [T], bias: Option<&[T]>, layout: BiasLayout, function: Option<U>, filler: U) {
    if function.is_some() || bias.is_some() {
        let identity = function.is_none();
        dispatch(BiasActivate { z, out: &mut [], bias, layout, first: 0, function: function.unwrap_or(filler), identity });
    }
}

/// `f(z + bias)` in place, in one pass; with [`Keep::Slope`] the values are returned and `z` becomes `f'(z + bias)`.
/// `None` as the function adds the bias only.
pub(crate) fn bias_activate<T: Real, U: Unary>(
    pool: &Pool,
    z: &mut [T],
    bias: Option<&[T]>,
    layout: BiasLayout,
    function: Option<U>,
    keep: Keep,
    filler: U,
) -> Vec<T> {
    if function.is_none() && bias.is_none() {
        return Vec::new();
    }
    let unit = match layout {
        BiasLayout::Rows(size) | BiasLayout::Planes(size) => size,
    };
    let length = z.len();
    if unit == 0 || length == 0 {
        return Vec::new();
    }
    let mut out = if keep == Keep::Slope { unwritten(length) } else { Vec::new() };
    let (z_parts, out_parts) = (Parts::new(z), Parts::new(&mut out));
    pool.ranges(length / unit, (GRAIN / unit).max(1), |range| {
        let span = range.start * unit..range.end * unit;
        // SAFETY: the ranges of one call do not overlap.
        let (z, out) =
            unsafe { (z_parts.part(span.clone()), if keep == Keep::Slope { out_parts.part(span) } else { out_parts.part(0..0) }) };
        let kernel =
            BiasActivate { z, out, bias, layout, first: range.start, function: function.unwrap_or(filler), identity: function.is_none() };
        dispatch(kernel);
    });
    out
}

struct SumSquares<'a, T>(&'a [T]);
impl<T: Real> Kernel for SumSquares<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Isa>(self, _: S) -> f64 {
        super::reduce::sum_lanes(self.0, |x| x * x).wide()
    }
}

/// The sum of squares, in blocks whose sums are added in double precision.
pub(crate) fn sum_squares<T: Real>(pool: &Pool, x: &[T]) -> f64 {
    const BLOCK: usize = 4 * 1024;
    let blocks = x.len().div_ceil(BLOCK);
    let mut sums = vec![0.0; blocks];
    let parts = Parts::new(&mut sums);
    pool.ranges(blocks, GRAIN / BLOCK, |range| {
        for block in range {
            // SAFETY: each block is written by one task.
            let sum = unsafe { parts.part(block..block + 1) };
            sum[0] = dispatch(SumSquares(&x[block * BLOCK..x.len().min((block + 1) * BLOCK)]));
        }
    });
    sums.iter().sum()
}

struct Scale<'a, T>(&'a mut [T], T);
impl<T: Real> Kernel for Scale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        self.0.iter_mut().for_each(|x| *x *= self.1);
    }
}

/// `target *= factor`.
pub(crate) fn scale<T: Real>(pool: &Pool, target: &mut [T], factor: T) {
    let length = target.len();
    let parts = Parts::new(target);
    pool.ranges(length, GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        dispatch(Scale(unsafe { parts.part(range) }, factor));
    });
}
