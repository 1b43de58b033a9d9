//! Keeps the samples of an epoch with the highest loss, for the report on the run.
//!
//! After each epoch of the phase they are in `details/<phase>.worst-samples.json` of the run's folder, with their
//! loss, target, prediction and, where they are images, their pixels.

use std::path::PathBuf;

use fluxbay_plugin::{prelude::*, serde};
use serde_json::{Value, json};

use crate::{details, phases::Chosen};

/// Name of the component, and of its file.
const NAME: &str = "worst-samples";
/// Largest image that is kept, in elements.
const LARGEST: usize = 3 * 128 * 128;

config! {
    /// Which samples are kept.
    pub struct Config {
        /// Number of samples.
        count: usize = 16 => 1..=256,
        /// The phase, by id or kind.
        phase: String = "validation",
        /// State path of the images: `[samples, channels, height, width]`, `[samples, height, width]`, or
        /// any shape if `shape` is given.
        path: String = "step.xs",
        /// Shape of one image if the samples have another shape: `[height, width]` or
        /// `[channels, height, width]`.
        shape: Option<Vec<usize>> = null,
    }
}

/// A sample with its loss.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Sample {
    /// Place in the epoch, from 1: for phases that read in order, the place in the split.
    place: u64,
    loss: f64,
    target: f64,
    /// The predicted class, or the predicted number.
    predicted: f64,
    /// Shape and pixels from 0 to 255; empty if the sample is no image.
    shape: Vec<usize>,
    pixels: Vec<u8>,
}

/// The samples with the highest loss so far, the highest first.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Worst {
    seen: u64,
    samples: Vec<Sample>,
}

impl Worst {
    /// Place at which a loss would be kept among `count`; none if it is not high enough. NaN is the
    /// highest; among equal ones the first stays first.
    fn rank(&self, loss: f64, count: usize) -> Option<usize> {
        let key = |loss: f64| if loss.is_nan() { f64::INFINITY } else { loss };
        let rank = self.samples.partition_point(|kept| key(kept.loss) >= key(loss));
        (rank < count).then_some(rank)
    }

    fn keep(&mut self, rank: usize, sample: Sample, count: usize) {
        self.samples.insert(rank, sample);
        self.samples.truncate(count);
    }
}

/// The callback `worst-samples`.
pub struct WorstSamples {
    config: Config,
    phase: Chosen,
    folder: Option<PathBuf>,
    xs: Read<Tensor>,
    ys: Read<Tensor>,
    yhats: Read<Tensor>,
    worst: Worst,
}

impl Component for WorstSamples {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(WorstSamples {
            phase: Chosen::new(Some(config.phase.clone())),
            folder: setup.run_dir()?.map(|dir| dir.join(details::FOLDER)),
            xs: setup.read(&config.path)?,
            ys: setup.read("step.ys")?,
            yhats: setup.read("step.yhats")?,
            config,
            worst: Worst::default(),
        })
    }

    state!(worst);
}

/// Loss, target and prediction of each sample: cross-entropy for class scores with labels or one-hot
/// rows, binary cross-entropy for a logit with a whole-numbered target, otherwise the mean squared
/// error with the first number of each.
fn losses(yhats: &[f64], ys: &[f64], samples: usize, labels: bool) -> Vec<(f64, f64, f64)> {
    let (columns, targets) = (yhats.len() / samples.max(1), ys.len() / samples.max(1));
    let of = |index: usize| {
        let scores = &yhats[index * columns..][..columns];
        let target = &ys[index * targets..][..targets];
        let is_one_hot = || {
            target.iter().all(|value| *value == 0.0 || *value == 1.0)
                && target.iter().sum::<f64>() == 1.0
        };
        match (columns, targets) {
            (2.., 1) if labels => cross_entropy(scores, target[0] as usize),
            (2.., _) if columns == targets && is_one_hot() => {
                cross_entropy(scores, target.iter().position(|value| *value == 1.0).unwrap_or(0))
            }
            (1, 1) if labels => {
                let (score, target) = (scores[0], target[0]);
                // max(x, 0) - x y + log(1 + exp(-|x|)), which does not overflow.
                let loss = score.max(0.0) - score * target + (-score.abs()).exp().ln_1p();
                (loss, target, f64::from(score > 0.0))
            }
            _ => {
                let square = |(one, other): (&f64, &f64)| (one - other) * (one - other);
                let count = columns.min(targets).max(1) as f64;
                let loss = scores.iter().zip(target).map(square).sum::<f64>() / count;
                let first = |values: &[f64]| values.first().copied().unwrap_or(f64::NAN);
                (loss, first(target), first(scores))
            }
        }
    };
    (0..samples).map(of).collect()
}

fn cross_entropy(scores: &[f64], target: usize) -> (f64, f64, f64) {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
    let loss = scores.get(target).map_or(f64::NAN, |score| most + sum.ln() - score);
    let predicted = scores.iter().position(|score| *score == most);
    (loss, target as f64, predicted.map_or(f64::NAN, |class| class as f64))
}

/// Pixels from 0 to 255, stretched from the least to the greatest value.
fn pixels(values: &[f32]) -> Vec<u8> {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let factor = if high > low { 255.0 / (high - low) } else { 0.0 };
    values.iter().map(|value| ((value - low) * factor).round() as u8).collect()
}

