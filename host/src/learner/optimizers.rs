//! Updates by optimizers: one call per round, one per parameter.

use fluxbay_plugin::abi::{optimizer::UpdateRaw, text::Text};

use super::control::{Flow, Stop};
use super::roles::OptimizerSlot;
use super::runtime::Runtime;
use crate::breadcrumb::Activity;

impl OptimizerSlot {
    /// Applies the gradients that exist. A parameter without one stays as it is.
    pub(super) fn update(&self, runtime: &Runtime) -> Flow {
        let instance = &self.instance;
        let tracked = self.tracked();
        instance.call(runtime, Activity::BeginningUpdate, |call| call.optimizer_begin())?;
        for entry in tracked.iter() {
            let Some(gradient) = runtime.engine.borrow().lent_gradient(entry.parameter) else {
                continue;
            };
            let step = entry.updates.get() + 1;
            let request = UpdateRaw {
                path: Text::new(&entry.path),
                parameter: entry.handle,
                gradient,
                states: entry.states.as_ptr(),
                state_count: entry.states.len(),
                step,
            };
            instance
                .call(runtime, Activity::Updating, |call| call.optimizer_update(&request))
                .map_err(|stop| name_parameter(stop, &entry.path))?;
            entry.updates.set(step);
        }
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn name_parameter(mut stop: Stop, path: &str) -> Stop {
    stop.0.text = format!("{} (parameter `{path}`)", stop.0.text);
    stop
}
