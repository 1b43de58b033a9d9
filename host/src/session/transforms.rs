//! The chains of transforms and the sampler of a run, between its data set and its loader.

use std::rc::Rc;
use std::sync::Arc;

use fluxbay_plugin::steps::{DatasetSteps, RawInput, ValueStep};

use super::Composed;
use super::places::placed;
use crate::breadcrumb::Activity;
use crate::calls::sampler::PluginSampler;
use crate::learner::Instance;
use crate::learner::ports::PhaseKind;
use crate::loader::{
    Chained, Chains, Field, Loader, LoaderError, NamedSampler, PluginSamples, Reading, Samples,
    Share, Step,
};
use crate::run_file::{Diagnostic, Diagnostics, LoaderSettings, TransformSpec, When, nearest};

/// How data is opened to look at it.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Whether the transforms are applied.
    pub transforms: bool,
    /// Whether all samples are read as for evaluation, without a sampler.
    pub evaluates: bool,
}

/// The samples of a run with its transforms, or why a chain cannot be made.
pub(super) enum Failed {
    /// Problems with a place.
    Problems(Diagnostics),
    /// The chains do not fit together.
    Chains(LoaderError),
}

impl From<Diagnostics> for Failed {
    fn from(problems: Diagnostics) -> Failed {
        Failed::Problems(problems)
    }
}

impl Composed {
    /// The samples with the transforms of the run applied.
    pub(super) fn transformed(
        &self,
        samples: Arc<dyn Samples>,
    ) -> Result<Arc<dyn Samples>, Failed> {
        if self.run.transforms.is_empty() {
            return Ok(samples);
        }
        let chains = Chains {
            training: self.chain(&*samples, When::Evaluation)?,
            evaluation: self.chain(&*samples, When::Training)?,
        };
        Ok(Arc::new(Chained::new(samples, chains).map_err(Failed::Chains)?))
    }

    /// As [`Composed::transformed`], for samples to predict from.
    ///
    /// # Errors
    /// Why the transforms do not take them, as a text.
    pub(crate) fn transformed_inputs(
        &self,
        samples: Arc<dyn Samples>,
    ) -> Result<Arc<dyn Samples>, String> {
        self.transformed(samples).map_err(|failed| match failed {
            Failed::Problems(problems) => {
                problems.iter().map(|one| one.message.clone()).collect::<Vec<_>>().join("; ")
            }
            Failed::Chains(error) => error.to_string(),
        })
    }

    /// What the data set and the transforms of evaluation do with raw values of field `name`: the raw inputs with their
    /// steps, and the steps of the transforms. `size` is the size of raw samples, empty for the data set's own.
    ///
    /// # Errors
    /// The instance that does not say what it does.
    pub(crate) fn steps(
        &self,
        name: &str,
        size: &[u64],
    ) -> Result<(Vec<RawInput>, Vec<ValueStep>), String> {
        let silent = |what: &str, component: &str| {
            format!(
                "the {what} `{component}` does not say what it does with raw values, so that it cannot be part of the \
                 graph: export without --preprocessing"
            )
        };
        let spec = self.run.data.as_ref().ok_or("the run has no data set")?;
        let data = self.instance(&spec.id).ok_or("the data set was not created")?;
        let json = data
            .call(&self.runtime, Activity::Describing, |call| call.dataset_steps(size))
            .map_err(|stop| stop.to_string())?
            .ok_or_else(|| silent("data set", &spec.component))?;
        let unreadable =
            |id: &str, error: serde_json::Error| format!("the steps of `{id}`: {error}");
        let DatasetSteps { inputs, output } =
            serde_json::from_str(&json).map_err(|error| unreadable(&spec.id, error))?;
        let dtype = output.dtype.parse().map_err(|_| format!("unknown type `{}`", output.dtype))?;
        let mut field = Field { name: name.to_owned(), dtype, shape: output.shape, classes: None };
        let mut steps = Vec::new();
        let chain = self.run.transforms.iter();
        for transform in chain.filter(|one| one.when != When::Training && one.field == name) {
            let id = &transform.spec.id;
            let instance = self.instance(id).ok_or_else(|| format!("`{id}` was not created"))?;
            let stated = field.stated().ok_or("a field has no element type of the contract")?;
            let json = instance
                .call(&self.runtime, Activity::Describing, |call| call.transform_steps(&stated))
                .map_err(|stop| stop.to_string())?
                .ok_or_else(|| silent("transform", &transform.spec.component))?;
            let more: Vec<ValueStep> =
                serde_json::from_str(&json).map_err(|error| unreadable(id, error))?;
            steps.extend(more);
            let side = Arc::clone(instance.plugin_side());
            let described = instance.call(&self.runtime, Activity::Describing, |_| {
                Step::describe(id.clone(), 0, &field, side)
            });
            field = described.map_err(|stop| stop.to_string())?.output;
        }
        Ok((inputs, steps))
    }

