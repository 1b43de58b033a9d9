//! Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290).

use fluxbay_plugin::{ModelIndex, prelude::*};

use crate::task::Task;

config! {
    /// Texts and the strength of the preference.
    pub struct Config {
        /// Field of the data set with the rejected text of each sample; `xs` is the chosen one.
        rejected: String = "ys",
        /// How far the policy may move from the reference: less for larger values.
        beta: f64 = 0.1,
        /// Share of the preferences that are taken to be the wrong way round (conservative DPO).
        label_smoothing: f64 = 0.0 => 0.0..0.5,
        /// Id of padding: such tokens do not count.
        padding: Option<u32> = null,
    }
}

/// The task `preference`: `model.policy` prefers the chosen text to the rejected one by more than
/// `model.reference` does, which is not trained. Texts `[time]` include their prompt, whose
/// probability cancels out.
pub struct Preference {
    config: Config,
    rejected: Read<Tensor>,
    targets: Write<Tensor>,
    models: Option<[ModelIndex; 2]>,
}

impl Task for Preference {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        if config.beta <= 0.0 {
            bail!("beta = {} must be above 0", config.beta);
        }
        Ok(Preference {
            rejected: setup.read(&format!("step.{}", config.rejected))?,
            targets: setup.write("step.ys")?,
            config,
            models: None,
        })
    }

    fn models(&mut self, learner: &Learner) -> Result<Vec<ModelIndex>> {
        let models = [learner.model_named("policy")?, learner.model_named("reference")?];
        self.models = Some(models);
        Ok(vec![models[0]])
    }

    /// The predictions are the rewards `[batch, 2]` of both texts and the targets are 0, so that the
    /// accuracy is how often the chosen text has the larger reward.
    fn predict(&mut self, step: &Step<'_>) -> Result<()> {
        let Some([policy, reference]) = self.models else {
            bail!("preference was not initialised")
        };
        let (chosen, rejected) = (step.xs()?, step.get(&self.rejected)?);
        let (&[samples, _], true) = (&chosen.dims()?[..], chosen.dims()? == rejected.dims()?)
        else {
            bail!(
                "preference takes two texts [batch, time] of one length, they are {:?} and {:?}",
                chosen.dims()?,
                rejected.dims()?
            );
        };
        let both = Tensor::cat(&[&chosen, &rejected], 0)?;
        let own = self.log_probability(step, policy, &both)?;
        let other = step.without_gradients(|| self.log_probability(step, reference, &both))?;
        let rewards = own.sub(&other)?.affine(self.config.beta, 0.0)?;
        step.set_yhats(&rewards.reshape((2, samples))?.t()?.contiguous()?)?;
        step.set(&self.targets, Tensor::zeros(samples, DType::U32)?)
    }

    fn loss(&mut self, step: &Step<'_>) -> Result<Tensor> {
        let rewards = step.yhats()?;
        let margin = rewards.narrow(1, 0, 1)?.sub(&rewards.narrow(1, 1, 1)?)?;
        step.record_step("reward-margin", margin.mean_all()?.to_scalar::<f64>()?)?;
        let wanted = margin.ones_like()?.affine(1.0 - self.config.label_smoothing, 0.0)?;
        // -log sigmoid(margin), smoothed.
        margin.bce_with_logits(&wanted)
    }
}

impl Preference {
    /// The logarithm of the probability of each text `[batch, time]`, given its first token.
    fn log_probability(
        &self,
        step: &Step<'_>,
        model: ModelIndex,
        texts: &Tensor,
    ) -> Result<Tensor> {
        let logits = step.run_model(model, texts)?;
        let &[samples, time, classes] = &logits.dims()?[..] else {
            bail!("a language model predicts [batch, time, vocabulary], not {:?}", logits.dims()?);
        };
        if time < 2 {
            bail!("texts of {time} tokens have no next token");
        }
        let next = texts.narrow(1, 1, time - 1)?.contiguous()?;
        let logits = logits.narrow(1, 0, time - 1)?.contiguous()?;
        let logits = logits.reshape((samples * (time - 1), classes))?;
        let losses = logits.cross_entropy_per_sample(&next.reshape(samples * (time - 1))?, 0.0)?;
        let mut losses = losses.reshape((samples, time - 1))?;
        if let Some(padding) = self.config.padding {
            let known = next.is_number(f64::from(padding), losses.dtype()?)?.affine(-1.0, 1.0)?;
            losses = losses.mul(&known)?;
        }
        losses.sum(1)?.neg()
    }
}
