//! Published weights: the folder that they come from, the sizes in its `config.json`, and the rules
//! that turn its names into those of a model.

mod family;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

pub use family::Family;

use crate::{
    Context, Error, Result, Setup,
    nn::{Activation, Lora, RotaryEmbedding, RotaryScaling, rotary},
};

/// How tensors of published files become parameters of a model, as data.
///
/// The host applies the rules in their order to the names of a file, before it compares them with
/// the paths of the model's parameters. In a pattern `*` stands for any text and `#` for digits; in
/// the result each stands for what it matched, in order.
///
/// ```
/// use fluxbay_plugin::Rule;
///
/// const RULES: &[Rule] = &[
///     Rule::rename("*.gamma", "*.weight"),
///     Rule::ignore("*.position_ids"),
///     Rule::transpose("h.#.attn.c_attn.weight"),
///     Rule::fresh("classifier.*"),
/// ];
/// # assert_eq!(RULES.len(), 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Another name.
    Rename {
        /// Pattern of names.
        from: &'static str,
        /// The new name.
        to: &'static str,
    },
    /// A tensor that the model does not need.
    Ignore {
        /// Pattern of names.
        names: &'static str,
    },
    /// A matrix that files store transposed. Transposed back when the model is written.
    Transpose {
        /// Pattern of names.
        names: &'static str,
    },
    /// Several tensors that are one in the model. Each pattern must match the same parts of a name.
    Merge {
        /// Patterns of the parts, in their order.
        from: &'static [&'static str],
        /// Name of the whole.
        to: &'static str,
        /// Dimension along which they are joined.
        dim: usize,
    },
    /// One tensor that is several equal parts in the model.
    Split {
        /// Pattern of the whole.
        from: &'static str,
        /// Names of the parts, in their order.
        to: &'static [&'static str],
        /// Dimension that is divided.
        dim: usize,
    },
    /// Parameters that may be missing in a file or have another shape there, such as the head for
    /// other classes: they keep their initial values.
    Fresh {
        /// Pattern of names.
        names: &'static str,
    },
}

impl Rule {
    /// [`Rule::Rename`].
    pub const fn rename(from: &'static str, to: &'static str) -> Rule {
        Rule::Rename { from, to }
    }

    /// [`Rule::Ignore`].
    pub const fn ignore(names: &'static str) -> Rule {
        Rule::Ignore { names }
    }

    /// [`Rule::Transpose`].
    pub const fn transpose(names: &'static str) -> Rule {
        Rule::Transpose { names }
    }

    /// [`Rule::Fresh`].
    pub const fn fresh(names: &'static str) -> Rule {
        Rule::Fresh { names }
    }
}

/// What a model says of published weights: see [`Model::names`](crate::Model::names).
#[derive(Clone, Debug, Default, Serialize)]
pub struct Names {
    /// Folder whose weights a new run starts from; none for initial values.
    pub from: Option<PathBuf>,
    /// What is written as `config.json` beside the trained weights; null for nothing.
    pub config: Value,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Low-rank adapters, if the model has them.
    pub adapter: Option<AdapterNames>,
}

/// What a model with low-rank adapters says of them. They are parameters `lora_A.weight`,
/// `lora_B.weight` and, if they are weight-decomposed, `lora_magnitude_vector` below the path of their
/// layer.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterNames {
    /// Folder whose adapters a new run starts from; none for initial values.
    pub from: Option<PathBuf>,
    /// Content of `adapter_config.json`.
    pub config: Value,
    /// Factor of the adapters.
    pub scale: f64,
}

impl Names {
    /// With the number of classes in `config.json`, as transformers reads it.
    pub fn with_labels(mut self, count: usize) -> Names {
        if let Value::Object(config) = &mut self.config {
            let name = |index: usize| format!("LABEL_{index}");
            let names = (0..count).map(|at| (at.to_string(), name(at).into())).collect();
            let numbers = (0..count).map(|at| (name(at), at.into())).collect();
            config.insert("id2label".to_owned(), Value::Object(names));
            config.insert("label2id".to_owned(), Value::Object(numbers));
        }
        self
    }

    /// With low-rank adapters, if there are any.
    pub fn with_lora(mut self, lora: Option<&Lora>) -> Names {
        if let Some(lora) = lora {
            self.rules.push(Rule::Fresh { names: "*.lora_A.weight" });
            self.rules.push(Rule::Fresh { names: "*.lora_B.weight" });
            self.rules.push(Rule::Fresh { names: "*.lora_magnitude_vector" });
            let (from, config, scale) = (lora.from.clone(), lora.peft(), lora.scale());
            self.adapter = Some(AdapterNames { from, config, scale });
        }
        self
    }

    /// With a number in `config.json`.
    pub fn with_size(mut self, key: &str, size: usize) -> Names {
        if let Value::Object(config) = &mut self.config {
            config.insert(key.to_owned(), size.into());
        }
        self
    }
}

