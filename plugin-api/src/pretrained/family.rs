//! What all published models have.

use std::{cell::RefCell, path::Path};

use serde_json::Value;

use super::{Names, Pretrained, Rule};
use crate::{
    DataSpec, Result, Setup, bail,
    nn::{Lora, Params},
};

/// A published model: its sizes, with the settings of the run file over them, its adapters, and what the
/// data decides, such as the number of classes.
///
/// ```
/// use std::path::PathBuf;
///
/// use fluxbay_plugin::{Family, Names, Rule, nn::*, prelude::*};
///
/// config! {
///     /// A table of tokens.
///     struct Config {
///         /// Folder with `config.json` and safetensors files.
///         from: Option<PathBuf> = null,
///         /// Width of the vectors.
///         width: Option<usize> = null => 1..,
///         /// Low-rank adapters.
///         lora: Option<Lora> = null,
///     }
/// }
///
/// struct Table(Family);
///
/// impl Component for Table {
///     type Config = Config;
///
///     fn new(config: Config, setup: &mut Setup) -> Result<Self> {
///         let defaults = serde_json::json!({ "hidden_size": 128 });
///         let family = Family::open(setup, config.from.as_deref(), config.lora, defaults)?;
///         Ok(Table(family.with(&["hidden_size", "dim"], config.width)))
///     }
/// }
///
/// impl Model for Table {
///     type Network = Embedding;
///
///     fn build(&self, data: &DataSpec, params: Params) -> Result<Embedding> {
///         let params = self.0.adapted(params);
///         let [_, vocabulary] = self.0.text(data)?;
///         embedding(vocabulary, self.0.sizes.size(&["hidden_size"])?, 0.02, params.pp("tokens"))
///     }
///
///     fn forward(&self, network: &Embedding, xs: &Tensor) -> Result<Tensor> {
///         network.forward(xs)
///     }
///
///     fn names(&self) -> Result<Option<Names>> {
///         Ok(Some(self.0.names(&[Rule::ignore("*.position_ids")])))
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Family {
    /// The content of `config.json`.
    pub sizes: Pretrained,
    lora: Option<Lora>,
    found: RefCell<Found>,
}

/// What the data decides.
#[derive(Debug, Default)]
struct Found {
    labels: Option<usize>,
    sizes: Vec<(&'static str, usize)>,
}

impl Family {
    /// Reads the sizes of folder `from`, or takes `defaults`.
    ///
    /// # Errors
    /// Those of [`Pretrained::open`].
    pub fn open(
        setup: &Setup,
        from: Option<&Path>,
        lora: Option<Lora>,
        defaults: Value,
    ) -> Result<Family> {
        let sizes = Pretrained::open(setup, from, defaults)?;
        let lora = Lora::resolved(lora, setup)?;
        Ok(Family { sizes, lora, found: RefCell::default() })
    }

    /// With a size replaced by a setting, if that is given: see [`Pretrained::set`].
    pub fn with(mut self, keys: &[&str], given: Option<impl Into<Value>>) -> Family {
        self.sizes.set(keys, given);
        self
    }

    /// The parameters with adapters: at the beginning of [`Model::build`](crate::Model::build).
    pub fn adapted(&self, params: Params) -> Params {
        params.with_lora(self.lora.as_ref())
    }

    /// The length of sequences and the size of the vocabulary for a model of token ids `[time]`.
    ///
    /// # Errors
    /// The data has no token ids, or more than the model, or their number is not known.
    pub fn text(&self, data: &DataSpec) -> Result<[usize; 2]> {
        let (xs, ys) = (data.xs()?, data.ys()?);
        let &[time] = &xs.shape[..] else {
            bail!("this model takes token ids [time], the data set has {:?} per sample", xs.shape);
        };
        Ok([time, self.vocabulary(xs.classes.or(ys.classes))?])
    }

    /// The size of the vocabulary for data with so many tokens. It is written to `config.json`.
    ///
    /// # Errors
    /// The data has more than the model, or none is known.
    pub fn vocabulary(&self, of_data: Option<usize>) -> Result<usize> {
        let vocabulary = self.sizes.vocabulary(of_data)?;
        self.found("vocab_size", vocabulary);
        Ok(vocabulary)
    }

    /// A number of the data that is written to `config.json`.
    pub fn found(&self, key: &'static str, size: usize) {
        let sizes = &mut self.found.borrow_mut().sizes;
        sizes.retain(|(known, _)| *known != key);
        sizes.push((key, size));
    }

    /// The number of classes, which is written to `config.json` as labels.
    pub fn found_labels(&self, count: usize) {
        self.found.borrow_mut().labels = Some(count);
    }

    /// The published names for [`Model::names`](crate::Model::names), with the adapters and what the
    /// data decides.
    pub fn names(&self, rules: &[Rule]) -> Names {
        let names = self.sizes.names(rules).with_lora(self.lora.as_ref());
        let found = self.found.borrow();
        let names = match found.labels {
            Some(count) => names.with_labels(count),
            None => names,
        };
        found.sizes.iter().fold(names, |names, &(key, size)| names.with_size(key, size))
    }
}
