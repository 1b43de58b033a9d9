//! A callback that subscribes to every event of a step and does nothing.

use fluxbay_plugin::prelude::*;

struct Idle;

impl Component for Idle {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
        Ok(Idle)
    }
}

impl Callback for Idle {
    fn on(&mut self, _: &Event, _: &Learner) -> Result<()> {
        Ok(())
    }
}

plugin! {
    summary: "A callback that does nothing, to measure what calling it costs.",
    callback "idle" => Idle { summary: "Does nothing.", on: [StepBegin, LossBegin, BackwardBegin, BackwardEnd, StepEnd] },
}
