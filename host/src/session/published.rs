//! Published weights: the folder that a model names, and the rules between published names and paths
//! of parameters. The model states both as data (`fluxbay.model-names/1`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::Value;

use super::Session;
use crate::breadcrumb::Activity;
use crate::library::escape;
use crate::record::tensors;
use crate::run_file::RunDescription;

/// Names of the files in a folder of weights.
const WEIGHTS: &str = "model.safetensors";
/// Sizes of the model, beside its weights.
pub const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";

/// A rule of the model, see `Rule` in the author's crate.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Rule {
    Rename { from: String, to: String },
    Ignore { names: String },
    Transpose { names: String },
    Merge { from: Vec<String>, to: String, dim: usize },
    Split { from: String, to: Vec<String>, dim: usize },
    Fresh { names: String },
}

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

/// Low-rank adapters: parameters `lora_A.weight`, `lora_B.weight` and, if they are weight-decomposed,
/// `lora_magnitude_vector` below the path of their layer.
#[derive(Debug, Deserialize)]
pub(super) struct AdapterNames {
    /// Folder whose adapters a new run starts from.
    pub from: Option<PathBuf>,
    config: Value,
    scale: f64,
}

/// Last parts of the paths of adapters.
const ADAPTER: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
const MAGNITUDE: &str = ".lora_magnitude_vector";
/// What PEFT puts before the paths of a model, and the names of its files.
const PEFT: &str = "base_model.model.";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// Whether a parameter belongs to an adapter.
pub(super) fn is_adapter(path: &str) -> bool {
    ADAPTER.iter().any(|end| path.ends_with(end)) || path.ends_with(MAGNITUDE)
}

/// The path of the weight whose row lengths a parameter holds, if it is one of those.
pub(super) fn weight_of_magnitude(path: &str) -> Option<String> {
    path.strip_suffix(MAGNITUDE).map(|layer| format!("{layer}.weight"))
}

/// The length of each row of a weight.
///
/// # Errors
/// It has not two dimensions.
pub(super) fn row_lengths(weight: &Tensor) -> Result<Tensor, candle_core::Error> {
    weight.sqr()?.sum(1)?.sqrt()
}

/// The adapters in a folder, by paths of the model.
///
/// # Errors
/// A file that is missing or damaged, with its path.
pub(super) fn read_adapter(folder: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    let path = |name: String| name.strip_prefix(PEFT).map(str::to_owned).unwrap_or(name);
    let file = read(&folder.join(ADAPTER_WEIGHTS))?;
    Ok(file.into_iter().map(|(name, tensor)| (path(name), tensor)).collect())
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

/// The tensors without adapters, which are added to the weights of their layers.
fn with_adapters_added(
    tensors: Vec<(String, Tensor)>,
    scale: f64,
) -> Result<Vec<(String, Tensor)>, String> {
    let (adapters, mut all): (Vec<_>, Vec<_>) =
        tensors.into_iter().partition(|(path, _)| is_adapter(path));
    let adapters: BTreeMap<String, Tensor> = adapters.into_iter().collect();
    for (path, weight) in &mut all {
        let Some(layer) = path.strip_suffix(".weight") else { continue };
        let [a, b] = ADAPTER.map(|end| adapters.get(&format!("{layer}{end}")));
        let (Some(a), Some(b)) = (a, b) else { continue };
        let sum = b.matmul(a).and_then(|product| &*weight + (product * scale)?);
        let sum = match adapters.get(&format!("{layer}{MAGNITUDE}")) {
            None => sum,
            Some(magnitude) => sum.and_then(|sum| {
                sum.broadcast_mul(&(magnitude / row_lengths(&sum)?)?.unsqueeze(1)?)
            }),
        };
        *weight = sum.map_err(|error| {
            format!("the adapter of `{}` cannot be added: {error}", escape::text(layer))
        })?;
    }
    Ok(all)
}

fn json_text(value: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| error.to_string())
}

/// A tensor of a file under a path of the model.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its name in the file; several joined with `+`.
    pub name: String,
    pub tensor: Tensor,
}

/// What `*` and `#` of a pattern match in a text: any text, and digits; `None` if it does not match.
fn captured<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let Some(at) = pattern.find(['*', '#']) else {
        return (pattern == text).then(Vec::new);
    };
    let (before, rest) = (&pattern[..at], &pattern[at + 1..]);
    let text = text.strip_prefix(before)?;
    let digits = pattern.as_bytes()[at] == b'#';
    let most = match digits {
        true => text.bytes().take_while(u8::is_ascii_digit).count(),
        false => text.len(),
    };
    let least = usize::from(digits);
    let mut ends = (least..=most).filter(|&end| text.is_char_boundary(end));
    ends.find_map(|end| {
        let mut found = captured(rest, &text[end..])?;
        found.insert(0, &text[..end]);
        Some(found)
    })
}

