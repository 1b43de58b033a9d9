//! A callback that logs the Euclidean norm of every parameter after each training epoch.
//!
//! It shows how a callback reads tensors of the learner, runs operations on them, and hands records
//! to the loggers of the run.

use fluxbay_plugin::prelude::*;

struct ParameterNorms {
    parameters: Read<Tensors>,
}

impl Component for ParameterNorms {
    type Config = NoConfig;

    fn new(_: NoConfig, setup: &mut Setup) -> Result<Self> {
        Ok(ParameterNorms { parameters: setup.read("params")? })
    }
}

impl Callback for ParameterNorms {
    /// Called at the end of each phase's epoch; validation changes no parameter.
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.is_training() {
            return Ok(());
        }
        for (index, path) in self.parameters.names()?.into_iter().enumerate() {
            let Some(parameter) = self.parameters.get(index)? else { continue };
            let norm = parameter.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>()?;
            let tag = format!("epoch/parameter-norms/{path}");
            learner.log(&Record::new(tag, event.epoch(), RecordValue::Scalar(norm)))?;
        }
        Ok(())
    }
}

plugin! {
    summary: "Logs the norms of parameters.",
    callback "parameter-norms" => ParameterNorms {
        summary: "Logs the Euclidean norm of every parameter after each training epoch.",
        on: [EpochEnd],
        reads: ["params"],
        example: "[[callback]]\ncomponent = \"parameter-norms\"\n",
    },
}
