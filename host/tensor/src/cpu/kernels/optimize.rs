//! Optimizer updates in one pass over a parameter, its gradient and its state.

use super::elementwise::GRAIN;
use super::isa::{Isa, Kernel, dispatch};
use super::number::Real;
use crate::pool::{Parts, Pool};

struct Step<'a, T, F, const N: usize>([&'a mut [T]; N], &'a [T], F);

impl<T: Real, F: Fn([T; N], T) -> [T; N], const N: usize> Kernel for Step<'_, T, F, N> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Step(mut states, gradient, f) = self;
        let length = gradient.len();
        for state in &states {
            assert_eq!(state.len(), length);
        }
        // Pointers and plain loops: iterators over several slices are not inlined here, because the
        // compiler does not inline functions with aggregate arguments into one that is compiled for
        // more vector instructions.
        let pointers: [*mut T; N] =
            states.each_mut().map(|state: &mut &mut [T]| state.as_mut_ptr());
        let mut at = 0;
        while at < length {
            let g = gradient[at];
            let mut now = [g; N];
            let mut which = 0;
            while which < N {
                // SAFETY: `at` is below the length of each state.
                now[which] = unsafe { *pointers[which].add(at) };
                which += 1;
            }
            let next = f(now, g);
            which = 0;
            while which < N {
                // SAFETY: as above; the states are different slices.
                unsafe { *pointers[which].add(at) = next[which] };
                which += 1;
            }
            at += 1;
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
