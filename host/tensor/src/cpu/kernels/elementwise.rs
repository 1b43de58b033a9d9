//! Loops over equally long slices, in parallel above some size.

use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use crate::cpu::data::{Element, unwritten};
use crate::pool::{Parts, Pool};

/// Elements below which a loop is not split.
pub(crate) const GRAIN: usize = 32 * 1024;

/// A function of one number, and its derivative.
pub(crate) trait Unary: Copy + Sync + Send + 'static {
    fn value<T: Real, S: Isa>(&self, x: T, isa: S) -> T;
    /// The derivative at `x`, where the function is `y` (only what [`Function::needs`](crate::backend::Function::needs) says is meaningful).
    fn slope<T: Real, S: Isa>(&self, x: T, y: T, isa: S) -> T;
}

/// A struct with the arguments of a loop, and the loop as its [`Kernel`].
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

kernel!(Round<T: Real> { x: &'a mut [T] } -> (), |_isa| {
    for x in x.iter_mut() {
        *x = x.rounded();
    }
});

kernel!(RoundInto<T: Real> { x: &'a [T], out: &'a mut [T] } -> (), |_isa| {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = x.rounded();
    }
});

/// Rounds to bf16 on this thread, see [`Real::rounded`].
pub(super) fn round_here<T: Real>(x: &mut [T]) {
    dispatch(Round { x, lifetime: std::marker::PhantomData });
}

/// The numbers rounded to bf16.
pub(crate) fn rounded<T: Real>(pool: &Pool, x: &[T]) -> Vec<T> {
    let mut out = unwritten(x.len());
    let parts = Parts::new(&mut out);
    pool.ranges(x.len(), GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        let out = unsafe { parts.part(range.clone()) };
        dispatch(RoundInto { x: &x[range], out, lifetime: std::marker::PhantomData });
    });
    out
}

/// As [`rounded`], in place.
pub(crate) fn round_in_place<T: Real>(pool: &Pool, x: &mut [T]) {
    let length = x.len();
    let parts = Parts::new(x);
    pool.ranges(length, GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        round_here(unsafe { parts.part(range) });
    });
}

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

/// `gradient f'(.)`, where `saved` is the argument or the value, as [`Function::needs`](crate::backend::Function::needs) says.
pub(crate) fn slope<T: Real, U: Unary>(
    pool: &Pool,
    function: U,
    saved: &[T],
    gradient: &[T],
) -> Vec<T> {
    let mut out = unwritten(gradient.len());
    let parts = Parts::new(&mut out);
    pool.ranges(gradient.len(), GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        let out = unsafe { parts.part(range.clone()) };
        dispatch(Slope {
            function,
            saved: &saved[range.clone()],
            gradient: &gradient[range],
            out,
            lifetime: std::marker::PhantomData,
        });
    });
    out
}

/// As [`slope`], overwriting the gradient.
pub(crate) fn slope_in_place<T: Real, U: Unary>(
    pool: &Pool,
    function: U,
    saved: &[T],
    gradient: &mut [T],
) {
    let length = gradient.len();
    let parts = Parts::new(gradient);
    pool.ranges(length, GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap.
        let gradient = unsafe { parts.part(range.clone()) };
        dispatch(SlopeInPlace {
            function,
            saved: &saved[range],
            gradient,
            lifetime: std::marker::PhantomData,
        });
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
pub(crate) fn update<T: Element + Send + Sync>(
    pool: &Pool,
    target: &mut [T],
    source: &[T],
    f: impl Fn(&mut T, T) + Copy + Sync,
) {
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

/// Adds the bias of each place (or none) and applies the function, if there is one. If there is an
/// `out`, the values go there and the derivative stays in `z`.
#[inline(always)]
fn finish_loop<T: Real, U: Unary, S: Isa>(
    z: &mut [T],
    out: Option<&mut [T]>,
    bias: impl Fn(usize) -> Option<T>,
    function: Option<U>,
    isa: S,
) {
    let biased = |z: T, at: usize| bias(at).map_or(z, |bias| z + bias);
    let mut at = 0;
    match (out, function) {
        (Some(out), Some(function)) => {
            let out = &mut out[..z.len()];
            while at < z.len() {
                let x = biased(z[at], at);
                out[at] = function.value(x, isa);
                z[at] = function.slope(x, out[at], isa);
                at += 1;
            }
        }
        (_, Some(function)) => {
            while at < z.len() {
                z[at] = function.value(biased(z[at], at), isa);
                at += 1;
            }
        }
        (_, None) => {
            while at < z.len() {
                z[at] = biased(z[at], at);
                at += 1;
            }
        }
    }
}

/// A block of a matrix: `rows` rows of `columns` elements, the first at `start`, with a distance of
/// `pitch`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub start: usize,
    pub rows: usize,
    pub columns: usize,
    pub pitch: usize,
}

struct FinishRows<'a, T, U> {
    z: &'a Parts<T>,
    out: Option<&'a Parts<T>>,
    block: Block,
    bias: Option<&'a [T]>,
    function: Option<U>,
}

impl<T: Real, U: Unary> Kernel for FinishRows<'_, T, U> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        let Self { z, out, block, bias, function } = self;
        let columns = block.columns;
        let bias = bias.map(|bias| &bias[block.start % block.pitch..][..columns]);
        let mut row = 0;
        while row < block.rows {
            let start = block.start + row * block.pitch;
            // SAFETY: no other thread uses the block, as the caller of `finish_rows` promises.
            let (z, out) = unsafe {
                (z.part(start..start + columns), out.map(|out| out.part(start..start + columns)))
            };
            match bias {
                // SAFETY: `at` is below the length of `z`, which is that of the bias. A check would
                // leave the last vector of each row to a scalar loop.
                Some(bias) => finish_loop(
                    z,
                    out,
                    |at| Some(unsafe { *bias.get_unchecked(at) }),
                    function,
                    isa,
                ),
                None => finish_loop(z, out, |_| None, function, isa),
            }
            row += 1;
        }
    }
}

