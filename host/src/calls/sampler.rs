//! The functions of a sampler, called on the training thread.

use std::sync::Arc;

use fluxbay_plugin::abi::sampler::{OrderContext, SamplerSpec, SamplerTable};

use super::context;
use super::error::{CallError, CallResult, check};
use super::plugin_instance::{PluginInstance, Table};
use crate::breadcrumb::{self, Activity};

/// A sampler of a plugin.
#[derive(Debug)]
pub struct PluginSampler {
    instance: Arc<PluginInstance>,
    table: &'static SamplerTable,
}

// SAFETY: the instance is called only where the order of an epoch is asked for, on the training thread;
// its last owner is the loader or the runtime, both on that thread.
unsafe impl Send for PluginSampler {}
// SAFETY: as above.
unsafe impl Sync for PluginSampler {}

impl PluginSampler {
    /// The sampler behind `instance`.
    pub fn new(instance: Arc<PluginInstance>) -> CallResult<PluginSampler> {
        let Table::Sampler(table) = instance.table else {
            return Err(instance.wrong_kind("sampler"));
        };
        Ok(PluginSampler { instance, table })
    }

    fn call(&self, call: impl FnOnce() -> i32) -> CallResult {
        // It needs no function of the host, and the order of an epoch may be asked for at any time.
        let _entered = context::enter_without_host();
        let guard = breadcrumb::call(self.instance.number(), Activity::Ordering);
        let code = call();
        guard.end();
        check(code)
    }

    /// Passes the training samples; returns the number of samples that an epoch reads.
    pub fn open(&self, samples: u64, labels: Option<&[u32]>, classes: u64) -> CallResult<u64> {
        let spec = SamplerSpec {
            size: size_of::<SamplerSpec>() as u64,
            samples,
            labels: labels.map_or(std::ptr::null(), <[u32]>::as_ptr),
            classes,
        };
        let mut count = 0;
        // SAFETY: `raw` belongs to the table's component; spec and place are lent for the call, which
        // is made on the training thread.
        self.call(|| unsafe { (self.table.open)(self.instance.raw, &spec, &mut count) })?;
        if count == 0 {
            return Err(CallError::new("it announces an epoch without samples"));
        }
        Ok(count)
    }

    /// The order of an epoch of `count` samples, as places among the training samples.
    pub fn order(&self, epoch: u64, draw: [u64; 2], count: usize) -> CallResult<Vec<u64>> {
        let context = OrderContext {
            size: size_of::<OrderContext>() as u64,
            epoch,
            draw_low: draw[0],
            draw_high: draw[1],
        };
        let mut places = vec![u64::MAX; count];
        // SAFETY: as above; the places are lent for the call.
        self.call(|| unsafe {
            (self.table.order)(self.instance.raw, &context, places.as_mut_ptr(), count)
        })?;
        Ok(places)
    }
}
