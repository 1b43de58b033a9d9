//! Self-supervised training by masked reconstruction, as in denoising autoencoders (Vincent et al.
//! 2008).

use fluxbay_plugin::{ModelIndex, prelude::*};

config! {
    /// How much is masked.
    pub struct Config {
        /// Share of the inputs that is masked.
        mask: f64 = 0.5 => 0.0..1.0,
    }
}

/// The phase `masked-reconstruction`: sets random values of `xs` to 0 and trains encoder and decoder
/// to reconstruct the original.
pub struct MaskedReconstruction {
    mask: f64,
    models: Option<(ModelIndex, ModelIndex)>,
}

impl Component for MaskedReconstruction {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(MaskedReconstruction { mask: config.mask, models: None })
    }
}

impl Phase for MaskedReconstruction {
    fn init(&mut self, learner: &PhaseLearner) -> Result<()> {
        self.models = Some((learner.model_named("encoder")?, learner.model_named("decoder")?));
        Ok(())
    }

    fn step(&mut self, batch: &Batch, learner: &PhaseLearner) -> Result<()> {
        let Some((encoder, decoder)) = self.models else {
            bail!("masked-reconstruction was not initialised")
        };
        learner.run_step(batch, |step| {
            let whole = step.xs()?;
            let kept = Tensor::bernoulli(1.0 - self.mask, whole.dims()?, DType::F32)?;
            let features = step.run_model(encoder, &whole.mul(&kept)?)?;
            step.set_yhats(&step.run_model(decoder, &features)?)?;
            step.dispatch(LossBegin)?;
            step.set_loss(&step.yhats()?.mse(&whole.flatten_from(1)?)?)?;
            step.dispatch(BackwardBegin)?;
            let loss = step.loss()?;
            step.backward(&loss)?;
            step.dispatch(BackwardEnd)?;
            step.update_for(encoder)?;
            step.update_for(decoder)
        })
    }
}
