//! What all families have: published sizes with the settings of the run file over them, adapters, and
//! the vocabulary.

use std::{cell::Cell, path::Path};

use fluxbay_plugin::{Names, Pretrained, Rule, nn::*, prelude::*};
use serde_json::Value;

/// Sizes, adapters and vocabulary of a model.
pub struct Family {
    /// The content of `config.json`.
    pub sizes: Pretrained,
    lora: Option<Lora>,
    /// Size of the vocabulary, once it is known; 0 for a model without one.
    vocabulary: Cell<usize>,
}

/// The names of a size in `config.json`, and the setting that replaces it.
pub type Setting = (&'static [&'static str], Option<Value>);

impl Family {
    /// Reads the sizes of folder `from`, or takes `defaults`, with `settings` over them.
    ///
    /// # Errors
    /// Those of [`Pretrained::open`].
    pub fn open(
        setup: &Setup,
        (from, lora): (Option<&Path>, Option<Lora>),
        defaults: Value,
        settings: impl IntoIterator<Item = Setting>,
    ) -> Result<Family> {
        let mut sizes = Pretrained::open(setup, from, defaults)?;
        for (keys, setting) in settings {
            sizes.set(keys, setting);
        }
        let lora = Lora::resolved(lora, setup)?;
        Ok(Family { sizes, lora, vocabulary: Cell::new(0) })
    }

    /// The length of sequences, the size of the vocabulary, and the parameters with adapters, at the
    /// beginning of `build`.
    ///
    /// # Errors
    /// The data has no token ids, or more than the model.
    pub fn begin(&self, data: &DataSpec, params: Params) -> Result<(usize, usize, Params)> {
        let (xs, ys) = (data.xs()?, data.ys()?);
        let &[time] = &xs.shape[..] else {
            bail!("this model takes token ids [time], the data set has {:?} per sample", xs.shape);
        };
        let vocabulary = self.vocabulary(xs.classes.or(ys.classes))?;
        Ok((time, vocabulary, self.adapted(params)))
    }

    /// The size of the vocabulary for data with so many tokens.
    ///
    /// # Errors
    /// The data has more than the model, or none is known.
    pub fn vocabulary(&self, of_data: Option<usize>) -> Result<usize> {
        let vocabulary = self.sizes.vocabulary(of_data)?;
        self.vocabulary.set(vocabulary);
        Ok(vocabulary)
    }

    /// How rotary angles are stretched.
    ///
    /// # Errors
    /// A rule that is not known.
    pub fn rotary_scaling(&self) -> Result<RotaryScaling> {
        let rule = |key: &str| [format!("rope_parameters.{key}"), format!("rope_scaling.{key}")];
        let number = |key: &str| {
            let keys = rule(key);
            self.sizes.number_or(&[&keys[0], &keys[1]], 1.0)
        };
        let [new, old] = rule("rope_type");
        Ok(match self.sizes.text(&[&new, &old, "rope_scaling.type"]) {
            "" | "default" => RotaryScaling::None,
            "linear" => RotaryScaling::Linear { factor: number("factor") },
            "llama3" => RotaryScaling::Llama3 {
                factor: number("factor"),
                low: number("low_freq_factor"),
                high: number("high_freq_factor"),
                original: number("original_max_position_embeddings"),
            },
            other => bail!("rotary scaling `{other}` is none of default, linear, llama3"),
        })
    }

    /// The parameters with adapters.
    pub fn adapted(&self, params: Params) -> Params {
        params.with_lora(self.lora.as_ref())
    }

    /// The published names, with adapters and, if there is one, the size of the vocabulary.
    pub fn names(&self, rules: &[Rule]) -> Names {
        let names = self.sizes.names(rules).with_lora(self.lora.as_ref());
        match self.vocabulary.get() {
            0 => names,
            size => names.with_size("vocab_size", size),
        }
    }
}

/// A setting as it replaces sizes.
pub fn set(keys: &'static [&'static str], given: Option<impl Into<Value>>) -> Setting {
    (keys, given.map(Into::into))
}

/// 1 for tokens, 0 for padding: `[batch, time]`.
///
/// # Errors
/// Outside of a pass.
pub fn known_tokens(xs: &Tensor, padding: Option<u32>, dtype: DType) -> Result<Tensor> {
    xs.is_number(padding.map_or(-1.0, f64::from), dtype)?.affine(-1.0, 1.0)
}

/// What is added to scores so that neither padding nor other samples of a row are attended to, `[batch,
/// 1, 1, time]` or `[batch, 1, time, time]`: a large negative number instead of infinity, as transformers
/// has it.
///
/// # Errors
/// Outside of a pass.
pub fn attention_bias(
    xs: &Tensor,
    padding: Option<u32>,
    rows: Option<&Packing>,
    dtype: DType,
) -> Result<Option<Tensor>> {
    let others = rows.map(|rows| rows.bias(dtype)).transpose()?;
    let Some(id) = padding else { return Ok(others) };
    let padding = xs.is_number(f64::from(id), dtype)?;
    let padding = padding.affine(-1e30, 0.0)?.unsqueeze(1)?.unsqueeze(1)?;
    match others {
        Some(others) => others.add(&padding).map(Some),
        None => Ok(Some(padding)),
    }
}

/// The mean of `[batch, time, width]` over the tokens that are known: `[batch, width]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn mean_over(hidden: &Tensor, known: &Tensor) -> Result<Tensor> {
    let sum = hidden.mul(&known.unsqueeze(2)?)?.sum(1)?;
    sum.div(&known.sum_keepdim(1)?.clamp(1e-9, f64::MAX)?)
}

/// Rows of length 1.
///
/// # Errors
/// Shapes that do not fit.
pub fn unit_vectors(xs: &Tensor) -> Result<Tensor> {
    xs.div(&xs.sqr()?.sum_keepdim(1)?.sqrt()?.clamp(1e-12, f64::MAX)?)
}