/// A result with each `*` and `#` replaced by what was matched.
fn filled(to: &str, matched: &[&str]) -> Result<String, String> {
    let mut matched = matched.iter();
    let mut text = String::with_capacity(to.len());
    for character in to.chars() {
        match character {
            '*' | '#' => text.push_str(matched.next().ok_or_else(|| {
                format!(
                    "the rule that gives `{}` has more places than its pattern",
                    escape::text(to)
                )
            })?),
            other => text.push(other),
        }
    }
    Ok(text)
}

impl Published {
    /// Whether a parameter may be missing in a file, or have another shape there.
    pub fn is_fresh(&self, path: &str) -> bool {
        self.rules
            .iter()
            .any(|rule| matches!(rule, Rule::Fresh { names } if captured(names, path).is_some()))
    }

    /// The tensors of a file under the paths of the model.
    ///
    /// # Errors
    /// Two tensors that get one name, or tensors that cannot be joined, divided or transposed.
    pub fn to_model(&self, file: Vec<(String, Tensor)>) -> Result<BTreeMap<String, Found>, String> {
        let mut all = BTreeMap::new();
        for (name, tensor) in file {
            all.insert(name.clone(), Found { name, tensor });
        }
        for rule in &self.rules {
            all = rule.apply(all)?;
        }
        Ok(all)
    }

