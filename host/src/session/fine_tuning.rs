//! `[fine-tuning]`: starts from the parameters of a file, and freezes parameters.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;

use super::places::{Fault, faulty_setting};
use super::{ParameterSummary, Session};
use crate::library::escape;
use crate::record::tensors;
use crate::run_file::{Diagnostics, FineTuningSettings};

/// Which parameters were loaded from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FineTuningReport {
    /// Parameters that were loaded, each with its name in the file.
    pub taken: Vec<(String, String)>,
    /// Parameters that the file does not have; they keep their initial values.
    pub missing: Vec<String>,
    /// Tensors of the file that match no parameter.
    pub unused: Vec<String>,
    /// Parameters with another shape in the file: (name, shape in the run, shape in the file).
    pub other_shape: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl FineTuningReport {
    /// Whether every parameter was loaded.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.other_shape.is_empty()
    }

    /// The report as a few lines of text.
    pub fn text(&self) -> String {
        let all = self.taken.len() + self.missing.len() + self.other_shape.len();
        let mut text = format!("{} of {all} parameters loaded", self.taken.len());
        let mut list = |what: &str, names: Vec<String>| {
            if !names.is_empty() {
                text.push_str(&format!("\n  {what}: {}", names.join(", ")));
            }
        };
        let shapes = self.other_shape.iter().map(|(name, here, there)| {
            format!("{} is {here:?} in the run, {there:?} in the file", escape::text(name))
        });
        list("different shape", shapes.collect());
        list(
            "not in the file",
            self.missing.iter().map(|name| escape::text(name).to_string()).collect(),
        );
        list(
            "only in the file",
            self.unused.iter().map(|name| escape::text(name).to_string()).collect(),
        );
        text
    }
}

/// Whether `pattern`, in which `*` matches any text, matches `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(after) = text.strip_prefix(first) else { return false };
    (0..=after.len()).filter(|&at| after.is_char_boundary(at)).any(|at| matches(rest, &after[at..]))
}

/// The name in the run for a name in the file: the first matching prefix is replaced.
fn renamed(name: &str, map: &[(&str, &str)]) -> String {
    let fits = map.iter().find_map(|(old, new)| Some(format!("{new}{}", name.strip_prefix(old)?)));
    fits.unwrap_or_else(|| name.to_owned())
}

fn full_name(parameter: &ParameterSummary) -> String {
    format!("{}.{}", parameter.model, parameter.path)
}

impl Session {
    /// Freezes the parameters that match `[fine-tuning] freeze` and returns their names.
    ///
    /// # Errors
    /// A pattern that matches no parameter.
    pub(super) fn freeze(&self) -> Result<Vec<String>, String> {
        let mut frozen = Vec::new();
        let names: Vec<(String, usize)> = {
            let engine = self.runtime().engine.borrow();
            engine
                .parameters()
                .map(|p| {
                    (
                        format!("{}.{}", engine.model_name(p.model).unwrap_or_default(), p.path),
                        p.index,
                    )
                })
                .collect()
        };
        for pattern in &self.run().fine_tuning.freeze {
            let found: Vec<&(String, usize)> =
                names.iter().filter(|(name, _)| matches(pattern, name)).collect();
            if found.is_empty() {
                let some: Vec<&str> = names.iter().take(6).map(|(name, _)| name.as_str()).collect();
                return Err(format!(
                    "`{}` in `freeze` matches no parameter; parameters are {} and others",
                    escape::text(pattern),
                    some.join(", ")
                ));
            }
            for (name, index) in found {
                self.runtime()
                    .engine
                    .borrow_mut()
                    .freeze(*index, true)
                    .map_err(|error| error.to_string())?;
                frozen.push(name.clone());
            }
        }
        frozen.sort();
        frozen.dedup();
        Ok(frozen)
    }

    /// Loads the parameters of the file that `[fine-tuning] from` names; returns none if it names
    /// none. For new runs only: a resumed one has its parameters in the checkpoint.
    ///
    /// # Errors
    /// The file cannot be used, has none of the parameters, or not all of them despite `strict`.
    pub fn start_from_file(&self) -> Result<Option<FineTuningReport>, Diagnostics> {
        self.load_file().map_err(|text| faulty_setting(self.run(), "fine-tuning.from", text))
    }

