//! Implements the learner's traits [`Data`] and [`Batches`] for the loader.

use candle_core::{CpuStorage, DType};
use fluxbay_plugin::abi::handle::dtype;

use super::{Epoch, Field, Loader, Position, samples::Column};
use crate::learner::ports::{
    BatchPosition, Batches, Data, DataBatch, DataField, Helpers, SplitSize,
};

/// The contract's number of an element type that a field can have.
pub fn element_code(dtype: DType) -> Option<u32> {
    Some(match dtype {
        DType::U8 => dtype::U8,
        DType::U32 => dtype::U32,
        DType::I64 => dtype::I64,
        DType::BF16 => dtype::BF16,
        DType::F16 => dtype::F16,
        DType::F32 => dtype::F32,
        DType::F64 => dtype::F64,
        _ => return None,
    })
}

/// The element type with the number `code` in the contract.
pub fn element_type(code: u32) -> Option<DType> {
    Some(match code {
        dtype::U8 => DType::U8,
        dtype::U32 => DType::U32,
        dtype::I64 => DType::I64,
        dtype::BF16 => DType::BF16,
        dtype::F16 => DType::F16,
        dtype::F32 => DType::F32,
        dtype::F64 => DType::F64,
        _ => return None,
    })
}

impl Field {
    /// The field in the contract's terms; `None` for an element type without a number there.
    pub(crate) fn stated(&self) -> Option<DataField> {
        let classes = self.classes.map_or(0, u64::from);
        Some(DataField {
            name: self.name.clone(),
            dtype: element_code(self.dtype)?,
            shape: self.shape.clone(),
            classes,
        })
    }
}

impl Data for Loader {
    fn fields(&self) -> &[DataField] {
        &self.stated
    }

    fn split(&self, name: &str) -> Option<SplitSize> {
        let part = self.part(name).ok()?;
        Some(SplitSize {
            samples: self.samples_read(part) as u64,
            steps: self.batches(part) as u64,
        })
    }

    fn epoch(&self, split: &str, epoch: u64) -> Result<Box<dyn Batches>, String> {
        match Loader::epoch(self, split, epoch) {
            Ok(epoch) => Ok(Box::new(epoch)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn resume(
        &self,
        split: &str,
        epoch: u64,
        at: &BatchPosition,
    ) -> Result<Box<dyn Batches>, String> {
        let position = Position {
            split: split.to_owned(),
            epoch,
            next: at.next as usize,
            fingerprint: at.fingerprint,
        };
        match Loader::resume(self, &position) {
            Ok(epoch) => Ok(Box::new(epoch)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Batches for Epoch {
    fn position(&self) -> Option<BatchPosition> {
        let at = Epoch::position(self);
        (at.next < self.batches())
            .then_some(BatchPosition { next: at.next as u64, fingerprint: at.fingerprint })
    }

    fn is_done(&self) -> bool {
        self.size_hint().0 == 0
    }

    fn are_parts(&self) -> bool {
        self.plan.share.is_part()
    }

    fn next_batch(&mut self, helpers: &dyn Helpers) -> Result<Option<DataBatch>, String> {
        self.next_with(helpers).transpose().map_err(|error| error.to_string())
    }

    fn take_back(&mut self, buffer: CpuStorage) {
        if let Some(column) = Column::from_storage(buffer) {
            self.plan.buffers.give(column);
        }
    }
}
