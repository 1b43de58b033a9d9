//! Functions of a component beyond contract 1.0, for components that have them.

use fluxbay_plugin::abi::{metric::direction, text::Text};

use super::error::{CallError, CallResult, check};
use super::plugin_instance::Call;

impl Call<'_> {
    /// Which values of the metric are better, a number of the contract's `direction`; unknown for a
    /// metric that does not say.
    pub fn metric_direction(self) -> CallResult<u32> {
        let mut answer = direction::UNKNOWN;
        if let Some(row) = self.0.rows.metric {
            // SAFETY: `raw` belongs to the row's component; the place is lent for the call.
            check(unsafe { (row.direction)(self.0.raw, &mut answer) })?;
        }
        match answer {
            direction::UNKNOWN | direction::LOWER | direction::HIGHER => Ok(answer),
            other => Err(CallError::new(format!("it returned {other}, which is no direction"))),
        }
    }

    /// What the data set has learned, in its own format; none for a data set that does not keep it.
    /// An error if it has more than `limit` bytes, 0 for no limit.
    pub fn dataset_learnt(self, limit: u64) -> CallResult<Option<Vec<u8>>> {
        let Some(row) = self.0.rows.dataset_state else { return Ok(None) };
        let mut bytes = Text::EMPTY;
        // SAFETY: `raw` belongs to the row's component; the place is lent for the call.
        check(unsafe { (row.learnt)(self.0.raw, &mut bytes) })?;
        if limit > 0 && bytes.len as u64 > limit {
            return Err(CallError::new(format!(
                "what it learned has {} bytes, more than the {limit} that are allowed",
                bytes.len
            )));
        }
        // SAFETY: the contract keeps the bytes valid until the next call of this instance.
        Ok(Some(unsafe { bytes.as_bytes() }.to_vec()))
    }

    /// Restores what another instance of the data set learned. Only before `open`.
    pub fn dataset_restore(self, version: u32, bytes: &[u8]) -> CallResult {
        let Some(row) = self.0.rows.dataset_state else {
            return Err(CallError::new(
                "it does not keep what it learns, so nothing can be restored",
            ));
        };
        // SAFETY: `raw` belongs to the row's component; the bytes are lent for the call.
        check(unsafe { (row.restore)(self.0.raw, version, Text::bytes(bytes)) })
    }
}
