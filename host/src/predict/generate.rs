//! A language model that continues a text, token by token.

use candle_core::{DType, Device, IndexOp, Tensor};

use super::{Applied, PredictError};
use crate::loader::element_type;

/// Tokens of the first text on which a pass with kept keys is compared with one without.
const TRIED: usize = 8;

/// Largest difference between the two, as a share of the largest logit.
const DIFFERENCE: f32 = 1e-3;

/// How the model is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passes {
    /// Not known yet: the text is too short to find out.
    Unknown,
    /// On the new tokens; keys and values of the earlier ones are kept.
    Cached,
    /// On all tokens.
    Whole,
}

/// A model with a text: gives the logits of the next token, and takes the token that was chosen.
///
/// Keys and values of attention are kept, so that a token costs one pass over itself. Whether that
/// is possible is found out by comparing: a model that mixes tokens by other means than causal
/// attention is run on the whole text for each token.
///
/// ```no_run
/// use fluxbay::predict::{DataUse, Generator, PredictorOptions, Sampling};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = PredictorOptions::default().open("runs/last".as_ref(), DataUse::Texts)?;
/// let mut text = Generator::new(&model, &model.encode("The run ")?, None)?;
/// for place in 0..100 {
///     let logits = text.logits()?;
///     if let Some(id) = Sampling::default().choose(&logits, text.ids(), place) {
///         text.push(id);
///     }
/// }
/// println!("{}", model.decode(text.ids())?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Generator<'a> {
    applied: &'a Applied,
    dtype: DType,
    /// Number of tokens that there are.
    vocabulary: usize,
    /// Most tokens that the model is given.
    context: usize,
    /// The text.
    ids: Vec<u32>,
    /// The first token of the text that the model is given.
    first: usize,
    passes: Passes,
    /// Number of tokens from `first` on whose keys are kept.
    kept: usize,
}