impl WorstSamples {
    fn step(&mut self, learner: &Learner) -> Result<()> {
        let (Some(yhats), Some(ys)) = (learner.find(&self.yhats)?, learner.find(&self.ys)?) else {
            return Ok(());
        };
        let samples = learner.position()?.samples as usize;
        let labels = matches!(ys.dtype()?, DType::U8 | DType::U32 | DType::I64);
        let numbers = |tensor: &Tensor| tensor.detach()?.to_dtype(DType::F64)?.to_vec::<f64>();
        let all = losses(&numbers(&yhats)?, &numbers(&ys)?, samples, labels);
        for (index, (loss, target, predicted)) in all.into_iter().enumerate() {
            self.worst.seen += 1;
            let Some(rank) = self.worst.rank(loss, self.config.count) else { continue };
            let (shape, pixels) = self.image(learner, index, samples)?;
            let place = self.worst.seen;
            let sample = Sample { place, loss, target, predicted, shape, pixels };
            self.worst.keep(rank, sample, self.config.count);
        }
        Ok(())
    }

    /// Shape and pixels of a sample of the batch; empty if it is no image.
    fn image(
        &self,
        learner: &Learner,
        index: usize,
        samples: usize,
    ) -> Result<(Vec<usize>, Vec<u8>)> {
        let none = Ok((Vec::new(), Vec::new()));
        let Some(batch) = learner.find(&self.xs)? else { return none };
        let dims = batch.dims()?;
        if dims.first() != Some(&samples) {
            return none;
        }
        let shape = self.config.shape.clone().unwrap_or_else(|| dims[1..].to_vec());
        let elements: usize = shape.iter().product();
        let is_image = match shape.as_slice() {
            [_, _] => true,
            [channels, _, _] => matches!(channels, 1 | 3),
            _ => false,
        };
        if !is_image || elements > LARGEST || elements != dims[1..].iter().product::<usize>() {
            return none;
        }
        let image = batch.detach()?.narrow(0, index, 1)?.to_dtype(DType::F32)?;
        Ok((shape, pixels(&image.to_vec::<f32>()?)))
    }

    fn write(&self, event: &Event) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let samples: Vec<Value> = self
            .worst
            .samples
            .iter()
            .map(|one| {
                json!({
                    "sample": one.place, "loss": one.loss, "target": one.target,
                    "predicted": one.predicted, "shape": one.shape, "pixels": one.pixels,
                })
            })
            .collect();
        details::write(
            folder,
            &event.phase_name()?,
            NAME,
            event.epoch(),
            json!({ "samples": samples }),
        );
        Ok(())
    }
}

impl Callback for WorstSamples {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !self.phase.includes(event)? {
            return Ok(());
        }
        match event.kind() {
            EpochBegin => {
                self.worst = Worst::default();
                Ok(())
            }
            StepEnd => self.step(learner),
            EpochEnd => self.write(event),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn losses_are_those_of_each_sample() {
        // Cross-entropy of scores (1, 2, 3): log(1 + e^-1 + e^-2) from the largest on.
        let base = (1.0 + (-1.0_f64).exp() + (-2.0_f64).exp()).ln();
        let scores = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0];
        let found = losses(&scores, &[2.0, 0.0], 2, true);
        assert!(near(found[0].0, base) && near(found[1].0, base + 2.0), "{found:?}");
        assert_eq!((found[1].1, found[1].2), (0.0, 2.0));
        let one_hot = losses(&scores, &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0], 2, false);
        assert!(near(one_hot[0].0, base) && near(one_hot[1].0, base + 2.0), "{one_hot:?}");
        let binary = losses(&[0.0, -1000.0], &[1.0, 1.0], 2, true);
        assert!(near(binary[0].0, 2.0_f64.ln()) && near(binary[1].0, 1000.0), "{binary:?}");
        let squares = losses(&[1.0, 2.0, 3.0, 5.0], &[0.0, 0.0, 3.0, 4.0], 2, false);
        assert!(near(squares[0].0, 2.5) && near(squares[1].0, 0.5), "{squares:?}");
    }

    #[test]
    fn the_highest_losses_stay_in_order_and_nan_is_the_highest() {
        let mut worst = Worst::default();
        for (place, loss) in [0.5, 3.0, 1.0, f64::NAN, 2.0, 3.0, 0.1].into_iter().enumerate() {
            if let Some(rank) = worst.rank(loss, 4) {
                let place = place as u64 + 1;
                let (shape, pixels) = (Vec::new(), Vec::new());
                worst.keep(
                    rank,
                    Sample { place, loss, target: 0.0, predicted: 0.0, shape, pixels },
                    4,
                );
            }
        }
        let places: Vec<u64> = worst.samples.iter().map(|one| one.place).collect();
        assert_eq!(places, [4, 2, 6, 5]);
    }

    #[test]
    fn pixels_are_stretched() {
        assert_eq!(pixels(&[-1.0, 0.0, 1.0]), [0, 128, 255]);
        assert_eq!(pixels(&[7.0, 7.0]), [0, 0]);
    }
}
