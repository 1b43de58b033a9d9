//! Starts from the parameters of files, those of `[fine-tuning]` and those that models name, and
//! freezes parameters.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;

use super::places::{Fault, faulty_instance, faulty_setting};
use super::published::{Found, is_adapter, read, read_adapter, row_lengths, weight_of_magnitude};
use super::{ParameterSummary, Session};
use crate::library::escape;
use crate::run_file::selection::matches;
use crate::run_file::{Diagnostics, FineTuningSettings};

/// Which parameters were loaded from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FineTuningReport {
    /// The file or folder.
    pub from: String,
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

    /// Loads the parameters of the folders that models name, then those of the file that
    /// `[fine-tuning] from` names; returns a report for each. For new runs only: a resumed one has
    /// its parameters in the checkpoint.
    ///
    /// # Errors
    /// A file cannot be used, or has none of the parameters, or not all of them despite `strict`. Of a
    /// folder that a model names: a parameter that is missing or has another shape, unless the model
    /// lets it begin anew, or a tensor that the model does not know.
    pub fn start_from_file(&self) -> Result<Vec<FineTuningReport>, Diagnostics> {
        let mut reports = Vec::new();
        for (index, model) in self.run().models.iter().enumerate() {
            let loaded = self.load_published(index, &model.name);
            reports
                .extend(loaded.map_err(|fault| faulty_instance(self.run(), &model.spec, fault))?);
        }
        let tuned = self.load_file();
        reports
            .extend(tuned.map_err(|fault| faulty_setting(self.run(), "fine-tuning.from", fault))?);
        for (index, model) in self.run().models.iter().enumerate() {
            let set = self.set_magnitudes(index, &model.name, &reports);
            set.map_err(|text| faulty_instance(self.run(), &model.spec, text.into()))?;
        }
        Ok(reports)
    }

    /// Sets the row lengths of weight-decomposed adapters to those of the weights, unless a file had
    /// them.
    fn set_magnitudes(
        &self,
        index: usize,
        name: &str,
        reports: &[FineTuningReport],
    ) -> Result<(), String> {
        let known = |parameter: &ParameterSummary| {
            let name = full_name(parameter);
            reports.iter().any(|report| report.taken.iter().any(|(taken, _)| *taken == name))
        };
        let parameters = self.parameters();
        let mut new = parameters
            .iter()
            .filter(|one| one.model == name && !known(one))
            .filter_map(|one| Some((one, weight_of_magnitude(&one.path)?)))
            .peekable();
        let from_file = || -> Result<bool, String> {
            let published = self.published(index)?;
            Ok(published.and_then(|one| one.adapter).is_some_and(|one| one.from.is_some()))
        };
        if new.peek().is_none() || from_file()? {
            return Ok(());
        }
        let tensors = self.model_tensors().map_err(|error| error.to_string())?;
        for (parameter, weight) in new {
            let weight = format!("{name}.{weight}");
            let Some((_, tensor)) = tensors.iter().find(|(path, _)| *path == weight) else {
                return Err(format!("there is no `{}`", escape::text(&weight)));
            };
            let lengths = row_lengths(tensor).map_err(|error| error.to_string())?;
            self.set_parameter(parameter, &lengths)?;
        }
        Ok(())
    }

    /// Loads the weights of the folder that model `index` names, if it names one.
    fn load_published(&self, index: usize, name: &str) -> Result<Option<FineTuningReport>, Fault> {
        let Some(published) = self.published(index)? else { return Ok(None) };
        let adapter = published.adapter.as_ref().and_then(|adapter| adapter.from.as_ref());
        let Some(folder) = &published.from else {
            adapter.map_or(Ok(()), |adapter| self.load_adapter(adapter, name))?;
            return Ok(None);
        };
        let mut found = published.to_model(read(folder)?)?;
        let shown = escape::path(folder).to_string();
        let mut report = FineTuningReport { from: shown.clone(), ..FineTuningReport::default() };
        let mut faults = Vec::new();
        for parameter in self.parameters().iter().filter(|parameter| parameter.model == name) {
            let path = escape::text(&parameter.path);
            match found.remove(&parameter.path) {
                None if is_adapter(&parameter.path) => {}
                None if published.is_fresh(&parameter.path) => {
                    report.missing.push(full_name(parameter));
                }
                None => faults.push(format!("`{path}` is not in the file")),
                Some(Found { tensor, name }) if tensor.dims() == parameter.shape => {
                    self.set_parameter(parameter, &tensor)
                        .map_err(|error| format!("`{path}` cannot be loaded: {error}"))?;
                    report.taken.push((full_name(parameter), name));
                }
                Some(Found { tensor, .. }) if published.is_fresh(&parameter.path) => {
                    let shapes = (parameter.shape.clone(), tensor.dims().to_vec());
                    report.other_shape.push((full_name(parameter), shapes.0, shapes.1));
                }
                Some(Found { tensor, .. }) => faults.push(format!(
                    "`{path}` is {:?} in the model, {:?} in the file",
                    parameter.shape,
                    tensor.dims()
                )),
            }
        }
        let unknown = found
            .values()
            .map(|found| format!("the model does not know `{}`", escape::text(&found.name)));
        faults.extend(unknown);
        if faults.is_empty() {
            adapter.map_or(Ok(()), |adapter| self.load_adapter(adapter, name))?;
            return Ok(Some(report));
        }
        let more = faults.len().saturating_sub(12);
        faults.truncate(12);
        if more > 0 {
            faults.push(format!("and {more} more"));
        }
        Err(Fault {
            text: format!("the weights in {shown} do not fit the model:\n{}", faults.join("\n")),
            help: Some(
                "compare the settings of the model with `config.json` in that folder; with `[fine-tuning] from` instead, what does not fit is left out",
            ),
        })
    }

    /// Loads the adapters of a folder; after the weights, since it has trained layers, too.
    fn load_adapter(&self, folder: &Path, name: &str) -> Result<(), Fault> {
        let mut found = read_adapter(folder)?;
        let mut faults = Vec::new();
        for parameter in self.parameters().iter().filter(|parameter| parameter.model == name) {
            let path = escape::text(&parameter.path);
            match found.remove(&parameter.path) {
                None if is_adapter(&parameter.path) => {
                    faults.push(format!("`{path}` is not in the file"));
                }
                None => {}
                Some(tensor) if tensor.dims() == parameter.shape => self
                    .set_parameter(parameter, &tensor)
                    .map_err(|error| format!("`{path}` cannot be loaded: {error}"))?,
                Some(tensor) => faults.push(format!(
                    "`{path}` is {:?} in the model, {:?} in the file",
                    parameter.shape,
                    tensor.dims()
                )),
            }
        }
        faults.extend(
            found.keys().map(|name| format!("the model does not know `{}`", escape::text(name))),
        );
        if faults.is_empty() {
            return Ok(());
        }
        Err(Fault {
            text: format!(
                "the adapters in {} do not fit the model:\n{}",
                escape::path(folder),
                faults.join("\n")
            ),
            help: Some("`rank`, `targets` and `train` in `lora` are those of adapter_config.json"),
        })
    }

    fn load_file(&self) -> Result<Option<FineTuningReport>, Fault> {
        let settings = &self.run().fine_tuning;
        if settings.from.is_empty() {
            return Ok(None);
        }
        let path = Path::new(&self.run().run.base_dir).join(&settings.from);
        let mut file = read(&path)?;
        if let (1, Some(published)) = (self.run().models.len(), self.published(0)?) {
            let found = published.to_model(file)?;
            file = found.into_iter().map(|(path, found)| (path, found.tensor)).collect();
        }
        let mut report = self.load_parameters(file, settings)?;
        report.from.clone_from(&settings.from);
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
    fn the_first_matching_prefix_is_replaced() {
        let map = [("bert.", "model.encoder."), ("", "model.")];
        assert_eq!(renamed("bert.w", &map), "model.encoder.w");
        assert_eq!(renamed("head.w", &map), "model.head.w");
        assert_eq!(renamed("head.w", &map[..1]), "head.w");
    }
}
