//! A data set of a plugin as the loader sees it: opened on the training thread, read by several.

use std::sync::Arc;

use fluxbay_plugin::abi::dataset::{BufferRaw, FieldSpec, SplitSpec};
use fluxbay_plugin::abi::{status, text::Text};

use super::ambient;
use super::call::{Called, Failure, PluginInstance};
use crate::learner::Runtime;
use crate::learner::instances::Doing;
use crate::loader::{Field, SampleError, Samples, Split};
use crate::supervisor::crumb;
use crate::tensor::dtype_of;

/// Most fields, splits and dimensions that are believed: more is a mistake.
const MOST: usize = 64;

/// The plugin's side of an opened data set.
pub struct PluginSamples {
    instance: Arc<PluginInstance>,
    fields: Vec<Field>,
    splits: Vec<Split>,
}

// SAFETY: on other threads than the one that trains only `fill` is called, which the contract
// allows there; the last owner is the loader or the runtime, both on the training thread, and the
// loader's threads have ended by then.
unsafe impl Send for PluginSamples {}
// SAFETY: as above; `fill` may be called by several threads at a time.
unsafe impl Sync for PluginSamples {}

impl PluginSamples {
    /// Opens the data set `instance`, number `number`, and asks for its fields and splits.
    pub fn open(
        runtime: &Runtime,
        number: u32,
        instance: Arc<PluginInstance>,
    ) -> Called<PluginSamples> {
        let (table, raw) = instance.dataset()?;
        let _entered = ambient::enter(runtime, number);
        let check = |code: i32| {
            if code == status::OK {
                Ok(())
            } else {
                Err(Failure { status: code, text: ambient::take_error() })
            }
        };
        // SAFETY: `raw` belongs to the table's component.
        check(unsafe { (table.open)(raw) })?;
        // SAFETY: as above.
        let counts = unsafe { ((table.field_count)(raw), (table.split_count)(raw)) };
        let fields = (0..believable(counts.0, "fields")?).map(|index| {
            let mut spec = FieldSpec {
                name: Text::EMPTY,
                dtype: 0,
                reserved: 0,
                shape: std::ptr::null(),
                rank: 0,
                classes: 0,
            };
            // SAFETY: as above; the place is lent for the call.
            check(unsafe { (table.field)(raw, index, &mut spec) })?;
            // SAFETY: the contract keeps what the field points at valid as long as the instance.
            unsafe { field(&spec) }
        });
        let fields = fields.collect::<Called<Vec<Field>>>()?;
        let splits = (0..believable(counts.1, "splits")?).map(|index| {
            let mut spec = SplitSpec { name: Text::EMPTY, samples: 0 };
            // SAFETY: as above; the place is lent for the call.
            check(unsafe { (table.split)(raw, index, &mut spec) })?;
            // SAFETY: the contract keeps the name valid as long as the instance.
            Ok(Split { name: unsafe { spec.name.to_text() }.into_owned(), samples: spec.samples })
        });
        let splits = splits.collect::<Called<Vec<Split>>>()?;
        Ok(PluginSamples { instance: Arc::clone(&instance), fields, splits })
    }
}

fn refuse(text: String) -> Failure {
    Failure { status: status::ERROR, text }
}

fn believable(count: usize, what: &str) -> Called<usize> {
    if count > MOST {
        Err(refuse(format!("it announces {count} {what}; at most {MOST} are possible")))
    } else {
        Ok(count)
    }
}

/// A field as the loader knows it.
///
/// # Safety
/// Name and shape must be valid.
unsafe fn field(spec: &FieldSpec) -> Called<Field> {
    // SAFETY: promised by the caller.
    let name = unsafe { spec.name.to_text() }.into_owned();
    let rank = believable(spec.rank, "dimensions")?;
    // SAFETY: promised by the caller.
    let shape = unsafe { super::answer::slice(spec.shape, rank) }
        .map_err(|_| refuse(format!("the shape of field `{name}` is missing")))?;
    let shape = shape.iter().map(|&size| usize::try_from(size)).collect::<Result<Vec<usize>, _>>();
    let shape = shape.map_err(|_| refuse(format!("a dimension of field `{name}` is too large")))?;
    let dtype = dtype_of(spec.dtype).ok_or_else(|| {
        refuse(format!("field `{name}` has element type {}, which is none", spec.dtype))
    })?;
    let classes = match spec.classes {
        0 => None,
        classes => Some(u32::try_from(classes).map_err(|_| {
            refuse(format!("field `{name}` has {classes} classes; labels are 32 bits wide"))
        })?),
    };
    Ok(Field { name, dtype, shape, classes })
}

fn sample_result(code: i32) -> Result<(), SampleError> {
    if code == status::OK {
        return Ok(());
    }
    let text = ambient::take_error();
    let text = if text.is_empty() { "the data set gave no reason".to_owned() } else { text };
    Err(SampleError(text))
}

impl Samples for PluginSamples {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn splits(&self) -> &[Split] {
        &self.splits
    }

    fn prepare(&self, split: usize, indices: &[u64]) -> Result<(), SampleError> {
        let (table, raw) = self.instance.dataset().map_err(|failure| SampleError(failure.text))?;
        let trail = crumb::call(self.instance.number(), Doing::PreparingData);
        // SAFETY: `raw` belongs to the table's component; the indices are lent for the call, which
        // the loader makes on the training thread, before its own threads begin.
        let code = unsafe { (table.prepare)(raw, split, indices.as_ptr(), indices.len()) };
        trail.end();
        sample_result(code)
    }

    fn fill(
        &self,
        split: usize,
        indices: &[u64],
        buffers: &mut [&mut [u8]],
    ) -> Result<(), SampleError> {
        let (table, raw) = self.instance.dataset().map_err(|failure| SampleError(failure.text))?;
        let raw_buffers: Vec<BufferRaw> = buffers
            .iter_mut()
            .map(|buffer| BufferRaw { ptr: buffer.as_mut_ptr(), len: buffer.len() })
            .collect();
        // It may be this thread or another that makes a batch: the host's functions answer as on
        // another in any case.
        let _nobody = ambient::enter_as_nobody();
        let trail = crumb::side_call(self.instance.number(), Doing::Filling);
        // SAFETY: `raw` belongs to the table's component, whose `fill` any thread may call; indices
        // and buffers are lent for the call.
        let code = unsafe {
            (table.fill)(
                raw,
                split,
                indices.as_ptr(),
                indices.len(),
                raw_buffers.as_ptr(),
                raw_buffers.len(),
            )
        };
        trail.end();
        sample_result(code)
    }
}