/// The sizes of a published model, by the names of its `config.json`: from the setting `from` of the
/// model, a folder, over defaults, and settings of the run file over both.
#[derive(Clone, Debug)]
pub struct Pretrained {
    folder: Option<PathBuf>,
    sizes: Map<String, Value>,
}

impl Pretrained {
    /// Reads `config.json` of folder `from`, relative to the run file. If that folder is gone, the copy
    /// in the run's folder is read, so that a run can be resumed and evaluated without it. `defaults`
    /// is used without a folder, a JSON object.
    ///
    /// # Errors
    /// Outside [`Component::new`](crate::Component::new), or if the file cannot be read or is no JSON
    /// object: with its path.
    pub fn open(setup: &Setup, from: Option<&Path>, defaults: Value) -> Result<Pretrained> {
        let Some(from) = from else {
            let Value::Object(sizes) = defaults else {
                return Err(Error::new("the default sizes are no JSON object"));
            };
            return Ok(Pretrained { folder: None, sizes });
        };
        let folder = setup.resolve_path(from)?;
        let mut file = folder.join(CONFIG);
        if let (false, Some(run)) = (file.is_file(), setup.run_dir()?) {
            let copy = run.join(CONFIG);
            if copy.is_file() {
                file = copy;
            }
        }
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Error::new(format!("cannot read {}: {error}", file.display())))?;
        match serde_json::from_str(&text) {
            Ok(Value::Object(sizes)) => Ok(Pretrained { folder: Some(folder), sizes }),
            Ok(_) => Err(Error::new(format!("{} is no JSON object", file.display()))),
            Err(error) => Err(Error::new(format!("{}: {error}", file.display()))),
        }
    }

    /// Replaces a size by a setting, if that is given: under the first of `keys` that is there, or
    /// the first of all.
    pub fn set(&mut self, keys: &[&str], given: Option<impl Into<Value>>) {
        if let Some(given) = given {
            let key = keys.iter().find(|key| self.sizes.contains_key(**key)).unwrap_or(&keys[0]);
            self.sizes.insert((*key).to_owned(), given.into());
        }
    }

    /// As [`set`](Self::set), if there is no such size yet: for those that the name of an architecture
    /// stands for.
    pub fn complete(&mut self, keys: &[&str], given: Option<impl Into<Value>>) {
        if self.value(keys).is_none() {
            self.set(keys, given);
        }
    }

    /// The value under the first of `keys` that has one; nested keys are joined with a dot.
    pub fn value(&self, keys: &[&str]) -> Option<&Value> {
        keys.iter().find_map(|key| {
            let mut parts = key.split('.');
            let first = self.sizes.get(parts.next()?)?;
            let found = parts.try_fold(first, |value, part| value.get(part))?;
            (!found.is_null()).then_some(found)
        })
    }

    /// The sizes in the table `part`, such as `vision_config`, and those beside it that it does not have.
    pub fn section(&self, part: &str) -> Pretrained {
        let mut found = self.clone();
        if let Some(Value::Object(own)) = self.sizes.get(part) {
            let own = own.iter().filter(|(_, value)| !value.is_null());
            found.sizes.extend(own.map(|(key, value)| (key.clone(), value.clone())));
        }
        found
    }

    /// A whole number.
    ///
    /// # Errors
    /// If none of `keys` has one.
    pub fn size(&self, keys: &[&str]) -> Result<usize> {
        let found = self.value(keys).and_then(Value::as_u64);
        found.map(|size| size as usize).ok_or_else(|| {
            Error::new(format!("{CONFIG} has no whole number `{}`", keys.join("` or `")))
        })
    }

    /// A whole number, or `default`.
    pub fn size_or(&self, keys: &[&str], default: usize) -> usize {
        self.size(keys).unwrap_or(default)
    }

    /// The size of the vocabulary: `vocab_size`, or that of the data.
    ///
    /// # Errors
    /// If neither is known, or the data has more tokens.
    pub fn vocabulary(&self, of_data: Option<usize>) -> Result<usize> {
        match (self.size(&["vocab_size"]), of_data) {
            (Ok(known), Some(found)) if found > known => Err(Error::new(format!(
                "the data has {found} tokens, the vocabulary of the model {known}"
            ))),
            (Ok(known), _) => Ok(known),
            (Err(_), Some(found)) => Ok(found),
            (Err(error), None) => Err(error),
        }
    }

    /// Whole numbers in a list.
    ///
    /// # Errors
    /// If none of `keys` has such a list.
    pub fn sizes(&self, keys: &[&str]) -> Result<Vec<usize>> {
        let list = self.value(keys).and_then(Value::as_array);
        let sizes = list.and_then(|list| {
            list.iter().map(|size| size.as_u64().map(|size| size as usize)).collect()
        });
        sizes.ok_or_else(|| {
            Error::new(format!("{CONFIG} has no whole numbers `{}`", keys.join("` or `")))
        })
    }

    /// A number, or `default`.
    pub fn number_or(&self, keys: &[&str], default: f64) -> f64 {
        self.value(keys).and_then(Value::as_f64).unwrap_or(default)
    }

    /// A flag, or `default`.
    pub fn flag_or(&self, keys: &[&str], default: bool) -> bool {
        self.value(keys).and_then(Value::as_bool).unwrap_or(default)
    }

    /// A text, or an empty one.
    pub fn text(&self, keys: &[&str]) -> &str {
        self.value(keys).and_then(Value::as_str).unwrap_or_default()
    }

    /// An activation function under its published name.
    ///
    /// # Errors
    /// For a name that is not known.
    pub fn activation(&self, keys: &[&str]) -> Result<Activation> {
        match self.text(keys) {
            "gelu" => Ok(Activation::GeluErf),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::Gelu),
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            "tanh" => Ok(Activation::Tanh),
            other => Err(Error::new(format!("{CONFIG}: activation `{other}` is not supported"))),
        }
        .context(keys.join(" or "))
    }

    /// Rotary positions for heads of `width` channels: the base is `rope_theta`, 10 000 by default, and
    /// the scaling that of `rope_parameters`, or of `rope_scaling` in older files.
    ///
    /// # Errors
    /// For a scaling that is not known, or an odd width.
    pub fn rotary(&self, width: usize) -> Result<RotaryEmbedding> {
        let rule = |key: &str| [format!("rope_parameters.{key}"), format!("rope_scaling.{key}")];
        let number = |key: &str| {
            let keys = rule(key);
            self.number_or(&[&keys[0], &keys[1]], 1.0)
        };
        let [new, old] = rule("rope_type");
        let scaling = match self.text(&[&new, &old, "rope_scaling.type"]) {
            "" | "default" => RotaryScaling::None,
            "linear" => RotaryScaling::Linear { factor: number("factor") },
            "llama3" => RotaryScaling::Llama3 {
                factor: number("factor"),
                low: number("low_freq_factor"),
                high: number("high_freq_factor"),
                original: number("original_max_position_embeddings"),
            },
            other => crate::bail!("rotary scaling `{other}` is none of default, linear, llama3"),
        };
        let base = self.number_or(&["rope_parameters.rope_theta", "rope_theta"], 1e4);
        rotary(width, base, scaling, false)
    }

    /// The names for [`Model::names`](crate::Model::names), with these sizes as `config.json`.
    pub fn names(&self, rules: &[Rule]) -> Names {
        let config = Value::Object(self.sizes.clone());
        Names { from: self.folder.clone(), config, rules: rules.to_vec(), adapter: None }
    }
}

