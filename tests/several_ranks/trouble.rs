//! A callback that ends one rank at one step, in the way that it is told.

use fluxbay_plugin::prelude::*;

config! {
    /// What happens, on which rank, in which step.
    pub struct Trouble {
        /// What happens.
        kind: String,
        /// The rank to which it happens.
        rank: String = "1",
        /// The training step.
        step: u64 = 3,
    }
}

impl Component for Trouble {
    type Config = Trouble;

    fn new(config: Trouble, _: &mut Setup) -> Result<Self> {
        Ok(config)
    }
}

impl Callback for Trouble {
    fn on(&mut self, event: &Event, _: &Learner) -> Result<()> {
        let names = ["FLUXBAY_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"];
        let here = names.iter().any(|name| std::env::var(name).is_ok_and(|rank| rank == self.rank));
        if !here || !event.is_training() || event.total_steps() != self.step {
            return Ok(());
        }
        match self.kind.as_str() {
            "error" => bail!("something is wrong"),
            "panic" => panic!("something is very wrong"),
            "cancel-step" => Err(Error::cancel_step("enough of this step")),
            "cancel-epoch" => Err(Error::cancel_epoch("enough of this epoch")),
            "cancel-fit" => Err(Error::cancel_fit("enough")),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(0),
            "sleep" => {
                std::thread::sleep(std::time::Duration::from_secs(10));
                Ok(())
            }
            other => bail!("unknown: {other}"),
        }
    }
}

plugin! {
    summary: "Trouble on one rank.",
    callback "trouble" => Trouble {
        summary: "Ends a rank.",
        on: [BackwardBegin],
    },
}