    /// Parameters as published files have them.
    ///
    /// # Errors
    /// A matrix that cannot be transposed.
    pub fn to_file(
        &self,
        parameters: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, String> {
        let transposed = |path: &str| {
            self.rules.iter().any(
                |rule| matches!(rule, Rule::Transpose { names } if captured(names, path).is_some()),
            )
        };
        let mut all = Vec::with_capacity(parameters.len());
        for (path, tensor) in parameters {
            let tensor = if transposed(&path) { turned(&path, &tensor)? } else { tensor };
            all.push((path, tensor));
        }
        Ok(all)
    }
}

fn turned(name: &str, tensor: &Tensor) -> Result<Tensor, String> {
    tensor
        .t()
        .and_then(|tensor| tensor.contiguous())
        .map_err(|error| format!("`{}` cannot be transposed: {error}", escape::text(name)))
}

impl Rule {
    fn apply(&self, all: BTreeMap<String, Found>) -> Result<BTreeMap<String, Found>, String> {
        match self {
            Rule::Fresh { .. } => Ok(all),
            Rule::Ignore { names } => {
                Ok(all.into_iter().filter(|(name, _)| captured(names, name).is_none()).collect())
            }
            Rule::Rename { from, to } => {
                let mut renamed = BTreeMap::new();
                for (name, found) in all {
                    let new = match captured(from, &name) {
                        Some(matched) => filled(to, &matched)?,
                        None => name,
                    };
                    put(&mut renamed, new, found)?;
                }
                Ok(renamed)
            }
            Rule::Transpose { names } => all
                .into_iter()
                .map(|(name, mut found)| {
                    if captured(names, &name).is_some() {
                        found.tensor = turned(&found.name, &found.tensor)?;
                    }
                    Ok((name, found))
                })
                .collect(),
            Rule::Merge { from, to, dim } => merged(all, from, to, *dim),
            Rule::Split { from, to, dim } => {
                let mut split = BTreeMap::new();
                for (name, found) in all {
                    let Some(matched) = captured(from, &name) else {
                        put(&mut split, name, found)?;
                        continue;
                    };
                    let size = found.tensor.dims().get(*dim).copied().unwrap_or(0);
                    let part = size / to.len().max(1);
                    if part == 0 || part * to.len() != size {
                        return Err(format!(
                            "`{}` of shape {:?} cannot be divided into {} parts",
                            escape::text(&found.name),
                            found.tensor.dims(),
                            to.len()
                        ));
                    }
                    for (index, to) in to.iter().enumerate() {
                        let tensor = found.tensor.narrow(*dim, index * part, part);
                        let tensor = tensor.map_err(|error| error.to_string())?;
                        let name = found.name.clone();
                        put(&mut split, filled(to, &matched)?, Found { name, tensor })?;
                    }
                }
                Ok(split)
            }
        }
    }
}

/// Tensors that match all patterns of a merge with the same captures, joined.
fn merged(
    mut all: BTreeMap<String, Found>,
    from: &[String],
    to: &str,
    dim: usize,
) -> Result<BTreeMap<String, Found>, String> {
    let Some(first) = from.first() else { return Ok(all) };
    let names: Vec<String> = all.keys().cloned().collect();
    for name in names {
        let Some(matched) = captured(first, &name) else { continue };
        let parts: Vec<String> =
            from.iter().map(|pattern| filled(pattern, &matched)).collect::<Result<_, _>>()?;
        // A part that is missing is reported later, under the name of the whole.
        let Some(found) =
            parts.iter().map(|part| all.get(part).cloned()).collect::<Option<Vec<Found>>>()
        else {
            continue;
        };
        let tensors: Vec<&Tensor> = found.iter().map(|found| &found.tensor).collect();
        let tensor = Tensor::cat(&tensors, dim)
            .map_err(|error| format!("`{}` cannot be joined: {error}", parts.join("`, `")))?;
        for part in &parts {
            all.remove(part);
        }
        let name = found.iter().map(|found| &found.name[..]).collect::<Vec<_>>().join("+");
        put(&mut all, filled(to, &matched)?, Found { name, tensor })?;
    }
    Ok(all)
}

fn put(all: &mut BTreeMap<String, Found>, name: String, found: Found) -> Result<(), String> {
    let ours = found.name.clone();
    match all.insert(name.clone(), found) {
        None => Ok(()),
        Some(other) => Err(format!(
            "`{}` and `{}` of the file are both `{}`",
            escape::text(&other.name),
            escape::text(&ours),
            escape::text(&name)
        )),
    }
}

/// Which file has each tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The tensors of a safetensors file, or of a folder of weights: `model.safetensors`, or the files that
/// `model.safetensors.index.json` lists.
///
/// # Errors
/// A file that is missing or damaged, with its path.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Tensor)>, String> {
    let shown = |path: &Path| escape::path(path).to_string();
    let file = |path: &Path| -> Result<Vec<(String, Tensor)>, String> {
        let bytes =
            std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", shown(path)))?;
        tensors::decode(&bytes).map_err(|error| format!("{} {error}", shown(path)))
    };
    if !path.is_dir() {
        return file(path);
    }
    if path.join(WEIGHTS).is_file() {
        return file(&path.join(WEIGHTS));
    }
    let index = path.join(INDEX);
    if !index.is_file() {
        return Err(format!("{} has neither {WEIGHTS} nor {INDEX}", shown(path)));
    }
    let text = std::fs::read_to_string(&index)
        .map_err(|error| format!("cannot read {}: {error}", shown(&index)))?;
    let Index { weight_map } =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", shown(&index)))?;
    let mut shards: Vec<&String> = weight_map.values().collect();
    shards.sort_unstable();
    shards.dedup();
    let mut all = Vec::with_capacity(weight_map.len());
    for shard in shards {
        if Path::new(shard).file_name().is_none_or(|name| name != shard.as_str()) {
            return Err(format!("{} names `{}` elsewhere", shown(&index), escape::text(shard)));
        }
        all.extend(file(&path.join(shard))?);
    }
    match weight_map.keys().find(|name| !all.iter().any(|(found, _)| found == *name)) {
        Some(name) => {
            Err(format!("no file has `{}`, which {} lists", escape::text(name), shown(&index)))
        }
        None => Ok(all),
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
        let tensors = published.to_file(tensors)?;
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
    use candle_core::{DType, Device};
    use serde_json::json;

    use super::*;

    fn published(rules: Value) -> Published {
        serde_json::from_value(json!({ "from": null, "rules": rules })).unwrap()
    }

    fn tensor(shape: (usize, usize)) -> Tensor {
        Tensor::arange(0_f32, (shape.0 * shape.1) as f32, &Device::Cpu)
            .unwrap()
            .reshape(shape)
            .unwrap()
    }

    fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
        tensor.to_vec2().unwrap()
    }

    #[test]
    fn stars_match_text_and_hashes_digits() {
        assert_eq!(captured("a.#.*", "a.12.b.c"), Some(vec!["12", "b.c"]));
        assert_eq!(captured("*.gamma", "x.y.gamma"), Some(vec!["x.y"]));
        assert_eq!(captured("h.#.w", "h.x.w"), None);
        assert_eq!(captured("a*", "a"), Some(vec![""]));
        assert_eq!(filled("b.#.*", &["1", "w"]).unwrap(), "b.1.w");
        assert!(filled("b.#.*", &["1"]).unwrap_err().contains("more places"));
    }