const CONFIG: &str = "config.json";

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(value: Value) -> Pretrained {
        let Value::Object(sizes) = value else { unreachable!() };
        Pretrained { folder: None, sizes }
    }

    #[test]
    fn sizes_are_found_under_any_of_their_names() {
        let mut found = sizes(serde_json::json!({
            "dim": 8, "rope": { "theta": 1e4 }, "tied": true, "act": "gelu", "depths": [2, 3], "none": null,
        }));
        assert_eq!(found.size(&["hidden_size", "dim"]).unwrap(), 8);
        assert_eq!(found.number_or(&["rope.theta"], 1.0), 1e4);
        assert_eq!(found.size_or(&["none"], 7), 7);
        assert_eq!(found.sizes(&["depths"]).unwrap(), [2, 3]);
        assert!(found.flag_or(&["tied"], false) && !found.flag_or(&["other"], false));
        assert_eq!(found.activation(&["act"]).unwrap(), Activation::GeluErf);
        let text = found.size(&["layers", "depth"]).unwrap_err().message().to_owned();
        assert_eq!(text, "config.json has no whole number `layers` or `depth`");
        assert_eq!(found.section("rope").number_or(&["theta"], 1.0), 1e4);
        assert_eq!(found.section("none").size(&["dim"]).unwrap(), 8);
        found.complete(&["hidden_size", "dim"], Some(9));
        assert_eq!(found.size(&["dim"]).unwrap(), 8);
        found.complete(&["groups"], Some(1));
        assert_eq!(found.size(&["groups"]).unwrap(), 1);
        found.set(&["hidden_size", "dim"], Some(16));
        found.set(&["heads", "n_heads"], Some(2));
        found.set(&["act"], None::<&str>);
        assert_eq!((found.size(&["dim"]).unwrap(), found.size(&["heads"]).unwrap()), (16, 2));
    }

    #[test]
    fn names_are_written_as_data() {
        let names = sizes(serde_json::json!({ "dim": 8 })).names(&[
            Rule::Rename { from: "bert.*", to: "*" },
            Rule::Merge { from: &["q", "k"], to: "qk", dim: 0 },
        ]);
        assert_eq!(
            serde_json::to_value(&names).unwrap(),
            serde_json::json!({
                "from": null,
                "config": { "dim": 8 },
                "rules": [
                    { "rename": { "from": "bert.*", "to": "*" } },
                    { "merge": { "from": ["q", "k"], "to": "qk", "dim": 0 } },
                ],
                "adapter": null,
            })
        );
    }
}
