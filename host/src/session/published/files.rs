//! Safetensors files and folders of weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use serde::Deserialize;

use crate::library::escape;
use crate::record::tensors;

/// Names of the files in a folder of weights.
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

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
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>, String> {
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

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use serde_json::{Value, json};

    use super::*;
    use crate::session::published::tests::tensor;

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
