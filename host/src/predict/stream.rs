//! Batches to predict from, in order, each sample with its key.

use std::rc::Rc;
use std::sync::Arc;

use candle_core::Tensor;

use super::{Applied, PredictError};
use crate::breadcrumb::Activity;
use crate::learner::{Instance, ports::Alone};
use crate::loader::{Epoch, Samples, batch_of_first};

/// Some samples.
#[derive(Debug)]
pub struct KeyedBatch {
    /// What identifies each sample: its line, its file, or its number.
    pub keys: Vec<String>,
    /// A tensor `[samples, ...]` for each field.
    pub fields: Vec<Tensor>,
    /// Whether the field of targets holds them; otherwise it is 0.
    pub has_targets: bool,
}

enum From {
    Files { instance: Rc<Instance>, samples: Arc<dyn Samples> },
    Split(Box<Epoch>),
}

/// The samples of files or of a split, batch by batch.
pub struct Stream<'a> {
    applied: &'a Applied,
    from: From,
    most: usize,
}

impl<'a> Stream<'a> {
    pub(super) fn of_files(
        applied: &'a Applied,
        instance: Rc<Instance>,
        samples: Arc<dyn Samples>,
        most: usize,
    ) -> Result<Stream<'a>, PredictError> {
        let differences = applied.other_fields(samples.fields());
        if !differences.is_empty() {
            return Err(PredictError::Text(format!(
                "the inputs do not have the form of the training data: {}",
                differences.join("; ")
            )));
        }
        Ok(Stream { applied, from: From::Files { instance, samples }, most: most.max(1) })
    }

    pub(super) fn of_split(applied: &'a Applied, name: &str) -> Result<Stream<'a>, PredictError> {
        let Some(loader) = applied.session().loader() else {
            return Err(PredictError::Text(
                "the run has no data of its own: name a file to predict from".to_owned(),
            ));
        };
        if loader.packs() {
            return Err(PredictError::Text(
                "samples that share rows (`ragged = \"pack\"`) have no predictions of their own: add \
                 --set loader.ragged='\"pad\"'"
                    .to_owned(),
            ));
        }
        let epoch = loader.epoch(name, 1).map_err(|error| error.to_string())?;
        let most = loader.settings().batch_size;
        Ok(Stream { applied, from: From::Split(Box::new(epoch)), most })
    }

    /// The next batch; none after the last sample.
    ///
    /// # Errors
    /// A sample that cannot be read, with its file and line where the data set knows them.
    pub fn next_batch(&mut self) -> Result<Option<KeyedBatch>, PredictError> {
        let runtime = self.applied.session().runtime();
        let text = |error: &dyn std::fmt::Display| PredictError::Text(error.to_string());
        match &mut self.from {
            From::Files { instance, samples } => loop {
                let most = self.most;
                let (count, keys) = instance
                    .call(runtime, Activity::PreparingData, |call| {
                        let count = call.dataset_read_inputs(most)?;
                        let keys = (0..count).map(|index| call.dataset_input_key(index));
                        Ok((count, keys.collect::<Result<Vec<String>, _>>()?))
                    })
                    .map_err(|stop| text(&stop))?;
                if count == 0 {
                    return Ok(None);
                }
                let (batch, kept) =
                    batch_of_first(&**samples, count, &Alone).map_err(|error| text(&error))?;
                if kept.is_empty() {
                    // None of these can be read.
                    continue;
                }
                let keys = kept.into_iter().map(|place| keys[place].clone()).collect();
                return Ok(Some(KeyedBatch { keys, fields: batch.fields, has_targets: false }));
            },
            From::Split(epoch) => {
                let Some(batch) = epoch.next().transpose().map_err(|error| text(&error))? else {
                    return Ok(None);
                };
                let keys = epoch.last_samples().iter().map(u64::to_string).collect();
                Ok(Some(KeyedBatch { keys, fields: batch.fields, has_targets: true }))
            }
        }
    }
}
