//! Random numbers for transforms and samplers, from one number of the host.

/// Random numbers that depend on one number alone: the host derives it from the run's seed, the epoch,
/// the sample and the instance, so the same sample is changed in the same way whichever thread reads
/// it, in which order, and after which resume.
///
/// The algorithm is xoshiro256++, seeded with SplitMix64; it never changes, so that runs stay
/// repeatable.
///
/// ```
/// # use fluxbay_plugin::Draws;
/// let (mut one, mut other) = (Draws::new(7), Draws::new(7));
/// assert_eq!(one.uniform(), other.uniform());
/// assert!((2.0..5.0).contains(&one.between(2.0, 5.0)) && one.below(6) < 6);
/// ```
#[derive(Clone, Debug)]
pub struct Draws {
    state: [u64; 4],
}

/// The next number of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

impl Draws {
    /// Draws of a number, for tests.
    pub fn new(number: u64) -> Draws {
        Draws::from_number([number, 0])
    }

    pub(crate) fn from_number([mut low, mut high]: [u64; 2]) -> Draws {
        let (a, b) = (split_mix(&mut low), split_mix(&mut high));
        // Not all four may be 0; `b` and `d` come from consecutive states, so they are not both 0.
        Draws { state: [a, b, split_mix(&mut low), split_mix(&mut high)] }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let drawn = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let t = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= t;
        *d = d.rotate_left(45);
        drawn
    }

    /// A number from 0 up to, not including, 1.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from `low` up to `high`; `low` if they are equal.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// A whole number below `bound`, each equally likely; 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        loop {
            let product = u128::from(self.bits()) * u128::from(bound);
            if bound == 0 || product as u64 >= bound.wrapping_neg() % bound {
                return (product >> 64) as usize;
            }
        }
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// A number of the standard normal distribution (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Puts `items` into random order, each order equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_published_algorithms() {
        // SplitMix64 of seed 1234567, from the reference implementation.
        let mut state = 1_234_567;
        let drawn = [(); 3].map(|()| split_mix(&mut state));
        assert_eq!(drawn, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
        // xoshiro256++ of state 1, 2, 3, 4, from the reference implementation.
        let mut draws = Draws { state: [1, 2, 3, 4] };
        let drawn = [(); 4].map(|()| draws.bits());
        assert_eq!(drawn, [41943041, 58720359, 3588806011781223, 3591011842654386]);
    }

    #[test]
    fn distributions_have_their_means() {
        let (mut draws, count) = (Draws::new(3), 20_000);
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / f64::from(count);
        let uniform = mean((0..count).map(|_| draws.between(2.0, 4.0)).collect());
        let normal = mean((0..count).map(|_| draws.normal().powi(2)).collect());
        let below = mean((0..count).map(|_| draws.below(7) as f64).collect());
        assert!((uniform - 3.0).abs() < 0.02 && (normal - 1.0).abs() < 0.05, "{uniform} {normal}");
        assert!((below - 3.0).abs() < 0.06, "{below}");
        assert_eq!(draws.below(0), 0);
    }
}
