//! Callback `schedule-free-average`: the average that schedule-free optimizers are evaluated with.

use fluxbay_plugin::{prelude::*, serde};

use crate::schedule_free::Averaging;

config! {
    /// Where the average is used.
    pub struct Config {
        /// Whether validation phases run with the average.
        validate: bool = true,
        /// Whether the model keeps the average when the fit ends.
        keep: bool = true,
    }
}

/// The callback `schedule-free-average`.
///
/// The optimizer leaves the points `y = (1 - beta1) z + beta1 x` in the parameters. The average `x`
/// follows from their sequence: after a step, `z = (y - beta1 (1 - c) x) / (1 - beta1 + beta1 c)` and
/// `x += c (z - x)`, where `c` is the weight of the step.
pub struct ScheduleFreeAverage {
    config: Config,
    /// Of the optimizer: learning rate, beta1, warm-up steps and both powers.
    rates: [Read<f64>; 5],
    params: Write<Tensors>,
    skipped: Read<bool>,
    averaging: Averaging,
    averages: Vec<Tensor>,
    /// The parameters of the optimizer while the averages are in their place.
    trained: Vec<Tensor>,
    loaded: Option<Saved>,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Saved {
    averaging: Averaging,
    averages: Vec<Elements>,
    trained: Vec<Elements>,
}

/// Shape and elements of a parameter; `f64` holds those of all types exactly.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Elements(Vec<usize>, Vec<f64>);

impl Component for ScheduleFreeAverage {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(ScheduleFreeAverage {
            config,
            rates: [
                setup.read("optimizer.learning-rate")?,
                setup.read("optimizer.beta1")?,
                setup.read("optimizer.warmup-steps")?,
                setup.read("optimizer.weight-step-power")?,
                setup.read("optimizer.weight-rate-power")?,
            ],
            params: setup.write("params")?,
            skipped: setup.read("step.update-skipped")?,
            averaging: Averaging::default(),
            averages: Vec::new(),
            trained: Vec::new(),
            loaded: None,
        })
    }

    fn save(&self) -> Result<Vec<u8>> {
        if let Some(loaded) = &self.loaded {
            return to_bytes(loaded);
        }
        let saved = |tensors: &[Tensor]| -> Result<Vec<Elements>> {
            tensors.iter().map(|one| Ok(Elements(one.dims()?, one.to_vec::<f64>()?))).collect()
        };
        to_bytes(&Saved {
            averaging: self.averaging,
            averages: saved(&self.averages)?,
            trained: saved(&self.trained)?,
        })
    }

    fn load(&mut self, _: u32, bytes: &[u8]) -> Result<()> {
        self.loaded = Some(from_bytes(bytes)?);
        Ok(())
    }
}

impl ScheduleFreeAverage {
    /// Creates the tensors of a loaded state, which is not possible in `load`.
    fn restore(&mut self) -> Result<()> {
        let Some(Saved { averaging, averages, trained }) = self.loaded.take() else {
            return Ok(());
        };
        let parameters = self.parameters()?;
        let restored = |saved: &[Elements]| -> Result<Vec<Tensor>> {
            let tensor = |(Elements(shape, elements), parameter): (&Elements, &Tensor)| {
                Tensor::from_slice(elements, shape.as_slice())?.to_dtype(parameter.dtype()?)
            };
            saved.iter().zip(&parameters).map(tensor).collect()
        };
        (self.averages, self.trained) = (restored(&averages)?, restored(&trained)?);
        self.averaging = averaging;
        Ok(())
    }

    fn parameters(&self) -> Result<Vec<Tensor>> {
        let get = |index| {
            self.params
                .get(index)?
                .ok_or_else(|| Error::new(format!("parameter {index} has no value")))
        };
        (0..self.params.len()?).map(get).collect()
    }

    fn set(&self, values: &[Tensor]) -> Result<()> {
        values.iter().enumerate().try_for_each(|(index, value)| self.params.set(index, value))
    }

    fn update(&mut self, learner: &Learner) -> Result<()> {
        let mut now = [0.0; 5];
        for (now, rate) in now.iter_mut().zip(&self.rates) {
            *now = learner.get(rate)?;
        }
        let [rate, beta1, warmup, step_power, rate_power] = now;
        let (_, c) = self.averaging.next(rate, warmup, step_power, rate_power);
        let parameters = self.parameters()?;
        for (x, y) in self.averages.iter_mut().zip(&parameters) {
            let share = 1.0 - beta1 + beta1 * c;
            // x + c (z - x) with z from above.
            let (of_x, of_y) = ((1.0 - c) * (1.0 - c * beta1 / share), c / share);
            *x = x.affine(of_x, 0.0)?.add(&y.detach()?.affine(of_y, 0.0)?)?;
        }
        Ok(())
    }

    /// Puts the averages in place of the parameters.
    fn enter(&mut self) -> Result<()> {
        if self.averages.is_empty() || !self.trained.is_empty() {
            return Ok(());
        }
        self.trained = self.parameters()?.iter().map(copy).collect::<Result<_>>()?;
        self.set(&self.averages)
    }

    /// Puts the parameters of the optimizer back.
    fn leave(&mut self) -> Result<()> {
        let trained = std::mem::take(&mut self.trained);
        self.set(&trained)
    }
}

/// A tensor that does not share its elements; bits stay the same, also of -0.
fn copy(tensor: &Tensor) -> Result<Tensor> {
    tensor.detach()?.affine(1.0, -0.0)
}

impl Callback for ScheduleFreeAverage {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        self.restore()?;
        match event.kind() {
            EpochBegin if event.is_training() && self.averages.is_empty() => {
                self.averages = self.parameters()?.iter().map(copy).collect::<Result<_>>()?;
                Ok(())
            }
            StepEnd if event.is_training() && !learner.find(&self.skipped)?.unwrap_or(false) => {
                self.update(learner)
            }
            EpochBegin if event.is_validation() && self.config.validate => self.enter(),
            EpochEnd | EpochCancelled | Error => self.leave(),
            FitEnd => {
                self.leave()?;
                if self.config.keep { self.set(&self.averages) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}
