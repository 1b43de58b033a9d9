//! Linear probes: how well a linear model predicts the target from the features of an encoder
//! (Alain and Bengio 2016, arXiv:1610.01644).

use fluxbay_plugin::{ModelIndex, prelude::*};

/// `model.encoder`, which is not trained, and `model.probe` on its features.
struct Models {
    encoder: ModelIndex,
    probe: ModelIndex,
}

impl Models {
    fn find(learner: &Learner) -> Result<Option<Models>> {
        Ok(Some(Models {
            encoder: learner.model_named("encoder")?,
            probe: learner.model_named("probe")?,
        }))
    }

    /// Computes predictions and loss, without gradients of the encoder.
    fn predict(&self, step: &Step<'_>) -> Result<()> {
        let features = step.without_gradients(|| step.run_model(self.encoder, &step.xs()?))?;
        step.set_yhats(&step.run_model(self.probe, &features)?)?;
        step.dispatch(LossBegin)?;
        step.compute_loss(&step.yhats()?, &step.ys()?)?;
        Ok(())
    }
}

macro_rules! probes {
    ($($(#[$doc:meta])* $name:ident => |$models:ident, $step:ident| $body:expr),+ $(,)?) => { $(
        $(#[$doc])*
        pub struct $name(Option<Models>);

        impl Component for $name {
            type Config = NoConfig;

            fn new(_: NoConfig, _: &mut Setup) -> Result<Self> {
                Ok($name(None))
            }
        }

        impl Phase for $name {
            fn init(&mut self, learner: &PhaseLearner) -> Result<()> {
                self.0 = Models::find(learner)?;
                Ok(())
            }

            fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
                let Some($models) = &self.0 else { bail!("the probe was not initialised") };
                learner.run_step(batch, |$step| $body)
            }
        }
    )+ };
}

probes! {
    /// The phase `linear-probe`: trains the probe.
    LinearProbe => |models, step| {
        models.predict(step)?;
        step.dispatch(BackwardBegin)?;
        step.backward_for(models.probe, &step.loss()?)?;
        step.dispatch(BackwardEnd)?;
        step.update_for(models.probe)
    },
    /// The phase `linear-probe-validation`: evaluates the probe.
    LinearProbeValidation => |models, step| models.predict(step),
}
