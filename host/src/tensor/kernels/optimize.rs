//! Optimizer updates in one pass over a parameter, its gradient and its state.

use super::elementwise::GRAIN;
use super::simd::{Isa, Kernel, Real, dispatch};
use crate::tensor::pool::{Parts, Pool};

struct Step<'a, T, F, const N: usize>([&'a mut [T]; N], &'a [T], F);
impl<T: Real, F: Fn([T; N], T) -> [T; N], const N: usize> Kernel for Step<'_, T, F, N> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        const LANES: usize = 16;
        let Step(mut states, gradient, f) = self;
        let whole = gradient.len() / LANES * LANES;
        // Blocks of a fixed size, so that the loop over lanes becomes a few vector instructions.
        for start in (0..whole).step_by(LANES) {
            let mut now = [[T::ZERO; LANES]; N];
            for (now, state) in now.iter_mut().zip(&states) {
                now.copy_from_slice(&state[start..start + LANES]);
            }
            let mut g = [T::ZERO; LANES];
            g.copy_from_slice(&gradient[start..start + LANES]);
            for lane in 0..LANES {
                let mut one = [T::ZERO; N];
                for at in 0..N {
                    one[at] = now[at][lane];
                }
                let next = f(one, g[lane]);
                for at in 0..N {
                    now[at][lane] = next[at];
                }
            }
            for (now, state) in now.iter().zip(&mut states) {
                state[start..start + LANES].copy_from_slice(now);
            }
        }
        for at in whole..gradient.len() {
            let mut now = [T::ZERO; N];
            for (now, state) in now.iter_mut().zip(&states) {
                *now = state[at];
            }
            let next = f(now, gradient[at]);
            for (next, state) in next.into_iter().zip(&mut states) {
                state[at] = next;
            }
        }
    }
}

/// Replaces (parameter, states..) at each place by `f` of them and the gradient.
pub(crate) fn step<T: Real, const N: usize>(
    pool: &Pool,
    states: [&mut [T]; N],
    gradient: &[T],
    f: impl Fn([T; N], T) -> [T; N] + Copy + Sync,
) {
    assert!(states.iter().all(|state| state.len() == gradient.len()));
    let parts = states.map(Parts::new);
    pool.ranges(gradient.len(), GRAIN, |range| {
        // SAFETY: the ranges of one call do not overlap, and the states are different slices.
        let states = std::array::from_fn(|index| unsafe { parts[index].part(range.clone()) });
        dispatch(Step(states, &gradient[range], f));
    });
}