    fn load_file(&self) -> Result<Option<FineTuningReport>, Fault> {
        let settings = &self.run().fine_tuning;
        if settings.from.is_empty() {
            return Ok(None);
        }
        let path = Path::new(&self.run().run.base_dir).join(&settings.from);
        let bytes = std::fs::read(&path)
            .map_err(|error| format!("cannot read {}: {error}", escape::path(&path)))?;
        let file =
            tensors::decode(&bytes).map_err(|error| format!("{} {error}", escape::path(&path)))?;
        let report = self.load_parameters(file, settings)?;
        if report.taken.is_empty() || (settings.strict && !report.is_complete()) {
            return Err(Fault {
                text: format!("{}: {}", escape::path(&path), report.text()),
                help: Some("rename parameters with `map = [\"OLD=NEW\"]` in [fine-tuning]"),
            });
        }
        Ok(Some(report))
    }

    fn load_parameters(
        &self,
        file: Vec<(String, Tensor)>,
        settings: &FineTuningSettings,
    ) -> Result<FineTuningReport, String> {
        let map: Option<Vec<(&str, &str)>> =
            settings.map.iter().map(|change| change.split_once('=')).collect();
        let map = map.ok_or("an entry of `map` has the form OLD=NEW")?;
        let mut found: BTreeMap<String, (String, Tensor)> = BTreeMap::new();
        for (name, tensor) in file {
            let here = renamed(&name, &map);
            if let Some((other, _)) = found.insert(here.clone(), (name.clone(), tensor)) {
                return Err(format!(
                    "`map` renames both `{}` and `{}` of the file to `{}`",
                    escape::text(&other),
                    escape::text(&name),
                    escape::text(&here)
                ));
            }
        }
        let parameters = self.parameters();
        let only_model = self.run().models.len() == 1;
        let mut report = FineTuningReport::default();
        for parameter in &parameters {
            let name = full_name(parameter);
            // Files of other libraries do not contain the name of the model.
            let key = if found.contains_key(&name) || !only_model {
                name.clone()
            } else {
                parameter.path.clone()
            };
            let Some((there, tensor)) = found.remove(&key) else {
                report.missing.push(name);
                continue;
            };
            if tensor.dims() != parameter.shape {
                report.other_shape.push((name, parameter.shape.clone(), tensor.dims().to_vec()));
                continue;
            }
            self.set_parameter(parameter, &tensor)
                .map_err(|error| format!("`{}` cannot be loaded: {error}", escape::text(&name)))?;
            report.taken.push((name, there));
        }
        report.unused = found.into_values().map(|(name, _)| name).collect();
        Ok(report)
    }

    fn set_parameter(&self, parameter: &ParameterSummary, tensor: &Tensor) -> Result<(), String> {
        let mut engine = self.runtime().engine.borrow_mut();
        let found = engine.parameters().find(|p| {
            p.path == parameter.path && engine.model_name(p.model) == Some(&parameter.model)
        });
        let (index, handle) =
            found.map(|p| (p.index, p.handle)).ok_or("the run has no such parameter")?;
        let like = engine.value(handle).map_err(|error| error.to_string())?;
        let tensor = tensor.to_dtype(like.dtype()).map_err(|error| error.to_string())?;
        engine.set_parameter(index, &tensor).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_any_text() {
        assert!(
            matches("model.layers.*", "model.layers.0.weight")
                && matches("*.bias", "model.a.bias")
                && matches("*", "x")
        );
        assert!(matches("m*l.*.weight", "model.0.weight") && matches("a", "a"));
        assert!(
            !matches("*.bias", "model.bias.weight")
                && !matches("model", "model.x")
                && !matches("", "x")
        );
    }

    #[test]
    fn the_first_matching_prefix_is_replaced() {
        let map = [("bert.", "model.encoder."), ("", "model.")];
        assert_eq!(renamed("bert.w", &map), "model.encoder.w");
        assert_eq!(renamed("head.w", &map), "model.head.w");
        assert_eq!(renamed("head.w", &map[..1]), "head.w");
    }
}
