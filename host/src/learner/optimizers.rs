//! Updates by optimizers: one call per round, one per parameter.

use fluxbay_plugin::abi::{optimizer::UpdateRaw, text::Text};

use super::control::{Flow, Stop};
use super::roles::OptimizerSlot;
use super::runtime::Runtime;
use super::state::Value;
use crate::breadcrumb::Activity;

impl OptimizerSlot {
    /// Applies the gradients that exist. A parameter without one stays as it is.
    pub(super) fn update(&self, runtime: &Runtime) -> Flow {
        let instance = &self.instance;
        let tracked = self.tracked();
        self.scale(runtime)?;
        instance.call(runtime, Activity::BeginningUpdate, |call| call.optimizer_begin())?;
        for entry in tracked.iter() {
            let Some(gradient) = runtime.engine.borrow().lent_gradient(entry.parameter) else {
                continue;
            };
            let step = entry.updates.get() + 1;
            if runtime.owns(entry) {
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
            }
            entry.updates.set(step);
        }
        Ok(())
    }

    /// Sets the hyper-parameters of a group that are multiples of others.
    pub(super) fn scale(&self, runtime: &Runtime) -> Flow {
        let scaled = self.group.iter().flat_map(|group| &group.scaled);
        for (path, of, factor) in scaled {
            let mut state = runtime.state.borrow_mut();
            if let Some(Value::Number(number)) = state.value_at(of) {
                let value = number * factor;
                let node = state.node(path).map_err(Stop::engine)?;
                state.set(node, Value::Number(value));
            }
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
