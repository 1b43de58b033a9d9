//! A transform of a plugin for one field: described on the training thread, applied by several
//! threads.

use std::sync::Arc;

use fluxbay_plugin::abi::dataset::FieldSpec;
use fluxbay_plugin::abi::text::Text;
use fluxbay_plugin::abi::transform::{SampleRaw, TransformContext, TransformTable};

use super::context;
use super::dataset::stated;
use super::error::{CallError, CallResult, check};
use super::fields::DataField;
use super::plugin_instance::{PluginInstance, Table};
use crate::breadcrumb::{self, Activity};

/// A field, with its shape in the contract's form.
#[derive(Debug)]
struct Described {
    field: DataField,
    shape: Vec<u64>,
}

impl Described {
    fn new(field: DataField) -> Described {
        let shape = field.shape.iter().map(|&size| size as u64).collect();
        Described { field, shape }
    }

    /// Valid while `self` is.
    fn raw(&self) -> FieldSpec {
        FieldSpec {
            name: Text::new(&self.field.name),
            dtype: self.field.dtype,
            reserved: 0,
            shape: self.shape.as_ptr(),
            rank: self.shape.len(),
            classes: self.field.classes,
        }
    }
}

/// A transform at one place of a chain.
#[derive(Debug)]
pub struct OpenTransform {
    instance: Arc<PluginInstance>,
    table: &'static TransformTable,
    input: Described,
    output: Described,
}

/// The sample that a transform is applied to.
#[derive(Clone, Copy, Debug)]
pub struct SampleContext {
    /// Epoch, counted from 1; 0 outside of an epoch.
    pub epoch: u64,
    /// Index within its split.
    pub index: u64,
    /// Whether it is read for training.
    pub training: bool,
    /// The number that all random draws derive from.
    pub draw: [u64; 2],
}

// SAFETY: on other threads than the training thread only `apply` is called, which the contract
// allows there; the last owner is the loader or the runtime, both on the training thread, and the
// loader's threads have ended by then.
unsafe impl Send for OpenTransform {}
// SAFETY: as above; `apply` may be called by several threads at a time.
unsafe impl Sync for OpenTransform {}

impl OpenTransform {
    /// Asks the transform what a field becomes, within a call into `instance`.
    pub fn describe(instance: Arc<PluginInstance>, input: &DataField) -> CallResult<OpenTransform> {
        let Table::Transform(table) = instance.table else {
            return Err(instance.wrong_kind("transform"));
        };
        let input = Described::new(input.clone());
        let mut spec = FieldSpec {
            name: Text::EMPTY,
            dtype: 0,
            reserved: 0,
            shape: std::ptr::null(),
            rank: 0,
            classes: 0,
        };
        // SAFETY: `raw` belongs to the table's component; field and place are lent for the call.
        check(unsafe { (table.describe)(instance.raw, &input.raw(), &mut spec) })?;
        // SAFETY: the contract keeps name and shape valid until the next call of the instance.
        let output = unsafe { stated(&spec) }?;
        if output.name != input.field.name {
            return Err(CallError::new(format!(
                "it renames the field `{}` to `{}`; a transform keeps the name",
                input.field.name, output.name
            )));
        }
        Ok(OpenTransform { instance, table, input, output: Described::new(output) })
    }

    /// What the field becomes.
    pub fn output(&self) -> &DataField {
        &self.output.field
    }

    /// Transforms one sample. Called on any thread.
    pub fn apply(
        &self,
        context: &SampleContext,
        input: &mut [u8],
        output: &mut [u8],
    ) -> CallResult {
        let (from, to) = (self.input.raw(), self.output.raw());
        let raw_context = TransformContext {
            size: size_of::<TransformContext>() as u64,
            epoch: context.epoch,
            index: context.index,
            training: u32::from(context.training),
            reserved: 0,
            draw_low: context.draw[0],
            draw_high: context.draw[1],
        };
        let sample = |field: &FieldSpec, bytes: &mut [u8]| SampleRaw {
            field,
            ptr: bytes.as_mut_ptr(),
            len: bytes.len(),
        };
        let (sample_in, sample_out) = (sample(&from, input), sample(&to, output));
        let _entered = context::enter_without_host();
        let guard = breadcrumb::side_call(self.instance.number(), Activity::Transforming);
        // SAFETY: `raw` belongs to the table's component, whose `apply` any thread may call; context,
        // samples and what they point at are lent for the call.
        let code =
            unsafe { (self.table.apply)(self.instance.raw, &raw_context, &sample_in, &sample_out) };
        guard.end();
        check(code)
    }
}
