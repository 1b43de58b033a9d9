//! Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407): keeps the equal-weight
//! average of the model after each of the last epochs, as `torch.optim.swa_utils.AveragedModel`
//! does.

use fluxbay_plugin::{prelude::*, serde};

use crate::{
    averages::Averages,
    phases::Chosen,
    saved_tensors::{SavedTensor, copy},
};

config! {
    /// What is averaged, when, and where the average is used.
    pub struct Config {
        /// First epoch that is averaged; by default the first one after three quarters of the
        /// epochs of the fit.
        start: Option<u64> = null => 1..,
        /// Number of epochs between two models that are averaged.
        every: u64 = 1 => 1..,
        /// The training phase after which the model is averaged, by id; by default every training
        /// phase.
        phase: Option<String> = null,
        /// Whether buffers, such as running statistics of batch normalisation, are averaged too
        /// (`use_buffers` of PyTorch); integer buffers are those of the last model. The average
        /// approximates the statistics of the averaged weights, which PyTorch's `update_bn` measures
        /// in a pass over the data. Otherwise the model keeps its own buffers, which belong to the
        /// last weights.
        buffers: bool = true,
        /// Whether validation phases use the average.
        validate: bool = true,
        /// Whether the model holds the average when the fit ends.
        keep: bool = true,
    }
}

/// The callback `swa`.
pub struct Swa {
    config: Config,
    phase: Chosen,
    averages: Averages,
    /// Number of averaged models.
    count: u64,
    loaded: Option<Saved>,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Saved {
    count: u64,
    averages: Vec<SavedTensor>,
    trained: Vec<SavedTensor>,
}

impl Component for Swa {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let params: Write<Tensors> = setup.write("params")?;
        let tensors = if config.buffers { setup.write("model")? } else { params };
        Ok(Swa {
            phase: Chosen::new(config.phase.clone()),
            config,
            averages: Averages::new(tensors),
            count: 0,
            loaded: None,
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        if let Some(loaded) = &self.loaded {
            return to_bytes(loaded);
        }
        let (averages, trained) = self.averages.save()?;
        to_bytes(&Saved { count: self.count, averages, trained })
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.loaded = Some(from_bytes(bytes)?);
        Ok(())
    }
}

/// Whether the model after `epoch` is averaged, in a fit of `epochs` epochs.
fn is_averaged(epoch: u64, epochs: u64, start: Option<u64>, every: u64) -> bool {
    let start = start.unwrap_or(epochs * 3 / 4 + 1);
    epoch >= start && (epoch - start).is_multiple_of(every)
}

impl Swa {
    fn restore(&mut self) -> Result<()> {
        if let Some(Saved { count, averages, trained }) = self.loaded.take() {
            self.count = count;
            self.averages.restore(&averages, &trained)?;
        }
        Ok(())
    }

    fn update(&mut self) -> Result<()> {
        self.count += 1;
        if self.count == 1 {
            return self.averages.begin();
        }
        let share = 1.0 / self.count as f64;
        self.averages.update(|average, current| match current.dtype()? {
            DType::U8 | DType::U32 | DType::I64 => copy(current),
            _ => average.add(&current.sub(average)?.affine(share, 0.0)?),
        })
    }
}

impl Callback for Swa {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        self.restore()?;
        match event.kind() {
            EpochEnd if event.is_training() => {
                let epochs = learner.position()?.epochs;
                let Config { start, every, .. } = self.config;
                let averaged = is_averaged(event.epoch(), epochs, start, every);
                if averaged && self.phase.includes(event)? { self.update() } else { Ok(()) }
            }
            EpochBegin if event.is_validation() && self.config.validate => self.averages.enter(),
            EpochEnd | EpochCancelled | Error => self.averages.leave(),
            FitEnd => {
                self.averages.leave()?;
                if self.config.keep { self.averages.apply() } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_is_averaged_by_default() {
        let averaged = |epochs, start, every| {
            let all = 1..=epochs;
            all.filter(|&epoch| is_averaged(epoch, epochs, start, every)).collect::<Vec<u64>>()
        };
        assert_eq!(averaged(8, None, 1), [7, 8]);
        assert_eq!(averaged(10, None, 1), [8, 9, 10]);
        assert_eq!(averaged(1, None, 1), [1]);
        assert_eq!(averaged(8, Some(3), 2), [3, 5, 7]);
    }
}
