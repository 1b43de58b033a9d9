//! Metric `accuracy`: share of samples whose predicted class is the target.

use fluxbay_plugin::{prelude::*, serde};

use crate::samples::{Samples, is_argmax};

config! {
    /// Conversion of predictions to classes.
    pub struct Config {
        /// Binary logit above which a prediction is class 1; 0 for logits, 0.5 for probabilities.
        threshold: f64 = 0.0,
    }
}

/// The metric `accuracy`.
pub struct Accuracy {
    threshold: f64,
    gathered: Counts,
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Counts {
    right: u64,
    samples: u64,
}

impl Counts {
    fn share(&self) -> f64 {
        self.right as f64 / self.samples as f64
    }

    fn of(samples: &Samples, threshold: f64) -> Counts {
        let right = (0..samples.len())
            .filter(|&index| samples.predicted(index, threshold) == Some(samples.labels()[index]));
        Counts { right: right.count() as u64, samples: samples.len() as u64 }
    }

    /// Fast path for scores in `f32` and labels in `u32` in CPU memory, counted without a copy.
    /// Returns `None` for other tensors and for invalid labels.
    fn in_place(input: &MetricInput) -> Result<Option<Counts>> {
        let (yhats, ys) = (input.yhats(), input.ys());
        // A scalar has no last dimension; the caller reads it.
        let Ok(columns) = yhats.dim(-1) else { return Ok(None) };
        let counted = yhats.with_slice::<f32, _>(|scores| {
            ys.with_slice::<u32, _>(|labels| {
                // With a single label, the scores may be a vector instead of a row.
                let rows =
                    columns > 1 && labels.len() > 1 && scores.len() == columns * labels.len();
                if !rows || labels.iter().any(|&label| label as usize >= columns) {
                    return None;
                }
                let right = scores
                    .chunks_exact(columns)
                    .zip(labels)
                    .filter(|(row, label)| is_argmax(row, **label as usize));
                Some(Counts { right: right.count() as u64, samples: labels.len() as u64 })
            })
        });
        // Tensors without direct access are read by the caller.
        Ok(counted.and_then(|counted| counted).unwrap_or(None))
    }
}

impl Component for Accuracy {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Accuracy { threshold: config.threshold, gathered: Counts::default() })
    }

    state!(gathered);
}

impl Metric for Accuracy {
    fn reset(&mut self) {
        self.gathered = Counts::default();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let step = match Counts::in_place(input)? {
            Some(step) => step,
            None => Counts::of(&Samples::read(input)?, self.threshold),
        };
        self.gathered.right += step.right;
        self.gathered.samples += step.samples;
        Ok(step.share())
    }

    fn direction(&self) -> Direction {
        Direction::Higher
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.gathered.share())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::tests::{elements, labelled};

    #[test]
    fn behaviour_22_identical_one_hot_rows_are_all_right() {
        let identity = [1., 0., 0., 1.];
        for scores in [[1., 0., 0., 1.], [0.9, 0.1, 0.1, 0.9]] {
            let samples =
                Samples::new(elements(&scores, &[2, 2]), &elements(&identity, &[2, 2])).unwrap();
            assert_eq!(Counts::of(&samples, 0.0).share(), 1.0);
        }
    }

    #[test]
    fn it_agrees_with_scikit_learn() {
        for case in ["three-classes", "binary-logits"] {
            let reference = crate::reference::Reference::load(case);
            crate::reference::close(
                Counts::of(&reference.samples(), 0.0).share(),
                reference.number("accuracy"),
            );
        }
    }

    #[test]
    fn wrong_ones_count_and_nothing_gathered_is_nan() {
        assert_eq!(
            Counts::of(&labelled(&[0.2, 0.8, 0.6, 0.4, 0.1, 0.9], 2, &[0., 0., 1.]), 0.0).share(),
            2.0 / 3.0
        );
        assert!(Counts::default().share().is_nan());
    }
}