    /// The chain of all transforms but those that are applied only to `other` samples.
    fn chain(&self, samples: &dyn Samples, other: When) -> Result<Vec<Step>, Diagnostics> {
        let mut fields = samples.fields().to_vec();
        let mut steps = Vec::new();
        for transform in self.run.transforms.iter().filter(|transform| transform.when != other) {
            let id = &transform.spec.id;
            let Some(number) = fields.iter().position(|field| field.name == transform.field) else {
                let names = fields.iter().map(|field| field.name.as_str()).collect();
                return Err(self.unknown_field(transform, names));
            };
            let Some(instance) = self.instance(id) else { continue };
            let side = Arc::clone(instance.plugin_side());
            let described = instance.call(&self.runtime, Activity::Describing, |_| {
                Step::describe(id.clone(), number, &fields[number], side)
            });
            let step = described.map_err(|stop| self.refused(stop))?;
            fields[number] = step.output.clone();
            steps.push(step);
        }
        Ok(steps)
    }

    fn unknown_field(&self, transform: &TransformSpec, names: Vec<&str>) -> Diagnostics {
        let text = format!(
            "the transform `{}` changes the field `{}`, but the samples have the fields {}",
            transform.spec.id,
            transform.field,
            names.join(", ")
        );
        let mut found = Diagnostic::error("unknown-field", text);
        found.help = nearest::suggestion(&transform.field, names);
        let mut problems = Diagnostics::new();
        problems.push(placed(found, &self.run, Some(&transform.spec)));
        problems
    }

    /// Opens the data without a learner, to look at it, with settings of the loader that `change` may
    /// change.
    ///
    /// # Errors
    /// The data cannot be opened, or the transforms do not take it.
    pub fn open_loader_with(
        &self,
        look: Look,
        change: impl FnOnce(&mut LoaderSettings),
    ) -> Result<Option<Loader>, Diagnostics> {
        let Some(spec) = &self.run.data else { return Ok(None) };
        let Some(instance) = self.instance(&spec.id) else { return Ok(None) };
        let side = Arc::clone(instance.plugin_side());
        let opened =
            instance.call(&self.runtime, Activity::OpeningData, |_| PluginSamples::open(side));
        let samples: Arc<dyn Samples> = Arc::new(opened.map_err(|stop| self.refused(stop))?);
        let unusable = |error: LoaderError| self.unusable(spec, &error);
        let samples = if look.transforms {
            self.transformed(samples).map_err(|failed| match failed {
                Failed::Problems(problems) => problems,
                Failed::Chains(error) => unusable(error),
            })?
        } else {
            samples
        };
        let mut settings = self.loader_settings(&*samples);
        change(&mut settings);
        let reading = match look.evaluates {
            true => Reading { only_evaluates: true, ..Reading::default() },
            false => self.reading()?,
        };
        let loader = Loader::open_with(samples, settings, self.run.run.seed, reading);
        loader.map(Some).map_err(unusable)
    }

    /// The name of a class of a field, if the data set gives one; after the data was opened.
    pub fn class_name(&self, field: usize, class: u32) -> Option<String> {
        let instance = self.instance(&self.run.data.as_ref()?.id)?;
        let name = instance.call(&self.runtime, Activity::PreparingData, |call| {
            call.dataset_class_name(field, u64::from(class))
        });
        name.ok().flatten()
    }

    /// How the loader reads the samples.
    pub(super) fn reading(&self) -> Result<Reading, Diagnostics> {
        let only_evaluates = !self.phase_kinds.contains(&PhaseKind::Training);
        let sampler = self.run.sampler.as_ref().and_then(|spec| self.instance(&spec.id));
        let named = |instance: Rc<Instance>| {
            let side = Arc::clone(instance.plugin_side());
            let sampler =
                instance.call(&self.runtime, Activity::Ordering, |_| PluginSampler::new(side));
            let sampler = sampler.map_err(|stop| self.refused(stop))?;
            Ok(NamedSampler::new(instance.id.clone(), Box::new(sampler)))
        };
        // Nothing is trained without a training phase, so its order does not matter.
        let sampler = sampler.filter(|_| !only_evaluates).map(named).transpose()?;
        let share = self
            .runtime
            .ranks()
            .map_or(Share::default(), |ranks| Share { index: ranks.rank(), count: ranks.ranks() });
        Ok(Reading { sampler, only_evaluates, share })
    }
}
