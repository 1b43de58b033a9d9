//! Adversarial training (Goodfellow et al. 2014, arXiv:1406.2661), with the non-saturating
//! generator loss.

use fluxbay_plugin::{ModelIndex, prelude::*};

config! {
    /// Settings of the adversarial training.
    pub struct Config {
        /// Number of noise values per sample.
        latent: usize = 8 => 1..,
        /// How much the targets of the critic for real samples are lowered below 1 (one-sided label
        /// smoothing, Salimans et al. 2016).
        smoothing: f64 = 0.0 => 0.0..1.0,
    }
}

/// The phase `gan`: trains `model.generator` against `model.critic`, each with its own optimizer.
pub struct Gan {
    config: Config,
    critic_end: EventKind,
    models: Option<(ModelIndex, ModelIndex)>,
}

impl Component for Gan {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        Ok(Gan { config, critic_end: setup.event("critic-end")?, models: None })
    }
}

impl Phase for Gan {
    fn init(&mut self, learner: &PhaseLearner) -> Result<()> {
        self.models = Some((learner.model_named("generator")?, learner.model_named("critic")?));
        Ok(())
    }

    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        let Some((generator, critic)) = self.models else { bail!("gan was not initialised") };
        learner.run_step(batch, |step| {
            let real = step.xs()?;
            let noise = Tensor::randn(0.0, 1.0, (batch.samples(), self.config.latent), DType::F32)?;

            let fake = step.run_model(generator, &noise)?.detach()?.reshape(real.dims()?)?;
            let on_real = step.run_model(critic, &real)?;
            let on_fake = step.run_model(critic, &fake)?;
            let wanted = on_real.ones_like()?.affine(1.0 - self.config.smoothing, 0.0)?;
            let critic_loss = on_real
                .bce_with_logits(&wanted)?
                .add(&on_fake.bce_with_logits(&on_fake.zeros_like()?)?)?;
            learner.record_step("critic-loss", critic_loss.to_scalar::<f64>()?)?;
            step.backward_for(critic, &critic_loss)?;
            step.update_for(critic)?;
            step.dispatch(self.critic_end)?;

            let fake = step.run_model(generator, &noise)?.reshape(real.dims()?)?;
            step.set_yhats(&fake)?;
            step.dispatch(LossBegin)?;
            let verdict = step.run_model(critic, &step.yhats()?)?;
            step.set_loss(&verdict.bce_with_logits(&verdict.ones_like()?)?)?;
            step.dispatch(BackwardBegin)?;
            step.backward_for(generator, &step.loss()?)?;
            step.dispatch(BackwardEnd)?;
            step.update_for(generator)
        })
    }
}
