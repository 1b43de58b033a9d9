//! Samplers.

use crate::{Component, Draws, Result};

/// The order in which an epoch reads the training samples, named in the section `[sampler]` of a run
/// file. `[training thread]`
///
/// ```
/// # use fluxbay_plugin::prelude::*;
/// /// Half of the samples, others in each epoch.
/// struct Half {
///     samples: usize,
/// }
///
/// impl Component for Half {
///     type Config = NoConfig;
///
///     fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
///         Ok(Half { samples: 0 })
///     }
/// }
///
/// impl Sampler for Half {
///     fn open(&mut self, training: &TrainingSamples<'_>) -> Result<usize> {
///         self.samples = training.count;
///         Ok(training.count.div_ceil(2))
///     }
///
///     fn order(&self, _epoch: u64, draws: &mut Draws, order: &mut [u64]) -> Result<()> {
///         let mut all: Vec<u64> = (0..self.samples as u64).collect();
///         draws.shuffle(&mut all);
///         order.copy_from_slice(&all[..order.len()]);
///         Ok(())
///     }
/// }
/// ```
pub trait Sampler: Component {
    /// Receives the training samples, and returns the number of samples that an epoch reads, at
    /// least 1. Called once, before `order`.
    ///
    /// # Errors
    /// The run does not start.
    fn open(&mut self, training: &TrainingSamples<'_>) -> Result<usize>;

    /// Writes the order of an epoch, counted from 1, into all of `order`: places among the training
    /// samples, each below their number. It must depend on the arguments and the configuration alone,
    /// so that a resumed run reads the same samples.
    ///
    /// # Errors
    /// The run ends.
    fn order(&self, epoch: u64, draws: &mut Draws, order: &mut [u64]) -> Result<()>;
}

/// The training samples, as a [`Sampler`] sees them.
#[derive(Clone, Copy, Debug)]
pub struct TrainingSamples<'a> {
    /// Their number.
    pub count: usize,
    /// The class label of each; none where the data has no field of class labels.
    pub labels: Option<&'a [u32]>,
    /// Number of classes; 0 without labels.
    pub classes: usize,
}
