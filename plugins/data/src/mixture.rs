//! Data set `mixture`: points from Gaussians on a ring, a common test of whether a generative model
//! covers every mode.

use fluxbay_plugin::prelude::*;

config! {
    /// The ring.
    pub struct Config {
        /// Number of points.
        samples: usize = 4096 => 1..,
        /// Number of Gaussians, evenly spaced.
        modes: usize = 8 => 1..,
        /// Radius of the ring.
        radius: f64 = 2.0 => 0.0..,
        /// Standard deviation of each Gaussian.
        deviation: f64 = 0.05 => 0.0..,
        /// Seed of the points; equal seeds give equal points.
        seed: u64 = 0,
    }
}

/// The data set `mixture`: points `[2]` and the index of the Gaussian of each.
pub struct Mixture {
    config: Config,
    points: Vec<[f32; 2]>,
}

impl Component for Mixture {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Mixture { config, points: Vec::new() })
    }
}

/// Element `index` of the SplitMix64 sequence of `seed` (Steele, Lea and Flood 2014), as a fraction
/// in `(0, 1)`.
fn uniform(seed: u64, index: u64) -> f64 {
    let mut bits = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + f64::EPSILON / 4.0
}

impl Mixture {
    fn mode(&self, index: usize) -> usize {
        index % self.config.modes
    }
}

impl Dataset for Mixture {
    fn open(&mut self) -> Result<()> {
        let Config { samples, modes, radius, deviation, seed } = self.config;
        let point = |index: usize| {
            let angle = std::f64::consts::TAU * (index % modes) as f64 / modes as f64;
            // Box and Muller 1958.
            let length = deviation * (-2.0 * uniform(seed, 2 * index as u64).ln()).sqrt();
            let turn = std::f64::consts::TAU * uniform(seed, 2 * index as u64 + 1);
            [
                (radius * angle.cos() + length * turn.cos()) as f32,
                (radius * angle.sin() + length * turn.sin()) as f32,
            ]
        };
        self.points = (0..samples).map(point).collect();
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[2]), Field::labels("ys", self.config.modes)]
    }

    fn splits(&self) -> Vec<Split> {
        vec![Split::new("all", self.points.len())]
    }

    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        for (place, index) in buffers.f32(0)?.chunks_exact_mut(2).zip(indices) {
            place.copy_from_slice(&self.points[*index as usize]);
        }
        for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
            *place = self.mode(*index as usize) as u32;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_around_their_mode() {
        let config = Config { samples: 800, modes: 8, radius: 2.0, deviation: 0.05, seed: 0 };
        let mut mixture = Mixture { config, points: Vec::new() };
        mixture.open().unwrap();
        let mut spread = 0.0;
        for (index, point) in mixture.points.iter().enumerate() {
            let angle = std::f32::consts::TAU * mixture.mode(index) as f32 / 8.0;
            let distance = (point[0] - 2.0 * angle.cos()).hypot(point[1] - 2.0 * angle.sin());
            assert!(distance < 0.3, "{point:?} is {distance} from its mode");
            spread += distance * distance / 1600.0;
        }
        assert!((spread.sqrt() - 0.05).abs() < 0.005, "deviation {}", spread.sqrt());
    }
}
