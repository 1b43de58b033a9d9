//! Language models: the next token of responses, and masked tokens.

use fluxbay_plugin::{ModelIndex, prelude::*};

use crate::task::{Task, mean_over};

config! {
    /// Which tokens count.
    pub struct CausalConfig {
        /// Field of the data set that is 1 where a target counts and 0 elsewhere, such as `response`.
        mask: Option<String> = null,
        /// Ids of the tokens that begin a response: only targets after them count.
        after: Vec<u32> = [],
        /// Id of the token that ends a response, which counts itself; by default it goes on to the end.
        until: Option<u32> = null,
        /// Id of padding: such targets do not count.
        padding: Option<u32> = null,
        /// Id of the token that texts begin with, for models from one sequence to another, such as `whisper`
        /// with head `transcription`: beside the inputs they take the targets, moved by one place behind
        /// this token.
        begin: Option<u32> = null,
    }
}

/// The task `causal-language`: cross-entropy of the targets that count.
pub struct CausalLanguage {
    config: CausalConfig,
    mask: Option<Read<Tensor>>,
}

impl Task for CausalLanguage {
    type Config = CausalConfig;

    fn new(config: CausalConfig, setup: &mut Setup) -> Result<Self> {
        if config.until.is_some() && config.after.is_empty() {
            bail!("until says where a response ends, but nothing says where one begins: set after");
        }
        let mask = config.mask.as_deref();
        let mask = mask.map(|field| setup.read(&format!("step.{field}"))).transpose()?;
        Ok(CausalLanguage { config, mask })
    }

    fn models(&mut self, learner: &Learner) -> Result<Vec<ModelIndex>> {
        Ok(vec![learner.only_model()?])
    }

    fn predict(&mut self, step: &Step<'_>) -> Result<()> {
        let Some(begin) = self.config.begin else { return step.forward(&step.xs()?).map(drop) };
        let (targets, time) = targets(step)?;
        let tokens = Tensor::from_slice(&moved(&targets, time, begin), step.ys()?.dims()?)?;
        let outputs = step.run_model_many(step.only_model()?, &[&step.xs()?, &tokens])?;
        let [yhats] = &outputs[..] else {
            bail!("the model gave {} outputs instead of logits", outputs.len());
        };
        step.set_yhats(yhats)
    }

    fn loss(&mut self, step: &Step<'_>) -> Result<Tensor> {
        let (targets, time) = targets(step)?;
        let mut counts = vec![true; targets.len()];
        if !self.config.after.is_empty() {
            let CausalConfig { after, until, begin, .. } = &self.config;
            let tokens = match begin {
                Some(begin) => moved(&targets, time, *begin),
                None => step.xs()?.to_vec::<u32>()?,
            };
            for ((tokens, targets), counts) in
                tokens.chunks(time).zip(targets.chunks(time)).zip(counts.chunks_mut(time))
            {
                responses(tokens, targets, after, *until, counts);
            }
        }
        if let Some(padding) = self.config.padding {
            let pairs = counts.iter_mut().zip(&targets);
            pairs.for_each(|(counts, target)| *counts &= *target != padding);
        }
        if let Some(mask) = &self.mask {
            let mask = step.get(mask)?.to_dtype(DType::F32)?.to_vec::<f32>()?;
            if mask.len() != counts.len() {
                bail!("the mask has {} elements, the targets have {}", mask.len(), counts.len());
            }
            counts.iter_mut().zip(&mask).for_each(|(counts, mask)| *counts &= *mask != 0.0);
        }
        mean_over(&step.yhats()?, &targets, &counts)
    }
}

/// The targets of a step, and the number of one sample.
fn targets(step: &Step<'_>) -> Result<(Vec<u32>, usize)> {
    let ys = step.ys()?;
    match &ys.dims()?[..] {
        &[_, time] => Ok((ys.to_vec::<u32>()?, time)),
        shape => bail!("causal-language takes targets [batch, time], they are {shape:?}"),
    }
}