/// `f(z + bias)` in place on this thread, where `bias` has a number for each column of the whole
/// matrix. With `out` the values go there, and `z` becomes `f'(z + bias)`. Without a function
/// only the bias is added.
///
/// # Safety
/// No other thread may use the block, in `z` or in `out`.
pub(crate) unsafe fn finish_rows<T: Real, U: Unary>(
    z: &Parts<T>,
    out: Option<&Parts<T>>,
    block: Block,
    bias: Option<&[T]>,
    function: Option<U>,
) {
    if block.columns > 0 && (function.is_some() || bias.is_some()) {
        dispatch(FinishRows { z, out, block, bias, function });
    }
}

/// Planes of `area` elements, with a bias for each channel; the first has the number `first`.
struct FinishPlanes<'a, T, U> {
    z: &'a mut [T],
    out: Option<&'a mut [T]>,
    bias: Option<&'a [T]>,
    area: usize,
    first: usize,
    function: Option<U>,
}

impl<T: Real, U: Unary> Kernel for FinishPlanes<'_, T, U> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        let Self { z, mut out, bias, area, first, function } = self;
        let mut start = 0;
        while area > 0 && start + area <= z.len() {
            let b = bias.map(|bias| bias[(first + start / area) % bias.len()]);
            let out = out.as_mut().map(|out| &mut out[start..start + area]);
            finish_loop(&mut z[start..start + area], out, |_| b, function, isa);
            start += area;
        }
    }
}

/// `f(z + bias)` in place on this thread, of planes of `area` elements, the first of which is the
/// first of its image.
pub(crate) fn finish_planes_here<T: Real, U: Unary>(
    z: &mut [T],
    bias: Option<&[T]>,
    area: usize,
    function: Option<U>,
) {
    if function.is_some() || bias.is_some() {
        dispatch(FinishPlanes { z, out: None, bias, area, first: 0, function });
    }
}

/// As [`finish_planes_here`] over many images, in one pass; the values are returned and `z` becomes
/// `f'(z + bias)`.
pub(crate) fn finish_planes<T: Real, U: Unary>(
    pool: &Pool,
    z: &mut [T],
    bias: Option<&[T]>,
    area: usize,
    function: U,
) -> Vec<T> {
    let length = z.len();
    let mut out = unwritten(length);
    if area == 0 || length == 0 {
        return out;
    }
    let (z_parts, out_parts) = (Parts::new(z), Parts::new(&mut out));
    pool.ranges(length / area, (GRAIN / area).max(1), |range| {
        let span = range.start * area..range.end * area;
        // SAFETY: the ranges of one call do not overlap.
        let (z, out) = unsafe { (z_parts.part(span.clone()), out_parts.part(span)) };
        dispatch(FinishPlanes {
            z,
            out: Some(out),
            bias,
            area,
            first: range.start,
            function: Some(function),
        });
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