    #[test]
    fn rules_apply_in_their_order() {
        let names = published(json!([
            { "rename": { "from": "net.*", "to": "*" } },
            { "ignore": { "names": "*.ids" } },
            { "transpose": { "names": "#.w" } },
            { "merge": { "from": ["#.q", "#.k"], "to": "#.qk", "dim": 0 } },
            { "split": { "from": "pair", "to": ["one", "two"], "dim": 1 } },
            { "fresh": { "names": "head.*" } },
        ]));
        let file = [
            ("net.0.w", (2, 3)),
            ("net.x.ids", (1, 4)),
            ("net.0.q", (1, 2)),
            ("net.0.k", (2, 2)),
            ("net.1.q", (1, 2)),
            ("pair", (1, 4)),
        ];
        let file = file.map(|(name, shape)| (name.to_owned(), tensor(shape)));
        let found = names.to_model(file.to_vec()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["0.qk", "0.w", "1.q", "one", "two"]);
        assert_eq!(rows(&found["0.w"].tensor), [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]);
        assert_eq!(rows(&found["0.qk"].tensor), [[0.0, 1.0], [0.0, 1.0], [2.0, 3.0]]);
        assert_eq!(found["0.qk"].name, "net.0.q+net.0.k");
        assert_eq!(rows(&found["two"].tensor), [[2.0, 3.0]]);
        assert!(names.is_fresh("head.weight") && !names.is_fresh("0.w"));
        let back = names.to_file(vec![("0.w".to_owned(), found["0.w"].tensor.clone())]).unwrap();
        assert_eq!(rows(&back[0].1), rows(&tensor((2, 3))), "transposed back");
    }

    #[test]
    fn adapters_are_added_to_the_weights_of_their_layers() {
        let of = |name: &str, shape| (name.to_owned(), tensor(shape));
        let all = vec![
            of("q.weight", (2, 3)),
            of("q.lora_A.weight", (1, 3)),
            of("q.lora_B.weight", (2, 1)),
            of("k.weight", (1, 2)),
        ];
        let sum = with_adapters_added(all, 2.0).unwrap();
        assert_eq!(
            sum.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["q.weight", "k.weight"]
        );
        // [0, 1] times [0, 1, 2], twice.
        assert_eq!(rows(&sum[0].1), [[0.0, 1.0, 2.0], [3.0, 6.0, 9.0]]);
        assert_eq!(rows(&sum[1].1), [[0.0, 1.0]]);
    }

    #[test]
    fn what_cannot_be_applied_names_the_tensors() {
        let twice = published(json!([{ "rename": { "from": "a.*", "to": "*" } }]));
        let file = |names: [&str; 2]| names.map(|name| (name.to_owned(), tensor((1, 3)))).to_vec();
        let text = twice.to_model(file(["a.w", "w"])).unwrap_err();
        assert!(text.contains("`a.w`") && text.contains("`w`"), "{text}");
        let split = published(json!([{ "split": { "from": "w", "to": ["x", "y"], "dim": 1 } }]));
        let text = split.to_model(file(["w", "v"])).unwrap_err();
        assert!(text.contains("`w` of shape [1, 3]"), "{text}");
    }

    #[test]
    fn shards_are_read_through_their_index() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, tensors: &[(&str, (usize, usize))]| {
            let tensors: Vec<(String, Tensor)> =
                tensors.iter().map(|(name, shape)| ((*name).to_owned(), tensor(*shape))).collect();
            std::fs::write(dir.path().join(name), tensors::encode(&tensors).unwrap()).unwrap();
        };
        assert!(read(dir.path()).unwrap_err().contains("neither model.safetensors nor"));
        write("one.safetensors", &[("a", (1, 2))]);
        write("two.safetensors", &[("b", (2, 2))]);
        let index = |map: Value| {
            let text = json!({ "metadata": {}, "weight_map": map }).to_string();
            std::fs::write(dir.path().join(INDEX), text).unwrap();
        };
        index(json!({ "a": "one.safetensors", "b": "two.safetensors" }));
        let all = read(dir.path()).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].0.as_str(), all[1].1.dtype()), ("b", DType::F32));
        index(json!({ "a": "one.safetensors", "c": "two.safetensors" }));
        assert!(read(dir.path()).unwrap_err().contains("no file has `c`"));
        index(json!({ "a": "../one.safetensors" }));
        assert!(read(dir.path()).unwrap_err().contains("elsewhere"));
        index(json!({ "a": "three.safetensors" }));
        assert!(read(dir.path()).unwrap_err().contains("three.safetensors"));
    }
}
