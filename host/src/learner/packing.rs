//! Batches whose rows hold several samples.

use fluxbay_plugin::abi::handle::Handle;

use super::refusal::Answer;
use super::runtime::Runtime;

/// The fields that say which elements of a row belong to one sample, and where they are in it.
const FIELDS: [&str; 2] = ["segments", "positions"];

impl Runtime {
    /// Segments and positions of the rows of `xs`, owned by `caller`; none if its rows are no rows of the
    /// batch, or hold one sample each.
    pub(crate) fn packing_of(&self, caller: u32, xs: Handle) -> Answer<Option<[Handle; 2]>> {
        if !self.in_step() {
            return Ok(None);
        }
        let Some(places) = self.data.places(FIELDS) else { return Ok(None) };
        let batch = self.step.batch.get();
        let given = &batch.fields[..batch.field_count as usize];
        let (Some(&segments), Some(&positions)) = (given.get(places[0]), given.get(places[1]))
        else {
            return Ok(None);
        };
        let engine = self.engine.borrow();
        let (shape, all) = (engine.shape(xs)?, engine.shape(segments)?);
        let rows = self.step.rows.get().unwrap_or((0, all.first().copied().unwrap_or(0)));
        let fits = all.len() == 2
            && engine.shape(positions)? == all
            && shape.get(..2) == Some(&[rows.1, all[1]]);
        drop(engine);
        if !fits {
            return Ok(None);
        }
        let part = |field: Handle| -> Answer<Handle> {
            let rows = rows.0..rows.0 + rows.1;
            let part = self.engine.borrow_mut().rows(field, rows)?;
            self.own(part, caller);
            Ok(part)
        };
        Ok(Some([part(segments)?, part(positions)?]))
    }
}
