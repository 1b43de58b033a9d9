//! Loss `ctc`: connectionist temporal classification (Graves et al. 2006).

use fluxbay_plugin::prelude::*;

choice! {
    /// What happens with a target that is too long for its frames.
    pub enum TooLong {
        /// The step fails, and names the sample.
        Error,
        /// The sample counts 0 and has no gradient, as with PyTorch's `zero_infinity`.
        Zero,
    }
}

config! {
    /// Settings of the loss `ctc`.
    pub struct Config {
        /// Class of the blank. Targets are padded with it at their end.
        blank: u32 = 0,
        /// What happens with a target that is too long for its frames.
        too_long: TooLong = "error",
    }
}

/// The loss `ctc`: `-ln` of the probability of all ways in which the frames spell the target, divided
/// by the target's length, averaged over the samples. PyTorch's `ctc_loss` with `reduction = "mean"`
/// and all frames of each input.
pub struct Ctc(Config);

/// In place of `ln 0`: the sum of two such numbers is still finite, and so is every gradient.
const NEVER: f64 = -1e30;

impl Component for Ctc {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Ctc(config))
    }
}

/// The targets of a batch with a blank before, between and after their labels, `2 width + 1` places
/// for each sample.
struct Extended {
    /// Class at each place.
    classes: Vec<u32>,
    /// 0 where the label two places before may be followed directly, else [`NEVER`].
    skips: Vec<f32>,
    /// 0 at the two places where a path may end, else [`NEVER`].
    ends: Vec<f32>,
    /// What a sample's number is multiplied with.
    weights: Vec<f32>,
}

impl Extended {
    fn of(labels: &[u32], width: usize, frames: usize, config: &Config) -> Result<Extended> {
        let (samples, places) = (labels.len() / width, 2 * width + 1);
        let mut all = Extended {
            classes: vec![config.blank; samples * places],
            skips: vec![NEVER as f32; samples * places],
            ends: vec![NEVER as f32; samples * places],
            weights: Vec::with_capacity(samples),
        };
        for (sample, row) in labels.chunks_exact(width).enumerate() {
            let length = row.iter().position(|label| *label == config.blank).unwrap_or(width);
            if let Some(after) = row[length..].iter().position(|label| *label != config.blank) {
                bail!(
                    "target {sample} of the batch has the blank {} at place {length}, before the label at place {}: the blank only pads the end",
                    config.blank,
                    length + after
                );
            }
            let at = sample * places;
            for (index, label) in row[..length].iter().enumerate() {
                all.classes[at + 2 * index + 1] = *label;
                if index > 0 && row[index - 1] != *label {
                    all.skips[at + 2 * index + 1] = 0.0;
                }
            }
            all.ends[at + 2 * length] = 0.0;
            if length > 0 {
                all.ends[at + 2 * length - 1] = 0.0;
            }
            // Between equal labels there has to be a blank.
            let needed =
                length + row[..length].windows(2).filter(|pair| pair[0] == pair[1]).count();
            let weight = match (needed > frames, &config.too_long) {
                (true, TooLong::Zero) => 0.0,
                (true, TooLong::Error) => bail!(
                    "target {sample} of the batch has {length} labels and needs {needed} frames, the model gives {frames}; `too-long = \"zero\"` leaves such samples out"
                ),
                (false, _) => 1.0 / (length.max(1) * samples) as f32,
            };
            all.weights.push(weight);
        }
        Ok(all)
    }
}

impl Loss for Ctc {
    fn forward(&self, yhats: &Tensor, ys: &Tensor) -> Result<Tensor> {
        let (wanted, found) = (yhats.dims()?, ys.dims()?);
        let (&[samples, frames, classes], &[rows, width]) = (&wanted[..], &found[..]) else {
            bail!(
                "ctc takes logits [n, frames, classes] and labels [n, length], got {wanted:?} and {found:?}"
            );
        };
        if samples != rows || frames * samples * width == 0 {
            bail!(
                "ctc takes as many targets as predictions, none of them empty, got {wanted:?} and {found:?}"
            );
        }
        if self.0.blank as usize >= classes {
            bail!("blank = {}, but the predictions have {classes} classes", self.0.blank);
        }
        let labels: Vec<u32> = ys.to_dtype(DType::U32)?.to_vec()?;
        if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
            bail!("a target has the label {label}, but the predictions have {classes} classes");
        }
        let extended = Extended::of(&labels, width, frames, &self.0)?;
        let places = 2 * width + 1;
        let dtype = yhats.dtype()?;
        let table = |values: &[f32]| -> Result<Tensor> {
            Tensor::from_slice(values, (samples, places))?.to_dtype(dtype)
        };
        let (skips, ends) = (table(&extended.skips)?, table(&extended.ends)?);
        let indices = Tensor::from_slice(&extended.classes, (samples, 1, places))?
            .broadcast_as((samples, frames, places))?;
        // Logarithms of the probability of each place's class in each frame.
        let emitted = yhats.log_softmax(-1)?.gather(&indices, -1)?;
        let frame = |t: usize| emitted.narrow(1, t, 1)?.squeeze(1);
        // A path begins with the first blank or the first label.
        let first: Vec<f32> = (0..samples * places)
            .map(|at| if at % places < 2 { 0.0 } else { NEVER as f32 })
            .collect();
        let mut paths = frame(0)?.add(&table(&first)?)?;
        let shifted = |paths: &Tensor, by: usize| {
            let by = by.min(places);
            paths.narrow(1, 0, places - by)?.pad(1, by, 0, NEVER)
        };
        for t in 1..frames {
            let ways = [paths.clone(), shifted(&paths, 1)?, shifted(&paths, 2)?.add(&skips)?];
            paths = Tensor::stack(&[&ways[0], &ways[1], &ways[2]], 0)?
                .log_sum_exp(0)?
                .add(&frame(t)?)?;
        }
        let found = paths.add(&ends)?.log_sum_exp(-1)?;
        let weights = Tensor::from_slice(&extended.weights, samples)?.to_dtype(dtype)?;
        found.mul(&weights)?.sum_all()?.neg()
    }
}
