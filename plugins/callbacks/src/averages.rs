//! Averages of tensors of the model, which can replace the trained values while a phase validates;
//! shared by ema and swa.

use fluxbay_plugin::prelude::*;

use crate::saved_tensors::{SavedTensor, copy};

/// Averages of the tensors of a state path, such as `params`.
pub struct Averages {
    tensors: Write<Tensors>,
    /// Empty before the first update.
    averages: Vec<Tensor>,
    /// The trained values while the averages replace them in the model.
    trained: Vec<Tensor>,
}

impl Averages {
    /// Without averages yet.
    pub fn new(tensors: Write<Tensors>) -> Averages {
        Averages { tensors, averages: Vec::new(), trained: Vec::new() }
    }

    /// Whether there are averages.
    pub fn is_empty(&self) -> bool {
        self.averages.is_empty()
    }

    fn current(&self) -> Result<Vec<Tensor>> {
        let get = |index| {
            self.tensors
                .get(index)?
                .ok_or_else(|| Error::new(format!("parameter {index} has no value")))
        };
        (0..self.tensors.len()?).map(get).collect()
    }

    /// Starts with copies of the current values.
    pub fn begin(&mut self) -> Result<()> {
        self.averages = self.current()?.iter().map(copy).collect::<Result<_>>()?;
        Ok(())
    }

    /// Replaces each average by `blend(average, current value)`.
    pub fn update(&mut self, blend: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<()> {
        let current = self.current()?;
        if current.len() != self.averages.len() {
            bail!(
                "the run has {} parameters, but there are averages of {}",
                current.len(),
                self.averages.len()
            );
        }
        for (average, current) in self.averages.iter_mut().zip(&current) {
            *average = blend(average, &current.detach()?)?;
        }
        Ok(())
    }

    /// Replaces the values of the model by the averages, until `leave`.
    pub fn enter(&mut self) -> Result<()> {
        if self.averages.is_empty() || !self.trained.is_empty() {
            return Ok(());
        }
        self.trained = self.current()?.iter().map(copy).collect::<Result<_>>()?;
        self.apply()
    }

    /// Restores the trained values.
    pub fn leave(&mut self) -> Result<()> {
        let trained = std::mem::take(&mut self.trained);
        self.set(&trained)
    }

    /// Sets the values of the model to the averages.
    pub fn apply(&self) -> Result<()> {
        self.set(&self.averages)
    }

    fn set(&self, values: &[Tensor]) -> Result<()> {
        values.iter().enumerate().try_for_each(|(index, value)| self.tensors.set(index, value))
    }

    /// Copies of the averages and of the trained values for the saved state.
    pub fn save(&self) -> Result<(Vec<SavedTensor>, Vec<SavedTensor>)> {
        let saved = |tensors: &[Tensor]| tensors.iter().map(SavedTensor::of).collect::<Result<_>>();
        Ok((saved(&self.averages)?, saved(&self.trained)?))
    }

    /// Restores what `save` returned. Only from an event on, because it creates tensors.
    pub fn restore(&mut self, averages: &[SavedTensor], trained: &[SavedTensor]) -> Result<()> {
        let restored = |tensors: &[SavedTensor]| {
            tensors.iter().map(SavedTensor::restore).collect::<Result<_>>()
        };
        (self.averages, self.trained) = (restored(averages)?, restored(trained)?);
        Ok(())
    }
}
