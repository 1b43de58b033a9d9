//! Opens the data of a run: the data set with what it learnt, the transforms, the loader.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::composed::Composed;
use super::data_problems;
use super::places::{faulty_setting, placed};
use super::transforms::Failed;
use super::{DataState, Learnt, SavedData};
use crate::breadcrumb::Activity;
use crate::learner::ports::Data;
use crate::loader::{Loader, PluginSamples, Samples};
use crate::run_file::{Diagnostic, Diagnostics, InstanceSpec, LoaderSettings};

impl Composed {
    /// Opens the data, restores what the data set learnt earlier, and takes what it has learnt.
    pub(super) fn open_data(
        &self,
        data: &DataState,
    ) -> Result<Option<(Loader, SavedData)>, Diagnostics> {
        let Some(spec) = &self.run.data else { return Ok(None) };
        let Some(instance) = self.instance(&spec.id) else { return Ok(None) };
        let side = Arc::clone(instance.plugin_side());
        let version = side.state_version();
        let unusable = |error: &dyn std::fmt::Display| self.unusable(spec, error);
        let restored = self.learnt_before(data, spec)?;
        if let Some(newer) = restored.as_ref().filter(|learnt| learnt.version > version) {
            return Err(unusable(&format_args!(
                "what it learnt has version {}, but the plugin reads up to version {version}: use \
                 the newer plugin that wrote it",
                newer.version
            )));
        }
        let opened = instance.call(&self.runtime, Activity::OpeningData, |call| {
            if let Some(learnt) = &restored {
                call.dataset_restore(learnt.version, &learnt.bytes)?;
            }
            PluginSamples::open(side)
        });
        let samples = opened.map_err(|stop| self.refused(stop))?;
        let samples = self.transformed(Arc::new(samples)).map_err(|failed| match failed {
            Failed::Problems(problems) => problems,
            Failed::Chains(error) => unusable(&error),
        })?;
        let settings = self.loader_settings(&*samples);
        let seed = self.run.run.seed;
        let loader = Loader::open_with(samples, settings, seed, self.reading()?)
            .map_err(|error| unusable(&error))?;
        let problems = data_problems::find(&self.run, self.plugins.catalog(), &loader);
        if !problems.is_empty() {
            return Err(problems);
        }
        let limit = self.run.checkpoints.instance_state << 20;
        let learnt = instance
            .call(&self.runtime, Activity::Saving, |call| call.dataset_learnt(limit))
            .map_err(|stop| self.refused(stop))?;
        let saved = SavedData {
            component: spec.component_id(),
            summary: loader.summary(),
            learnt: learnt.map(|bytes| Learnt { version, bytes }),
        };
        Ok(Some((loader, saved)))
    }

    /// The settings of the loader, with absolute paths.
    pub(super) fn loader_settings(&self, samples: &dyn Samples) -> LoaderSettings {
        let mut settings = self.run.loader.clone();
        let base = Path::new(&self.run.run.base_dir);
        let absolute = |path: &str| base.join(path).to_string_lossy().into_owned();
        let is_field = samples.fields().iter().any(|field| field.name == settings.groups);
        if !settings.groups.is_empty() && !is_field {
            settings.groups = absolute(&settings.groups);
        }
        if !settings.sample_weights.is_empty() {
            settings.sample_weights = absolute(&settings.sample_weights);
        }
        settings
    }

    /// Opens the data and closes it again, to find its problems without building the models.
    ///
    /// # Errors
    /// The data cannot be opened, or a phase reads a split without batches.
    pub fn check_data(&self) -> Result<(), Diagnostics> {
        self.open_data(&DataState::New).map(drop)
    }

    /// Opens the data of a new run for the learner.
    pub(super) fn open_new_data(&self) -> Result<Option<Rc<dyn Data>>, Diagnostics> {
        let opened = self.open_data(&DataState::New)?;
        Ok(opened.map(|(loader, _)| Rc::new(loader) as Rc<dyn Data>))
    }

    /// What the data set `spec` learnt earlier and uses again.
    fn learnt_before(
        &self,
        data: &DataState,
        spec: &InstanceSpec,
    ) -> Result<Option<Learnt>, Diagnostics> {
        let settings = &self.run.fine_tuning;
        match data {
            DataState::Refit => Ok(None),
            DataState::Saved(saved) if saved.component == spec.component_id() => {
                Ok(saved.learnt.clone())
            }
            DataState::Saved(saved) if saved.learnt.is_none() => Ok(None),
            DataState::Saved(saved) => {
                let text = format!(
                    "the model was trained on `{}`, and what that learnt is not for `{}`",
                    saved.component,
                    spec.component_id()
                );
                let found = Diagnostic::error("data", text)
                    .help("to let the data set learn from the present data, add `--refit`");
                let mut diagnostics = Diagnostics::new();
                diagnostics.push(placed(found, &self.run, Some(spec)));
                Err(diagnostics)
            }
            DataState::New if settings.from.is_empty() || settings.refit => Ok(None),
            DataState::New => {
                let file = Path::new(&self.run.run.base_dir).join(&settings.from);
                let saved = SavedData::of_folder(file.parent().unwrap_or(Path::new(".")))
                    .map_err(|text| faulty_setting(&self.run, "fine-tuning.from", text.into()))?;
                let same = saved.filter(|saved| saved.component == spec.component_id());
                Ok(same.and_then(|saved| saved.learnt))
            }
        }
    }
}
