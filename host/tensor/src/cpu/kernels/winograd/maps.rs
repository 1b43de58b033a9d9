//! The linear maps of the method: between a row or column of a tile and six numbers at its points.

use super::super::number::Real;
use super::super::vector::Vector;
use super::{IN, OUT};

/// The points are 0, `P`, `-P`, `Q`, `-Q` and infinity: with these the error is less than half of
/// that with the usual 1 and 2.
const P: f64 = std::f64::consts::FRAC_1_SQRT_2;
const Q: f64 = std::f64::consts::SQRT_2;
/// Their squares.
const P2: f64 = 0.5;
const Q2: f64 = 2.0;

/// The six numbers of a transformed tile's row or column from those of the tile.
#[derive(Clone, Copy)]
pub(super) struct Maps<V> {
    p: V,
    minus_p: V,
    q: V,
    minus_q: V,
    p2: V,
    q2: V,
    p3: V,
    q3: V,
    minus_p2: V,
    minus_q2: V,
    minus_sum: V,
    product: V,
    minus_p_q2: V,
    minus_q_p2: V,
    minus: V,
}

impl<V: Copy> Maps<V> {
    #[inline(always)]
    pub(super) fn new<T: Real>() -> Self
    where
        V: Vector<T>,
    {
        // Functions rather than closures throughout: a closure is not compiled for the instruction
        // set unless it happens to be inlined.
        #[inline(always)]
        fn of<T: Real, V: Vector<T>>(value: f64) -> V {
            // SAFETY: only called by kernels, with a vector of their instruction set.
            unsafe { V::splat(T::of(value)) }
        }
        Self {
            p: of(P),
            minus_p: of(-P),
            q: of(Q),
            minus_q: of(-Q),
            p2: of(P2),
            q2: of(Q2),
            p3: of(P * P2),
            q3: of(Q * Q2),
            minus_p2: of(-P2),
            minus_q2: of(-Q2),
            minus_sum: of(-(P2 + Q2)),
            product: of(P2 * Q2),
            minus_p_q2: of(-P * Q2),
            minus_q_p2: of(-Q * P2),
            minus: of(-1.0),
        }
    }

    /// Six numbers of the input to six.
    #[inline(always)]
    pub(super) unsafe fn input<T: Real>(&self, d: [V; IN]) -> [V; IN]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (e, o) = (d[2].fma(self.minus_q2, d[4]), d[1].fma(self.minus_q2, d[3]));
            let (f, r) = (d[2].fma(self.minus_p2, d[4]), d[1].fma(self.minus_p2, d[3]));
            [
                d[0].fma(self.product, d[2].fma(self.minus_sum, d[4])),
                o.fma(self.p, e),
                o.fma(self.minus_p, e),
                r.fma(self.q, f),
                r.fma(self.minus_q, f),
                d[1].fma(self.product, d[3].fma(self.minus_sum, d[5])),
            ]
        }
    }

    /// The transpose of [`input`](Self::input).
    #[inline(always)]
    pub(super) unsafe fn input_transposed<T: Real>(&self, v: [V; IN]) -> [V; IN]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (s, m) = (v[1].add(v[2]), v[2].fma(self.minus, v[1]));
            let (t, n) = (v[3].add(v[4]), v[4].fma(self.minus, v[3]));
            let zero = V::splat(T::ZERO);
            [
                v[0].fma(self.product, zero),
                m.fma(self.minus_p_q2, n.fma(self.minus_q_p2, v[5].fma(self.product, zero))),
                v[0].fma(self.minus_sum, s.fma(self.minus_q2, t.fma(self.minus_p2, zero))),
                m.fma(self.p, n.fma(self.q, v[5].fma(self.minus_sum, zero))),
                v[0].add(s).add(t),
                v[5],
            ]
        }
    }

    /// Six numbers to four of the result.
    #[inline(always)]
    pub(super) unsafe fn output<T: Real>(&self, v: [V; IN]) -> [V; OUT]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (s, m) = (v[1].add(v[2]), v[2].fma(self.minus, v[1]));
            let (t, n) = (v[3].add(v[4]), v[4].fma(self.minus, v[3]));
            let zero = V::splat(T::ZERO);
            [
                v[0].add(s).add(t),
                m.fma(self.p, n.fma(self.q, zero)),
                s.fma(self.p2, t.fma(self.q2, zero)),
                m.fma(self.p3, n.fma(self.q3, v[5])),
            ]
        }
    }

    /// The transpose of [`output`](Self::output).
    #[inline(always)]
    pub(super) unsafe fn output_transposed<T: Real>(&self, y: [V; OUT]) -> [V; IN]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (e, f) = (y[2].fma(self.p2, y[0]), y[2].fma(self.q2, y[0]));
            let zero = V::splat(T::ZERO);
            let o = y[1].fma(self.p, y[3].fma(self.p3, zero));
            let r = y[1].fma(self.q, y[3].fma(self.q3, zero));
            [y[0], e.add(o), o.fma(self.minus, e), f.add(r), r.fma(self.minus, f), y[3]]
        }
    }
}

/// What weights are scaled with: the products of a point's distances from the others.
const P_SCALE: f64 = 0.5 / (P2 * (P2 - Q2));
const Q_SCALE: f64 = 0.5 / (Q2 * (Q2 - P2));
const ZERO_SCALE: f64 = 1.0 / (P2 * Q2);

/// Three weights to six numbers, and the transpose.
#[derive(Clone, Copy)]
pub(super) struct WeightMaps<V> {
    zero: V,
    /// What is added for a point: scale, scale times the point, and scale times its square.
    p: [V; 3],
    q: [V; 3],
    minus: V,
    none: V,
}

impl<V: Copy> WeightMaps<V> {
    #[inline(always)]
    pub(super) fn new<T: Real>() -> Self
    where
        V: Vector<T>,
    {
        // SAFETY: only called by kernels, with a vector of their instruction set.
        unsafe {
            Self {
                zero: V::splat(T::of(ZERO_SCALE)),
                p: [
                    V::splat(T::of(P_SCALE)),
                    V::splat(T::of(P_SCALE * P)),
                    V::splat(T::of(P_SCALE * P2)),
                ],
                q: [
                    V::splat(T::of(Q_SCALE)),
                    V::splat(T::of(Q_SCALE * Q)),
                    V::splat(T::of(Q_SCALE * Q2)),
                ],
                minus: V::splat(T::of(-1.0)),
                none: V::splat(T::ZERO),
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn spread<T: Real>(&self, [a, b, c]: [V; 3]) -> [V; IN]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let e = a.fma(self.p[0], c.fma(self.p[2], self.none));
            let f = a.fma(self.q[0], c.fma(self.q[2], self.none));
            let (o, r) = (b.fma(self.p[1], self.none), b.fma(self.q[1], self.none));
            [
                a.fma(self.zero, self.none),
                e.add(o),
                o.fma(self.minus, e),
                f.add(r),
                r.fma(self.minus, f),
                c,
            ]
        }
    }

    #[inline(always)]
    pub(super) unsafe fn collect<T: Real>(&self, [a, b, c, d, e, f]: [V; IN]) -> [V; 3]
    where
        V: Vector<T>,
    {
        // SAFETY: promised by the caller.
        unsafe {
            let (s, m) = (b.add(c), c.fma(self.minus, b));
            let (t, n) = (d.add(e), e.fma(self.minus, d));
            [
                s.fma(self.p[0], t.fma(self.q[0], a.fma(self.zero, self.none))),
                m.fma(self.p[1], n.fma(self.q[1], self.none)),
                s.fma(self.p[2], t.fma(self.q[2], f)),
            ]
        }
    }
}