impl<'a> Generator<'a> {
    /// A generator for a text that begins with `prompt`. The model is given at most `context` tokens;
    /// by default as many as in training. Once the text is longer, the last half of it is read again.
    ///
    /// # Errors
    /// The prompt is empty, or the model takes no token ids.
    pub fn new(
        applied: &'a Applied,
        prompt: &[u32],
        context: Option<usize>,
    ) -> Result<Generator<'a>, PredictError> {
        let field = applied.input().map(|(_, field)| field);
        let Some(field) = field.filter(|field| field.shape.len() == 1 && field.classes > 0) else {
            return Err(PredictError::Text(
                "the inputs of the model are no token ids, so it cannot continue a text".to_owned(),
            ));
        };
        let dtype = element_type(field.dtype).ok_or_else(|| {
            PredictError::Text(format!("field `{}` has an unknown element type", field.name))
        })?;
        if prompt.is_empty() {
            return Err(PredictError::Text(
                "the prompt has no tokens: the model needs at least one".to_owned(),
            ));
        }
        let context = context.unwrap_or(field.shape[0]).max(1);
        Ok(Generator {
            applied,
            dtype,
            vocabulary: usize::try_from(field.classes).unwrap_or(usize::MAX),
            context,
            ids: prompt.to_vec(),
            first: prompt.len().saturating_sub(context),
            passes: Passes::Unknown,
            kept: 0,
        })
    }

    /// Runs the model on the whole text for each token, also if keys could be kept.
    #[must_use]
    pub fn without_cache(mut self) -> Generator<'a> {
        self.passes = Passes::Whole;
        self
    }

    /// Whether keys and values are kept; known once the text has two tokens.
    pub fn is_cached(&self) -> bool {
        self.passes == Passes::Cached
    }

    /// The text so far, the prompt included.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Adds a token to the text.
    pub fn push(&mut self, id: u32) {
        self.ids.push(id);
        if self.ids.len() - self.first > self.context {
            self.first = self.ids.len() - (self.context / 2).max(1);
            self.kept = 0;
        }
    }

    /// The logits of the next token, one for each token of the vocabulary.
    ///
    /// # Errors
    /// What the model refuses; a model that does not predict the next token.
    pub fn logits(&mut self) -> Result<Vec<f32>, PredictError> {
        let text = self.ids[self.first..].to_vec();
        if self.passes == Passes::Unknown && text.len() > 1 {
            self.passes = self.tried(&text[..text.len().min(TRIED)])?;
        }
        let rows = match self.passes {
            Passes::Cached => {
                if self.kept == 0 {
                    self.begin_cache();
                }
                let rows = self.cached(&text[self.kept..])?;
                self.kept = text.len();
                rows
            }
            Passes::Unknown | Passes::Whole => self.pass(&text)?,
        };
        self.last(rows)
    }

    /// Compares both kinds of passes on the beginning of a text.
    fn tried(&self, text: &[u32]) -> Result<Passes, PredictError> {
        let (before, newest) = text.split_at(text.len() - 1);
        let whole = self.pass(text)?;
        let [earlier, last] = [row(&whole, before.len() - 1)?, row(&whole, before.len())?];
        let shorter = self.last(self.pass(before)?)?;
        if !self.agree(&shorter, &earlier) {
            return Err(PredictError::Text(
                "the prediction of the model at a token depends on later tokens, so it cannot \
                 continue a text: it is no causal language model"
                    .to_owned(),
            ));
        }
        self.begin_cache();
        let both = self.cached(before).and_then(|_| self.last(self.cached(newest)?));
        self.end_cache();
        Ok(match both {
            Ok(cached) if self.agree(&cached, &last) => Passes::Cached,
            Ok(_) => {
                log::info!("the model needs all tokens for each new one");
                Passes::Whole
            }
            Err(error) => {
                log::info!("the model needs all tokens for each new one: {error}");
                Passes::Whole
            }
        })
    }

    fn agree(&self, one: &[f32], other: &[f32]) -> bool {
        let largest = other.iter().take(self.vocabulary).fold(0.0_f32, |most, x| most.max(x.abs()));
        one.iter().zip(other).all(|(a, b)| a == b || (a - b).abs() <= DIFFERENCE * (1.0 + largest))
    }

    fn begin_cache(&self) {
        self.applied.session().runtime().engine.borrow_mut().begin_cache();
    }

    fn end_cache(&self) {
        self.applied.session().runtime().engine.borrow_mut().end_cache();
    }

    /// A pass over new tokens, whose keys are kept.
    fn cached(&self, ids: &[u32]) -> Result<Tensor, PredictError> {
        self.applied.session().runtime().engine.borrow_mut().cached_pass(ids.len());
        self.pass(ids)
    }

    /// The logits `[tokens, classes]` of a pass.
    fn pass(&self, ids: &[u32]) -> Result<Tensor, PredictError> {
        let input = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu)
            .and_then(|input| input.to_dtype(self.dtype))
            .map_err(text)?;
        let outputs = self.applied.forward(&[input])?;
        match outputs.first().map(Tensor::dims) {
            Some(&[1, tokens, classes]) if tokens == ids.len() && classes > 0 => {
                outputs[0].i(0).and_then(|rows| rows.to_dtype(DType::F32)).map_err(text)
            }
            other => Err(PredictError::Text(format!(
                "the model predicts {:?} for {} tokens: a language model predicts \
                 [1, tokens, vocabulary]",
                other.unwrap_or_default(),
                ids.len()
            ))),
        }
    }

    fn last(&self, rows: Tensor) -> Result<Vec<f32>, PredictError> {
        let mut logits = row(&rows, rows.dims()[0] - 1)?;
        // A table of tokens may have more rows than there are tokens.
        logits.truncate(self.vocabulary);
        Ok(logits)
    }
}

impl Drop for Generator<'_> {
    fn drop(&mut self) {
        self.end_cache();
    }
}

fn row(rows: &Tensor, at: usize) -> Result<Vec<f32>, PredictError> {
    rows.i(at).and_then(|row| row.to_vec1()).map_err(text)
}

fn text(error: candle_core::Error) -> PredictError {
    PredictError::Text(format!("the predictions cannot be read: {error}"))
}