/// The token before each target: `begin`, and the targets but the last.
fn moved(targets: &[u32], time: usize, begin: u32) -> Vec<u32> {
    let before = |at: usize| if at.is_multiple_of(time) { begin } else { targets[at - 1] };
    (0..targets.len()).map(before).collect()
}

/// Sets which targets belong to a response. A target is the token behind its input.
fn responses(
    tokens: &[u32],
    targets: &[u32],
    after: &[u32],
    until: Option<u32>,
    counts: &mut [bool],
) {
    let mut within = false;
    for at in 0..tokens.len() {
        // The target behind the last token of `after` is the first of the response.
        within |= tokens[..=at].ends_with(after);
        counts[at] = within;
        within &= until != Some(targets[at]);
    }
}

config! {
    /// How tokens are masked.
    pub struct MaskedConfig {
        /// Id of the token that stands for a masked one, such as that of `[MASK]`.
        mask_token: u32,
        /// Share of the tokens that are predicted.
        share: f64 = 0.15 => 0.0..=1.0,
        /// Share of these that is replaced by the mask token.
        masked: f64 = 0.8 => 0.0..=1.0,
        /// Share of these that is replaced by a random token; the rest stays.
        random: f64 = 0.1 => 0.0..=1.0,
        /// Ids of tokens that are never predicted, such as those of `[CLS]`, `[SEP]` and `[PAD]`.
        special: Vec<u32> = [],
    }
}

/// The task `masked-language` (Devlin et al. 2018): the tokens at random places from all others. The
/// targets of the data are not used.
pub struct MaskedLanguage {
    config: MaskedConfig,
    /// Size of the vocabulary, once the model was run.
    vocabulary: Option<usize>,
    /// The tokens of the batch, and which of them are predicted.
    tokens: Vec<u32>,
    predicted: Vec<bool>,
}

impl Task for MaskedLanguage {
    type Config = MaskedConfig;

    fn new(config: MaskedConfig, _: &mut Setup) -> Result<Self> {
        if config.masked + config.random > 1.0 {
            bail!("masked = {} and random = {} are more than 1", config.masked, config.random);
        }
        Ok(MaskedLanguage { config, vocabulary: None, tokens: Vec::new(), predicted: Vec::new() })
    }

    fn models(&mut self, learner: &Learner) -> Result<Vec<ModelIndex>> {
        Ok(vec![learner.only_model()?])
    }

    fn predict(&mut self, step: &Step<'_>) -> Result<()> {
        let xs = step.xs()?;
        let (shape, tokens) = (xs.dims()?, xs.to_vec::<u32>()?);
        let &[_, time] = &shape[..] else {
            bail!("masked-language takes token ids [batch, time], they are {shape:?}");
        };
        let model = step.only_model()?;
        let vocabulary = match self.vocabulary {
            Some(vocabulary) => vocabulary,
            None => {
                let one = Tensor::from_slice(&tokens[..time], (1, time))?;
                let logits = step.without_gradients(|| step.run_model(model, &one))?;
                *self.vocabulary.insert(logits.dim(-1)?)
            }
        };
        let draws = Tensor::rand(0.0, 1.0, (3, tokens.len()), DType::F32)?.to_vec::<f32>()?;
        let (inputs, predicted) = masked(&self.config, vocabulary, &tokens, &draws);
        (self.tokens, self.predicted) = (tokens, predicted);
        step.forward(&Tensor::from_slice(&inputs, shape)?.to_dtype(xs.dtype()?)?).map(drop)
    }

    fn loss(&mut self, step: &Step<'_>) -> Result<Tensor> {
        mean_over(&step.yhats()?, &self.tokens, &self.predicted)
    }
}

