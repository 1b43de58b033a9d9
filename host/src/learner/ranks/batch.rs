//! Batches from the parts that the ranks read.

use super::meeting::Doing;
use super::packing::{concatenate, pack};
use crate::learner::control::{Flow, Stop};
use crate::learner::ports::{Batches, DataBatch};
use crate::learner::runtime::Runtime;
use crate::tensor::code_of;

impl Runtime {
    /// The next batch that has samples, with those of all ranks. `None` after the last.
    pub(in crate::learner) fn take_batch(
        &self,
        batches: &mut dyn Batches,
    ) -> Flow<Option<DataBatch>> {
        loop {
            let next = batches.next_batch(&*self.engine.borrow());
            let Some(batch) = next.map_err(|text| self.data_failed(text))? else {
                return Ok(None);
            };
            let whole = if batches.are_parts() { self.whole_batch(batch)? } else { batch };
            // Every sample of it may be left out.
            if whole.samples > 0 {
                return Ok(Some(whole));
            }
        }
    }

    /// The batch of the samples that every rank has read.
    fn whole_batch(&self, part: DataBatch) -> Flow<DataBatch> {
        let Some(ranks) = self.others() else { return Ok(part) };
        let coded = part.fields.into_iter().map(|tensor| {
            let code = code_of(tensor.dtype())
                .ok_or_else(|| Stop::host("a field has an element type without a number"))?;
            Ok((code, tensor))
        });
        let sent = pack(&coded.collect::<Flow<Vec<_>>>()?)?;
        let met = ranks.meet(Doing::Batch, part.index, &sent)?;
        if met.numbers.iter().any(|index| *index != part.index) {
            return Err(Stop::host(format!(
                "the ranks are at different batches of the epoch: {:?}",
                met.numbers
            )));
        }
        let fields = concatenate(&met.messages)?.unwrap_or_default();
        let samples = fields.first().map_or(0, |field| field.dims()[0]);
        Ok(DataBatch { fields, samples, index: part.index })
    }
}
