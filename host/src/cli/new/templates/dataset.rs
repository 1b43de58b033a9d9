//! The data set `{{name}}`: points on two arms of a spiral, to be told apart.

use fluxbay_plugin::prelude::*;

config! {
    /// What can be set in a run file.
    struct Config {
        /// Number of points.
        samples: usize = 1000 => 2..,
        /// How often each arm goes round.
        turns: f64 = 1.5 => 0.0..,
    }
}

struct {{Type}} {
    config: Config,
}

/// Point `index`: even indices lie on one arm, odd ones on the other, larger ones farther out.
fn point(config: &Config, index: usize) -> [f32; 2] {
    let way = (index / 2 + 1) as f64 / (config.samples as f64 / 2.0);
    let angle = std::f64::consts::TAU * config.turns * way + std::f64::consts::PI * (index % 2) as f64;
    [(way * angle.cos()) as f32, (way * angle.sin()) as f32]
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, _setup: &mut Setup) -> Result<Self> {
        Ok({{Type}} { config })
    }
}

impl Dataset for {{Type}} {
    // Called once before the first batch: open and check files here.
    fn open(&mut self) -> Result<()> {
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[2]), Field::labels("ys", 2)]
    }

    // The host divides `all` into training and validation. Data that comes divided has two splits,
    // `training` and `validation`.
    fn splits(&self) -> Vec<Split> {
        vec![Split::new("all", self.config.samples)]
    }

    fn fill(&self, _split: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        if let Some(index) = indices.iter().find(|index| **index >= self.config.samples as u64) {
            return Err(Error::new(format!("there is no sample {index}, only {} of them", self.config.samples)));
        }
        for (place, index) in buffers.f32(0)?.chunks_exact_mut(2).zip(indices) {
            place.copy_from_slice(&point(&self.config, *index as usize));
        }
        for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
            *place = (index % 2) as u32;
        }
        Ok(())
    }
}

plugin! {
    summary: "The data set {{name}}.",
    dataset "{{name}}" => {{Type}} {
        summary: "Points on two arms of a spiral, to be told apart.",
    },
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::Config as _;

    use super::*;

    #[test]
    fn the_arms_lie_opposite_each_other() {
        let config = Config::from_json("{}").unwrap();
        let (one, other) = (point(&config, 700), point(&config, 701));
        assert!((one[0] + other[0]).abs() < 1e-5 && (one[1] + other[1]).abs() < 1e-5, "{one:?} {other:?}");
    }
}
