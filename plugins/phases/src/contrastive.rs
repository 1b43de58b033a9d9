//! Contrastive training: pairs of samples are closer than samples of different pairs.

use fluxbay_plugin::{ModelIndex, prelude::*};

use crate::task::Task;

choice! {
    /// How pairs are compared.
    pub enum Comparison {
        /// Each first with all second ones, and each second with all first ones (CLIP, Radford et al.
        /// 2021).
        Clip,
        /// Each with all others of both kinds (NT-Xent of SimCLR, Chen et al. 2020).
        Simclr,
    }
}

config! {
    /// Pairs and models.
    pub struct Config {
        /// Field of the data set with the second of each pair. With `xs`, the pair is the sample itself,
        /// run twice: dropout makes the difference (SimCSE, Gao et al. 2021).
        pair: String = "ys",
        /// Names of the models of the first and the second; without them the only model runs both.
        models: Vec<String> = [],
        /// How pairs are compared.
        comparison: Comparison = "clip",
        /// Divides the cosine similarities.
        temperature: f64 = 0.05,
    }
}

/// The task `contrastive`: each sample finds its partner among those of the batch.
pub struct Contrastive {
    config: Config,
    pair: Read<Tensor>,
    targets: Write<Tensor>,
    models: Option<[ModelIndex; 2]>,
    /// The vectors of both, of length 1.
    vectors: Option<[Tensor; 2]>,
}

impl Task for Contrastive {
    type Config = Config;

    fn new(config: Config, setup: &mut Setup) -> Result<Self> {
        if config.temperature <= 0.0 {
            bail!("temperature = {} must be above 0", config.temperature);
        }
        if !matches!(config.models.len(), 0 | 2) {
            bail!("models names {} models: it names two, or none", config.models.len());
        }
        Ok(Contrastive {
            pair: setup.read(&format!("step.{}", config.pair))?,
            targets: setup.write("step.ys")?,
            config,
            models: None,
            vectors: None,
        })
    }

    fn models(&mut self, learner: &Learner) -> Result<Vec<ModelIndex>> {
        let models = match &self.config.models[..] {
            [first, second] => [learner.model_named(first)?, learner.model_named(second)?],
            _ => [learner.only_model()?; 2],
        };
        self.models = Some(models);
        Ok(if models[0] == models[1] { vec![models[0]] } else { models.to_vec() })
    }

    /// The predictions are the similarities `[batch, batch]`, the targets the places of the partners,
    /// so that metrics of classes measure how often the partner is found.
    fn predict(&mut self, step: &Step<'_>) -> Result<()> {
        let Some([first, second]) = self.models else { bail!("contrastive was not initialised") };
        let pair = step.get(&self.pair)?;
        let vectors = [
            normalised(&step.run_model(first, &step.xs()?)?)?,
            normalised(&step.run_model(second, &pair)?)?,
        ];
        let [a, b] = &vectors;
        if a.dims()? != b.dims()? {
            bail!("the vectors of a pair have shapes {:?} and {:?}", a.dims()?, b.dims()?);
        }
        step.set_yhats(&similarities(a, b, self.config.temperature)?)?;
        let samples = a.dim(0)?;
        step.set(&self.targets, Tensor::arange(0.0, samples as f64, 1.0, DType::U32)?)?;
        self.vectors = Some(vectors);
        Ok(())
    }

    fn loss(&mut self, step: &Step<'_>) -> Result<Tensor> {
        let Some([a, b]) = self.vectors.take() else { bail!("there are no predictions") };
        let samples = a.dim(0)?;
        let places = |first: usize, count: usize| -> Result<Tensor> {
            Tensor::arange(first as f64, (first + count) as f64, 1.0, DType::U32)
        };
        match self.config.comparison {
            Comparison::Clip => {
                let (logits, partners) = (step.yhats()?, places(0, samples)?);
                let rows = logits.cross_entropy(&partners, 0.0)?;
                let columns = logits.t()?.contiguous()?.cross_entropy(&partners, 0.0)?;
                rows.add(&columns)?.affine(0.5, 0.0)
            }
            Comparison::Simclr => {
                let all = Tensor::cat(&[&a, &b], 0)?;
                let logits = similarities(&all, &all, self.config.temperature)?;
                // No sample is compared with itself.
                let itself = places(0, 2 * samples)?.one_hot(2 * samples)?;
                let itself = itself.to_dtype(logits.dtype()?)?.affine(-1e9, 0.0)?;
                let partners = Tensor::cat(&[&places(samples, samples)?, &places(0, samples)?], 0)?;
                logits.add(&itself)?.cross_entropy(&partners, 0.0)
            }
        }
    }
}

/// Rows of length 1, as PyTorch's `normalize`.
fn normalised(xs: &Tensor) -> Result<Tensor> {
    let xs = if xs.dims()?.len() == 2 { xs.clone() } else { xs.flatten_from(1)? };
    xs.div(&xs.sqr()?.sum_keepdim(1)?.sqrt()?.clamp(1e-12, f64::MAX)?)
}

fn similarities(a: &Tensor, b: &Tensor, temperature: f64) -> Result<Tensor> {
    a.matmul(&b.t()?)?.affine(1.0 / temperature, 0.0)
}