/// The inputs of a masked batch, and which tokens are predicted. `draws` has three uniform numbers for
/// each token, one kind after the other.
fn masked(
    config: &MaskedConfig,
    vocabulary: usize,
    tokens: &[u32],
    draws: &[f32],
) -> (Vec<u32>, Vec<bool>) {
    let count = tokens.len();
    let draw = |kind: usize, at: usize| f64::from(draws[kind * count + at]);
    let mut inputs = tokens.to_vec();
    let mut predicted = vec![false; count];
    for (at, input) in inputs.iter_mut().enumerate() {
        predicted[at] = draw(0, at) < config.share && !config.special.contains(input);
        let what = draw(1, at);
        if predicted[at] && what < config.masked {
            *input = config.mask_token;
        } else if predicted[at] && what < config.masked + config.random {
            *input = ((draw(2, at) * vocabulary as f64) as usize).min(vocabulary - 1) as u32;
        }
    }
    (inputs, predicted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(tokens: &[u32], after: &[u32], until: Option<u32>) -> Vec<bool> {
        let mut counts = vec![false; tokens.len() - 1];
        responses(&tokens[..tokens.len() - 1], &tokens[1..], after, until, &mut counts);
        counts
    }

    #[test]
    fn targets_of_responses_count() {
        // 7 8 begins a response, 9 ends it.
        let tokens = [1, 7, 8, 2, 3, 9, 4, 7, 5, 7, 8, 6];
        let expected = [0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1].map(|count| count == 1);
        assert_eq!(counted(&tokens, &[7, 8], Some(9)), expected);
        let expected = [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1].map(|count| count == 1);
        assert_eq!(counted(&tokens, &[7, 8], None), expected);
        assert_eq!(counted(&tokens, &[6, 6], None), [false; 11]);
    }

    #[test]
    fn targets_are_moved_behind_the_token_that_texts_begin_with() {
        assert_eq!(moved(&[4, 5, 6, 7, 8, 9], 3, 1), [1, 4, 5, 1, 7, 8]);
        assert_eq!(moved(&[], 0, 1), [0; 0]);
    }

    #[test]
    fn tokens_are_masked_replaced_or_kept_in_their_shares() {
        let json = r#"{"mask_token": 99, "share": 0.15, "special": [0]}"#;
        let config = <MaskedConfig as fluxbay_plugin::Config>::from_json(&json.replace('_', "-"));
        let config = config.unwrap();
        let count = 40_000;
        let tokens: Vec<u32> = (0..count).map(|at| if at % 2 == 0 { 0 } else { 5 }).collect();
        // A sequence of numbers that is spread evenly.
        let draw = |at: u64| {
            let x = at.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let x = (x ^ x >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((x ^ x >> 32) >> 40) as f32 / (1_u64 << 24) as f32
        };
        let draws: Vec<f32> = (0..3 * count).map(draw).collect();
        let (inputs, predicted) = masked(&config, 50, &tokens, &draws);
        let share = |of: &dyn Fn(usize) -> bool, among: &dyn Fn(usize) -> bool| {
            let all = (0..count as usize).filter(|&at| among(at));
            let (all, some) = all.fold((0, 0), |(n, k), at| (n + 1, k + usize::from(of(at))));
            some as f64 / f64::from(all)
        };
        assert!((share(&|at| predicted[at], &|at| at % 2 == 1) - 0.15).abs() < 0.01);
        assert!(!predicted.iter().step_by(2).any(|predicted| *predicted), "special tokens stay");
        assert!((share(&|at| inputs[at] == 99, &|at| predicted[at]) - 0.8).abs() < 0.02);
        let other = |at: usize| inputs[at] != 99 && inputs[at] != 5;
        assert!((share(&other, &|at| predicted[at]) - 0.098).abs() < 0.02);
        assert!((0..tokens.len()).all(|at| predicted[at] || inputs[at] == tokens[at]));
        assert!(inputs.iter().all(|&input| input < 50 || input == 99));
    }
}
