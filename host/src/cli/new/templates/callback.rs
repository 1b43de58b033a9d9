//! The callback `{{name}}`: prints the lowest training loss of an epoch.

use fluxbay_plugin::{prelude::*, serde};

config! {
    /// What can be set in a run file.
    struct Config {
        /// Epochs between two lines.
        every: u64 = 1 => 1..,
    }
}

struct {{Type}} {
    every: u64,
    loss: Read<f64>,
    lowest: Option<Lowest>,
}

/// The lowest loss so far in this epoch, and its step.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Lowest {
    loss: f64,
    step: u64,
}

impl Lowest {
    fn of(known: Option<Lowest>, loss: f64, step: u64) -> Lowest {
        known.filter(|known| known.loss <= loss).unwrap_or(Lowest { loss, step })
    }
}

impl Component for {{Type}} {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok({{Type}} { every: config.every, loss: setup.read("step.loss")?, lowest: None })
    }

    // Saved with the run, so that a resumed run continues as if it had never stopped.
    state!(lowest);
}

impl Callback for {{Type}} {
    // `return Err(Error::cancel_fit("why"))` would end the training here, without an error.
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        if !event.is_training() {
            return Ok(());
        }
        match event.kind() {
            StepEnd => self.lowest = Some(Lowest::of(self.lowest, learner.get(&self.loss)?, event.step())),
            EpochEnd => {
                if let Some(lowest) = self.lowest.take().filter(|_| event.epoch().is_multiple_of(self.every)) {
                    learner.print(&format!("{{name}}: lowest loss {:.4} in step {}", lowest.loss, lowest.step))?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

plugin! {
    summary: "The callback {{name}}.",
    callback "{{name}}" => {{Type}} {
        summary: "Prints the lowest training loss of an epoch.",
        on: [StepEnd, EpochEnd],
        // The paths that `setup` may ask for.
        reads: ["step.loss"],
    },
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::Config as _;

    use super::*;

    #[test]
    fn the_first_of_the_lowest_losses_stays() {
        let mut lowest = None;
        for (step, loss) in [(1, 0.5), (2, 0.25), (3, 0.25), (4, 0.75)] {
            lowest = Some(Lowest::of(lowest, loss, step));
        }
        assert_eq!(lowest, Some(Lowest { loss: 0.25, step: 2 }));
    }

    #[test]
    fn without_settings_every_epoch_has_a_line() {
        assert_eq!(Config::from_json("{}").unwrap().every, 1);
    }
}
