//! Random numbers of the loader: the engine's Philox with keys of their own.
//!
//! A number depends on seed, purpose, epoch and its index only. Threads, earlier epochs and other
//! users of random numbers cannot shift it.

use crate::tensor::philox;

/// A sequence of random 64-bit numbers.
pub(super) struct Draws {
    key: [u32; 2],
    purpose: u32,
    epoch: u32,
    block: u64,
    spare: Option<u64>,
}

impl Draws {
    /// The sequence of `seed` for one `purpose` (such as `order/training`) in one epoch.
    pub(super) fn new(seed: u64, purpose: &str, epoch: u64) -> Draws {
        let key = [seed as u32, (seed >> 32) as u32];
        Draws {
            key,
            purpose: fold(fnv1a(purpose.as_bytes())),
            epoch: fold(epoch),
            block: 0,
            spare: None,
        }
    }

    /// The first 128 bits of the sequence.
    fn number(mut self) -> [u64; 2] {
        [self.next(), self.next()]
    }

    fn next(&mut self) -> u64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let [a, b, c, d] = philox(
            [self.block as u32, (self.block >> 32) as u32, self.epoch, self.purpose],
            self.key,
        );
        self.block += 1;
        self.spare = Some(u64::from(c) | u64::from(d) << 32);
        u64::from(a) | u64::from(b) << 32
    }

    /// A number from 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `bound` (at least 1), each equally likely (Lemire, "Fast random integer
    /// generation in an interval", 2019).
    fn below(&mut self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.next()) * u128::from(bound);
            if product as u64 >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }

    /// Puts `items` into random order, each order equally likely (Fisher and Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

/// The number that all draws of instance `id` for one sample of an epoch derive from.
pub(super) fn draw(seed: u64, id: &str, epoch: u64, sample: u64) -> [u64; 2] {
    let mut draws = Draws::new(seed, "instance", epoch);
    draws.purpose = fold(fnv1a(id.as_bytes()));
    draws.block = sample;
    draws.number()
}

/// FNV-1a, 64 bits: a fixed hash that no release of a library can change.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

fn fold(number: u64) -> u32 {
    (number ^ number >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_about_equally_likely() {
        let mut counts = [0_u32; 7];
        for epoch in 0..7_000 {
            let mut items: Vec<usize> = (0..7).collect();
            Draws::new(11, "test", epoch).shuffle(&mut items);
            counts[items[0]] += 1;
        }
        assert!(counts.iter().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }
}
