//! A data set of two intertwined spirals (Lang and Witbrock 1988): 2 coordinates in, 1 of 2 classes
//! out.
//!
//! It shows what a data set provides: fields, splits, and samples by index. Shuffling, dividing into
//! training and validation, and batching are done by the host.

use fluxbay_plugin::prelude::*;

config! {
    /// Size of the data set.
    struct Config {
        /// Points of each spiral.
        points: usize = 500 => 1..,
        /// Turns of each spiral.
        turns: f64 = 1.75 => 0.0..,
    }
}

struct Spirals(Config);

impl Component for Spirals {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Spirals(config))
    }
}

impl Spirals {
    /// Coordinates of point `index`; even indices lie on the first spiral, odd ones on the second.
    fn point(&self, index: u64) -> [f32; 2] {
        let place = (index / 2 + 1) as f64 / self.0.points as f64;
        let half_turn = std::f64::consts::PI * (index % 2) as f64;
        let angle = std::f64::consts::TAU * self.0.turns * place + half_turn;
        [(place * angle.cos()) as f32, (place * angle.sin()) as f32]
    }
}

impl Dataset for Spirals {
    fn open(&mut self) -> Result<()> {
        Ok(())
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::new("xs", DType::F32, &[2]), Field::labels("ys", 2)]
    }

    fn splits(&self) -> Vec<Split> {
        vec![Split::new("all", 2 * self.0.points)]
    }

    fn fill(&self, _: usize, indices: &[u64], buffers: &mut Buffers<'_>) -> Result<()> {
        for (place, index) in buffers.f32(0)?.chunks_exact_mut(2).zip(indices) {
            place.copy_from_slice(&self.point(*index));
        }
        for (place, index) in buffers.u32(1)?.iter_mut().zip(indices) {
            *place = (*index % 2) as u32;
        }
        Ok(())
    }
}

plugin! {
    summary: "Two intertwined spirals.",
    dataset "spirals" => Spirals {
        summary: "Points on two intertwined spirals: 2 coordinates, 2 classes.",
        example: "[data]\ncomponent = \"spirals\"\n",
    },
}
