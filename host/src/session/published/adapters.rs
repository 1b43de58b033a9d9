//! Low-rank adapters: their files, and adding them to the weights of their layers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::Value;

use super::files;
use crate::library::escape;

/// Low-rank adapters: parameters `lora_A.weight`, `lora_B.weight` and, if they are weight-decomposed,
/// `lora_magnitude_vector` below the path of their layer.
#[derive(Debug, Deserialize)]
pub struct AdapterNames {
    /// Folder whose adapters a new run starts from.
    pub from: Option<PathBuf>,
    /// Content of `adapter_config.json`.
    pub(super) config: Value,
    /// Factor of the product of the two matrices.
    pub(super) scale: f64,
}

/// Last parts of the paths of adapters.
const ADAPTER: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
const MAGNITUDE: &str = ".lora_magnitude_vector";
/// What PEFT puts before the paths of a model, and the names of its files.
pub(super) const PEFT: &str = "base_model.model.";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// Whether a parameter belongs to an adapter.
pub fn is_adapter(path: &str) -> bool {
    ADAPTER.iter().any(|end| path.ends_with(end)) || path.ends_with(MAGNITUDE)
}

/// The path of the weight whose row lengths a parameter holds, if it is one of those.
pub fn weight_of_magnitude(path: &str) -> Option<String> {
    path.strip_suffix(MAGNITUDE).map(|layer| format!("{layer}.weight"))
}

/// The length of each row of a weight.
///
/// # Errors
/// It has not two dimensions.
pub fn row_lengths(weight: &Tensor) -> Result<Tensor, candle_core::Error> {
    weight.sqr()?.sum(1)?.sqrt()
}

/// The adapters in a folder, by paths of the model.
///
/// # Errors
/// A file that is missing or damaged, with its path.
pub fn read(folder: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    let path = |name: String| name.strip_prefix(PEFT).map(str::to_owned).unwrap_or(name);
    let file = files::read(&folder.join(ADAPTER_WEIGHTS))?;
    Ok(file.into_iter().map(|(name, tensor)| (path(name), tensor)).collect())
}

/// The tensors without adapters, which are added to the weights of their layers.
pub(super) fn with_adapters_added(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::published::tests::tensor;

    fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
        tensor.to_vec2().unwrap()
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
}
