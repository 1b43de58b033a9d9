//! Trains on images with a rectangle of another one (Yun et al. 2019, arXiv:1905.04899), or in some of
//! the steps on weighted sums of two. Metrics use the original labels.

use std::ops::Range;

use fluxbay_plugin::prelude::*;

use crate::{
    beta::{Uniforms, beta},
    mixing::{Mixing, Mixture},
    mixup::blend,
};

config! {
    /// How images are mixed.
    pub struct Config {
        /// Both parameters of the Beta distribution from which the share of the image's own area is
        /// drawn; 1 draws all shares equally often.
        alpha: f64 = 1.0,
        /// Share of the steps that are mixed; the others train on the images as they are.
        probability: f64 = 1.0 => 0.0..=1.0,
        /// Share of the mixed steps that train on weighted sums of two images instead, as with the
        /// callback `mixup`.
        mixup: f64 = 0.0 => 0.0..=1.0,
        /// Both parameters of the Beta distribution of these sums.
        mixup_alpha: f64 = 0.8,
        /// Share of each label that is spread over all classes, as in label-smoothing.
        label_smoothing: f64 = 0.0 => 0.0..=1.0,
    }
}

/// The callback `cutmix`.
pub struct Cutmix {
    alpha: Read<f64>,
    mixup_alpha: f64,
    probability: f64,
    mixup: f64,
    mixing: Mixing,
}

impl Component for Cutmix {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        for (key, alpha) in [("alpha", config.alpha), ("mixup-alpha", config.mixup_alpha)] {
            if alpha.is_nan() || alpha <= 0.0 {
                bail!("`{key}` is {alpha}, but it must be above 0");
            }
        }
        Ok(Cutmix {
            alpha: setup.hyper_parameter("alpha", config.alpha)?,
            mixup_alpha: config.mixup_alpha,
            probability: config.probability,
            mixup: config.mixup,
            mixing: Mixing::new(config.label_smoothing, setup)?,
        })
    }
}

/// The rows and columns of a rectangle with `area` of an image of this size, as a share, around a center
/// in units of the size. What lies outside of the image is cut off.
fn rectangle(area: f64, center: [f64; 2], size: [usize; 2]) -> [Range<usize>; 2] {
    let half = 0.5 * area.sqrt();
    [0, 1].map(|axis| {
        let length = size[axis] as f64;
        let at = |offset: f64| {
            let edge = ((center[axis] + offset) * length).round();
            edge.clamp(0.0, length) as usize
        };
        at(-half)..at(half)
    })
}

/// 1 within the rectangle and 0 around it, `[height, width]`.
fn marks([rows, columns]: &[Range<usize>; 2], [height, width]: [usize; 2]) -> Vec<u8> {
    let mut marks = vec![0; height * width];
    for row in marks.chunks_exact_mut(width).take(rows.end).skip(rows.start) {
        row[columns.clone()].fill(1);
    }
    marks
}

impl Callback for Cutmix {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        let Cutmix { ref alpha, mixup_alpha, probability, mixup, ref mut mixing } = *self;
        mixing.on(event, learner, |shape| {
            let &[samples, .., height, width] = shape else {
                bail!("cutmix takes images [batch, .., height, width], the inputs are {shape:?}");
            };
            let mut uniforms = Uniforms::of_host();
            if uniforms.next()? >= probability {
                return Ok(None);
            }
            if uniforms.next()? < mixup {
                return blend(mixup_alpha, &mut uniforms, samples).map(Some);
            }
            let area = 1.0 - beta(learner.get(alpha)?, &mut uniforms)?;
            let center = [uniforms.next()?, uniforms.next()?];
            let size = [height, width];
            let rectangle = rectangle(area, center, size);
            let cut = rectangle.iter().map(|range| range.len()).product::<usize>();
            Ok(Some(Mixture {
                share: 1.0 - cut as f64 / (height * width) as f64,
                partners: Tensor::permutation(samples)?,
                part: Some(Tensor::from_slice(&marks(&rectangle, size), (height, width))?),
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_has_its_area_and_is_cut_off_at_the_edges() {
        assert_eq!(rectangle(0.25, [0.5, 0.5], [8, 16]), [2..6, 4..12]);
        assert_eq!(rectangle(0.25, [0.0, 1.0], [8, 16]), [0..2, 12..16]);
        assert_eq!(rectangle(1.0, [0.5, 0.5], [3, 5]), [0..3, 0..5]);
        assert_eq!(rectangle(0.0, [0.3, 0.9], [8, 8]).map(|range| range.len()), [0, 0]);
        assert_eq!(marks(&[1..2, 0..2], [3, 3]), [0, 0, 0, 1, 1, 0, 0, 0, 0]);
    }
}
