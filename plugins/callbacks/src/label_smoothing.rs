//! Softens class labels for the training loss; metrics use the original labels.

use fluxbay_plugin::prelude::*;

use crate::targets::{as_rows, smooth};

config! {
    /// How much labels are softened.
    pub struct Config {
        /// Share of each label that is spread over all classes.
        amount: f64 = 0.1 => 0.0..=1.0,
    }
}

/// The callback `label-smoothing`.
pub struct LabelSmoothing {
    amount: Read<f64>,
    ys: Write<Tensor>,
    yhats: Read<Tensor>,
    hard: Option<Tensor>,
}

impl Component for LabelSmoothing {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        let amount = setup.hyper_parameter("amount", config.amount)?;
        Ok(LabelSmoothing {
            amount,
            ys: setup.write("step.ys")?,
            yhats: setup.read("step.yhats")?,
            hard: None,
        })
    }
}

impl Callback for LabelSmoothing {
    fn on(&mut self, event: &Event, learner: &Learner) -> Result<()> {
        match event.kind() {
            LossBegin if event.is_training() => {
                let hard = learner.get(&self.ys)?;
                let rows = as_rows(&hard, &learner.get(&self.yhats)?)?;
                self.hard = Some(hard);
                learner.set(&self.ys, smooth(&rows, learner.get(&self.amount)?)?)
            }
            // The loss is computed: restore the labels for the events that follow.
            BackwardBegin => match self.hard.take() {
                Some(hard) => learner.set(&self.ys, hard),
                None => Ok(()),
            },
            _ => {
                self.hard = None;
                Ok(())
            }
        }
    }
}
