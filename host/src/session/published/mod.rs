//! Published weights: the folder that a model names, and the rules between published names and paths
//! of parameters. The model states both as data (`fluxbay.model-names/1`).

mod adapters;
mod files;
mod rules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::Value;

pub(super) use self::adapters::read as read_adapter;
use self::adapters::{AdapterNames, PEFT, with_adapters_added};
pub(super) use self::adapters::{is_adapter, row_lengths, weight_of_magnitude};
pub(super) use self::files::read;
pub(super) use self::rules::Found;
use self::rules::Rule;
use super::Session;
use crate::breadcrumb::Activity;
use crate::library::escape;
use crate::run_file::RunDescription;

/// Sizes of a model, beside its weights.
pub const CONFIG: &str = "config.json";

/// What a model of a published family says of its weights.
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    /// Folder whose weights a new run starts from.
    pub from: Option<PathBuf>,
    /// Content of `config.json` beside written weights; null for none.
    #[serde(default)]
    pub config: Value,
    rules: Vec<Rule>,
    /// Low-rank adapters, if the model has them.
    #[serde(default)]
    pub adapter: Option<AdapterNames>,
}

/// A model as it is written when a run ends.
#[derive(Debug)]
pub struct WrittenModel {
    /// All tensors; with adapters, those of the layers with their adapters added.
    pub tensors: Vec<(String, Tensor)>,
    /// Content of `config.json`, if there is one.
    pub config: Option<String>,
    /// The trained parameters of a model with adapters under PEFT's names, and the content of
    /// `adapter_config.json`.
    pub adapter: Option<(Vec<(String, Tensor)>, String)>,
}

fn json_text(value: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| error.to_string())
}

impl Published {
    /// Whether a parameter may be missing in a file, or have another shape there.
    pub fn is_fresh(&self, path: &str) -> bool {
        rules::is_fresh(&self.rules, path)
    }

    /// The tensors of a file under the paths of the model.
    ///
    /// # Errors
    /// Two tensors that get one name, or tensors that cannot be joined, divided or transposed.
    pub fn to_model(&self, file: Vec<(String, Tensor)>) -> Result<BTreeMap<String, Found>, String> {
        rules::to_model(&self.rules, file)
    }
}

/// Lets the only model read its sizes in the folder of a run or bundle, if `config.json` lies there:
/// the folder that the run began with may be gone.
pub fn sizes_from(run: &mut RunDescription, folder: &Path) {
    let [model] = &mut run.models[..] else { return };
    if model.spec.config.get("from").is_some_and(Value::is_string) && folder.join(CONFIG).is_file()
    {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let folder = folder.to_string_lossy().into_owned();
        model.spec.config.insert("from".to_owned(), folder.into());
    }
}

impl Session {
    /// What model `index` says of published weights.
    ///
    /// # Errors
    /// The model fails, or what it says is not in the form of the contract.
    pub(super) fn published(&self, index: usize) -> Result<Option<Published>, String> {
        let runtime = self.runtime();
        let roles = runtime.roles().map_err(|stop| stop.to_string())?;
        let Some(model) = roles.models.get(index) else { return Ok(None) };
        let names = model
            .instance
            .call(runtime, Activity::Building, |call| call.model_names())
            .map_err(|stop| stop.to_string())?;
        let Some(names) = names else { return Ok(None) };
        serde_json::from_str(&names).map(Some).map_err(|error| {
            format!("the names of model `{}` cannot be read: {error}", escape::text(&model.name))
        })
    }

    /// The model as it is written when a run ends: under published names for a run with one model of a
    /// published family, else as `MODEL.PATH` and without `config.json`.
    ///
    /// # Errors
    /// A tensor that cannot be copied, or a fault of the model.
    pub fn written_model(&self) -> Result<WrittenModel, String> {
        let tensors =
            self.model_tensors().map_err(|error| format!("cannot copy the model: {error}"))?;
        let ([model], Some(published)) = (&self.run().models[..], self.published(0)?) else {
            return Ok(WrittenModel { tensors, config: None, adapter: None });
        };
        let prefix = format!("{}.", model.name);
        let mut tensors: Vec<(String, Tensor)> = tensors
            .into_iter()
            .map(|(name, tensor)| match name.strip_prefix(&prefix) {
                Some(path) => (path.to_owned(), tensor),
                None => (name, tensor),
            })
            .collect();
        let mut adapter = None;
        if let Some(AdapterNames { config, scale, .. }) = &published.adapter {
            let trained: Vec<String> = self
                .parameters()
                .into_iter()
                .filter(|parameter| parameter.trainable)
                .map(|parameter| parameter.path)
                .collect();
            let own = tensors.iter().filter(|(path, _)| trained.contains(path));
            let own = own.map(|(path, tensor)| (format!("{PEFT}{path}"), tensor.clone())).collect();
            let mut config = config.clone();
            if let (Value::Object(config), Some(from)) = (&mut config, &published.from) {
                let from = from.to_string_lossy().into_owned();
                config.insert("base_model_name_or_path".to_owned(), from.into());
            }
            adapter = Some((own, json_text(&config)?));
            tensors = with_adapters_added(tensors, *scale)?;
        }
        let tensors = rules::to_file(&published.rules, tensors)?;
        let config = match &published.config {
            Value::Null => None,
            config => Some(json_text(config)?),
        };
        Ok(WrittenModel { tensors, config, adapter })
    }

    /// Tensors of [`written_model`](Self::written_model) as `MODEL.PATH`. Adapters, which were added to the
    /// weights, are those of a new run: they change nothing.
    pub(super) fn of_written_model(
        &self,
        tensors: &[(String, Tensor)],
    ) -> Result<Option<Vec<(String, Tensor)>>, String> {
        let ([model], Some(published)) = (&self.run().models[..], self.published(0)?) else {
            return Ok(None);
        };
        let found = published.to_model(tensors.to_vec())?;
        let named =
            |(path, found): (String, Found)| (format!("{}.{path}", model.name), found.tensor);
        let mut all: Vec<(String, Tensor)> = found.into_iter().map(named).collect();
        if published.adapter.is_some() {
            let new = self.model_tensors().map_err(|error| error.to_string())?;
            let new: Vec<_> = new
                .into_iter()
                .filter(|(name, _)| is_adapter(name))
                .map(|(name, tensor)| {
                    let weight = weight_of_magnitude(&name);
                    let weight = weight.and_then(|weight| all.iter().find(|one| one.0 == weight));
                    let lengths = weight.map(|(_, weight)| row_lengths(weight)).transpose();
                    lengths
                        .map(|lengths| (name, lengths.unwrap_or(tensor)))
                        .map_err(|error| error.to_string())
                })
                .collect::<Result<_, _>>()?;
            all.extend(new);
        }
        Ok(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    /// Numbers from 0 on in a shape.
    pub(super) fn tensor(shape: (usize, usize)) -> Tensor {
        Tensor::arange(0_f32, (shape.0 * shape.1) as f32, &Device::Cpu)
            .unwrap()
            .reshape(shape)
            .unwrap()
    }
}
