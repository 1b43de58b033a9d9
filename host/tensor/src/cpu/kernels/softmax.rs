//! Softmax along rows, its logarithm, and the cross-entropy with its gradient in one pass.

use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use super::reduce::{max_lanes, sum_lanes, sum_lanes2};
use crate::cpu::data::unwritten;
use crate::pool::{Parts, Pool};

fn grain(width: usize) -> usize {
    (8 * 1024 / width.max(1)).max(1)
}

/// Runs `row` for each row of `out`, with its number.
pub(crate) fn each_row<T: Real>(
    pool: &Pool,
    out: &mut [T],
    width: usize,
    row: impl Fn(usize, &mut [T]) + Sync,
) {
    if width == 0 {
        return;
    }
    let rows = out.len() / width;
    let parts = Parts::new(out);
    pool.ranges(rows, grain(width), |range| {
        for at in range {
            // SAFETY: each row is written by one task.
            row(at, unsafe { parts.part(at * width..(at + 1) * width) });
        }
    });
}

/// `softmax(x)` of one row.
pub(crate) struct SoftmaxRow<'a, T> {
    pub x: &'a [T],
    pub out: &'a mut [T],
    pub log: bool,
}

impl<T: Real> Kernel for SoftmaxRow<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        let largest = max_lanes(self.x);
        for (out, &x) in self.out.iter_mut().zip(self.x) {
            *out = (x - largest).exp(isa);
        }
        let sum = sum_lanes(self.out, |x| x);
        if self.log {
            let shift = largest + sum.ln();
            for (out, &x) in self.out.iter_mut().zip(self.x) {
                *out = x - shift;
            }
        } else {
            let factor = T::ONE / sum;
            for out in self.out {
                *out *= factor;
            }
        }
    }
}

/// Softmax (or its logarithm) of each row.
pub(crate) fn softmax<T: Real>(pool: &Pool, x: &[T], width: usize, log: bool) -> Vec<T> {
    let mut out = unwritten(x.len());
    each_row(pool, &mut out, width, |at, out| {
        dispatch(SoftmaxRow { x: &x[at * width..(at + 1) * width], out, log })
    });
    out
}

struct SoftmaxGradientRow<'a, T> {
    y: &'a [T],
    gradient: &'a [T],
    out: &'a mut [T],
    log: bool,
}

impl<T: Real> Kernel for SoftmaxGradientRow<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        let pairs = self.y.iter().zip(self.gradient);
        if self.log {
            let sum = sum_lanes(self.gradient, |g| g);
            for (out, (&y, &g)) in self.out.iter_mut().zip(pairs) {
                *out = g - y.exp(isa) * sum;
            }
        } else {
            let sum = sum_lanes2(self.y, self.gradient, |y, g| y * g);
            for (out, (&y, &g)) in self.out.iter_mut().zip(pairs) {
                *out = y * (g - sum);
            }
        }
    }
}

/// The gradient through [`softmax`], whose result is `y`.
pub(crate) fn softmax_gradient<T: Real>(
    pool: &Pool,
    y: &[T],
    gradient: &[T],
    width: usize,
    log: bool,
) -> Vec<T> {
    let mut out = unwritten(y.len());
    each_row(pool, &mut out, width, |at, out| {
        let range = at * width..(at + 1) * width;
        dispatch(SoftmaxGradientRow { y: &y[range.clone()], gradient: &gradient[range], out, log });
    });
    out
}

/// What rows of logits are compared with.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a, T> {
    /// One label a row; rows with `u32::MAX` are ignored.
    Labels(&'a [u32]),
    /// A row of probabilities for each row of logits.
    Probabilities(&'a [T]),
}

/// Cross-entropy of rows of logits: a loss for each, and in `out` its gradient with respect to the
/// logits, times `factor`.
pub(crate) struct CrossEntropyRows<'a, T> {
    pub x: &'a [T],
    pub classes: usize,
    pub target: Target<'a, T>,
    pub smoothing: T,
    pub factor: T,
    pub losses: &'a mut [T],
    pub out: &'a mut [T],
}

/// Elements whose exponentials are computed in one loop: of several short rows at once, so that few
/// are left that do not fill a vector.
const TOGETHER: usize = 1024;

impl<T: Real> Kernel for CrossEntropyRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, isa: S) {
        let Self { x, classes, target, smoothing, factor, losses, out } = self;
        let (share, kept) = (smoothing / T::of(classes as f64), T::ONE - smoothing);
        let step = (TOGETHER / classes).max(1);
        let mut from = 0;
        while from < losses.len() {
            let to = losses.len().min(from + step);
            let mut row = from;
            while row < to {
                let (x, out) =
                    (&x[row * classes..][..classes], &mut out[row * classes..][..classes]);
                let largest = max_lanes(x);
                let mut at = 0;
                while at < classes {
                    out[at] = x[at] - largest;
                    at += 1;
                }
                losses[row] = largest;
                row += 1;
            }
            let block = &mut out[from * classes..to * classes];
            let mut at = 0;
            while at < block.len() {
                block[at] = block[at].exp(isa);
                at += 1;
            }
            let mut row = from;
            while row < to {
                let (x, out) =
                    (&x[row * classes..][..classes], &mut out[row * classes..][..classes]);
                let sum = sum_lanes(out, |x| x);
                let log_sum = losses[row] + sum.ln();
                // The loss is sum over classes of t (log_sum - x), with t = kept p + share.
                let mut loss = T::ZERO;
                if smoothing != T::ZERO {
                    loss = share * (T::of(classes as f64) * log_sum - sum_lanes(x, |x| x));
                }
                losses[row] = match target {
                    Target::Labels(labels) if labels[row] == u32::MAX => {
                        out.fill(T::ZERO);
                        T::ZERO
                    }
                    Target::Labels(labels) => {
                        let (scale, shift) = (factor / sum, factor * share);
                        let mut at = 0;
                        while at < classes {
                            out[at] = out[at] * scale - shift;
                            at += 1;
                        }
                        let label = labels[row] as usize;
                        out[label] -= factor * kept;
                        loss + kept * (log_sum - x[label])
                    }
                    Target::Probabilities(p) => {
                        let p = &p[row * classes..][..classes];
                        let mass = kept * sum_lanes(p, |p| p) + smoothing;
                        let scale = mass / sum;
                        let mut at = 0;
                        while at < classes {
                            out[at] = factor * (out[at] * scale - kept * p[at] - share);
                            at += 1;
                        }
                        loss + kept
                            * sum_lanes2(p, x, |p, x| {
                                if p == T::ZERO { T::ZERO } else { p * (log_sum - x) }
                            })
                    }
                };
                row += 1;
            }
            from = to;
        }
    }
}
